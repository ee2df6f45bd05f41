//! The report of a stack overflow. A green thread that runs into its guard raises SIGSEGV; the handler
//! here finds out whose guard it was, prints what std prints for an OS thread, with the size and the
//! remedy, and aborts.
//!
//! Protocol:
//! - The handlers of SIGSEGV and SIGBUS are installed once for the process and stay. A fault anywhere else
//!   than in a guard of a slab goes on to the handler that was there before: std's own, which reports
//!   overflows of OS threads.
//! - A handler cannot run on the stack that has just overflowed, so each worker has an alternate signal
//!   stack. std gives one to its threads; [`watch_overflow`] gives one to those that lack it.
//! - A signal handler that was installed without `SA_ONSTACK` runs on the stack of the green thread. If the kernel cannot store there
//!   what it interrupts, it raises SIGSEGV without an address: then the stack pointer tells.
//! - Everything from `on_fault` down is async-signal-safe: no allocation, no lock, no formatting machinery,
//!   only `poll` and `write` to standard error (`last_words.rs`).

use std::cell::Cell;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::ptr;
use std::sync::{Once, OnceLock};

use libc::{c_int, c_void, siginfo_t};

use crate::last_words::{Text, say_last};
use crate::page::page_bytes;
use crate::slab;

/// Longest name of a green thread that is reported in full, in bytes.
const NAME_BYTES: usize = 128;

/// What an alternate signal stack has beyond the kernel's minimum, in bytes: room for the report and for
/// `describe`.
const ALTERNATE_STACK_BYTES: usize = 32 * 1024;

/// The kernel's code for a signal of its own that no address is known for.
const SI_KERNEL: c_int = 128;

/// Fills in who overflowed.
type Describe = fn(&mut OverflowReport);

thread_local! {
    /// Who describes the green threads of this worker. No destructor, constant start: a handler may read it.
    static DESCRIBE: Cell<Option<Describe>> = const { Cell::new(None) };
}

/// What was there before our handlers. Written before those are installed.
static PREVIOUS_SEGMENTATION_FAULT: OnceLock<libc::sigaction> = OnceLock::new();
static PREVIOUS_BUS_ERROR: OnceLock<libc::sigaction> = OnceLock::new();

/// What the report of a stack overflow says. It is filled in by a function that runs **inside a signal
/// handler**, on the OS thread whose green thread overflowed: it must not allocate, lock, or print.
#[derive(Debug)]
pub struct OverflowReport {
    name: [u8; NAME_BYTES],
    name_bytes: usize,
    id: u64,
    stack_bytes: usize,
}

impl OverflowReport {
    /// Sets the name of the green thread; what lies beyond 128 bytes is cut off. Async-signal-safe.
    pub fn set_name(&mut self, name: &str) {
        let bytes = name.floor_char_boundary(NAME_BYTES);
        self.name[..bytes].copy_from_slice(&name.as_bytes()[..bytes]);
        self.name_bytes = bytes;
    }

    /// Sets the number of the green thread. Async-signal-safe.
    pub fn set_id(&mut self, id: u64) {
        self.id = id;
    }

    /// Size of the stack that overflowed in bytes. Async-signal-safe.
    pub fn stack_bytes(&self) -> usize {
        self.stack_bytes
    }

    /// Prints it to standard error. Async-signal-safe.
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
        say_last(text.as_bytes());
    }
}

/// Has stack overflows of the calling OS thread's green threads reported, until it is dropped.
#[must_use = "the watch ends when this is dropped"]
pub struct OverflowWatch {
    previous: Option<Describe>,
    /// Ours, when the thread had none.
    _alternate_stack: Option<AlternateStack>,
    /// Belongs to its OS thread.
    not_send: PhantomData<*mut ()>,
}

/// Watches over the green threads that the calling OS thread runs: when one overflows its stack, the process
/// prints the name that `describe` fills in, the size of the stack and what to do, and aborts.
///
/// `describe` runs inside a signal handler; see [`OverflowReport`]. Call this on every worker. Watches of one
/// thread are dropped in reverse order. The process's signal handlers stay after the last watch; they pass on
/// what is not theirs.
///
/// # Panics
/// The kernel refuses an alternate signal stack (no memory).
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

/// Puts [`on_fault`] in front of the handler of `signal`.
fn install_handler(signal: c_int, previous: &OnceLock<libc::sigaction>) {
    // SAFETY: plain data, for which zero is a value; the pointers are valid; `on_fault` has the signature
    // that SA_SIGINFO asks for and is async-signal-safe. `previous` is set before the handler can run.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        libc::sigaction(signal, ptr::null(), &mut action);
        // Kept: the mask, which the previous handler counts on when the fault is passed on to it.
        let previous = previous.get_or_init(|| action);
        action.sa_mask = previous.sa_mask;
        action.sa_sigaction = on_fault as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(signal, &action, ptr::null_mut());
    }
}

/// The handler.
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

/// How much stack the kernel takes for a signal handler at most, in bytes. It grows with the CPU's registers. Async-signal-safe.
fn frame_bytes() -> usize {
    // SAFETY: asks only; reads what the kernel has given the process at its start.
    unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) as usize }
}

/// Where the stack of the interrupted code ended.
///
/// # Safety
/// `context` is the third argument of a handler with `SA_SIGINFO`.
unsafe fn stack_pointer(context: *mut c_void) -> usize {
    // SAFETY: such an argument points to a valid context.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    #[cfg(target_arch = "x86_64")]
    let pointer = registers.gregs[libc::REG_RSP as usize] as usize;
    #[cfg(target_arch = "aarch64")]
    let pointer = registers.sp as usize;
    pointer
}

/// Prints the report and ends the process as std does, by SIGABRT.
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

/// Does what would have been done without us.
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
                    // Nothing will fault again. Blocked now; it takes effect when we return.
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
    /// Gives the thread one, unless it has one.
    fn install_if_missing() -> io::Result<Option<AlternateStack>> {
        // SAFETY: asks only; zero is a value of the plain structure.
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
