//! The files with std.

use std as library;

#[path = "drop_check.rs"]
pub(crate) mod drop_check;
#[path = "table.rs"]
pub(crate) mod table;
#[path = "variance.rs"]
mod variance;
