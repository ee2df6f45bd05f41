//! A dropped pool unmaps its slabs. The test is alone in its file, since what is mapped concerns
//! the whole process.

use corosensei::stack::Stack as _;
use sward_coroutine::{Guards, Stack, StackPool};

const STACK_BYTES: usize = 64 * 1024;

/// Returns whether the slot that begins at an address is mapped. Asks about its last page: the guard is mapped, too, but
/// emulators deny it.
fn is_mapped(address: usize) -> bool {
    let mut residency = 0u8;
    // SAFETY: mincore writes a byte for the page; of an unmapped one it says ENOMEM.
    unsafe {
        let page_bytes = libc::sysconf(libc::_SC_PAGESIZE) as usize;
        let guard_bytes = page_bytes.max(64 * 1024);
        let last_page = address + guard_bytes + STACK_BYTES - page_bytes;
        libc::mincore(last_page as *mut libc::c_void, page_bytes, &mut residency) == 0
    }
}

#[test]
fn a_dropped_pool_unmaps_the_slabs_of_which_no_stack_is_out() {
    for guards in [Guards::Automatic, Guards::Mprotect] {
        let mut pool = StackPool::with_guards(guards);
        // Slabs of 64, 128, 256, 512 and 1024 slots; the last stack lies in the last.
        let mut stacks: Vec<Stack> = (0..1_000).map(|_| pool.take(STACK_BYTES).unwrap()).collect();
        let addresses: Vec<usize> = stacks.iter().map(|stack| stack.limit().get()).collect();
        let out = stacks.pop().unwrap();
        stacks.into_iter().for_each(|stack| pool.give_back(stack));
        assert!(addresses.iter().all(|&address| is_mapped(address)));
        drop(pool);
        for (slot, address) in addresses.into_iter().enumerate() {
            assert_eq!(is_mapped(address), slot >= 64 + 128 + 256 + 512, "{guards:?}: slot {slot}");
        }
        assert!(out.contains(out.base().get() - 1));
    }
}
