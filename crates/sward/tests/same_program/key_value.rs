//! A key-value server and its clients, written against std: a pool of workers, locks, condition variables, channels,
//! timeouts. The four lines that begin with `use super::library` are all that differs between std and sward, and
//! they differ by what `library` is.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::library::io::{self, BufRead, BufReader, ErrorKind, Write};
use super::library::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use super::library::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use super::library::sync::mpsc::{self, RecvTimeoutError};
use super::library::sync::{Arc, Barrier, Condvar, LazyLock, Mutex, OnceLock, RwLock};
use super::library::thread;
use super::library::time::{Duration, Instant};

const WORKERS: usize = 6;
const CLIENTS: usize = 4;
const ROUNDS: usize = 25;

/// So long that the program has failed if it passes.
const LONG: Duration = Duration::from_secs(60);

static GREETING: LazyLock<String> = LazyLock::new(|| format!("key-value, {WORKERS} workers"));
static STARTED: OnceLock<Instant> = OnceLock::new();

/// What the workers share.
struct Store {
    values: RwLock<BTreeMap<String, String>>,
    /// How many times something has been set.
    version: Mutex<u64>,
    has_changed: Condvar,
    /// Poisoned by the command CRASH.
    fragile: Mutex<()>,
    journal: mpsc::SyncSender<String>,
    served: AtomicUsize,
}

impl Store {
    fn set(&self, key: &str, value: String) {
        self.journal.send(format!("{key}={value}")).expect("the journal listens as long as there is a store");
        self.values.write().unwrap().insert(key.to_owned(), value);
        self.announce();
    }

    fn add(&self, key: &str, amount: i64) -> i64 {
        let mut values = self.values.write().unwrap();
        let value = values.entry(key.to_owned()).or_insert_with(|| "0".to_owned());
        let sum = value.parse::<i64>().unwrap_or(0) + amount;
        *value = sum.to_string();
        drop(values);
        self.announce();
        sum
    }

    fn announce(&self) {
        *self.version.lock().unwrap() += 1;
        self.has_changed.notify_all();
    }

    fn get(&self, key: &str) -> Option<String> {
        self.values.read().unwrap().get(key).cloned()
    }

    /// Waits until there is such a key.
    fn wait(&self, key: &str, patience: Duration) -> Option<String> {
        let version = self.version.lock().unwrap();
        let missing = |_: &mut u64| self.get(key).is_none();
        let (_version, waited) = self.has_changed.wait_timeout_while(version, patience, missing).unwrap();
        if waited.timed_out() { None } else { self.get(key) }
    }

    fn answer(&self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["HELLO"] => GREETING.clone(),
            ["SET", key, value] => {
                self.set(key, value.to_owned());
                "OK".to_owned()
            }
            ["GET", key] => self.get(key).map_or("NONE".to_owned(), |value| format!("VALUE {value}")),
            ["ADD", key, amount] => amount
                .parse()
                .map_or("ERROR not a number".to_owned(), |amount| format!("VALUE {}", self.add(key, amount))),
            ["WAIT", key, patience] => {
                let patience = Duration::from_millis(patience.parse().unwrap_or(0));
                self.wait(key, patience).map_or("TIMEOUT".to_owned(), |value| format!("VALUE {value}"))
            }
            ["CRASH"] => {
                let _held = self.fragile.lock();
                resume_unwind(Box::new("crash"));
            }
            ["FRAGILE"] => if self.fragile.is_poisoned() { "BROKEN" } else { "WHOLE" }.to_owned(),
            _ => "ERROR no such command".to_owned(),
        }
    }
}

/// Hands accepted connections to workers.
struct Pool {
    waiting: Mutex<VecDeque<TcpStream>>,
    has_come: Condvar,
    is_closed: AtomicBool,
}

impl Pool {
    fn put(&self, stream: TcpStream) {
        self.waiting.lock().unwrap().push_back(stream);
        self.has_come.notify_one();
    }

    fn take(&self) -> Option<TcpStream> {
        let mut waiting = self.waiting.lock().unwrap();
        loop {
            if let Some(stream) = waiting.pop_front() {
                return Some(stream);
            }
            if self.is_closed.load(Ordering::Acquire) {
                return None;
            }
            waiting = self.has_come.wait(waiting).unwrap();
        }
    }

    fn close(&self) {
        let _waiting = self.waiting.lock().unwrap();
        self.is_closed.store(true, Ordering::Release);
        self.has_come.notify_all();
    }
}

/// Serves one connection to its end, or until it is silent for longer than it has asked us to bear.
fn serve(store: &Store, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let mut line = String::new();
    loop {
        line.clear();
        match lines.read_line(&mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {
                let answer = match line.trim().strip_prefix("PATIENCE ").map(str::parse) {
                    Some(Ok(patience)) => {
                        stream.set_read_timeout(Some(Duration::from_millis(patience)))?;
                        "OK".to_owned()
                    }
                    _ => store.answer(&line),
                };
                store.served.fetch_add(1, Ordering::Relaxed);
                writeln!(writer, "{answer}")?;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                writeln!(writer, "BYE too silent")?;
                return stream.shutdown(Shutdown::Both);
            }
            Err(error) => return Err(error),
        }
    }
}

