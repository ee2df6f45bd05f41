//! Which engine runs. The choice is made at run time, and only here: in [`EngineKind::open`].
//!
//! An engine that was asked for by name opens, or fails and says why. Only [`Choice::Default`] falls back. It hands the reason
//! to the caller, who reports it once.

use crate::engine::Engine;
use crate::for_each_engine;
use crate::kind::{Choice, EngineKind};
use crate::open_error::OpenError;

macro_rules! define_open {
    (() $($(#[$documentation:meta])* $module:ident $Kind:ident $description:literal;)*) => {
        fn open(kind: EngineKind) -> Result<Box<dyn Engine>, OpenError> {
            match kind {
                $(EngineKind::$Kind => crate::$module::open(),)*
            }
        }
    };
}

for_each_engine!(define_open);

impl EngineKind {
    /// Opens an engine for the calling thread, which is the thread that uses and drops it.
    ///
    /// # Errors
    /// The kernel refuses, or is short of descriptors or memory. The message names the step and says what to do.
    pub fn open(self) -> Result<Box<dyn Engine>, OpenError> {
        let engine = open(self)?;
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

    /// Checks that [`open`](EngineKind::open) works here and now, by opening an engine.
    ///
    /// # Errors
    /// Those of [`open`](EngineKind::open).
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
