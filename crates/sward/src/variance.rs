//! What std's types do not allow, these do not either: a value of a long life does not pass for one of a shorter life where
//! that could be written into it (or read out of it after its end). That is checked by documentation tests, the only ones that can
//! ask for something not to compile; each has a twin that does compile. Where it is allowed: `tests/same_types`.

macro_rules! invariant {
    ($($name:ident: $type:literal;)*) => {
        $(
            #[doc = concat!("```\nstruct Of<'a, 'b>(", $type, ", std::marker::PhantomData<(&'a (), &'b ())>);")]
            /// fn same<'a, 'long: 'short, 'short>(value: Of<'a, 'long>) -> Of<'a, 'long> { value }
            /// ```
            #[doc = concat!("```compile_fail\nstruct Of<'a, 'b>(", $type, ", std::marker::PhantomData<(&'a (), &'b ())>);")]
            /// fn shorter<'a, 'long: 'short, 'short>(value: Of<'a, 'long>) -> Of<'a, 'short> { value }
            /// ```
            #[doc = concat!("```compile_fail\nstruct Of<'a, 'b>(", $type, ", std::marker::PhantomData<(&'a (), &'b ())>);")]
            /// fn longer<'a, 'long: 'short, 'short>(value: Of<'a, 'short>) -> Of<'a, 'long> { value }
            /// ```
            struct $name;
        )*
    };
}

invariant! {
    Mutex: "sward::sync::Mutex<&'b u8>";
    MutexGuard: "sward::sync::MutexGuard<'a, &'b u8>";
    RwLock: "sward::sync::RwLock<&'b u8>";
    RwLockWriteGuard: "sward::sync::RwLockWriteGuard<'a, &'b u8>";
    OnceLock: "sward::sync::OnceLock<&'b u8>";
    LazyLock: "sward::sync::LazyLock<&'b u8>";
    LazyLockMadeBy: "sward::sync::LazyLock<u8, &'b u8>";
    Sender: "sward::sync::mpsc::Sender<&'b u8>";
    SyncSender: "sward::sync::mpsc::SyncSender<&'b u8>";
    Receiver: "sward::sync::mpsc::Receiver<&'b u8>";
    Iter: "sward::sync::mpsc::Iter<'a, &'b u8>";
    TryIter: "sward::sync::mpsc::TryIter<'a, &'b u8>";
    IntoIter: "sward::sync::mpsc::IntoIter<&'b u8>";
    ScopedJoinHandle: "sward::thread::ScopedJoinHandle<'a, &'b u8>";
    Scope: "sward::thread::Scope<'b, 'static>";
    ScopeEnvironment: "sward::thread::Scope<'a, 'b>";
    ChannelSender: "sward::channel::Sender<&'b u8>";
    ChannelReceiver: "sward::channel::Receiver<&'b u8>";
    Queue: "sward::queue::Fifo<&'b u8>";
    Pool: "sward::sync::Pool<&'b u8>";
    Pooled: "sward::sync::Pooled<'a, &'b u8>";
}
