//! Park and unpark, and a worker's sleep, in every interleaving of up to three preemptions, and with all that the memory
//! model allows. A lost wake-up shows as a
//! deadlock, which loom reports.

#[path = "loom/primitive.rs"]
mod primitive;
#[path = "loom/runtime.rs"]
#[allow(dead_code, reason = "the files are included as they are")]
mod runtime;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use loom::sync::atomic::AtomicU32;
use loom::sync::{Condvar, Mutex, Notify};
use loom::thread;

use runtime::mailbox::{Mailbox, Message};
use runtime::wake_word::{Duty, Notice, Wait, WakeWord};

/// Three preemptions at most: more take minutes, and the faults that anybody has found needed two.
fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
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

    fn park(&self, wait: Wait) {
        if self.word.begin(wait) {
            self.scheduled.wait();
        }
    }

    fn block(&self, wait: Wait) {
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
    nothing_is_lost(|parker| parker.park(Wait::Park), [Notice::Unpark, Notice::Unpark]);
}

#[test]
fn who_is_cancelled_goes_on() {
    nothing_is_lost(|parker| parker.park(Wait::Park), [Notice::Unpark, Notice::Cancel]);
}

#[test]
fn who_is_given_a_token_goes_on() {
    nothing_is_lost(|parker| parker.park(Wait::UserPark), [Notice::Token, Notice::Unpark]);
}

#[test]
fn who_blocks_goes_on() {
    nothing_is_lost(|parker| parker.block(Wait::Block), [Notice::Unpark, Notice::Unpark]);
}

#[test]
fn who_blocks_for_a_token_goes_on() {
    nothing_is_lost(|parker| parker.block(Wait::UserBlock), [Notice::Token, Notice::Cancel]);
}

#[test]
fn a_token_survives_other_waits() {
    check(|| {
        let parker = Parker::new();
        let tellers = tellers(&parker, &[Notice::Token, Notice::Unpark]);
        // Only the unpark ends this. (If it has come before, this returns at once.)
        parker.park(Wait::Park);
        parker.park(Wait::UserPark);
        tellers.into_iter().for_each(|teller| teller.join().unwrap());
    });
}

#[test]
fn who_stops_blocking_has_the_news_or_will_be_told_again() {
    check(|| {
        let parker = Parker::new();
        let tellers = tellers(&parker, &[Notice::Unpark]);
        if parker.word.begin(Wait::Block) {
            // The time is over at once.
            parker.word.stop_blocking();
        }
        parker.wait_for(1, |parker| parker.park(Wait::Park));
        tellers.into_iter().for_each(|teller| teller.join().unwrap());
    });
}

#[test]
fn a_worker_does_not_sleep_through_mail() {
    check(|| {
        let worker = Arc::new((Mailbox::new(), Notify::new()));
        let senders = [(); 2].map(|()| {
            let worker = Arc::clone(&worker);
            thread::spawn(move || {
                if let Ok(true) = worker.0.push(Message::Stop) {
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
            thread::spawn(move || mailbox.push(Message::Stop).is_err())
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
