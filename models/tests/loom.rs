//! Park and unpark, a worker's sleep, and a group's end, in every interleaving of up to three preemptions, and with all that the
//! memory model allows. A lost wake-up shows as a deadlock, which loom reports.

#[path = "loom/primitive.rs"]
mod primitive;
#[path = "loom/runtime.rs"]
#[allow(dead_code, reason = "the files are included as they are")]
mod runtime;
#[path = "loom/sync.rs"]
#[allow(dead_code, reason = "the file is included as it is")]
mod sync;

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use loom::sync::atomic::AtomicU32;
use loom::sync::{Condvar, Mutex, Notify};
use loom::thread;

use runtime::mailbox::Mailbox;
use runtime::sleepers::Sleepers;
use runtime::wake_word::{Duty, Notice, WaitMode, WakeWord};

/// Three preemptions at most: more take minutes, and the faults that anybody has found needed two.
fn check(model: impl Fn() + Sync + Send + 'static) {
    check_within(3, model);
}

fn check_within(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// A thread as others see it.
struct Parker {
    word: WakeWord,
    /// It has been put into the run queue.
    scheduled: Notify,
    futex: (Mutex<()>, Condvar),
    /// What the thread waits for. Relaxed: it is the word that has to order it.
    news: AtomicU32,
}

impl Parker {
    fn new() -> Arc<Parker> {
        Arc::new(Parker {
            word: WakeWord::new(),
            scheduled: Notify::new(),
            futex: (Mutex::new(()), Condvar::new()),
            news: AtomicU32::new(0),
        })
    }

    /// Brings news and tells the thread.
    fn tell(&self, notice: Notice) {
        self.news.fetch_add(1, Relaxed);
        match self.word.notify(notice) {
            Duty::Nothing => {}
            Duty::Schedule => self.scheduled.notify(),
            Duty::WakeFutex => {
                let _guard = self.futex.0.lock().unwrap();
                self.futex.1.notify_one();
            }
        }
    }

    fn park(&self, wait: WaitMode) {
        if self.word.begin(wait) {
            self.scheduled.wait();
        }
    }

    fn block(&self, wait: WaitMode) {
        if !self.word.begin(wait) {
            return;
        }
        while let Some(state) = self.word.blocked() {
            let guard = self.futex.0.lock().unwrap();
            if self.word.as_atomic().load(Relaxed) == state {
                drop(self.futex.1.wait(guard).unwrap());
            }
        }
    }

    fn wait_for(&self, news: u32, wait: impl Fn(&Parker)) {
        while self.news.load(Relaxed) < news {
            wait(self);
        }
    }
}

fn tellers(parker: &Arc<Parker>, notices: &[Notice]) -> Vec<thread::JoinHandle<()>> {
    let tell = |notice: Notice| {
        let parker = Arc::clone(parker);
        thread::spawn(move || parker.tell(notice))
    };
    notices.iter().copied().map(tell).collect()
}

/// Two tell, one waits for both.
fn nothing_is_lost(wait: impl Fn(&Parker) + Copy + Sync + Send + 'static, notices: [Notice; 2]) {
    check(move || {
        let parker = Parker::new();
        let tellers = tellers(&parker, &notices);
        parker.wait_for(2, wait);
        tellers.into_iter().for_each(|teller| teller.join().unwrap());
    });
}

#[test]
fn who_is_unparked_goes_on() {
    nothing_is_lost(|parker| parker.park(WaitMode::Park), [Notice::Unpark, Notice::Unpark]);
}

#[test]
fn who_is_cancelled_goes_on() {
    nothing_is_lost(|parker| parker.park(WaitMode::Park), [Notice::Unpark, Notice::Cancel]);
}

#[test]
fn who_is_given_a_token_goes_on() {
    nothing_is_lost(|parker| parker.park(WaitMode::UserPark), [Notice::Token, Notice::Unpark]);
}

#[test]
fn who_blocks_goes_on() {
    nothing_is_lost(|parker| parker.block(WaitMode::Block), [Notice::Unpark, Notice::Unpark]);
}

#[test]
fn who_blocks_for_a_token_goes_on() {
    nothing_is_lost(|parker| parker.block(WaitMode::UserBlock), [Notice::Token, Notice::Cancel]);
}

#[test]
fn a_token_survives_other_waits() {
    check(|| {
        let parker = Parker::new();
        let tellers = tellers(&parker, &[Notice::Token, Notice::Unpark]);
        // Only the unpark ends this. (If it has come before, this returns at once.)
        parker.park(WaitMode::Park);
        parker.park(WaitMode::UserPark);
        tellers.into_iter().for_each(|teller| teller.join().unwrap());
    });
}

#[test]
fn who_stops_blocking_has_the_news_or_will_be_told_again() {
    check(|| {
        let parker = Parker::new();
        let tellers = tellers(&parker, &[Notice::Unpark]);
        if parker.word.begin(WaitMode::Block) {
            // The time is over at once.
            parker.word.stop_blocking();
        }
        parker.wait_for(1, |parker| parker.park(WaitMode::Park));
        tellers.into_iter().for_each(|teller| teller.join().unwrap());
    });
}

/// The one message of these models.
struct Stop;

#[test]
fn a_worker_does_not_sleep_through_mail() {
    check(|| {
        let worker = Arc::new((Mailbox::new(), Notify::new()));
        let senders = [(); 2].map(|()| {
            let worker = Arc::clone(&worker);
            thread::spawn(move || {
                if let Ok(true) = worker.0.push(Stop) {
                    worker.1.notify();
                }
            })
        });
        let (mailbox, waker) = &*worker;
        let (mut read, mut mail) = (0, Vec::new());
        while read < 2 {
            if mailbox.has_mail() {
                mailbox.take(&mut mail);
                read += mail.drain(..).count();
            } else if mailbox.prepare_sleep() {
                waker.wait();
                mailbox.awake();
            }
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

#[test]
fn a_worker_that_ends_leaves_no_mail_unread() {
    check(|| {
        let mailbox = Arc::new(Mailbox::new());
        let senders = [(); 2].map(|()| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || mailbox.push(Stop).is_err())
        });
        let (mut read, mut mail) = (0, Vec::new());
        while !mailbox.close() {
            mailbox.take(&mut mail);
            read += mail.drain(..).count();
        }
        let came_back = senders.into_iter().filter_map(|sender| sender.join().unwrap().then_some(())).count();
        assert_eq!(read + came_back, 2);
    });
}

/// The workers of a runtime: each with a mailbox, and the engine that it sleeps in.
struct Workers {
    all: Vec<(Mailbox<Stop>, Notify)>,
    sleepers: Sleepers,
    /// How many unstarted tasks there are for any of them. Relaxed: it is the protocol that has to order it.
    tasks: AtomicU32,
}

impl Workers {
    fn new(count: usize) -> Arc<Workers> {
        let all = (0..count).map(|_| (Mailbox::new(), Notify::new())).collect();
        Arc::new(Workers { all, sleepers: Sleepers::new(), tasks: AtomicU32::new(0) })
    }

    /// As `Shared::inject`.
    fn inject(&self) {
        self.tasks.fetch_add(1, Relaxed);
        if let Some(worker) = self.sleepers.claim(self.all.iter().map(|(mailbox, _)| mailbox)) {
            self.all[worker].1.notify();
        }
    }

    /// As `Shared::steal`.
    fn steal(&self) -> bool {
        self.tasks.fetch_update(Acquire, Relaxed, |tasks| tasks.checked_sub(1)).is_ok()
    }

    /// As `Worker::wait`: true if it has got a task.
    fn wait(&self, worker: usize) -> bool {
        if self.steal() {
            return true;
        }
        let (mailbox, engine) = &self.all[worker];
        if !mailbox.prepare_sleep() {
            return false;
        }
        self.sleepers.enter();
        if self.tasks.load(Relaxed) == 0 {
            engine.wait();
        }
        self.sleepers.leave();
        mailbox.awake();
        false
    }

    /// As `Shared::send`, for `Shared::stop`.
    fn stop(&self) {
        for (mailbox, engine) in &self.all {
            if let Ok(true) = mailbox.push(Stop) {
                engine.notify();
            }
        }
    }
}

#[test]
fn no_task_waits_for_a_worker_that_sleeps() {
    check(|| {
        let workers = Workers::new(1);
        let spawners = [(); 2].map(|()| {
            let workers = Arc::clone(&workers);
            thread::spawn(move || workers.inject())
        });
        let mut done = 0;
        while done < 2 {
            done += u32::from(workers.wait(0));
        }
        spawners.into_iter().for_each(|spawner| spawner.join().unwrap());
    });
}

#[test]
fn one_of_two_workers_takes_the_task() {
    // Three take a minute here.
    check_within(2, || {
        let workers = Workers::new(2);
        let run = |worker: usize| {
            let workers = Arc::clone(&workers);
            move || {
                let mut done = 0;
                while !workers.all[worker].0.has_mail() {
                    if workers.wait(worker) {
                        done += 1;
                        // It is the last one. Now the other ends, too.
                        workers.stop();
                    }
                }
                done
            }
        };
        let (first, second) = (thread::spawn(run(0)), run(1));
        let spawner = thread::spawn({
            let workers = Arc::clone(&workers);
            move || workers.inject()
        });
        let done = second();
        assert_eq!(done + first.join().unwrap(), 1);
        spawner.join().unwrap();
    });
}

#[test]
fn who_waits_for_a_group_sees_what_its_members_have_done() {
    check(|| {
        let group = sync::WaitGroup::new();
        let work = [(); 2].map(|()| Arc::new(AtomicU32::new(0)));
        let members = work.clone().map(|work| {
            let member = group.clone();
            thread::spawn(move || {
                work.store(1, Relaxed);
                drop(member);
            })
        });
        group.wait();
        assert!(work.iter().all(|work| work.load(Relaxed) == 1));
        members.into_iter().for_each(|member| member.join().unwrap());
    });
}
