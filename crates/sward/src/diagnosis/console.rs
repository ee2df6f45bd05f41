//! A live view of the process for `sward top` and anybody else, over a Unix socket. There is none unless `SWARD_CONSOLE` asks for it.
//!
//! ```text
//!   SWARD_CONSOLE=/run/shop.sock    the socket
//!   SWARD_CONSOLE=/run/shops        a directory that is there: the socket is /run/shops/PID.sock
//! ```
//!
//! # Protocol
//! A client sends a line and gets a line, as often as it likes. `snapshot`, or an empty line, asks for the object of
//! [`snapshot.rs`](snapshot); whatever else is answered with `{"sward_console":1,"error":"…"}`. So `nc -U PATH` and the return key
//! will do. `sward_console` is the protocol's version: it changes when a field changes its meaning or goes, not when one is added.
//!
//! The process has one console. The first run opens it, the last one that goes closes it, and it shows all runtimes in between. Only its owner
//! may connect (mode 0600).
//!
//! # Threads
//! One OS thread accepts, one serves each client; no worker does any of it but the inspections of a snapshot, so a worker that is
//! stuck is reported, not waited for. There are [`CLIENTS_MAX`] clients at most: one more, and the oldest has to go.
//! So one that says nothing, or does not read, is in nobody's way, and no time-outs are needed.

mod json;
mod snapshot;
mod socket;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

use crate::report;

use json::{Json, object};
use snapshot::Observer;
use socket::Place;

/// The version of the protocol.
const VERSION: u64 = 1;

/// The name of each OS thread of the console; the kernel cuts off at 15 bytes.
pub(super) const THREAD: &str = "sward-console";

/// How many clients there may be.
const CLIENTS_MAX: usize = 16;

/// A longer request is garbage, in bytes.
const REQUEST_MAX: u64 = 256;

/// How long to wait when a client cannot be accepted, since descriptors are short.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The console of this process, and how many runs hold it open.
static CONSOLE: Mutex<(usize, Option<Open>)> = Mutex::new((0, None));

/// A run's share in the console, which is closed with the last one.
pub(crate) struct Console(());

impl Console {
    /// Opens the console, unless it is open. If that fails, the program goes on without one, and says so once.
    pub(crate) fn open(wanted: &Path) -> Console {
        static SAID: Once = Once::new();
        let (runs, console) = &mut *lock(&CONSOLE);
        *runs += 1;
        if console.is_none() {
            match Open::new(wanted) {
                Ok(open) => *console = Some(open),
                Err(error) => SAID.call_once(|| {
                    let advice = socket::advice(&error);
                    report(format_args!(
                        "sward: no console at {} (SWARD_CONSOLE): {error}{advice}",
                        wanted.display()
                    ));
                }),
            }
        }
        Console(())
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let (runs, console) = &mut *lock(&CONSOLE);
        *runs -= 1;
        if *runs == 0 {
            // Under the lock, so that a run that begins now finds the path free.
            drop(console.take());
        }
    }
}

/// A console that is open; closed when dropped.
struct Open {
    room: Arc<Room>,
    acceptor: Option<JoinHandle<()>>,
    _place: Place,
}

impl Open {
    fn new(wanted: &Path) -> io::Result<Open> {
        let (listener, place) = socket::listen(wanted)?;
        let room = Arc::new(Room {
            listener,
            is_closing: AtomicBool::new(false),
            clients: Mutex::default(),
            observer: Mutex::new(Observer::new()),
        });
        let theirs = Arc::clone(&room);
        let acceptor = thread::Builder::new().name(THREAD.into()).spawn(move || theirs.accept())?;
        Ok(Open { room, acceptor: Some(acceptor), _place: place })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.room.is_closing.store(true, Ordering::SeqCst);
        // This ends `accept`, now and for ever.
        let _ = SockRef::from(&self.room.listener).shutdown(Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.thread().unpark();
            let _ = acceptor.join();
        }
        // Their threads end by themselves. One may just be looking at a runtime that is over, which does no harm.
        lock(&self.room.clients).drain(..).for_each(|client| dismiss(&client));
    }
}

/// What the console's threads share.
struct Room {
    listener: UnixListener,
    is_closing: AtomicBool,
    /// The oldest first.
    clients: Mutex<Vec<Arc<UnixStream>>>,
    /// Locked for as long as it looks: clients are served one after the other.
    observer: Mutex<Observer>,
}

impl Room {
    fn accept(self: Arc<Room>) {
        loop {
            let accepted = self.listener.accept();
            if self.is_closing.load(Ordering::SeqCst) {
                return;
            }
            match accepted {
                Ok((client, _)) => self.receive(Arc::new(client)),
                Err(_) => thread::park_timeout(BACK_OFF),
            }
        }
    }

    /// Starts a thread for the client.
    fn receive(self: &Arc<Room>, client: Arc<UnixStream>) {
        let mut clients = lock(&self.clients);
        if clients.len() == CLIENTS_MAX {
            dismiss(&clients.remove(0));
        }
        clients.push(Arc::clone(&client));
        drop(clients);
        let (room, theirs) = (Arc::clone(self), Arc::clone(&client));
        let served = thread::Builder::new().name(THREAD.into()).spawn(move || {
            // An error says that the client has gone.
            let _ = room.serve(&theirs);
            room.forget(&theirs);
        });
        if served.is_err() {
            dismiss(&client);
            self.forget(&client);
        }
    }

    fn forget(&self, client: &Arc<UnixStream>) {
        lock(&self.clients).retain(|other| !Arc::ptr_eq(other, client));
    }

    /// Answers line by line, until the client goes or makes no sense.
    fn serve(&self, mut client: &UnixStream) -> io::Result<()> {
        let mut requests = BufReader::new(client);
        let mut request = Vec::new();
        loop {
            request.clear();
            requests.by_ref().take(REQUEST_MAX).read_until(b'\n', &mut request)?;
            if request.is_empty() {
                return Ok(());
            }
            let is_whole = request.ends_with(b"\n");
            let answer = match request.trim_ascii() {
                b"" | b"snapshot" if is_whole => lock(&self.observer).look(),
                _ => complaint("a request is one line: snapshot, or nothing"),
            };
            client.write_all(format!("{answer}\n").as_bytes())?;
            if !is_whole {
                return Ok(());
            }
        }
    }
}

/// Ends the conversation; the client's thread ends by that.
fn dismiss(client: &UnixStream) {
    let _ = client.shutdown(Shutdown::Both);
}

fn complaint(what: &str) -> Json {
    object([("sward_console", VERSION.into()), ("error", what.into())])
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
