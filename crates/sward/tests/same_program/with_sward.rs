//! The program with sward.

use sward as library;

#[path = "key_value.rs"]
pub(crate) mod key_value;
