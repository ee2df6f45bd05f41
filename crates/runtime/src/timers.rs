//! A worker's timers: a hierarchical timing wheel. The timers themselves lie in the frames of the waiting threads.
//!
//! Insert and remove are a few loads and stores, however many timers there are. Time is counted in ticks of 2^16 ns
//! (65.5 µs). A deadline is rounded up, so a timer never fires early and is at most about a tick late; with many timers a little more,
//! see below.
//!
//! ```text
//!  level 0:  256 slots of 1 tick          65.5 µs each
//!  level 1:  256 slots of 256 ticks       16.8 ms
//!  level 2:  256 slots of 65,536 ticks     4.3 s
//!  …         6 levels: 2^48 ticks, so 584 years
//! ```
//!
//! A timer stands on the level of the highest 8-bit digit in which its tick differs from the present one, in the slot of
//! that digit. When the present reaches a slot of a higher level, its timers move down ("cascade"); when it
//! reaches a slot of level 0, they fire. Four words a level say which slots are in use, so that the next slot is a bit scan
//! away and an idle worker sleeps until then. (G. Varghese, T. Lauck, "Hashed and hierarchical timing
//! wheels", 1987.)
//!
//! To move a timer is to touch the stack of a thread that has not run for long: a third of a microsecond, spent waiting for
//! memory. So a slot is an array of addresses, not a list that leads from one stack to the next: who goes through it knows early what
//! will be needed, and has it fetched meanwhile. And the levels are few, and those that cascade at once are few, too: of a
//! hundred thousand sleepers that wake within a second, 1,700.
//!
//! That is not so for a million that wake within a minute: a slot of level 2 then holds hundreds of thousands, and to move them at once would hold
//! up the worker for as many microseconds. So a large slot is moved in pieces, one for each look at the timers, and others run in between.
//! What is due meanwhile and has not been moved yet is late by that much, as it would be anyway.
//!
//! To wake an idle processor costs as much as many timers. So the more timers there are, the longer the worker sleeps
//! between two times of firing: a microsecond for each, a millisecond at the most. A few timers fire to the tick; of a hundred thousand
//! those of a millisecond fire together.

use std::cell::Cell;
use std::mem;
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use sward_coroutine::prefetch;

use super::deadline::Deadline;
use super::task::Task;

const TICK_BITS: u32 = 16;
const SLACK_PER_TIMER: Duration = Duration::from_micros(1);
const SLACK_MAX: Duration = Duration::from_millis(1);
const DIGIT_BITS: u32 = 8;
const SLOTS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = 6;

/// A slot without timers keeps room for this many.
const ROOM_KEPT: usize = 16;

/// How many timers are moved at once at most. (Few in tests, so that they meet it.)
const PIECE: usize = if cfg!(test) { 2 } else { 512 };

/// How many timers ahead memory is asked for what they need.
const AHEAD: usize = 8;

/// A timer, in the frame of a suspended green thread.
///
/// From [`Timers::insert`] until it has fired or been removed, the wheel holds its address, and it must neither move nor go.
pub struct Timer {
    tick: Cell<u64>,
    /// Number of its slot, counted over all levels, while the wheel holds it; `NOWHERE` otherwise.
    slot: Cell<u16>,
    /// Where in the slot.
    place: Cell<u32>,
    fired: Cell<bool>,
    task: *const Task,
    /// Null: the end of a wait. Otherwise a deadline that outlasts single waits.
    deadline: *const Deadline,
}

const NOWHERE: u16 = u16::MAX;

impl Timer {
    /// A timer for `task`, not started.
    #[inline]
    pub fn new(task: *const Task) -> Timer {
        Timer {
            tick: Cell::new(0),
            slot: Cell::new(NOWHERE),
            place: Cell::new(0),
            fired: Cell::new(false),
            task,
            deadline: ptr::null(),
        }
    }

    /// A timer for a deadline that `task` is under, not started. `deadline` lives as long as the timer.
    #[inline]
    pub fn deadline(task: *const Task, deadline: *const Deadline) -> Timer {
        Timer { deadline, ..Timer::new(task) }
    }

    /// The deadline it stands for, or null.
    #[inline]
    pub fn of_deadline(&self) -> *const Deadline {
        self.deadline
    }

    /// Whose timer it is.
    #[inline]
    pub fn task(&self) -> *const Task {
        self.task
    }

    /// Whether its time has come.
    #[inline]
    pub fn fired(&self) -> bool {
        self.fired.get()
    }
}

