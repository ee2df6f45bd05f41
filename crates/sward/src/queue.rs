//! Queues that hand work from some threads to others, and know when the work is done. (Python's `queue`, with
//! its `shutdown`.)
//!
//! Against a [`channel`](crate::channel): an order other than first in, first out;
//! [`task_done`](Queue::task_done) and [`join`](Queue::join); and it ends when it is [closed](Queue::close),
//! not when handles are dropped, so it is shared by reference or `Arc`.
//!
//! As with channels, putting and getting may let others run, even where there is nothing to wait for.
//!
//! ```
//! use sward::{queue::Fifo, thread};
//!
//! let jobs = Fifo::new(2);
//! let mut sum = 0;
//! thread::scope(|scope| {
//!     scope.spawn(|| {
//!         for job in 1..=10 {
//!             jobs.put(job).unwrap();
//!         }
//!         jobs.close();
//!     });
//!     while let Ok(job) = jobs.get() {
//!         sum += job;
//!         jobs.task_done();
//!     }
//! });
//! jobs.join();
//! assert_eq!(sum, 55);
//! ```

mod error;
mod order;
#[expect(clippy::module_inception, reason = "a type lives in the file of its name")]
mod queue;

pub use error::{Closed, GetError, PutError};
pub use queue::{Fifo, Lifo, Priority, Queue};
