//! The live view: keys, time, and the state of the terminal, which is restored however this ends.
//!
//! A thread of its own asks the console, so that keys work even while the program does not answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, anyhow};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use sward::time::Duration;

use super::client::{Answer, Client};
use super::screen::{self, Order, View};
use super::watch::Watch;
use crate::interrupt;

/// The intervals between which + and - choose, in milliseconds.
const INTERVALS_MS: [u64; 10] = [100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 30_000, 60_000];

/// How long to wait for a key at most before looking for an answer.
const BLINK: Duration = Duration::from_millis(50);

/// A program that has been silent for so long is said to be.
const SILENCE: Duration = Duration::from_secs(2);

/// How watching a program ended.
pub(super) enum End {
    /// As whoever started it wanted.
    Asked,
    /// With the program.
    Over,
}

/// Shows the program until somebody has seen enough, or it is over.
///
/// # Errors
/// The terminal cannot be used, or the program does not answer as it should.
pub(super) fn show(client: Client, watch: Watch, interval: Duration) -> anyhow::Result<End> {
    // A program that is stopped may go on; until then, the screen says how long it has been silent.
    client.wait_for_ever()?;
    let stop = interrupt::flag()?;
    let _restored = Restored;
    // This also restores it when something panics.
    let mut terminal = ratatui::try_init().context("taking over the terminal (--json needs none)")?;
    let mut sampler = Sampler::start(client);
    let mut session = Session {
        watch,
        interval,
        due: Instant::now() + interval,
        is_paused: false,
        order: Order::Threads,
        is_over: false,
    };
    loop {
        let silence = sampler.asked.map(|asked| asked.elapsed()).filter(|&silence| silence >= SILENCE);
        terminal.draw(|frame| screen::draw(frame, &session.view(silence))).context("drawing")?;
        if event::poll(session.patience(&sampler)).context("waiting for a key")? {
            // A new size is an event, too, and all that it needs is a new picture.
            if let Event::Key(key) = event::read().context("reading a key")? {
                session.obey(key);
            }
        }
        if session.is_over || is_raised(&stop) {
            return Ok(End::Asked);
        }
        match sampler.answer()? {
            Some(Some(answer)) if !session.is_paused => session.watch.update(answer.snapshot),
            Some(Some(_)) | None => {}
            Some(None) => return Ok(End::Over),
        }
        if !session.is_paused && sampler.asked.is_none() && Instant::now() >= session.due {
            session.due = Instant::now() + session.interval;
            sampler.ask();
        }
    }
}

fn is_raised(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed)
}

/// Gives the terminal back when dropped.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// What is watched, and how.
struct Session {
    watch: Watch,
    interval: Duration,
    /// When to ask again.
    due: Instant,
    is_paused: bool,
    order: Order,
    is_over: bool,
}

impl Session {
    fn view(&self, silence: Option<Duration>) -> View<'_> {
        View {
            watch: &self.watch,
            interval: self.interval,
            is_paused: self.is_paused,
            order: self.order,
            silence,
        }
    }

    /// How long to wait for a key.
    fn patience(&self, sampler: &Sampler) -> Duration {
        let longest = 5 * BLINK;
        match sampler.asked {
            Some(_) => BLINK,
            None if self.is_paused => longest,
            None => self.due.saturating_duration_since(Instant::now()).min(longest),
        }
    }

    fn obey(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => self.is_over = true,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => self.is_over = true,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('+' | '=') => {
                self.set_interval(INTERVALS_MS.into_iter().find(|&step| step > self.interval_ms()))
            }
            KeyCode::Char('-') => {
                self.set_interval(INTERVALS_MS.into_iter().rev().find(|&step| step < self.interval_ms()))
            }
            KeyCode::Char('s') => self.order = self.order.next(),
            _ => {}
        }
    }

    fn interval_ms(&self) -> u64 {
        self.interval.as_millis() as u64
    }

    fn set_interval(&mut self, milliseconds: Option<u64>) {
        if let Some(milliseconds) = milliseconds {
            self.interval = Duration::from_millis(milliseconds);
            self.due = self.due.min(Instant::now() + self.interval);
        }
    }
}

/// What an asking thread brings back; `None`: the program is over.
type Reply = anyhow::Result<Option<Answer>>;

/// The thread that asks.
struct Sampler {
    requests: Sender<()>,
    replies: Receiver<Reply>,
    /// When it was asked for what it has not brought yet.
    asked: Option<Instant>,
}

impl Sampler {
    fn start(mut client: Client) -> Sampler {
        let (requests, wanted) = channel();
        let (reply, replies) = channel();
        // Nobody joins it: at the end it may be waiting for a program that never answers.
        thread::spawn(move || while wanted.recv().is_ok() && reply.send(client.ask()).is_ok() {});
        Sampler { requests, replies, asked: None }
    }

    fn ask(&mut self) {
        // If the thread is gone, `answer` says so.
        let _ = self.requests.send(());
        self.asked = Some(Instant::now());
    }

    /// What has come, if anything has.
    fn answer(&mut self) -> anyhow::Result<Option<Option<Answer>>> {
        match self.replies.try_recv() {
            Ok(reply) => {
                self.asked = None;
                reply.map(Some)
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(anyhow!("the thread that asks is gone")),
        }
    }
}
