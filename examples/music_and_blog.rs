//! Listens to music and writes a blog at the same time: named threads, some joined and some not.
//!
//! ```sh
//! cargo run --example music_and_blog
//! ```
//!
//! What the original gets wrong, and what this program does instead:
//! - It prints "all over" while both threads still run, since it joins neither. Here the main thread joins
//!   the threads that it needs, and the end of the program waits for all threads that are not daemons.
//! - When a Python program ends, its daemon threads stop wherever they are. Here they are unwound: their
//!   destructors run.
//! - Its threads are called Thread-1 and Thread-2. Here they have names.

use std::io;
use std::time::Duration;

use sward::thread::{self, Builder, JoinHandle};

/// Stands for a second of the original.
const SECOND: Duration = Duration::from_millis(50);

fn say(what: &str) {
    println!("[{}] {what}", thread::current().name().unwrap_or("nameless"));
}

fn music(title: &str) {
    say(&format!("begin listening to {title}"));
    thread::sleep(3 * SECOND);
    say("end listening");
}

fn blog(title: &str) {
    say(&format!("begin writing {title}"));
    thread::sleep(5 * SECOND);
    say("end writing");
}

fn letter(blog: JoinHandle<()>) {
    blog.join().expect("the blog does not panic");
    say("all over");
}

/// Burns until it is put out.
fn lamp() {
    struct Light;
    impl Drop for Light {
        fn drop(&mut self) {
            say("light out");
        }
    }
    let _light = Light;
    say("light on");
    loop {
        thread::park();
    }
}

/// Starts a thread that the end of the program waits for.
fn start(name: &str, f: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.into()).daemon(false).spawn(f)
}

fn program() -> io::Result<()> {
    Builder::new().name("lamp".into()).daemon(true).spawn(lamp)?;
    let music = start("music", || music("FILL ME"))?;
    let blog = start("blog", || blog("a day at sea"))?;
    // Let them start.
    thread::yield_now();
    let alive = thread::all();
    let mut names: Vec<_> = alive.iter().filter_map(|snapshot| snapshot.thread().name()).collect();
    names.sort();
    println!("{} threads are alive: {}", names.len(), names.join(", "));
    music.join().expect("music does not panic");
    println!("the music is over, the blog is finished: {}", blog.is_finished());
    // It is not joined, but the end of the program waits for it.
    start("letter", || letter(blog))?;
    println!("main is over");
    Ok(())
}

fn main() -> io::Result<()> {
    // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
    unsafe { sward::Builder::new().workers(1).run(program)? }
}