/// All timers of one worker.
pub struct Timers {
    /// Tick 0.
    start: Instant,
    /// Everything due before this tick has fired.
    now: u64,
    length: usize,
    /// When a timer fired last, since the start.
    last_fired: Duration,
    /// A bit for each slot that is not empty.
    occupied: [[u64; SLOTS / 64]; LEVELS],
    /// The slots of all levels, the lowest level first.
    slots: Box<[Vec<NonNull<Timer>>]>,
    /// Slots that the present has reached and that are being moved in pieces; not marked in `occupied`.
    leftovers: Vec<usize>,
    /// A piece has been moved since the last time that nothing was due.
    has_moved_piece: bool,
}

impl Timers {
    #[inline]
    pub fn new(start: Instant) -> Timers {
        Timers {
            start,
            now: 0,
            length: 0,
            last_fired: Duration::ZERO,
            occupied: [[0; SLOTS / 64]; LEVELS],
            slots: (0..LEVELS * SLOTS).map(|_| Vec::new()).collect(),
            leftovers: Vec::new(),
            has_moved_piece: false,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.length
    }

    /// Starts `timer`.
    ///
    /// # Safety
    /// No wheel holds the timer, and it stays where it is until it has fired or been removed.
    pub unsafe fn insert(&mut self, timer: NonNull<Timer>, deadline: Instant) {
        let nanoseconds = deadline.saturating_duration_since(self.start).as_nanos();
        let last = u64::MAX >> TICK_BITS;
        let tick = u64::try_from((nanoseconds >> TICK_BITS) + 1).unwrap_or(last).min(last);
        // SAFETY: the caller vouches for the timer.
        unsafe { timer.as_ref() }.tick.set(tick.max(self.now));
        self.link(timer);
        self.length += 1;
    }

    /// Stops `timer` if it is running.
    ///
    /// # Safety
    /// If a wheel holds the timer, it is this one.
    pub unsafe fn remove(&mut self, timer: &Timer) {
        if timer.slot.get() == NOWHERE {
            return;
        }
        let (slot, place) = (timer.slot.replace(NOWHERE) as usize, timer.place.get() as usize);
        let timers = &mut self.slots[slot];
        timers.swap_remove(place);
        match timers.get(place) {
            // SAFETY: what the wheel holds stays where it is (contract of `insert`).
            Some(moved) => unsafe { moved.as_ref() }.place.set(place as u32),
            None => self.leave(slot),
        }
        self.length -= 1;
    }

    /// Puts a timer into the slot of its tick.
    fn link(&mut self, timer: NonNull<Timer>) {
        // SAFETY: what the wheel holds stays where it is (contract of `insert`).
        let node = unsafe { timer.as_ref() };
        let difference = (node.tick.get() ^ self.now) | 1;
        let level = ((63 - difference.leading_zeros()) / DIGIT_BITS) as usize;
        let digit = (node.tick.get() >> (level as u32 * DIGIT_BITS)) as usize % SLOTS;
        let slot = level * SLOTS + digit;
        let timers = &mut self.slots[slot];
        node.slot.set(slot as u16);
        node.place.set(timers.len() as u32);
        timers.push(timer);
        self.occupied[level][digit / 64] |= 1 << (digit % 64);
    }

    /// After the last timer of a slot has left it.
    fn leave(&mut self, slot: usize) {
        let timers = &mut self.slots[slot];
        if timers.is_empty() {
            if timers.capacity() > ROOM_KEPT {
                *timers = Vec::new();
            }
            self.occupied[slot / SLOTS][slot % SLOTS / 64] &= !(1 << (slot % 64));
        }
    }

    /// The first slot of a level, from `slot` on, that is not empty.
    fn first_occupied(&self, level: usize, slot: usize) -> Option<usize> {
        let words = &self.occupied[level];
        let ahead = words[slot / 64] >> (slot % 64);
        if ahead != 0 {
            return Some(slot + ahead.trailing_zeros() as usize);
        }
        (slot / 64 + 1..words.len())
            .find(|&word| words[word] != 0)
            .map(|word| word * 64 + words[word].trailing_zeros() as usize)
    }

    /// The slot that the present reaches next: its level and its first tick.
    fn next_slot(&self) -> Option<(usize, u64)> {
        (0..LEVELS).find_map(|level| {
            let shift = level as u32 * DIGIT_BITS;
            let digit = (self.now >> shift) as usize % SLOTS;
            // On level 0 the present slot may hold timers; on a higher level they have cascaded when it began.
            let slot = self.first_occupied(level, digit)? as u64;
            let base = (self.now >> shift >> DIGIT_BITS << DIGIT_BITS | slot) << shift;
            Some((level, base))
        })
    }

    /// When the wheel wants to be looked at next. `None`: never.
    pub fn next_deadline(&self) -> Option<Instant> {
        if !self.leftovers.is_empty() {
            return Some(self.start);
        }
        let (_, tick) = self.next_slot()?;
        let due = Duration::from_nanos(tick << TICK_BITS);
        Some(self.start + due.max(self.last_fired + self.slack()))
    }

    /// How long nothing fires after something has.
    fn slack(&self) -> Duration {
        SLACK_PER_TIMER.saturating_mul(self.length as u32).min(SLACK_MAX)
    }

    /// Moves the present towards `now` and takes out the next timer whose time has come. `None`: there is no more.
    ///
    /// The timer is marked as fired, and the wheel does not hold it any more.
    pub fn pop_due(&mut self, now: Instant) -> Option<NonNull<Timer>> {
        let present = (now.saturating_duration_since(self.start).as_nanos() >> TICK_BITS) as u64;
        loop {
            if !self.has_moved_piece && !self.leftovers.is_empty() {
                self.has_moved_piece = true;
                self.move_piece();
            }
            let Some((level, tick)) = self.next_slot().filter(|&(_, tick)| tick <= present) else { break };
            self.now = self.now.max(tick);
            let slot = level * SLOTS + (tick >> (level as u32 * DIGIT_BITS)) as usize % SLOTS;
            if level == 0 {
                self.last_fired = now.saturating_duration_since(self.start);
                return self.fire(slot);
            }
            self.cascade(slot);
        }
        self.now = self.now.max(present);
        self.has_moved_piece = false;
        None
    }

    /// Takes a timer out of a slot whose time has come.
    fn fire(&mut self, slot: usize) -> Option<NonNull<Timer>> {
        let timers = &mut self.slots[slot];
        let due = timers.pop()?;
        prefetch_due(timers);
        self.leave(slot);
        self.length -= 1;
        // SAFETY: what the wheel holds stays where it is (contract of `insert`).
        let timer = unsafe { due.as_ref() };
        timer.slot.set(NOWHERE);
        timer.fired.set(true);
        Some(due)
    }

    /// Moves the timers of a slot that the present has reached to lower levels, or begins to.
    fn cascade(&mut self, slot: usize) {
        if self.slots[slot].len() > PIECE {
            self.occupied[slot / SLOTS][slot % SLOTS / 64] &= !(1 << (slot % 64));
            return self.leftovers.push(slot);
        }
        let timers = mem::take(&mut self.slots[slot]);
        self.leave(slot);
        self.move_down(&timers);
    }

    /// Moves a piece of the slot that was reached last.
    fn move_piece(&mut self) {
        let Some(&slot) = self.leftovers.last() else { return };
        let timers = &mut self.slots[slot];
        let piece = timers.split_off(timers.len().saturating_sub(PIECE));
        if timers.is_empty() {
            self.leftovers.pop();
            self.leave(slot);
        }
        self.move_down(&piece);
    }

    fn move_down(&mut self, timers: &[NonNull<Timer>]) {
        for (place, &timer) in timers.iter().enumerate() {
            if let Some(later) = timers.get(place + AHEAD) {
                prefetch(later.as_ptr());
            }
            // SAFETY: what the wheel holds stays where it is (contract of `insert`).
            let tick = unsafe { &timer.as_ref().tick };
            // The present may have gone on since its slot was reached.
            tick.set(tick.get().max(self.now));
            self.link(timer);
        }
    }
}

/// Has the processor fetch what firing the last timers of a slot will need: the timer, and some turns later its task.
fn prefetch_due(timers: &[NonNull<Timer>]) {
    let from_last = |count: usize| Some(timers[timers.len().checked_sub(count)?].as_ptr());
    if let Some(later) = from_last(AHEAD) {
        prefetch(later);
    }
    if let Some(soon) = from_last(AHEAD / 2) {
        // SAFETY: what the wheel holds stays where it is (contract of `Timers::insert`).
        prefetch(unsafe { (*soon).task });
    }
}

/// Reads the kernel's coarse monotonic clock in milliseconds: a few milliseconds of precision for a few nanoseconds. Wraps after 49 days.
pub(crate) fn coarse_milliseconds() -> u32 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec of this frame. The clock exists since Linux 2.6.32, and a failure would leave zeros.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    // Differences alone count, so the upper bits may go.
    (time.tv_sec as u32).wrapping_mul(1000).wrapping_add(time.tv_nsec as u32 / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Remove(usize),
        Advance(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u32..40).prop_flat_map(|bits| (0..=1u64 << bits).prop_map(Step::Insert)),
            (0usize..1000).prop_map(Step::Remove),
            (0u32..36).prop_flat_map(|bits| (0..=1u64 << bits).prop_map(Step::Advance)),
        ]
    }

    #[test]
    fn what_is_due_in_more_years_than_the_wheel_has_is_not_due_now() {
        const SECOND: Duration = Duration::from_secs(1);
        let start = Instant::now();
        let mut wheel = Timers::new(start);
        let timer = Timer::new(ptr::null());
        // SAFETY: removed below.
        unsafe { wheel.insert(NonNull::from(&timer), start + SECOND + Duration::from_nanos(u64::MAX)) };
        assert!(wheel.pop_due(start + 3600 * SECOND).is_none());
        assert!(wheel.next_deadline().is_some_and(|at| at > start + 3600 * SECOND));
        // SAFETY: this wheel holds it.
        unsafe { wheel.remove(&timer) };
    }

    /// The stall that a look at the timers causes is bounded: in one, a piece of a large slot moves.
    #[test]
    fn a_large_slot_is_moved_in_pieces() {
        let start = Instant::now();
        let mut wheel = Timers::new(start);
        let due = |number: u64| Duration::from_secs(30) + Duration::from_millis(number);
        let timers: Vec<_> = (0..20).map(|_| Box::new(Timer::new(ptr::null()))).collect();
        for (number, timer) in (0..).zip(&timers) {
            // SAFETY: all have fired below.
            unsafe { wheel.insert(NonNull::from(&**timer), start + due(number)) };
        }
        let (mut looks, mut fired) = (0, 0);
        while fired < timers.len() {
            let mut at_once = 0;
            while wheel.pop_due(start + due(100)).is_some() {
                at_once += 1;
            }
            (looks, fired) = (looks + 1, fired + at_once);
            assert!(at_once <= PIECE, "{at_once} at once");
            let again = fired < timers.len();
            assert_eq!(
                wheel.next_deadline().is_some(),
                again,
                "others run in between, and nothing is forgotten"
            );
        }
        assert_eq!(looks, timers.len() / PIECE);
    }

    proptest! {
        /// Against a sorted map: nothing fires early, nothing is left that is a tick late, removal removes.
        #[test]
        fn behaves_like_a_sorted_map(steps in proptest::collection::vec(step(), 1..200)) {
            let start = Instant::now();
            let mut wheel = Timers::new(start);
            let mut now = 0u64;
            let mut model: BTreeMap<usize, (u64, Box<Timer>)> = BTreeMap::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(delay) => {
                        let timer = Box::new(Timer::new(ptr::without_provenance(number)));
                        let deadline = start + Duration::from_nanos(now + delay);
                        // SAFETY: the box stays in the model until it has fired or been removed.
                        unsafe { wheel.insert(NonNull::from(&*timer), deadline) };
                        model.insert(number, (now + delay, timer));
                    }
                    Step::Remove(which) => {
                        if let Some(&key) = model.keys().nth(which) {
                            let (_, timer) = model.remove(&key).unwrap();
                            // SAFETY: this wheel holds it.
                            unsafe { wheel.remove(&timer) };
                            prop_assert!(!timer.fired());
                        }
                    }
                    Step::Advance(by) => {
                        now += by;
                        let mut fired = Vec::new();
                        // A worker that is asked for no time to pass looks again.
                        loop {
                            while let Some(timer) = wheel.pop_due(start + Duration::from_nanos(now)) {
                                // SAFETY: the model still holds it.
                                fired.push(unsafe { timer.as_ref() }.task().addr());
                            }
                            if wheel.next_deadline().is_none_or(|at| at > start) {
                                break;
                            }
                        }
                        for key in fired {
                            let (deadline, _) = model.remove(&key).expect("fired once");
                            prop_assert!(deadline <= now, "early");
                        }
                        let late = model.values().filter(|(deadline, _)| deadline + (2 << TICK_BITS) <= now).count();
                        prop_assert_eq!(late, 0);
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                let nearest = model.values().map(|(deadline, _)| *deadline).min();
                let wanted = wheel.next_deadline().map(|instant| instant.duration_since(start).as_nanos() as u64);
                prop_assert_eq!(nearest.is_some(), wanted.is_some());
                if let (Some(nearest), Some(wanted)) = (nearest, wanted) {
                    let slack = wheel.slack().as_nanos() as u64;
                    prop_assert!(wanted <= nearest.max(now) + (2 << TICK_BITS) + slack, "would oversleep");
                }
            }
            for (_, timer) in model.values() {
                // SAFETY: this wheel holds it.
                unsafe { wheel.remove(timer) };
            }
        }
    }
}
