//! Which traits a type has, as values: a constant of the type itself, if the type has the trait, comes before the
//! constant of a trait that every type has.

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A type, and what it answers.
pub(crate) struct Row {
    pub(crate) name: String,
    /// Each trait, and whether the type has it.
    pub(crate) answers: Vec<(&'static str, bool)>,
}

/// The answer of those who do not have the trait.
pub(crate) trait Otherwise {
    const ANSWER: bool = false;
}

macro_rules! probes {
    ($($probe:ident: $($bound:ident)+;)*) => {
        $(
            pub(crate) struct $probe<T: ?Sized>(PhantomData<T>);

            impl<T: ?Sized> Otherwise for $probe<T> {}

            impl<T: ?Sized $(+ $bound)+> $probe<T> {
                pub(crate) const ANSWER: bool = true;
            }
        )*
    };
}

probes! {
    IsSend: Send;
    IsSync: Sync;
    IsUnpin: Unpin;
    IsUnwindSafe: UnwindSafe;
    IsRefUnwindSafe: RefUnwindSafe;
    IsClone: Clone;
    IsCopy: Copy;
    IsDebug: Debug;
    IsDefault: Default;
    IsDisplay: Display;
    IsEq: Eq;
    IsHash: Hash;
}

/// The row of one type. (A macro: the constants are chosen where the type is known.)
macro_rules! row {
    ($name:expr, $type:ty) => {{
        #[allow(unused_imports, reason = "a type may have all traits, or none")]
        use crate::probe::Otherwise as _;
        crate::probe::Row {
            name: $name,
            answers: vec![
                ("Send", crate::probe::IsSend::<$type>::ANSWER),
                ("Sync", crate::probe::IsSync::<$type>::ANSWER),
                ("Unpin", crate::probe::IsUnpin::<$type>::ANSWER),
                ("UnwindSafe", crate::probe::IsUnwindSafe::<$type>::ANSWER),
                ("RefUnwindSafe", crate::probe::IsRefUnwindSafe::<$type>::ANSWER),
                ("Clone", crate::probe::IsClone::<$type>::ANSWER),
                ("Copy", crate::probe::IsCopy::<$type>::ANSWER),
                ("Debug", crate::probe::IsDebug::<$type>::ANSWER),
                ("Default", crate::probe::IsDefault::<$type>::ANSWER),
                ("Display", crate::probe::IsDisplay::<$type>::ANSWER),
                ("Eq", crate::probe::IsEq::<$type>::ANSWER),
                ("Hash", crate::probe::IsHash::<$type>::ANSWER),
            ],
        }
    }};
}

/// The rows of types without parameters.
macro_rules! plain {
    ($rows:ident: $($type:ty),* $(,)?) => {
        $($rows.push(row!(stringify!($type).to_owned(), $type));)*
    };
}

/// The rows of types with one parameter, for parameters that stand for all that matters: shared freely; sent and not
/// shared; neither; shared and not sent; a borrow that a panic may leave half changed; not to be moved.
macro_rules! generic {
    ($rows:ident: $($type:ident),* $(,)?) => {
        $(
            generic!(@each $rows $type: u8, std::cell::Cell<u8>, std::rc::Rc<u8>, *const u8, std::sync::MutexGuard<'static, u8>,
                &'static mut u8, &'static std::cell::Cell<u8>, std::marker::PhantomPinned);
        )*
    };
    (@each $rows:ident $type:ident: $($parameter:ty),*) => {
        $(
            let name = concat!(stringify!($type), "<", stringify!($parameter), ">");
            $rows.push(row!(name.to_owned(), $type<$parameter>));
        )*
    };
}

/// As `generic!`, for parameters that have no size.
macro_rules! unsized_parameter {
    ($rows:ident: $($type:ident),* $(,)?) => {
        $(generic!(@each $rows $type: [u8], [std::rc::Rc<u8>], dyn std::any::Any, dyn std::fmt::Debug + Send);)*
    };
}
pub(crate) use {generic, plain, row, unsized_parameter};
