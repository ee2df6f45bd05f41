//! The submission entry of a request: the only place where a [`Request`] becomes what the kernel reads.

use std::ptr::{self, NonNull};

use ::io_uring::squeue::{Entry, Flags};
use ::io_uring::{opcode, types};

use super::progress::POLLING;
use super::{buffer_ring, user_data};
use crate::abi;
use crate::address::SocketAddress;
use crate::operation::{Interest, Operation, Request};

/// Returns the submission entry for the state that `operation` is in.
///
/// # Safety
/// `operation` is in flight, or about to be: it and every pointer of its request are valid until its completion.
pub(super) unsafe fn encode(operation: NonNull<Operation>) -> Entry {
    // SAFETY: the operation is valid.
    let submitted = unsafe { operation.as_ref() };
    let request = &submitted.request;
    let entry = if submitted.step().get() & POLLING != 0 {
        let fd = types::Fd(request.source().fd);
        opcode::PollAdd::new(fd, poll_mask(request.interest())).build()
    } else {
        // SAFETY: so are the pointers of its request.
        unsafe { encode_request(request) }
    };
    entry.user_data(user_data::of(operation))
}

/// # Safety
/// The pointers of the request are valid.
unsafe fn encode_request(request: &Request) -> Entry {
    let fd = types::Fd(request.source().fd);
    match *request {
        Request::Accept { address, .. } => {
            let (address, length) = if address.is_null() {
                (ptr::null_mut(), ptr::null_mut())
            } else {
                // SAFETY: not null, so it is a valid address.
                unsafe {
                    (*address).length = SocketAddress::CAPACITY;
                    ((&raw mut (*address).storage).cast(), &raw mut (*address).length)
                }
            };
            opcode::Accept::new(fd, address, length).flags(libc::SOCK_CLOEXEC).build()
        }
        Request::Connect { address, .. } => {
            // SAFETY: a connect's address is valid.
            let (address, length) = unsafe { ((&raw const (*address).storage).cast(), (*address).length) };
            opcode::Connect::new(fd, address, length).build()
        }
        Request::Receive { buffer, length, flags, .. } => {
            opcode::Recv::new(fd, buffer, entry_length(length)).flags(flags).build()
        }
        Request::ReceiveProvided { .. } => opcode::Recv::new(fd, ptr::null_mut(), 0)
            .buf_group(buffer_ring::GROUP)
            .build()
            .flags(Flags::BUFFER_SELECT),
        Request::Send { buffer, length, flags, .. } => {
            let flags = flags | libc::MSG_NOSIGNAL;
            opcode::Send::new(fd, buffer, entry_length(length)).flags(flags).build()
        }
        Request::ReceiveMessage { message, flags, .. } => {
            opcode::RecvMsg::new(fd, message).flags(flags as u32).build()
        }
        Request::SendMessage { message, flags, .. } => {
            opcode::SendMsg::new(fd, message).flags((flags | libc::MSG_NOSIGNAL) as u32).build()
        }
        Request::Read { buffer, length, .. } => {
            opcode::Read::new(fd, buffer, entry_length(length)).offset(CURRENT_POSITION).build()
        }
        Request::Write { buffer, length, .. } => {
            opcode::Write::new(fd, buffer, entry_length(length)).offset(CURRENT_POSITION).build()
        }
        Request::Poll { interest, .. } => opcode::PollAdd::new(fd, poll_mask(interest)).build(),
    }
}

/// The offset that reads and writes where `read(2)` and `write(2)` would.
const CURRENT_POSITION: u64 = u64::MAX;

/// Returns a length for an entry, which has 32 bits for it, and whose result is signed.
fn entry_length(length: usize) -> u32 {
    length.min(i32::MAX as usize) as u32
}

fn poll_mask(interest: Interest) -> u32 {
    abi::poll_events(interest) as u32
}
