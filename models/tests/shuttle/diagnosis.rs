//! Nobody asks who holds what.

pub(crate) mod holds {
    use std::panic::Location;

    pub(crate) fn taken(_: usize, _: &'static Location<'static>) {}
    pub(crate) fn taken_shared(_: usize, _: &'static Location<'static>) {}
    pub(crate) fn released(_: usize) {}
}
