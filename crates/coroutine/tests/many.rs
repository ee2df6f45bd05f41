//! Many suspended coroutines at once: few maps, little memory.

use std::fs;

use sward_coroutine::{Coroutine, StackPool};

const STACK_BYTES: usize = 64 * 1024;

fn maps() -> usize {
    fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

/// Resident memory of this process in KiB.
fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Suspends that many at once, ends them all, and looks at what they cost.
fn suspend_at_once(count: usize) {
    let (maps_before, resident_before) = (maps(), resident_kib());
    let mut pool = StackPool::new();
    let mut coroutines = Vec::with_capacity(count);
    for _ in 0..count {
        let stack = pool.take(STACK_BYTES).unwrap();
        // SAFETY: borrows nothing, does not unwind.
        let mut coroutine = unsafe { Coroutine::new(stack, |suspender| suspender.suspend()) };
        assert!(!coroutine.resume());
        coroutines.push(coroutine);
    }
    let (maps, resident_kib) = (maps() - maps_before, resident_kib() - resident_before);
    println!("{count} coroutines: {maps} maps, {resident_kib} KiB resident, {:?}", pool.statistics());
    assert!(maps < 80, "{maps} maps");
    // Sanitized frames are larger, and so is the memory that watches them.
    if !cfg!(feature = "sanitizer") {
        assert!(resident_kib * 1024 / count < 5_000, "{resident_kib} KiB for {count} coroutines");
    }
    for mut coroutine in coroutines {
        assert!(coroutine.resume());
        pool.give_back(coroutine.into_stack());
    }
    assert_eq!(pool.statistics().in_use, 0);
    assert_eq!(pool.statistics().free, count);
}

#[test]
fn ten_thousand() {
    if guards_cost_maps() {
        return;
    }
    suspend_at_once(10_000);
}

#[test]
#[ignore = "takes 4.2 GiB of memory"]
fn a_million() {
    if guards_cost_maps() {
        return;
    }
    suspend_at_once(1_000_000);
}

/// Before Linux 6.13 the guards themselves are maps: nothing to count here.
fn guards_cost_maps() -> bool {
    let mut pool = StackPool::new();
    let before = maps();
    let stacks: Vec<_> = (0..64).map(|_| pool.take(STACK_BYTES).unwrap()).collect();
    let cost = maps() - before;
    stacks.into_iter().for_each(|stack| pool.give_back(stack));
    cost > 32
}
