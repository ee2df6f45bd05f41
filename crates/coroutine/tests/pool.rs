//! The pool: reuse, sizes, colours, trimming, limits.

#[path = "process/child.rs"]
mod child;

use std::fs;
use std::io::ErrorKind;
use std::panic::{self, AssertUnwindSafe};

use corosensei::stack::Stack as _;
use sward_coroutine::{Guards, Stack, StackPool, StackStatistics};

const STACK_BYTES: usize = 256 * 1024;

fn page_bytes() -> usize {
    // SAFETY: no preconditions.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Size of the guard below a stack.
fn guard_bytes() -> usize {
    page_bytes().max(64 * 1024)
}

/// Touches every page of a stack, as deep recursion would.
fn use_deeply(stack: &Stack) {
    let lowest = stack.limit().get() + guard_bytes();
    for page in (lowest..lowest + stack.size()).step_by(page_bytes()) {
        // SAFETY: the page lies in the stack, above its guard; nothing runs on it.
        unsafe { (page as *mut u8).write_volatile(1) };
    }
}

#[test]
fn a_stack_is_small() {
    assert!(size_of::<Stack>() <= 32);
}

#[test]
fn sizes_are_rounded_up_to_pages_and_two_at_least() {
    let mut pool = StackPool::new();
    let page = page_bytes();
    for (asked, given) in [(0, 2), (1, 2), (2 * page, 2), (2 * page + 1, 3), (64 * page - 1, 64)] {
        let stack = pool.take(asked).unwrap();
        assert_eq!(stack.size(), given * page);
        let usable = stack.base().get() - stack.limit().get() - guard_bytes();
        assert!(usable >= page + page / 2, "{usable} usable bytes");
        pool.give_back(stack);
    }
}

#[test]
fn a_size_that_cannot_be_is_an_error_that_says_so() {
    let mut pool = StackPool::new();
    for size in [usize::MAX, usize::MAX - page_bytes(), isize::MAX as usize, 1 << 60] {
        let error = pool.take(size).unwrap_err().to_string();
        assert!(error.starts_with("cannot map a stack of "), "{error}");
    }
    let error = pool.take(1 << 60).unwrap_err().to_string();
    assert!(error.contains("1152921504606846976 bytes"), "{error}");
    assert!(error.contains("ulimit -v"), "{error}");
    let stack = pool.take(STACK_BYTES).unwrap();
    pool.give_back(stack);
}

#[test]
fn stacks_do_not_overlap_and_know_their_addresses() {
    let mut pool = StackPool::new();
    let stacks: Vec<_> = (0..300).map(|_| pool.take(STACK_BYTES).unwrap()).collect();
    let mut limits: Vec<_> = stacks.iter().map(|stack| stack.limit().get()).collect();
    limits.sort_unstable();
    assert!(limits.windows(2).all(|pair| pair[0] + guard_bytes() + STACK_BYTES <= pair[1]));
    let stack = &stacks[100];
    let limit = stack.limit().get();
    assert!(stack.contains(limit) && stack.contains(limit + guard_bytes() + STACK_BYTES - 1));
    assert!(!stack.contains(limit - 1) && !stack.contains(limit + guard_bytes() + STACK_BYTES));
    stacks.into_iter().for_each(|stack| pool.give_back(stack));
}

#[test]
fn tops_are_coloured_and_aligned() {
    let mut pool = StackPool::new();
    let stacks: Vec<_> = (0..64).map(|_| pool.take(STACK_BYTES).unwrap()).collect();
    for (slot, stack) in stacks.iter().enumerate() {
        let top = stack.limit().get() + guard_bytes() + stack.size();
        assert_eq!(top - stack.base().get(), slot % 32 * 64);
        assert_eq!(stack.base().get() % 16, 0);
    }
    stacks.into_iter().for_each(|stack| pool.give_back(stack));
}

#[test]
fn the_stack_given_back_last_goes_out_first() {
    let mut pool = StackPool::new();
    let [first, second] = [pool.take(STACK_BYTES).unwrap(), pool.take(STACK_BYTES).unwrap()];
    let other_size = pool.take(2 * STACK_BYTES).unwrap();
    let [first_limit, second_limit] = [first.limit(), second.limit()];
    pool.give_back(first);
    pool.give_back(second);
    pool.give_back(other_size);
    let again = [pool.take(STACK_BYTES).unwrap(), pool.take(STACK_BYTES).unwrap()];
    assert_eq!([again[0].limit(), again[1].limit()], [second_limit, first_limit]);
    again.into_iter().for_each(|stack| pool.give_back(stack));
}

#[test]
fn statistics_count_what_is_there() {
    let mut pool = StackPool::new();
    assert_eq!(pool.statistics(), StackStatistics::default());
    let stacks: Vec<_> = (0..65).map(|_| pool.take(STACK_BYTES).unwrap()).collect();
    let other_size = pool.take(2 * STACK_BYTES).unwrap();
    pool.give_back(other_size);
    let statistics = pool.statistics();
    assert_eq!((statistics.in_use, statistics.free), (65, 1));
    assert_eq!(statistics.slabs, 3, "64 slots, 128 slots, and one slab of the other size");
    let stacks_bytes = (64 + 128) * STACK_BYTES + 64 * 2 * STACK_BYTES;
    assert_eq!(statistics.mapped_bytes, stacks_bytes + (64 + 128 + 64) * guard_bytes());
    stacks.into_iter().for_each(|stack| pool.give_back(stack));
    assert_eq!(pool.statistics(), StackStatistics { in_use: 0, free: 66, ..statistics });
}

#[test]
fn trim_gives_back_what_was_not_used_for_a_period() {
    let deep = STACK_BYTES;
    let mut pool = StackPool::new();
    let mut stacks: Vec<_> = (0..40).map(|_| pool.take(STACK_BYTES).unwrap()).collect();
    assert_eq!(stacks[0].resident_bytes(), 0);
    stacks.iter().for_each(use_deeply);
    assert!(stacks.iter().all(|stack| stack.resident_bytes() == deep));
    stacks.drain(..).for_each(|stack| pool.give_back(stack));
    pool.begin_period();
    assert_eq!(pool.trim(100), 0, "they have come back in the period that is over");
    assert!(pool.is_cooling());

    // Ten of them are used in this period.
    let used: Vec<_> = (0..10).map(|_| pool.take(STACK_BYTES).unwrap()).collect();
    used.into_iter().for_each(|stack| pool.give_back(stack));
    pool.begin_period();
    let used: Vec<_> = (0..20).map(|_| pool.take(STACK_BYTES).unwrap()).collect();
    used.into_iter().for_each(|stack| pool.give_back(stack));
    assert_eq!(pool.trim(7), 7);
    assert_eq!(pool.trim(100), 13, "40 but the 20 that have been used since");
    assert_eq!(pool.trim(100), 0, "nothing is looked at twice");
    pool.begin_period();
    pool.begin_period();
    assert_eq!(pool.trim(100), 4, "the 16 hot ones are left alone");
    assert!(!pool.is_cooling());

    let stacks: Vec<_> = (0..40).map(|_| pool.take(STACK_BYTES).unwrap()).collect();
    assert!(stacks[..16].iter().all(|stack| stack.resident_bytes() == deep));
    assert!(stacks[16..].iter().all(|stack| stack.resident_bytes() == 0));
    stacks.into_iter().for_each(|stack| pool.give_back(stack));
    pool.begin_period();
    pool.begin_period();
    assert_eq!(pool.trim(usize::MAX), 24, "used again, looked at again");
}

#[test]
fn trim_serves_every_size_within_one_limit() {
    let mut pool = StackPool::new();
    for size in [STACK_BYTES, 2 * STACK_BYTES] {
        let stacks: Vec<_> = (0..20).map(|_| pool.take(size).unwrap()).collect();
        stacks.into_iter().for_each(|stack| pool.give_back(stack));
    }
    pool.begin_period();
    pool.begin_period();
    assert_eq!([pool.trim(0), pool.trim(5), pool.trim(5)], [0, 5, 3]);
}

/// If the kernel refuses large slabs, smaller ones are mapped. The end is an error, and existing stacks still work.
#[test]
#[cfg_attr(feature = "sanitizer", ignore = "the sanitizer needs address space itself")]
fn scarce_address_space_is_used_up_and_then_an_error() {
    let child = child::run("scarce_address_space_is_used_up_and_then_an_error", || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmSize:")).unwrap();
        let mapped_kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        let bytes = (mapped_kib << 10) + (800 << 20);
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
        let mut in_force = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the structures are valid.
        unsafe {
            assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &limit), 0);
            libc::getrlimit(libc::RLIMIT_AS, &mut in_force);
        }
        if in_force.rlim_cur != bytes {
            eprintln!("skipped: the limit is not in force, as under an emulator");
            return;
        }

        let mut pool = StackPool::new();
        let mut stacks = Vec::new();
        let error = loop {
            match pool.take(1 << 20) {
                Ok(stack) => stacks.push(stack),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
        // Slabs for 64, 128 and 256 stacks; the next, for 512, is refused.
        assert!(stacks.len() > 700, "of 800 stacks that fit, {}", stacks.len());
        pool.give_back(stacks.pop().unwrap());
        stacks.push(pool.take(1 << 20).unwrap());
        eprintln!("held: {error}");
    });
    assert_eq!(child.signal, None, "{}", child.errors);
    if child.errors.contains("skipped: ") {
        return eprintln!("{}", child.errors);
    }
    assert!(child.errors.contains("held: cannot map a stack of 1048576 bytes"), "{}", child.errors);
}

