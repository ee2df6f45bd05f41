//! A cell or lock may hold borrows of values that are declared after it, and so dropped before it: its own end does not
//! look at what it holds. Each of these compiles with std.

use super::library::net::TcpListener;
use super::library::sync::mpsc::channel;
use super::library::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

pub(crate) fn run() {
    once_lock();
    mutex();
    rwlock();
    error();
    iterators();
}

fn once_lock() {
    let (set, made, copied) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
    let text = String::from("later than the cell");
    set.set(&text).unwrap();
    made.get_or_init(|| text.as_str());
    copied.set(Arc::new(set.clone())).unwrap();
    assert_eq!((set.get(), made.get()), (Some(&&text), Some(&text.as_str())));

    // Two that know each other.
    struct Node<'a>(OnceLock<&'a Node<'a>>);
    let (first, second) = (Node(OnceLock::new()), Node(OnceLock::new()));
    assert!(first.0.set(&second).is_ok() && second.0.set(&first).is_ok());
}

fn mutex() {
    let lock = Mutex::new(Vec::new());
    let shared = Arc::new(Mutex::new(None));
    let text = String::from("later than the lock");
    lock.lock().unwrap().push(&text);
    *shared.lock().unwrap() = Some(&text);
    assert_eq!(lock.lock().unwrap().len(), 1);
}

fn rwlock() {
    let lock = RwLock::new(None);
    let text = String::from("later than the lock");
    *lock.write().unwrap() = Some(&text);
    assert_eq!(*lock.read().unwrap(), Some(&text));
}

fn error() {
    let mut error = PoisonError::new(None);
    let text = String::from("later than the error");
    *error.get_mut() = Some(&text);
}

fn iterators() {
    let (mut messages, connections);
    let (sender, receiver) = channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    sender.send(1).unwrap();
    (messages, connections) = (receiver.iter(), listener.incoming());
    assert_eq!(messages.next(), Some(1));
    let _ = connections;
}
