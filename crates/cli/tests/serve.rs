//! The real binary, under every model on every engine: `sward serve`, its clients, its end; and `sward connect`.

#[path = "serve/clients.rs"]
mod clients;
#[path = "serve/connect.rs"]
mod connect;
#[path = "serve/lifecycle.rs"]
mod lifecycle;
#[path = "serve/python.rs"]
mod python;
#[path = "serve/server.rs"]
mod server;
#[path = "serve/supervisor.rs"]
mod supervisor;

use clients::Odd;
use lifecycle::{
    a_second_signal_ends_it_at_once, drains_after_a_signal, the_deadline_cuts_off_idle_connections,
};
use python::the_clients_of_the_texts;
use server::Server;
use sward_testing::await_that;

/// Defines a module for each model and engine, with each of the tests in it. They get the flags.
macro_rules! for_each_model {
    ($($test:ident),* $(,)?) => {
        model_tests!(blocking, ["--model", "blocking"], $($test)*);
        model_tests!(threads, ["--model", "threads"], $($test)*);
        mod green {
            sward_testing::for_each_engine!(on_engines, "green" $($test)*);
        }
        mod processes {
            sward_testing::for_each_engine!(on_engines, "processes" $($test)*);
        }
    };
}

macro_rules! on_engines {
    ($tests:tt $($(#[$documentation:meta])* $engine:ident $kind:ident $description:literal;)*) => {
        $(on_engines! { @engine $engine $tests })*
    };
    (@engine $engine:ident ($model:literal $($test:ident)*)) => {
        model_tests!($engine, ["--model", $model, "--engine", stringify!($engine)], $($test)*);
    };
}

macro_rules! model_tests {
    ($model:ident, $flags:expr, $($test:ident)*) => {
        mod $model {
            $(
                #[test]
                fn $test() {
                    crate::$test(&$flags)
                }
            )*
        }
    };
}

for_each_model!(
    every_byte_comes_back_and_nothing_is_left_over,
    drains_after_a_signal,
    a_second_signal_ends_it_at_once,
    the_deadline_cuts_off_idle_connections,
    the_clients_of_the_texts,
);

/// The load: a small round first, which starts whatever the server starts lazily, then the large one. The server must
/// hold as many descriptors and OS threads after the second as after the first.
fn every_byte_comes_back_and_nothing_is_left_over(flags: &[&str]) {
    let one_at_a_time = flags.contains(&"blocking");
    let server = Server::start(flags);
    let warm_up = load(&server, 64, one_at_a_time);
    await_that("the first clients have left", || server.connections() == 0);
    let (descriptors, threads) = (server.descriptors(), server.os_threads());
    let served = load(&server, 1000, one_at_a_time);
    await_that("all descriptors are closed", || server.descriptors() == descriptors);
    if flags.contains(&"threads") {
        await_that("all OS threads have ended", || server.os_threads() == threads);
    }
    let summary = server.interrupt_and_finish();
    assert_eq!(summary.number("connections"), warm_up.connections + served.connections, "{}", summary.text);
    let bytes = warm_up.bytes + served.bytes;
    assert!(summary.number("bytes") >= bytes, "{} for {bytes}", summary.text);
    for word in ["failed", "panicked", "cut off", "left over", "restarts"] {
        assert!(!summary.text.contains(word), "{}", summary.text);
    }
}

/// What the clients did: how many there were, and how many bytes the server must have read at least.
struct Load {
    connections: u64,
    bytes: u64,
}

fn load(server: &Server, count: usize, one_at_a_time: bool) -> Load {
    let address = server.address;
    let odd = [Odd::Reset, Odd::HalfClose, Odd::Vanish]
        .into_iter()
        .flat_map(|odd| std::iter::repeat_n(odd, count / 20));
    let odd: Vec<Odd> = odd.collect();
    // Whoever says nothing keeps a server busy that serves one client at a time.
    let silent: Vec<_> = (0..count / 20).map(|_| clients::connect(address)).collect();
    let connections = (count + odd.len() + silent.len() + 1) as u64;
    if one_at_a_time {
        drop(silent);
        odd.into_iter().for_each(|odd| odd.visit(address));
        let bytes = clients::chatter(address, count) + clients::slow_reader(address);
        return Load { connections, bytes };
    }
    let bytes = std::thread::scope(|scope| {
        let large = scope.spawn(|| clients::slow_reader(address));
        scope.spawn(|| odd.into_iter().for_each(|odd| odd.visit(address)));
        clients::chatter(address, count) + large.join().unwrap()
    });
    drop(silent);
    Load { connections, bytes }
}
