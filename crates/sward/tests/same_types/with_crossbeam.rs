//! The file with crossbeam-channel.

use crossbeam_channel as library;

#[path = "channel_table.rs"]
pub(crate) mod channel_table;
