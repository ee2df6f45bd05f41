//! Two greenlets that switch to each other.
//!
//! ```sh
//! cargo run --example greenlet
//! ```
//!
//! What the original gets wrong: its first greenlet stays suspended in its second switch, and nothing resumes
//! it. Its resources are released when the garbage collector finds it, or never.
//! Here the hub owns both greenlets and unwinds the suspended ones when it is dropped. Before that, the
//! program can ask which are left.

use sward::coroutine::Hub;

/// A resource that must be released.
struct Resource;

impl Drop for Resource {
    fn drop(&mut self) {
        println!("the first one's resource is released");
    }
}

fn main() {
    // On a plain OS thread: it needs no runtime.
    // SAFETY: nothing here holds a value that relies on nesting across a switch.
    let mut hub = unsafe { Hub::new_unchecked() };
    // Each refers to the other, so both are declared before they are defined.
    let (first, second) = (hub.declare(), hub.declare());
    first.define({
        let second = second.clone();
        move |current, ()| {
            let _resource = Resource;
            println!("12");
            current.switch(&second, ());
            println!("34");
            current.switch(&second, ());
            println!("not reached: nobody switches here again");
        }
    });
    second.define({
        let first = first.clone();
        move |current, ()| {
            println!("56");
            current.switch(&first, ());
            println!("78");
        }
    });
    hub.switch(&first, ());
    println!("first is dead: {}, second is dead: {}", first.is_dead(), second.is_dead());
    drop(hub);
    println!("first is dead: {}, second is dead: {}", first.is_dead(), second.is_dead());
}
