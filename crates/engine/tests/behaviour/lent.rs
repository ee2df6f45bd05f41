//! Receives into buffers that the engine lends.

use std::io::Write;
use std::os::unix::net::UnixStream;

use sward_engine::{LentBuffer, Request, Source};

use crate::rig::{Rig, source};

/// One lent receive, with its place for the buffer.
fn receive_lent(socket: Source, place: &mut Option<LentBuffer>) -> Request {
    Request::ReceiveLent { socket, buffer: place }
}

pub(crate) fn a_buffer_comes_with_the_data_and_not_before(rig: &mut Rig) {
    let (near, mut far) = UnixStream::pair().unwrap();
    let near_source = source(&near);
    let mut place = None;
    for round in 0..100u8 {
        let waiting = rig.begin(receive_lent(near_source, &mut place));
        rig.look();
        assert!(!waiting.is_over() && place.is_none());
        far.write_all(&[round; 9]).unwrap();
        assert_eq!(rig.finish(&waiting), 9);
        let buffer = place.take().expect("data comes with a buffer");
        assert_eq!(*buffer, [round; 9]);
        rig.engine.give_back(buffer);
    }
    drop(far);
    assert_eq!(rig.run(receive_lent(near_source, &mut place)), 0);
    assert!(place.is_none(), "the end needs no buffer");
    rig.engine.forget(near_source);
}

/// More readers hold buffers than the engine has at the start; nobody's bytes are another's.
pub(crate) fn many_buffers_are_lent_at_once(rig: &mut Rig) {
    const READERS: usize = 300;
    let pairs: Vec<_> = (0..READERS).map(|_| UnixStream::pair().unwrap()).collect();
    let mut places: Vec<_> = (0..READERS).map(|_| None).collect();
    let sources: Vec<_> = pairs.iter().map(|(near, _)| source(near)).collect();
    let waiting: Vec<_> =
        sources.iter().zip(&mut places).map(|(&near, place)| rig.begin(receive_lent(near, place))).collect();
    for (number, (_, far)) in pairs.iter().enumerate() {
        (&*far).write_all(&number.to_ne_bytes()).unwrap();
    }
    for waiting in &waiting {
        assert_eq!(rig.finish(waiting), size_of::<usize>() as i32);
    }
    for (number, place) in places.iter().enumerate() {
        assert_eq!(**place.as_ref().unwrap(), number.to_ne_bytes());
    }
    for place in &mut places {
        rig.engine.give_back(place.take().unwrap());
    }
    for near in sources {
        rig.engine.forget(near);
    }
}

pub(crate) fn a_cancelled_lent_receive_takes_no_buffer(rig: &mut Rig) {
    let (near, mut far) = UnixStream::pair().unwrap();
    let near_source = source(&near);
    let mut place = None;
    for _ in 0..1000 {
        let waiting = rig.begin(receive_lent(near_source, &mut place));
        rig.look();
        rig.cancel(&waiting);
        assert_eq!(rig.finish(&waiting), -libc::ECANCELED);
        assert!(place.is_none());
    }
    far.write_all(b"still here").unwrap();
    assert_eq!(rig.run(receive_lent(near_source, &mut place)), 10);
    assert_eq!(**place.as_ref().unwrap(), *b"still here");
    rig.engine.forget(near_source);
}

/// What a reader holds stays as it is when the engine is gone.
pub(crate) fn a_buffer_outlives_its_engine(rig: &mut Rig) {
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut place = None;
    if rig.kind.name() == "sigio" {
        // It opens once on a thread, and the rig has it.
        return;
    }
    let mut other = Rig::open(rig.kind, "a_buffer_outlives_its_engine").unwrap();
    far.write_all(b"kept").unwrap();
    assert_eq!(other.run(receive_lent(source(&near), &mut place)), 4);
    drop(other);
    let buffer = place.take().unwrap();
    assert_eq!(*buffer, *b"kept");
    rig.engine.give_back(buffer);
}
