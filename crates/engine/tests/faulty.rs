//! The engine for tests, over every engine: what is sent comes whole and in order, whatever it does on the way.

#[path = "behaviour/rig.rs"]
#[expect(dead_code, reason = "the rig of all behaviours, of which few are needed here")]
mod rig;

use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use rig::{Dice, InFlight, PATIENCE, Rig, Stream, pattern, receive, send, source};
use sward_engine::{EngineKind, Faulty, Feed, Request, Source};

/// What each direction of a connection carries.
const LENGTH: usize = 30_000;

const SEEDS: std::ops::Range<u64> = 1..5;

/// A rig for each engine that opens here, and for each seed. One at a time: a thread has one sigio engine at most.
fn under_faults(mut test: impl FnMut(&mut Rig, u64)) {
    for kind in EngineKind::ALL {
        for seed in SEEDS {
            let Some(rig) = Rig::open(kind, "") else { continue };
            test(&mut Rig { engine: Box::new(Faulty::new(rig.engine, seed)), ..rig }, seed);
        }
    }
}

/// One direction of a connection.
struct Flow {
    from: Source,
    to: Source,
    sent: usize,
    sends: Option<InFlight>,
    /// What has come, and behind that, room for the rest.
    received: Vec<u8>,
    taken: usize,
    receives: Option<InFlight>,
    /// For one that receives into lent buffers.
    feed: Option<Feed>,
}

impl Flow {
    fn new(from: Source, to: Source, feed: Option<Feed>) -> Flow {
        let received = vec![0; LENGTH];
        Flow { from, to, sent: 0, sends: None, received, taken: 0, receives: None, feed }
    }

    /// Begins what can be begun. False: all has come.
    fn step(&mut self, rig: &mut Rig, bytes: &[u8], dice: &mut Dice) -> bool {
        if let Some(result) = over(&mut self.sends) {
            self.sent += count(result);
        }
        if self.sends.is_none() && self.sent < LENGTH {
            let end = LENGTH.min(self.sent + 1 + dice.below(5000) as usize);
            self.sends = Some(rig.begin(send(self.from, &bytes[self.sent..end])));
        }
        if let Some(result) = over(&mut self.receives) {
            self.take(rig, count(result));
        }
        if self.receives.is_none() && self.taken < LENGTH {
            let end = LENGTH.min(self.taken + 1 + dice.below(5000) as usize);
            let request = match &self.feed {
                Some(feed) => Request::ReceiveLent { socket: self.to, feed },
                None => receive(self.to, &mut self.received[self.taken..end]),
            };
            self.receives = Some(rig.begin(request));
        }
        for in_flight in self.sends.iter().chain(&self.receives) {
            if dice.below(10) == 0 {
                rig.cancel(in_flight);
            }
        }
        self.taken < LENGTH
    }

    fn take(&mut self, rig: &mut Rig, count: usize) {
        if let Some(feed) = &self.feed
            && count > 0
        {
            let buffer = feed.take().expect("data comes with a buffer");
            assert_eq!(buffer.len(), count);
            self.received[self.taken..][..count].copy_from_slice(&buffer);
            rig.engine.give_back(buffer);
        }
        self.taken += count;
    }
}

/// Takes the result of an operation that is over.
fn over(in_flight: &mut Option<InFlight>) -> Option<i32> {
    in_flight.take_if(|in_flight| in_flight.is_over()).map(|in_flight| in_flight.result())
}

/// How much has come of an operation, some of which are cancelled here and some refused a buffer.
fn count(result: i32) -> usize {
    if [-libc::ECANCELED, -libc::ENOBUFS].contains(&result) { 0 } else { usize::try_from(result).unwrap() }
}

fn converse<S: Stream>(rig: &mut Rig, seed: u64) {
    let bytes = pattern(LENGTH);
    let mut dice = Dice(seed);
    let pairs: Vec<_> = (0..4).map(|_| S::pair()).collect();
    let mut flows = Vec::new();
    for (number, (near, far)) in pairs.iter().enumerate() {
        let (near, far) = (source(near), source(far));
        flows.push(Flow::new(near, far, (number % 2 == 0).then(Feed::new)));
        flows.push(Flow::new(far, near, None));
    }
    loop {
        let mut is_left = false;
        for flow in &mut flows {
            is_left |= flow.step(rig, &bytes, &mut dice);
        }
        if !is_left {
            break;
        }
        rig.wait(Some(PATIENCE));
    }
    for (near, far) in &pairs {
        near.shutdown(Shutdown::Write);
        far.shutdown(Shutdown::Write);
    }
    for flow in &flows {
        assert!(flow.received == bytes, "{} with seed {seed}", rig.kind);
        let mut rest = [0; 1];
        let end = match &flow.feed {
            Some(feed) => loop {
                match rig.run(Request::ReceiveLent { socket: flow.to, feed }) {
                    refused if refused == -libc::ENOBUFS => {}
                    result => break result,
                }
            },
            None => rig.run(receive(flow.to, &mut rest)),
        };
        assert_eq!(end, 0, "{} with seed {seed}", rig.kind);
        rig.engine.forget(flow.to);
    }
}

#[test]
fn what_is_sent_comes_whole_and_in_order() {
    under_faults(|rig, seed| {
        converse::<TcpStream>(rig, seed);
        converse::<UnixStream>(rig, seed);
    });
}

#[test]
fn there_are_faults() {
    under_faults(|rig, seed| {
        let (near, mut far) = <UnixStream as Stream>::pair();
        let (near, feed) = (source(&near), Feed::new());
        let (mut short, mut refused, mut late) = (0, 0, 0);
        for _ in 0..200 {
            std::io::Write::write_all(&mut far, &[1; 100]).unwrap();
            let mut left = 100;
            while left > 0 {
                let mut buffer = [0; 100];
                let waiting = rig.begin(receive(near, &mut buffer[..left]));
                rig.wait(Some(PATIENCE));
                late += i32::from(!waiting.is_over());
                let length = usize::try_from(rig.finish(&waiting)).unwrap();
                short += i32::from(length < left);
                left -= length;
            }
            std::io::Write::write_all(&mut far, &[1]).unwrap();
            while rig.run(Request::ReceiveLent { socket: near, feed: &raw const feed }) == -libc::ENOBUFS {
                refused += 1;
            }
            rig.engine.give_back(feed.take().unwrap());
            rig.engine.stop_feed(&feed);
        }
        assert!(short > 10 && refused > 5 && late > 10, "{}, {seed}: {short}, {refused}, {late}", rig.kind);
    });
}
