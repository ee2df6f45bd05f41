//! Shared by the tests of this workspace: macros that run a test on every engine, child processes that run the test again,
//! a watchdog, and waiting for a condition.
//!
//! A scheduler usually fails by blocking for ever. So every test body runs under a [`Watchdog`], which ends the process and
//! names the test.

mod full_pipe;
mod patience;
mod scenario;
mod tcp;
mod watchdog;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use sward::{Builder, EngineKind};

pub use full_pipe::full_pipe;
pub use patience::await_that;
pub use scenario::{Scenario, alone, is_stressed};
#[doc(hidden)]
pub use sward;
#[doc(hidden)]
pub use sward_engine::for_each_engine;
pub use tcp::{tcp_listener, tcp_pair};
pub use watchdog::Watchdog;

/// Makes a test for every engine of each function. The function runs as the main closure of a runtime, with one worker and then
/// with two.
///
/// A function may take the [`EngineKind`] that it runs on, and may return a `Result`, whose error fails the test.
///
/// ```
/// sward_testing::on_every_engine! {
///     fn two_and_two() {
///         assert_eq!(sward::thread::spawn(|| 2 + 2).join().unwrap(), 4);
///     }
///
///     fn engine_is_what_was_asked_for(engine: sward::EngineKind) {
///         assert_eq!(sward::engine_name(), Some(engine.name()));
///     }
/// }
/// ```
#[macro_export]
macro_rules! on_every_engine {
    ($($(#[$attribute:meta])* fn $name:ident($($engine:ident: $kind:ty)?) $(-> $output:ty)? $body:block)*) => {
        $(
            mod $name {
                #[allow(unused_imports)]
                use super::*;

                $(#[$attribute])*
                fn body($($engine: $kind)?) $(-> $output)? $body

                $crate::for_each_engine!($crate::engine_tests, $($engine)?);
            }
        )*
    };
}

/// The tests of one function, one for each engine: see [`on_every_engine!`].
#[doc(hidden)]
#[macro_export]
macro_rules! engine_tests {
    ($with:tt $($(#[$documentation:meta])* $test:ident $kind:ident $description:literal;)*) => {
        $(
            #[test]
            fn $test() {
                let name = concat!(module_path!(), "::", stringify!($test));
                $crate::run_on($crate::sward::EngineKind::$kind, name, $crate::engine_tests!(@body $with));
            }
        )*
    };
    (@body ()) => { |_| body() };
    (@body ($engine:ident)) => { body };
}

/// Makes the tests of [`on_every_engine!`], and one without a runtime, where every thread in the body is an OS thread. For what
/// does the same in both. The functions take no parameter.
///
/// ```
/// sward_testing::everywhere! {
///     fn two_and_two() {
///         assert_eq!(sward::thread::spawn(|| 2 + 2).join().unwrap(), 4);
///     }
/// }
/// ```
#[macro_export]
macro_rules! everywhere {
    ($($(#[$attribute:meta])* fn $name:ident() $(-> $output:ty)? $body:block)*) => {
        $(
            mod $name {
                #[allow(unused_imports)]
                use super::*;

                $(#[$attribute])*
                fn body() $(-> $output)? $body

                $crate::for_each_engine!($crate::engine_tests);

                #[test]
                fn outside() {
                    $crate::run_outside(concat!(module_path!(), "::outside"), body);
                }
            }
        )*
    };
}

/// Runs `body` as the main closure of a runtime on `engine`, with one worker and then with two; `name` is for the
/// watchdog.
///
/// # Panics
/// The engine does not open, or the body fails.
pub fn run_on<T: Outcome>(engine: EngineKind, name: &str, body: impl Fn(EngineKind) -> T) {
    for workers in [1, 2] {
        run_with(engine, workers, name, || body(engine));
    }
}

/// Runs `body` as the main closure of a runtime with these settings; `name` is for the watchdog.
///
/// # Panics
/// The engine does not open, or the body fails.
pub fn run_with<T: Outcome>(engine: EngineKind, workers: usize, name: &str, body: impl FnOnce() -> T) {
    let what = format!("{name} ({workers} {})", if workers == 1 { "worker" } else { "workers" });
    let _watchdog = Watchdog::start(&what);
    let builder = Builder::new().workers(workers).engine(engine);
    // SAFETY: the tests hold no scoped thread-local value across a blocking call.
    let result = catch_unwind(AssertUnwindSafe(|| unsafe { builder.run(body) }));
    match result {
        Ok(output) => output.unwrap_or_else(|error| panic!("{what}: {error}")).check(&what),
        Err(payload) => {
            eprintln!("{what} failed");
            resume_unwind(payload);
        }
    }
}

/// Runs `body` without a runtime; `name` is for the watchdog.
///
/// # Panics
/// The body fails.
pub fn run_outside<T: Outcome>(name: &str, body: impl FnOnce() -> T) {
    let _watchdog = Watchdog::start(name);
    body().check(name);
}

/// What a test's body may return: nothing, or a `Result`.
pub trait Outcome {
    /// Panics if the test has failed. `what` is its name.
    fn check(self, what: &str);
}

impl Outcome for () {
    fn check(self, _: &str) {}
}

impl<E: std::fmt::Debug> Outcome for Result<(), E> {
    fn check(self, what: &str) {
        if let Err(error) = self {
            panic!("{what}: {error:?}");
        }
    }
}
