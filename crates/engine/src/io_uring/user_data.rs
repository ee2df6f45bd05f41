//! The 64 bits that the kernel hands back with each completion, which say what it completes.
//!
//! ```text
//!   2                            a wake
//!   4                            nothing that matters
//!   address of an operation      its request, or the poll that stands in for it
//!   address of an operation | 1  a cancel of it that failed (one that succeeds is silent)
//!   (slot + 1) · 8 | 2           a multishot receive
//!   (slot + 1) · 8 | 3           a request to stop it
//! ```
//!
//! Operations are aligned to 8 bytes, so the three low bits of their addresses are free.

use std::ptr::{self, NonNull};

use crate::operation::Operation;

/// The `user_data` of a wake.
pub(super) const WAKE: u64 = 2;

/// The `user_data` of a request whose completion says nothing.
pub(super) const IGNORED: u64 = 4;

/// Set for a request that cancels another.
const CANCEL: u64 = 1;

/// Set for a multishot receive.
const MULTISHOT: u64 = 2;

/// A slot's number begins above the flags.
const SLOT_SHIFT: u32 = 3;

const _: () = assert!(align_of::<Operation>() == 1 << SLOT_SHIFT);

/// What a completion completes.
pub(super) enum Completes {
    Wake,
    Nothing,
    Operation(NonNull<Operation>),
    /// A cancel of the operation, which may be over.
    Cancel(NonNull<Operation>),
    /// The multishot receive in a slot.
    Multishot(u32),
    /// A request to stop the multishot receive that is, or was, in a slot.
    Stop(u32),
}

impl Completes {
    /// Reads a `user_data`.
    #[inline]
    pub(super) fn decode(data: u64) -> Completes {
        let slot = || (data >> SLOT_SHIFT) as u32 - 1;
        let operation = || {
            let address = ptr::with_exposed_provenance_mut((data & !CANCEL) as usize);
            NonNull::new(address).expect("every request has an address or a number")
        };
        match data {
            WAKE => Completes::Wake,
            IGNORED => Completes::Nothing,
            _ => match (data & MULTISHOT != 0, data & CANCEL != 0) {
                (false, false) => Completes::Operation(operation()),
                (false, true) => Completes::Cancel(operation()),
                (true, false) => Completes::Multishot(slot()),
                (true, true) => Completes::Stop(slot()),
            },
        }
    }
}

/// Returns the `user_data` of an operation's request.
pub(super) fn of(operation: NonNull<Operation>) -> u64 {
    operation.as_ptr().expose_provenance() as u64
}

/// Returns the `user_data` of the multishot receive in `slot`.
pub(super) fn of_multishot(slot: u32) -> u64 {
    (u64::from(slot) + 1) << SLOT_SHIFT | MULTISHOT
}

/// Returns the `user_data` of the request that cancels the request with `data`.
pub(super) fn of_cancel(data: u64) -> u64 {
    data | CANCEL
}
