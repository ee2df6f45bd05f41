//! Room for messages is neither allocated nor freed under a channel's lock: the allocator is the user's, and may use
//! the channel.

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use sward::channel::{Receiver, Select, Sender, never, select, unbounded};
use sward_testing::Watchdog;

/// Large enough to tell its allocations from all others.
const SIZE: usize = 1 << 16;

type Message = [u8; SIZE];

static UNDER_TEST: OnceLock<Sender<Message>> = OnceLock::new();
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// The bytes of large allocations that have not been freed.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which looks at the channel under test whenever something large comes or goes.
struct Asking;

impl Asking {
    fn ask(layout: Layout) {
        if layout.size() >= SIZE
            && let Some(sender) = UNDER_TEST.get()
        {
            ASKED.fetch_add(1, Ordering::Relaxed);
            assert!(!sender.is_full());
        }
    }
}

// SAFETY: as `System`, which does all of the work.
unsafe impl GlobalAlloc for Asking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Asking::ask(layout);
        if layout.size() >= SIZE {
            HELD.fetch_add(layout.size(), Ordering::Relaxed);
        }
        // SAFETY: the caller keeps what `alloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        Asking::ask(layout);
        if layout.size() >= SIZE {
            HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        }
        // SAFETY: the caller keeps what `dealloc` asks for.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Asking = Asking;

#[test]
fn room_for_messages_comes_and_goes_outside_the_lock() {
    let _watchdog = Watchdog::start("room_for_messages_comes_and_goes_outside_the_lock");
    // On a stack with room for such messages.
    let thread = std::thread::Builder::new().stack_size(1024 * SIZE).spawn(|| {
        let (sender, receiver) = unbounded();
        assert!(UNDER_TEST.set(sender.clone()).is_ok());
        use_all(&sender, &receiver);
        let before = HELD.load(Ordering::Relaxed);
        (0..200).for_each(|_| assert!(sender.send([0; SIZE]).is_ok()));
        assert_eq!(receiver.try_iter().count(), 200);
        let after = HELD.load(Ordering::Relaxed);
        assert!(after <= before, "a burst of messages has left {} bytes", after - before);
        for _ in 0..3 {
            assert!(sender.send([0; SIZE]).is_ok());
        }
        drop(receiver);
    });
    thread.unwrap().join().unwrap();
    assert!(ASKED.load(Ordering::Relaxed) >= 5, "{ASKED:?}");
}

fn use_all(sender: &Sender<Message>, receiver: &Receiver<Message>) {
    for _ in 0..9 {
        assert!(sender.send([0; SIZE]).is_ok());
        assert!(sender.try_send([0; SIZE]).is_ok());
    }
    for _ in 0..9 {
        assert!(receiver.recv().is_ok());
        select! { recv(receiver) -> message => assert!(message.is_ok()), recv(never::<()>()) -> _ => unreachable!() }
    }
    assert!(sender.send([0; SIZE]).is_ok());
    let mut select = Select::new();
    select.recv(receiver);
    // One that is not finished puts its message back.
    assert!(catch_unwind(AssertUnwindSafe(|| drop(select.select()))).is_err());
    assert!(receiver.try_recv().is_ok());
}
