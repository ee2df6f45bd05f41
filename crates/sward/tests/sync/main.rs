//! Tests of everything by which threads wait for each other: `sync`, `channel`, `queue`. Each runs in all the places where
//! these may be used: see `places.rs`.

mod beyond_std;
mod channels;
mod locks;
mod mpsc;
mod places;
mod selects;
