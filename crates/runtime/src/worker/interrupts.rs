//! What ends the waits of a worker's threads from outside: mail, cancels, timers, and the end of the runtime. Between turns only, so every
//! thread that is touched here stands still.

use std::ptr::NonNull;
use std::time::Instant;

use sward_engine::Operation;

use super::Worker;
use crate::deadline;
use crate::hooks::hooks;
use crate::message::Message;
use crate::offload;
use crate::task::{Local, Task, Waiting};
use crate::unwinding::is_open_to_cancel;

/// After how many such ticks without any switch it gives up: 5 s, in which an OS thread may still wake somebody.
const QUIET_TICKS: u32 = 50;

impl Worker {
    pub(crate) fn read_mail(&self, messages: &mut Vec<Message>) {
        self.shared.mailbox(self.index).take(messages);
        for message in messages.drain(..) {
            match message {
                Message::Ready(task) => self.ready.push(task),
                Message::Notified(task) => self.notify(&task),
                Message::Start(task) => {
                    self.shared.start_arrived(self.index);
                    self.start(task);
                }
                Message::Cancel { task, is_first } => self.cancel(&task, is_first),
                Message::Inspect(inspection) => self.inspections.borrow_mut().push_back(inspection),
                Message::Stop => {
                    self.stopping.set(true);
                    if cfg!(panic = "abort") {
                        // Nothing can be unwound.
                        self.is_abandoning.set(true);
                        continue;
                    }
                    for thread in self.live() {
                        thread.task().cancel();
                        // Those that unwind already, too.
                        self.cancel(thread.task(), false);
                    }
                }
                Message::Abandon => {
                    self.is_abandoning.set(true);
                    if let Some(hooks) = hooks() {
                        (hooks.left_behind)(self);
                    }
                }
            }
        }
    }

    /// While the runtime ends: notes that nothing has happened for a tick. After some seconds in which nothing has happened anywhere,
    /// the threads that are left wait for each other, in destructors or shielded, and the runtime ends without them.
    pub(crate) fn note_quiet_tick(&self) {
        let switches = self.shared.switches();
        let (before, ticks) = self.quiet.get();
        // An offloaded call sends its mail before it counts as over, so mail is looked for afterwards.
        let is_quiet = before == switches
            && offload::running() == 0
            && !self.shared.mailbox(self.index).has_mail()
            && self.shared.is_hopeless_but(self.index);
        let ticks = if is_quiet { ticks + 1 } else { 0 };
        self.quiet.set((switches, ticks));
        if ticks == QUIET_TICKS {
            self.shared.abandon();
        }
    }

    /// `task` has been cancelled: ends its wait, unless it is shielded or unwinds. If it unwinds, a further cancel ends its waits
    /// for the kernel and the clock.
    fn cancel(&self, task: &Task, is_first: bool) {
        if task.worker() != self.index {
            return;
        }
        // SAFETY: it is this worker's. (The message may have come after the end.)
        let Some(local) = (unsafe { task.started() }) else { return };
        if is_open_to_cancel(local) {
            self.interrupt(task, local);
        } else if local.unwinding.is_suspended() && !is_first {
            local.unwinding.hurry();
            if local.shields.get() == 0 && !matches!(local.waiting.get(), Waiting::Notification) {
                self.interrupt(task, local);
            }
        }
    }

    /// Ends the wait of a suspended thread of this worker, whatever it waits for.
    fn interrupt(&self, task: &Task, local: &Local) {
        match local.waiting.get() {
            Waiting::Nothing if task.is_parked().is_some() => task.unpark(),
            Waiting::Nothing => {}
            Waiting::Operation(operation) => self.cancel_operation(operation),
            Waiting::Notification => self.notify(task),
            Waiting::Clock(timer) => {
                // SAFETY: the timer lies in the frame of the suspended task.
                unsafe { self.timers.borrow_mut().remove(timer.as_ref()) };
                local.waiting.set(Waiting::Nothing);
                self.ready.push(task);
            }
        }
    }

    pub(crate) fn fire_timers(&self) {
        if self.timers.borrow_mut().is_empty() {
            return;
        }
        let now = Instant::now();
        // One at a time: what a timer does may touch other timers.
        let next = || self.timers.borrow_mut().pop_due(now);
        while let Some(timer) = next() {
            // SAFETY: the wheel held it, so it lies in a frame of a task of this worker, and none runs now.
            let timer = unsafe { timer.as_ref() };
            // SAFETY: whoever has a timer in its frame is live.
            let task = unsafe { &*timer.task() };
            // SAFETY: it is a live task of this worker.
            let local = unsafe { task.local() };
            // SAFETY: the deadline lies in the same frame as the timer.
            if let Some(deadline) = unsafe { timer.of_deadline().as_ref() } {
                deadline.expire();
                local.expired.set(true);
                if deadline::is_due(local) {
                    self.interrupt(task, local);
                }
                continue;
            }
            match local.waiting.get() {
                Waiting::Operation(operation) => self.cancel_operation(operation),
                Waiting::Clock(_) => {
                    local.waiting.set(Waiting::Nothing);
                    self.ready.push(timer.task());
                }
                Waiting::Notification => self.notify(task),
                Waiting::Nothing => task.unpark(),
            }
        }
    }

    pub fn cancel_operation(&self, operation: NonNull<Operation>) {
        // SAFETY: the task waits for it, so it is in flight on this worker's engine.
        unsafe { self.engine.borrow_mut().cancel(operation) };
    }
}
