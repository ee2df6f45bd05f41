//! The engine for tests, over every engine: what is sent comes whole and in order, whatever it does on the way.

#[path = "behaviour/rig.rs"]
#[expect(dead_code, reason = "the rig of all behaviours, of which few are needed here")]
mod rig;

use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rig::{Dice, InFlight, PATIENCE, Rig, Stream, pattern, receive, send, source};
use sward_engine::{EngineKind, Faulty, MultishotReceive, Request, Source};

/// What each direction of a connection carries.
const LENGTH: usize = 20_000;

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

struct Waiting {
    in_flight: InFlight,
    was_cancelled: bool,
}

/// One direction of a connection.
struct Flow {
    from: Source,
    to: Source,
    sent: usize,
    sends: Option<Waiting>,
    /// What has come, and behind that, room for the rest.
    received: Vec<u8>,
    taken: usize,
    receives: Option<Waiting>,
    /// For one that receives into lent buffers.
    multishot: Option<MultishotReceive>,
}

impl Flow {
    fn new(from: Source, to: Source, multishot: Option<MultishotReceive>) -> Flow {
        let received = vec![0; LENGTH];
        Flow { from, to, sent: 0, sends: None, received, taken: 0, receives: None, multishot }
    }

    /// Begins what can be begun. False: all has come.
    fn step(&mut self, rig: &mut Rig, bytes: &[u8], dice: &mut Dice) -> bool {
        if let Some(count) = over(&mut self.sends) {
            self.sent += count;
        }
        if self.sends.is_none() && self.sent < LENGTH {
            let end = LENGTH.min(self.sent + 1 + dice.below(1000) as usize);
            self.sends = begin(rig, send(self.from, &bytes[self.sent..end]));
        }
        if let Some(count) = over(&mut self.receives) {
            self.take(rig, count);
        }
        if self.receives.is_none() && self.taken < LENGTH {
            let end = LENGTH.min(self.taken + 1 + dice.below(1000) as usize);
            let request = match &self.multishot {
                Some(multishot) => {
                    if dice.below(3) == 0 {
                        rig.engine.stop_multishot(multishot);
                    }
                    Request::ReceiveProvided { socket: self.to, multishot }
                }
                None => receive(self.to, &mut self.received[self.taken..end]),
            };
            self.receives = begin(rig, request);
        }
        for waiting in self.sends.iter_mut().chain(&mut self.receives) {
            if dice.below(6) == 0 {
                waiting.was_cancelled = true;
                rig.cancel(&waiting.in_flight);
            }
        }
        self.taken < LENGTH
    }

    fn take(&mut self, rig: &mut Rig, count: usize) {
        if let Some(multishot) = &self.multishot
            && count > 0
        {
            let buffer = multishot.take().expect("data comes with a buffer");
            assert_eq!(buffer.len(), count);
            self.received[self.taken..][..count].copy_from_slice(&buffer);
            rig.engine.return_buffer(buffer);
        }
        self.taken += count;
    }
}

fn begin(rig: &mut Rig, request: Request) -> Option<Waiting> {
    Some(Waiting { in_flight: rig.begin(request), was_cancelled: false })
}

/// Takes an operation that is over: how much has come of it. Some are cancelled here, and some are refused a buffer.
fn over(waiting: &mut Option<Waiting>) -> Option<usize> {
    let Waiting { in_flight, was_cancelled } = waiting.take_if(|waiting| waiting.in_flight.is_over())?;
    Some(match in_flight.result() {
        refused if refused == -libc::ENOBUFS => 0,
        cancelled if cancelled == -libc::ECANCELED && was_cancelled => 0,
        count => usize::try_from(count).unwrap_or_else(|_| panic!("{count}, for which nobody has asked")),
    })
}

fn converse<S: Stream>(rig: &mut Rig, seed: u64) {
    let bytes = pattern(LENGTH);
    let mut dice = Dice(seed);
    let pairs: Vec<_> = (0..6).map(|_| S::pair()).collect();
    let mut flows = Vec::new();
    for (near, far) in &pairs {
        let (near, far) = (source(near), source(far));
        flows.push(Flow::new(near, far, Some(MultishotReceive::new())));
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
        let end = match &flow.multishot {
            Some(multishot) => loop {
                match rig.run(Request::ReceiveProvided { socket: flow.to, multishot }) {
                    refused if refused == -libc::ENOBUFS => {}
                    result => break result,
                }
            },
            None => rig.run(receive(flow.to, &mut rest)),
        };
        assert_eq!(end, 0, "{} with seed {seed}", rig.kind);
        rig.engine.forget(flow.to);
    }
    // Nothing is left to be done.
    let calls = rig.engine.system_calls();
    (0..100).for_each(|_| rig.wait(Some(Duration::ZERO)));
    let calls = rig.engine.system_calls() - calls;
    assert!(calls < 50 || rig.kind != EngineKind::IoUring, "{calls} calls, with seed {seed}");
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
        let (near, multishot) = (source(&near), MultishotReceive::new());
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
            while rig.run(Request::ReceiveProvided { socket: near, multishot: &raw const multishot })
                == -libc::ENOBUFS
            {
                refused += 1;
            }
            rig.engine.return_buffer(multishot.take().unwrap());
            rig.engine.stop_multishot(&multishot);
        }
        assert!(short > 10 && refused > 5 && late > 10, "{}, {seed}: {short}, {refused}, {late}", rig.kind);
    });
}
