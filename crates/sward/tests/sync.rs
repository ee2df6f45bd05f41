//! Tests of everything by which threads wait for each other: `sync`, `channel`, `queue`. Each runs in all the places where
//! these may be used: see `sync/places.rs`.

#[path = "sync/beyond_std.rs"]
mod beyond_std;
#[path = "sync/callbacks.rs"]
mod callbacks;
#[path = "sync/cancel_stress.rs"]
mod cancel_stress;
#[path = "sync/channels.rs"]
mod channels;
#[path = "sync/locks.rs"]
mod locks;
#[path = "sync/mpsc.rs"]
mod mpsc;
#[path = "sync/names.rs"]
mod names;
#[path = "sync/places.rs"]
mod places;
#[path = "sync/queues.rs"]
mod queues;
#[path = "sync/selects.rs"]
mod selects;
#[path = "sync/spinning.rs"]
mod spinning;
