//! The file with sward's channels.

use sward::channel as library;

#[path = "channel_table.rs"]
pub(crate) mod channel_table;
