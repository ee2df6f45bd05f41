//! The program with std.

use std as library;

#[path = "key_value.rs"]
pub(crate) mod key_value;
