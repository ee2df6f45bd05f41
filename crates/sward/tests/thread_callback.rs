//! A cancel in a callback that C code has called: nothing unwinds through C, so the process aborts, unless the callback is shielded.

use std::os::unix::process::ExitStatusExt;

use sward::thread::{self, Cancelled};
use sward::time::{Duration, timeout};
use sward_testing::{alone, on_every_engine};

extern "C" fn parks() {
    thread::park();
}

extern "C" fn parks_shielded() {
    thread::shield(thread::park);
}

/// Stands for a function of a C library that calls back.
fn calls_back(callback: extern "C" fn()) {
    std::hint::black_box(callback)();
}

#[test]
fn a_cancel_in_a_callback_of_c_aborts() {
    let Some(output) = alone("a_cancel_in_a_callback_of_c_aborts", &[]) else {
        let main = || {
            let thread = thread::spawn(|| calls_back(parks));
            thread::yield_now();
            thread.cancel();
            drop(thread.join());
        };
        // SAFETY: nothing here holds a value that relies on nesting across a blocking call.
        return unsafe { sward::Builder::new().workers(1).run(main) }.unwrap();
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{errors}");
    assert!(errors.contains("cannot unwind"), "{errors}");
}

on_every_engine! {
    fn a_shielded_callback_comes_to_its_end() {
        let thread = thread::spawn(|| {
            calls_back(parks_shielded);
            thread::park();
        });
        thread::yield_now();
        thread.cancel();
        thread.thread().unpark();
        assert!(thread.join().unwrap_err().is::<Cancelled>());
        let outcome = timeout(Duration::from_millis(1), || {
            thread::current().unpark();
            calls_back(parks_shielded);
            thread::park();
        });
        assert!(outcome.is_err());
    }
}
