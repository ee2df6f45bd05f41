//! A test harness holds back what tests print, also what a panic in a green thread prints.

use std::env;
use std::process::Command;

#[test]
fn the_panic_of_a_green_thread_is_captured() {
    const CHILD: &str = "SWARD_TEST_CAPTURED";
    const TEST: &str = "the_panic_of_a_green_thread_is_captured";
    if env::var_os(CHILD).is_some() {
        let main = || sward::thread::spawn(|| panic!("quietly")).join().unwrap_err();
        // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
        let payload = unsafe { sward::Builder::new().workers(1).run(main) }.unwrap();
        assert!(payload.is::<&str>());
        return;
    }
    let mut command = Command::new(env::current_exe().unwrap());
    let output = command.args(["--exact", TEST]).env(CHILD, "1").env_remove("RUST_TEST_NOCAPTURE").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("quietly"), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("quietly"), "{output:?}");
}
