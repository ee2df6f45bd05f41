//! What a runtime says about itself: who lives and waits for what, deadlocks, stalls, stack use, counts.
//!
//! ```text
//!   snapshot.rs     asks each worker for its threads            any thread
//!   trace.rs        return addresses, and their names           the traced thread; an OS thread
//!   dump.rs         the snapshot as text, stacks in groups      any thread
//!   holds.rs        who holds which lock, taken where           any thread
//!   outside.rs      OS threads that wait for green ones         any thread
//!   deadlock.rs     circles of threads that wait for each other
//!   monitor.rs      the OS thread that watches a runtime        SIGQUIT, and ticks of
//!   panic_hook.rs   the message of a panic                      the thread that panics
//!   quit.rs         SIGQUIT, taken and given back             the handler; any thread
//!   quiescence.rs   nothing can run again
//!   stall.rs        a worker does not switch
//!   stack_use.rs    the deepest stack of each spawn site        workers, at the end of a thread
//!   metrics.rs      the counters, summed                        any thread
//!   console.rs      all of this, live, over a Unix socket       OS threads of its own
//! ```
//!
//! Protocol: each worker runs an inspection of its own threads, between turns and in short pieces. An OS thread waits for the results (a
//! green thread goes through `offload`), so nothing waits for itself; and it waits for a limited time, so that a stuck worker is named
//! instead of waited for.

mod console;
mod deadlock;
mod dump;
pub(crate) mod holds;
mod metrics;
mod monitor;
pub(crate) mod outside;
mod panic_hook;
mod quiescence;
mod quit;
mod settings;
mod snapshot;
mod stack_use;
mod stall;
mod trace;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::runtime::hooks::{self, Hooks};
use crate::runtime::shared::Shared;
use crate::runtime::worker::Worker;

pub(crate) use console::Console;
pub use deadlock::{Deadlock, deadlocks};
pub use dump::{Dump, dump};
pub use metrics::{Metrics, metrics};
pub(crate) use monitor::Monitor;
pub(crate) use panic_hook::install as install_panic_hook;
pub(crate) use settings::Settings;
pub(crate) use snapshot::all_threads;
use snapshot::report_left_behind;
pub use snapshot::{Call, Snapshot, State, Wait};
pub(crate) use stack_use::StackUse;
use trace::return_addresses;

/// Every runtime of the process that is not over.
static RUNTIMES: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// Hands the runtime what it asks of this room.
pub(crate) fn install_runtime_hooks() {
    hooks::install(Hooks {
        return_addresses,
        left_behind: report_left_behind,
        os_thread_waits: outside::enter,
        os_thread_has_waited: outside::leave,
    });
}

/// From now on, OS threads find this runtime.
pub(crate) fn register(shared: &Arc<Shared>) {
    let mut runtimes = RUNTIMES.lock().unwrap_or_else(PoisonError::into_inner);
    runtimes.retain(|runtime| runtime.strong_count() > 0);
    runtimes.push(Arc::downgrade(shared));
}

/// The runtimes that the calling thread asks about: its own, or all of the process if it is an OS thread.
fn runtimes() -> Vec<Arc<Shared>> {
    match Worker::with_current(|worker, _| Arc::clone(worker.shared())) {
        Some(shared) => vec![shared],
        None => {
            let runtimes = RUNTIMES.lock().unwrap_or_else(PoisonError::into_inner);
            runtimes.iter().filter_map(Weak::upgrade).collect()
        }
    }
}
