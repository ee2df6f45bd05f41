//! The report of a stack overflow. A green thread that touches its guard raises SIGSEGV. The handler finds the thread, prints what std
//! prints for an OS thread, with the size of the stack and the remedy, and aborts.
//!
//! Protocol:
//! - The handlers of SIGSEGV and SIGBUS are installed once per process and stay. A fault outside the guards of all slabs is passed on to the
//!   previous handler: std's own, which reports overflows of OS threads.
//! - The handler cannot run on a stack that has just overflowed, so each worker needs an alternate signal
//!   stack. std gives its threads one; [`watch_overflow`] gives one to threads that lack it.
//! - Another signal's handler, if installed without `SA_ONSTACK`, runs on the stack of the green thread. If the kernel finds no room there
//!   for its frame, it raises SIGSEGV without an address: then the stack pointer tells whose stack it was.
//! - Everything from `on_fault` down is async-signal-safe: no allocation, no lock, no formatting machinery,
//!   only `poll` and `write` to standard error (`fatal.rs`).

use std::cell::Cell;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::ptr;
use std::sync::{Once, OnceLock};

use libc::{c_int, c_void, siginfo_t};

use crate::fatal::{Text, write_stderr};
use crate::memory::page_bytes;
use crate::slab;

/// The longest name of a green thread that is reported in full, in bytes.
const NAME_BYTES: usize = 128;

/// The size of an alternate signal stack beyond the kernel's minimum, in bytes: room for the report and for `describe`.
const ALTERNATE_STACK_BYTES: usize = 32 * 1024;

/// The code of a signal that the kernel raised itself, without an address.
const SI_KERNEL: c_int = 128;

/// Fills in which green thread overflowed.
type Describe = fn(&mut OverflowReport);

thread_local! {
    /// Describes the green threads of this OS thread. Needs no destructor and no initialization, so a handler may read it.
    static DESCRIBE: Cell<Option<Describe>> = const { Cell::new(None) };
}

/// The handlers that ours replaced. Written before ours are installed.
static PREVIOUS_SEGMENTATION_FAULT: OnceLock<libc::sigaction> = OnceLock::new();
static PREVIOUS_BUS_ERROR: OnceLock<libc::sigaction> = OnceLock::new();

/// The report of a stack overflow. A function fills it in that runs **inside a signal handler**, on the OS thread whose green thread
/// overflowed: the function must not allocate, lock or print.
#[derive(Debug)]
pub struct OverflowReport {
    name: [u8; NAME_BYTES],
    name_bytes: usize,
    id: u64,
    stack_bytes: usize,
}

impl OverflowReport {
    /// Sets the name of the green thread, and cuts it off after 128 bytes. Async-signal-safe.
    pub fn set_name(&mut self, name: &str) {
        let bytes = name.floor_char_boundary(NAME_BYTES);
        self.name[..bytes].copy_from_slice(&name.as_bytes()[..bytes]);
        self.name_bytes = bytes;
    }

    /// Sets the number of the green thread. Async-signal-safe.
    pub fn set_id(&mut self, id: u64) {
        self.id = id;
    }

    /// Returns the size in bytes of the stack that overflowed. Async-signal-safe.
    pub fn stack_bytes(&self) -> usize {
        self.stack_bytes
    }

    /// Prints the report on standard error. Async-signal-safe.
    fn print(&self) {
        let mut text = Text::new();
        text.push(b"\nthread '");
        text.push(&self.name[..self.name_bytes]);
        text.push(b"' (green thread ");
        text.push_decimal(self.id);
        text.push(b") has overflowed its stack of ");
        text.push_decimal(self.stack_bytes as u64);
        text.push(b" bytes\nhelp: give it more with thread::Builder::stack_size\n");
        text.push(b"fatal runtime error: stack overflow, aborting\n");
        write_stderr(text.as_bytes());
    }
}

/// Reports stack overflows of the OS thread's green threads until it is dropped. See [`watch_overflow`].
#[must_use = "dropping it ends the watch"]
pub struct OverflowWatch {
    previous: Option<Describe>,
    /// Ours, if the thread had none.
    _alternate_stack: Option<AlternateStack>,
    /// It belongs to its OS thread.
    not_send: PhantomData<*mut ()>,
}

/// Reports stack overflows of the green threads that the calling OS thread runs: the process prints the name that `describe` fills in, the
/// size of the stack and what to do about it, and aborts.
///
/// `describe` runs inside a signal handler; see [`OverflowReport`]. Call this on every worker, and drop the watches of one thread in reverse
/// order. The process's signal handlers stay after the last watch, and pass on all other faults.
///
/// # Panics
/// If the kernel has no memory for an alternate signal stack.
pub fn watch_overflow(describe: fn(&mut OverflowReport)) -> OverflowWatch {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        install_handler(libc::SIGSEGV, &PREVIOUS_SEGMENTATION_FAULT);
        install_handler(libc::SIGBUS, &PREVIOUS_BUS_ERROR);
    });
    let alternate_stack = AlternateStack::install_if_missing()
        .unwrap_or_else(|error| panic!("cannot set up an alternate signal stack: {error}"));
    OverflowWatch {
        previous: DESCRIBE.replace(Some(describe)),
        _alternate_stack: alternate_stack,
        not_send: PhantomData,
    }
}

impl Drop for OverflowWatch {
    fn drop(&mut self) {
        DESCRIBE.set(self.previous);
    }
}

impl fmt::Debug for OverflowWatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OverflowWatch")
    }
}

