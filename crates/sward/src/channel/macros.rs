//! `select!` and `select_biased!`: a [`Select`](super::Select) whose operations stand in the program text.
//! Each case is brought into one form, then all of them become one `if … else if …`.

/// Waits for the first of several channel operations, and runs its case: crossbeam's `select!`.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use sward::channel::{bounded, select, unbounded};
///
/// let (numbers_sender, numbers) = unbounded();
/// let (words, _words_receiver) = bounded::<&str>(0);
/// numbers_sender.send(5).unwrap();
/// let doubled = select! {
///     recv(numbers) -> number => number.unwrap() * 2,
///     send(words, "hello") -> _ => unreachable!("nobody receives"),
///     default(Duration::from_secs(60)) => 0,
/// };
/// assert_eq!(doubled, 10);
/// ```
///
/// With `default => …` it does not wait, with `default(duration) => …` not longer than that. A channel
/// without a partner is ready, with an error. Among several operations that can go on, one is selected at
/// random; [`select_biased!`](crate::channel::select_biased) takes the first.
#[doc(hidden)]
#[macro_export]
macro_rules! __channel_select {
    ($($cases:tt)*) => {
        $crate::__channel_cases!(new [] (none) $($cases)*)
    };
}

/// [`select!`](crate::channel::select), but among several operations that can go on the one that stands first
/// is selected.
#[doc(hidden)]
#[macro_export]
macro_rules! __channel_select_biased {
    ($($cases:tt)*) => {
        $crate::__channel_cases!(new_biased [] (none) $($cases)*)
    };
}

/// Moves the cases, one by one, into the brackets, as `(kind Type handle index (channel) (message) (pattern)
/// (body))`. Each step has its own `handle` and `index`.
#[doc(hidden)]
#[macro_export]
macro_rules! __channel_cases {
    ($new:ident [$($done:tt)*] $default:tt) => {
        $crate::__channel_run!($new [$($done)*] $default)
    };
    ($new:ident [$($done:tt)*] $default:tt , $($rest:tt)*) => {
        $crate::__channel_cases!($new [$($done)*] $default $($rest)*)
    };

    ($new:ident [$($done:tt)*] $default:tt recv($r:expr $(,)?) -> $p:pat => $body:block $($rest:tt)*) => {
        $crate::__channel_cases!($new
            [$($done)* (recv Receiver handle index ($r) () ($p) ($body))] $default $($rest)*)
    };
    ($new:ident [$($done:tt)*] $default:tt recv($r:expr $(,)?) -> $p:pat => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__channel_cases!($new
            [$($done)* (recv Receiver handle index ($r) () ($p) ($body))] $default $($($rest)*)?)
    };

    ($new:ident [$($done:tt)*] $default:tt
        send($s:expr, $m:expr $(,)?) -> $p:pat => $body:block $($rest:tt)*) => {
        $crate::__channel_cases!($new
            [$($done)* (send Sender handle index ($s) ($m) ($p) ($body))] $default $($rest)*)
    };
    ($new:ident [$($done:tt)*] $default:tt
        send($s:expr, $m:expr $(,)?) -> $p:pat => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__channel_cases!($new
            [$($done)* (send Sender handle index ($s) ($m) ($p) ($body))] $default $($($rest)*)?)
    };

    ($new:ident $done:tt (none) default $(())? => $body:block $($rest:tt)*) => {
        $crate::__channel_cases!($new $done (now ($body)) $($rest)*)
    };
    ($new:ident $done:tt (none) default $(())? => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__channel_cases!($new $done (now ($body)) $($($rest)*)?)
    };
    ($new:ident $done:tt (none) default($timeout:expr $(,)?) => $body:block $($rest:tt)*) => {
        $crate::__channel_cases!($new $done (after ($timeout) ($body)) $($rest)*)
    };
    ($new:ident $done:tt (none) default($timeout:expr $(,)?) => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__channel_cases!($new $done (after ($timeout) ($body)) $($($rest)*)?)
    };

    ($new:ident $done:tt $default:tt $($rest:tt)+) => {
        compile_error!("expected `recv(r) -> message => …`, `send(s, message) -> result => …`, or one `default => …` \
            or `default(timeout) => …`")
    };
}

/// One `match` for each channel, around all the rest: what is temporary in its expression lives until the end of the bodies.
#[doc(hidden)]
#[macro_export]
macro_rules! __channel_run {
    ($new:ident $cases:tt $default:tt) => {
        $crate::__channel_run!($new $cases $default $cases)
    };
    ($new:ident
        [($kind:ident $type:ident $handle:ident $index:ident ($channel:expr) $message:tt $p:tt $body:tt) $($rest:tt)*]
        $default:tt $cases:tt
    ) => {
        match &$channel {
            $handle => {
                let $handle: &$crate::channel::$type<_> = $handle;
                $crate::__channel_run!($new [$($rest)*] $default $cases)
            }
        }
    };
    ($new:ident [] $default:tt
        [$(($kind:ident $type:ident $handle:ident $index:ident $channel:tt ($($message:expr)?) ($p:pat) ($body:expr)))*]
    ) => {{
        #[allow(unused_mut)]
        let mut select = $crate::channel::Select::$new();
        $(let $index = select.$kind($handle);)*
        $crate::__channel_wait!(select $default operation {
            $(if operation.index() == $index {
                let $p = operation.$kind($handle $(, $message)?);
                $body
            } else)* {
                unreachable!("a select gives the index of one of its operations")
            }
        })
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __channel_wait {
    ($select:ident (none) $operation:ident $cases:block) => {{
        let $operation = $select.select();
        $cases
    }};
    ($select:ident (now ($body:expr)) $operation:ident $cases:block) => {
        match $select.try_select() {
            Ok($operation) => $cases,
            Err(_) => $body,
        }
    };
    ($select:ident (after ($timeout:expr) ($body:expr)) $operation:ident $cases:block) => {
        match $select.select_timeout($timeout) {
            Ok($operation) => $cases,
            Err(_) => $body,
        }
    };
}
