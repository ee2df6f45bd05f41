//! `std::os`: what is particular to this system.

pub mod fd;