/// Installs [`on_fault`] as the handler of `signal`, and keeps the previous one.
fn install_handler(signal: c_int, previous: &OnceLock<libc::sigaction>) {
    // SAFETY: plain data, for which zero is a value; the pointers are valid; `on_fault` has the signature
    // that SA_SIGINFO asks for and is async-signal-safe. `previous` is set before the handler can run.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        libc::sigaction(signal, ptr::null(), &mut action);
        // Keep the mask: the previous handler relies on it when a fault is passed on.
        let previous = previous.get_or_init(|| action);
        action.sa_mask = previous.sa_mask;
        action.sa_sigaction = on_fault as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(signal, &action, ptr::null_mut());
    }
}

/// Handles SIGSEGV and SIGBUS.
extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo to a SA_SIGINFO handler.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    let touched = match code {
        // SAFETY: the kernel passes a valid context to a SA_SIGINFO handler.
        SI_KERNEL if address == 0 => unsafe { stack_pointer(context) }.saturating_sub(frame_bytes()),
        _ => address,
    };
    // A positive code: raised by a memory access, not sent by a process; only then is there an address.
    if code > 0
        && let Some(slab) = slab::guarded_by(touched)
    {
        report_and_abort(slab.stack_bytes);
    }
    // SAFETY: the arguments are those of the kernel.
    unsafe { pass_on(signal, code, info, context) };
}

/// Returns how much stack the kernel takes for a signal's frame at most, in bytes. It depends on the CPU's registers. Async-signal-safe.
fn frame_bytes() -> usize {
    // SAFETY: reads a constant that the kernel gave the process at its start.
    unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) as usize }
}

/// Returns the stack pointer of the interrupted code.
///
/// # Safety
/// `context` is the third argument of a handler with `SA_SIGINFO`.
unsafe fn stack_pointer(context: *mut c_void) -> usize {
    // SAFETY: the third argument of such a handler points to a valid context.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    #[cfg(target_arch = "x86_64")]
    let pointer = registers.gregs[libc::REG_RSP as usize] as usize;
    #[cfg(target_arch = "aarch64")]
    let pointer = registers.sp as usize;
    pointer
}

/// Prints the report and aborts the process, as std does.
fn report_and_abort(stack_bytes: usize) -> ! {
    let mut report = OverflowReport { name: [0; NAME_BYTES], name_bytes: 0, id: 0, stack_bytes };
    report.set_name("<unnamed>");
    if let Some(describe) = DESCRIBE.get() {
        describe(&mut report);
    }
    report.print();
    // SAFETY: no preconditions; async-signal-safe.
    unsafe { libc::abort() }
}

/// Does what would have happened without our handlers.
///
/// # Safety
/// The arguments are those of the kernel, for a signal that [`install_handler`] was called for.
unsafe fn pass_on(signal: c_int, code: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let previous = if signal == libc::SIGBUS { &PREVIOUS_BUS_ERROR } else { &PREVIOUS_SEGMENTATION_FAULT };
    let Some(previous) = previous.get() else { return };
    let sent_by_process = code <= 0;
    match previous.sa_sigaction {
        libc::SIG_IGN if sent_by_process => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: zero is SIG_DFL with no flags. The faulting instruction runs again when we return, and
            // the default kills the process.
            unsafe {
                let default: libc::sigaction = mem::zeroed();
                libc::sigaction(signal, &default, ptr::null_mut());
                if sent_by_process {
                    // No instruction will fault again, so the signal is raised. It is blocked until we return.
                    libc::raise(signal);
                }
            }
        }
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: with SA_SIGINFO, this is the type of the handler that was installed.
            let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                unsafe { mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: without SA_SIGINFO, this is the type of the handler that was installed.
            let handler: extern "C" fn(c_int) = unsafe { mem::transmute(handler) };
            handler(signal);
        }
    }
}

/// An alternate signal stack of the calling OS thread, with a guard page. Dropped on the same thread.
struct AlternateStack {
    /// Address of the guard page, with which the mapping begins.
    start: *mut c_void,
    /// Size of the mapping in bytes.
    bytes: usize,
}

impl AlternateStack {
    /// Installs one, unless the thread has one.
    fn install_if_missing() -> io::Result<Option<AlternateStack>> {
        // SAFETY: only reads the thread's state; zero is a value of the plain structure.
        let current = unsafe {
            let mut current: libc::stack_t = mem::zeroed();
            libc::sigaltstack(ptr::null(), &mut current);
            current
        };
        if current.ss_flags & libc::SS_DISABLE == 0 {
            return Ok(None);
        }
        let page = page_bytes();
        let bytes = page + (frame_bytes() + ALTERNATE_STACK_BYTES).next_multiple_of(page);
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping touches nothing that exists.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = AlternateStack { start, bytes };
        let description =
            libc::stack_t { ss_sp: start.wrapping_byte_add(page), ss_flags: 0, ss_size: bytes - page };
        // SAFETY: the first page is ours, and nothing is in it; the rest is ours until `drop`, which takes it
        // off the thread first.
        let outcome = unsafe {
            libc::mprotect(start, page, libc::PROT_NONE);
            libc::sigaltstack(&description, ptr::null_mut())
        };
        if outcome == 0 { Ok(Some(stack)) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        // SAFETY: taken off the thread, if it is still the one in use, before it is unmapped; no handler runs
        // on it, as we run.
        unsafe {
            let mut current: libc::stack_t = mem::zeroed();
            libc::sigaltstack(ptr::null(), &mut current);
            if current.ss_sp == self.start.wrapping_byte_add(page_bytes()) {
                current.ss_flags = libc::SS_DISABLE;
                libc::sigaltstack(&current, ptr::null_mut());
            }
            libc::munmap(self.start, self.bytes);
        }
    }
}
