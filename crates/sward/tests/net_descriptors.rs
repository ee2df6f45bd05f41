//! What happens when no descriptor is left. The limit is the process's, so this file has one test, which does one engine after
//! the other.

use std::io;

use sward::EngineKind;
use sward::net::{TcpListener, TcpStream};
use sward_testing::{run_on, run_outside};

/// Lowers the limit on descriptor numbers, and gives back what it was.
fn set_limit(number: libc::rlim_t) -> libc::rlim_t {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    let before = std::mem::replace(&mut limit.rlim_cur, number);
    // SAFETY: the kernel reads one rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    before
}

/// Takes every descriptor that is left.
fn exhaust() -> Vec<std::fs::File> {
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect()
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn accept_and_connect_say_so_and_recover() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let client = TcpStream::connect(address)?;
    let mut taken = exhaust();
    let is_emfile = |error: io::Error| assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    is_emfile(listener.accept().unwrap_err());
    is_emfile(listener.accept().unwrap_err());
    is_emfile(TcpStream::connect(address).unwrap_err());
    is_emfile(client.try_clone().unwrap_err());
    is_emfile(TcpListener::bind("127.0.0.1:0").unwrap_err());
    taken.truncate(taken.len() - 1);
    // The connection has waited in the queue.
    assert_eq!(listener.accept()?.1, client.local_addr()?);
    Ok(())
}

#[test]
fn no_descriptor_is_left_and_none_is_leaked() {
    let limit = set_limit(100);
    // Whatever is opened once and for all.
    run_outside("warm-up", accept_and_connect_say_so_and_recover);
    let before = open_descriptors();
    for engine in EngineKind::ALL {
        run_on(engine, &format!("no_descriptor_is_left on {engine}"), |_| {
            accept_and_connect_say_so_and_recover()
        });
        assert_eq!(open_descriptors(), before, "{engine}");
    }
    set_limit(limit);
}