/// Reserved stacks can be taken when the process gets no more address space. A cancelled reservation can be made again.
#[test]
#[cfg_attr(feature = "sanitizer", ignore = "the sanitizer needs address space itself")]
fn what_is_reserved_can_be_taken() {
    const RESERVED: usize = 100;
    let child = child::run("what_is_reserved_can_be_taken", || {
        for guards in [Guards::Automatic, Guards::Mprotect] {
            let mut pool = StackPool::with_guards(guards);
            (0..RESERVED).for_each(|_| pool.reserve(STACK_BYTES).unwrap());
            let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            let mut in_force = before;
            // SAFETY: the structures are valid.
            unsafe {
                libc::getrlimit(libc::RLIMIT_AS, &mut before);
                let none = libc::rlimit { rlim_cur: 0, ..before };
                assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &none), 0);
                libc::getrlimit(libc::RLIMIT_AS, &mut in_force);
            }
            if in_force.rlim_cur != 0 {
                return eprintln!("held: skipped, the limit is not in force, as under an emulator");
            }
            // Slabs for 64 and 128 stacks, and no more.
            let mut more = 0;
            let error = loop {
                match pool.reserve(STACK_BYTES) {
                    Ok(()) => more += 1,
                    Err(error) => break error,
                }
            };
            assert_eq!((error.kind(), more), (ErrorKind::OutOfMemory, 64 + 128 - RESERVED), "{error}");
            pool.unreserve(STACK_BYTES);
            pool.reserve(STACK_BYTES).unwrap();
            assert!(pool.reserve(STACK_BYTES).is_err());
            let stacks: Vec<_> = (0..64 + 128).map(|_| pool.take_reserved(STACK_BYTES).unwrap()).collect();
            assert!(pool.take(STACK_BYTES).is_err());
            stacks.into_iter().for_each(|stack| pool.give_back(stack));
            // SAFETY: the structure is valid.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &before) }, 0);
        }
        eprintln!("held");
    });
    assert!(child.errors.contains("held"), "{}", child.errors);
}

#[test]
fn a_stack_of_another_pool_is_refused() {
    let [mut pool, mut other] = [StackPool::new(), StackPool::new()];
    let own = other.take(STACK_BYTES).unwrap();
    let foreign = pool.take(STACK_BYTES).unwrap();
    assert!(panic::catch_unwind(AssertUnwindSafe(|| other.give_back(foreign))).is_err());
    other.give_back(own);
}