fn work(pool: &Pool, store: &Store) -> usize {
    let mut crashes = 0;
    while let Some(stream) = pool.take() {
        match catch_unwind(AssertUnwindSafe(|| serve(store, &stream))) {
            Ok(served) => served.expect("the clients behave"),
            Err(_) => crashes += 1,
        }
    }
    crashes
}

/// A client's end of a connection.
struct Client {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Client {
    fn connect(address: SocketAddr) -> Client {
        let writer = TcpStream::connect_timeout(&address, LONG).expect("the server listens");
        writer.set_nodelay(true).expect("it is TCP");
        Client { reader: BufReader::new(writer.try_clone().expect("a descriptor is free")), writer }
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => "closed".to_owned(),
            Ok(_) => line.trim_end().to_owned(),
            Err(error) => format!("{:?}", error.kind()),
        }
    }

    fn ask(&mut self, question: &str) -> String {
        writeln!(self.writer, "{question}").expect("the server reads");
        self.hear()
    }
}

/// Some clients that count together, each with a key of its own besides. They start at the same moment.
fn count_together(address: SocketAddr) -> Vec<String> {
    let start = Barrier::new(CLIENTS);
    let count = |index: usize| {
        let mut client = Client::connect(address);
        start.wait();
        for round in 0..ROUNDS {
            assert!(client.ask("ADD sum 1").starts_with("VALUE "));
            assert_eq!(
                client.ask(&format!("ADD own{index} {round}")),
                format!("VALUE {}", (0..=round).sum::<usize>())
            );
        }
        format!("client {index}: {}", client.ask(&format!("GET own{index}")))
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|index| scope.spawn(move || count(index))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

/// One waits for a key, another sets it, a third waits in vain.
fn wait_and_set(address: SocketAddr) -> [String; 3] {
    thread::scope(|scope| {
        let patient = scope.spawn(|| Client::connect(address).ask("WAIT gate 60000"));
        let disappointed = scope.spawn(|| Client::connect(address).ask("WAIT nothing 20"));
        thread::sleep(Duration::from_millis(5));
        let set = Client::connect(address).ask("SET gate open");
        [patient.join().unwrap(), disappointed.join().unwrap(), set]
    })
}

/// What all clients have heard.
fn talk(address: SocketAddr) -> Vec<String> {
    let mut heard = vec![Client::connect(address).ask("HELLO")];
    heard.extend(count_together(address));
    heard.extend(wait_and_set(address));
    heard.push(Client::connect(address).ask("CRASH"));
    let mut client = Client::connect(address);
    heard.extend(
        ["FRAGILE", "GET sum", "GET nothing", "ADD sum x", "NONSENSE", "PATIENCE 10"]
            .map(|line| client.ask(line)),
    );
    // From now on it is silent.
    heard.extend([client.hear(), client.hear()]);
    heard
}

/// Writes down what was set; notices when nothing comes.
fn keep_journal(entries: &mpsc::Receiver<String>) -> Vec<String> {
    let mut journal = Vec::new();
    loop {
        match entries.recv_timeout(LONG) {
            Ok(entry) => journal.push(entry),
            Err(RecvTimeoutError::Timeout) => journal.push("nothing has come for long".to_owned()),
            Err(RecvTimeoutError::Disconnected) => return journal,
        }
    }
}

/// The program: what it would print.
pub(crate) fn run() -> io::Result<String> {
    let started = *STARTED.get_or_init(Instant::now);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (journal, entries) = mpsc::sync_channel(1);
    let scribe = thread::Builder::new().name("scribe".to_owned()).spawn(move || {
        assert_eq!(thread::current().name(), Some("scribe"));
        keep_journal(&entries)
    })?;
    let store = Arc::new(Store {
        values: RwLock::default(),
        version: Mutex::new(0),
        has_changed: Condvar::new(),
        fragile: Mutex::new(()),
        journal,
        served: AtomicUsize::new(0),
    });
    let pool = Arc::new(Pool {
        waiting: Mutex::default(),
        has_come: Condvar::new(),
        is_closed: AtomicBool::new(false),
    });
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (pool, store) = (Arc::clone(&pool), Arc::clone(&store));
            thread::spawn(move || work(&pool, &store))
        })
        .collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let acceptor = thread::spawn({
        let (pool, is_over) = (Arc::clone(&pool), Arc::clone(&is_over));
        move || {
            for stream in listener.incoming().take_while(|_| !is_over.load(Ordering::Acquire)) {
                pool.put(stream.expect("a connection can be accepted"));
            }
            pool.close();
        }
    });

    let mut output = talk(address).join("\n");
    is_over.store(true, Ordering::Release);
    drop(TcpStream::connect(address)?);
    acceptor.join().unwrap();
    let crashes: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    let store = Arc::into_inner(store).expect("the workers have ended");
    let (served, version) = (store.served.into_inner(), store.version.into_inner().unwrap());
    drop(store.journal);
    write!(
        output,
        "\n{served} answers, {version} changes, {crashes} crash, journal {:?}",
        scribe.join().unwrap()
    )
    .unwrap();
    assert!(started.elapsed() < LONG);
    Ok(output)
}
