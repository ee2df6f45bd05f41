//! For `tests/panic_abort.rs`: leaves threads behind that wait for the kernel, the clock and another thread.

use std::io::Read;

use sward::net::{TcpListener, TcpStream};
use sward::thread;
use sward::time::Duration;

struct Loud;

impl Drop for Loud {
    fn drop(&mut self) {
        println!("a frame was unwound");
    }
}

fn leave_threads() -> i32 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    for worker in [0, 1] {
        let spawn = |f: fn()| {
            let body = move || {
                let _loud = Loud;
                f();
            };
            thread::Builder::new().worker(worker).spawn(body).unwrap();
        };
        spawn(thread::park);
        spawn(|| thread::sleep(Duration::from_secs(1000)));
        spawn(|| drop(TcpListener::bind("127.0.0.1:0").unwrap().accept()));
    }
    thread::spawn(move || client.read(&mut [0; 8]));
    (0..10).for_each(|_| thread::yield_now());
    42
}

fn main() {
    for engine in [sward::EngineKind::Epoll, sward::EngineKind::Poll] {
        // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
        let answer = unsafe { sward::Builder::new().workers(2).engine(engine).run(leave_threads) };
        println!("{}", answer.unwrap());
    }
    println!("end");
}
