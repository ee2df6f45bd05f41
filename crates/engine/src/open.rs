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

    /// Returns the kind that [`Choice::Default`] opens here and now, and why the first choice was passed over, if it was.
    pub fn default_here() -> (EngineKind, Option<OpenError>) {
        match DEFAULT.available() {
            Ok(()) => (DEFAULT, None),
            Err(refusal) => (FALLBACK, Some(refusal)),
        }
    }

    /// Whether [`open`](EngineKind::open) works here and now. It is tried.
    ///
    /// # Errors
    /// The same as those of [`open`](EngineKind::open).
    pub fn available(self) -> Result<(), OpenError> {
        self.open().map(drop)
    }
}

/// The engine that runs by default, and the one that takes its place where the kernel refuses it.
const DEFAULT: EngineKind = EngineKind::IoUring;
const FALLBACK: EngineKind = EngineKind::Epoll;

/// An open engine and how it was chosen.
pub struct Opened {
    /// The engine, for the thread that opened it.
    pub engine: Box<dyn Engine>,
    /// Its kind, with which the other workers open theirs.
    pub kind: EngineKind,
    /// Why the default engine did not open, if this is the one that took its place.
    pub refusal: Option<OpenError>,
}

impl Choice {
    /// Opens the engine for the calling thread.
    ///
    /// # Errors
    /// The named engine does not open; or neither the default engine nor its fallback does. Then the error is the fallback's.
    pub fn open(self) -> Result<Opened, OpenError> {
        let opened = |kind: EngineKind, refusal| Ok(Opened { engine: kind.open()?, kind, refusal });
        match self {
            Choice::Named(kind) => opened(kind, None),
            Choice::Default => opened(DEFAULT, None).or_else(|refusal| opened(FALLBACK, Some(refusal))),
        }
    }
}
