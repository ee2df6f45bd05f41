//! Which engine runs. The choice is made at run time, and here alone: in [`EngineKind::open`].
//!
//! An engine that was asked for by name opens or fails with the reason. Only [`Choice::Default`] falls back, and it
//! hands the reason to its caller, who says it once.

use crate::engine::Engine;
use crate::epoll::Epoll;
use crate::io_uring::IoUring;
use crate::kind::{Choice, EngineKind};
use crate::open_error::OpenError;
use crate::poll::Poll;
use crate::readiness::Readiness;
use crate::select::Select;
use crate::sigio::Sigio;
use crate::spin::Spin;

impl EngineKind {
    /// Opens an engine for the calling thread, which is the one that uses and drops it.
    ///
    /// # Errors
    /// The kernel refuses, or has too few resources left.
    pub fn open(self) -> Result<Box<dyn Engine>, OpenError> {
        let failed = |attempted| move |cause| OpenError::new(self, attempted, cause);
        let engine: Box<dyn Engine> = match self {
            EngineKind::IoUring => Box::new(IoUring::open()?),
            EngineKind::Epoll => Box::new(Readiness::new(Epoll::new().map_err(failed("epoll_create1"))?)),
            EngineKind::Poll => Box::new(Readiness::new(Poll::new().map_err(failed("eventfd"))?)),
            EngineKind::Select => Box::new(Readiness::new(Select::new().map_err(failed("eventfd"))?)),
            EngineKind::Sigio => Box::new(Readiness::new(Sigio::new().map_err(failed("signal set-up"))?)),
            EngineKind::Spin => Box::new(Readiness::new(Spin::new().map_err(failed("set-up"))?)),
        };
        #[cfg(feature = "stress")]
        let engine = crate::faulty::Faulty::wrap(engine);
        Ok(engine)
    }

    /// Whether [`open`](EngineKind::open) works here and now. It is tried.
    ///
    /// # Errors
    /// The same as those of [`open`](EngineKind::open).
    pub fn available(self) -> Result<(), OpenError> {
        self.open().map(drop)
    }
}

impl Choice {
    /// Opens the engine for the calling thread. Beside it stands why the first choice was passed over, if it was.
    ///
    /// # Errors
    /// The named engine does not open; or, by default, epoll does not either.
    pub fn open(self) -> Result<(Box<dyn Engine>, Option<OpenError>), OpenError> {
        match self {
            Choice::Named(kind) => Ok((kind.open()?, None)),
            Choice::Default => match EngineKind::IoUring.open() {
                Ok(engine) => Ok((engine, None)),
                Err(reason) => Ok((EngineKind::Epoll.open()?, Some(reason))),
            },
        }
    }
}
