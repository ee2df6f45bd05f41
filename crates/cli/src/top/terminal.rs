//! The live view: handles keys, requests snapshots in time, and always restores the terminal.
//!
//! A separate thread waits for the console, so keys work even while the program does not answer.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, anyhow};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use sward::time::Duration;

use super::client::{Client, ConsoleAnswer};
use super::screen::{self, SiteOrder, View};
use super::watch::Watch;
use crate::interrupt;

/// The intervals that `+` and `-` select, in milliseconds.
const INTERVALS_MS: [u64; 10] = [100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 30_000, 60_000];

/// The longest wait for a key before the next check for an answer.
const BLINK: Duration = Duration::from_millis(50);

/// After this time without an answer, the screen says so.
const SILENCE: Duration = Duration::from_secs(2);

/// How watching a program ended.
pub(super) enum End {
    /// The user quit.
    Quit,
    /// The program ended.
    ProgramEnded,
}

/// Shows the program until the user quits or it ends.
///
/// # Errors
/// The terminal cannot be used, or the program does not answer as it should.
pub(super) fn show(client: Client, watch: Watch, interval: Duration) -> anyhow::Result<End> {
    // A stopped program may go on. Until then, the screen says how long it has been silent.
    client.wait_for_ever()?;
    let stop = interrupt::flag()?;
    let _restored = Restored;
    // This also restores the terminal on a panic.
    let mut terminal = ratatui::try_init().context("taking over the terminal (--json needs none)")?;
    let mut sampler = Sampler::start(client);
    let mut session = Session {
        watch,
        interval,
        due: Instant::now() + interval,
        is_paused: false,
        order: SiteOrder::Threads,
        is_over: false,
    };
    loop {
        let silence = sampler.asked.map(|asked| asked.elapsed()).filter(|&silence| silence >= SILENCE);
        terminal.draw(|frame| screen::draw(frame, &session.view(silence))).context("drawing")?;
        if event::poll(session.patience(&sampler)).context("waiting for a key")? {
            // A resize is an event, too. It only needs a new picture.
            if let Event::Key(key) = event::read().context("reading a key")? {
                session.obey(key);
            }
        }
        if session.is_over || stop.load(Ordering::Relaxed) {
            return Ok(End::Quit);
        }
        match sampler.answer()? {
            Some(Some(answer)) if !session.is_paused => session.watch.update(answer.snapshot),
            Some(Some(_)) | None => {}
            Some(None) => return Ok(End::ProgramEnded),
        }
        if !session.is_paused && sampler.asked.is_none() && Instant::now() >= session.due {
            session.due = Instant::now() + session.interval;
            sampler.ask();
        }
    }
}

/// Restores the terminal when dropped.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// The state of the view.
struct Session {
    watch: Watch,
    interval: Duration,
    /// When the next snapshot is due.
    due: Instant,
    is_paused: bool,
    order: SiteOrder,
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

    /// Returns how long to wait for a key.
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

/// A sampler's answer; `None` if the program has ended.
type Reply = anyhow::Result<Option<ConsoleAnswer>>;

/// The thread that asks the console.
struct Sampler {
    requests: Sender<()>,
    replies: Receiver<Reply>,
    /// When the pending request was made.
    asked: Option<Instant>,
}

impl Sampler {
    fn start(mut client: Client) -> Sampler {
        let (requests, wanted) = channel();
        let (reply, replies) = channel();
        // It is never joined: it may wait for a program that never answers.
        thread::spawn(move || while wanted.recv().is_ok() && reply.send(client.ask()).is_ok() {});
        Sampler { requests, replies, asked: None }
    }

    fn ask(&mut self) {
        // If the thread has ended, `answer` says so.
        let _ = self.requests.send(());
        self.asked = Some(Instant::now());
    }

    /// Returns an answer, if one has come.
    fn answer(&mut self) -> anyhow::Result<Option<Option<ConsoleAnswer>>> {
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
