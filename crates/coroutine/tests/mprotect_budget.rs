//! Guards by `mprotect`, as on kernels before 6.13: beyond their budget, a stack is an error, and the process can still
//! allocate memory. Alone in its file, as it uses up the mappings of the process.

use std::fs;

use sward_coroutine::{Guards, StackPool};

#[test]
fn the_budget_of_guard_pages_ends_in_an_error_that_names_the_sysctl() {
    let max_map_count: usize =
        fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse().unwrap();
    if max_map_count > 200_000 {
        eprintln!("skipped: vm.max_map_count is {max_map_count}, which takes too long to use up");
        return;
    }
    let mut pool = StackPool::with_guards(Guards::Mprotect);
    let mut stacks = Vec::new();
    let error = loop {
        match pool.take(64 * 1024) {
            Ok(stack) => stacks.push(stack),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("vm.max_map_count is") && error.contains("65536 bytes"), "{error}");
    assert!(stacks.len() >= max_map_count / 4, "only {} stacks", stacks.len());
    let maps = fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    assert!(maps + 1_000 <= max_map_count, "{maps} maps of {max_map_count} are taken");

    // What is given back can be used again, here; and by another pool once this one is gone.
    let count = stacks.len();
    pool.give_back(stacks.pop().unwrap());
    stacks.push(pool.take(64 * 1024).unwrap());
    let mut other = StackPool::with_guards(Guards::Mprotect);
    assert!(other.take(64 * 1024).is_err());
    stacks.into_iter().for_each(|stack| pool.give_back(stack));
    drop(pool);
    let again: Vec<_> = (0..count).map(|_| other.take(64 * 1024).unwrap()).collect();
    again.into_iter().for_each(|stack| other.give_back(stack));
}
