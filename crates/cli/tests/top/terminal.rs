//! The live view on a terminal of the test's own: it comes, it obeys, and however it ends, the terminal is as it was.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::{Pid, setsid, ttyname};

use super::{Folder, SWARD, watched};

/// `sward top` on a terminal of 80 columns and 24 lines.
struct Screen {
    child: Child,
    /// The person's end.
    person: File,
    /// The program's end, kept open so that the terminal stays.
    terminal: File,
    before: Termios,
    /// All that was written to the terminal.
    written: String,
}

impl Screen {
    fn start(process: u32) -> Screen {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).unwrap();
        let (person, terminal) = (File::from(pair.master), File::from(pair.slave));
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let mut command = Command::new(SWARD);
        command.args(["top", &process.to_string(), "--interval", "50ms"]).env("TERM", "xterm-256color");
        command.stdin(end()).stdout(end()).stderr(Stdio::piped());
        // So that it does not find the terminal of whoever runs the tests.
        // SAFETY: setsid is one system call, which is all that a child may do between fork and exec.
        unsafe { command.pre_exec(|| Ok(setsid().map(drop)?)) };
        let before = tcgetattr(&terminal).unwrap();
        Screen { child: command.spawn().unwrap(), person, terminal, before, written: String::new() }
    }

    /// Reads until this text has been drawn.
    fn await_text(&mut self, text: &str) {
        let mut bytes = [0; 4096];
        while !self.written.contains(text) {
            let length = self.person.read(&mut bytes).unwrap();
            self.written.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    }

    fn press(&mut self, keys: &[u8]) {
        self.person.write_all(keys).unwrap();
    }

    /// Makes it so many columns wide. Everything is drawn anew then.
    fn resize(&self, columns: &str) {
        let terminal = ttyname(&self.terminal).unwrap();
        let resized =
            Command::new("stty").arg("-F").arg(terminal).args(["columns", columns]).status().unwrap();
        assert!(resized.success());
    }

    /// Waits for its end; checks that the terminal is as it was; gives the standard error.
    fn end(mut self) -> (ExitStatus, String) {
        // It leaves the alternate screen and shows the cursor.
        self.await_text("\u{1b}[?1049l");
        self.await_text("\u{1b}[?25h");
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(tcgetattr(&self.terminal).unwrap(), self.before);
        (status, errors)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

#[test]
fn the_terminal_is_as_it_was_however_it_ends() {
    let folder = Folder::new("terminal");
    let server = watched(&folder.0);
    let process = server.process();
    for keys in ["q", "\u{1b}", "\u{3}"] {
        let mut screen = Screen::start(process);
        screen.await_text("LONGEST WAITS");
        screen.press(keys.as_bytes());
        let (status, errors) = screen.end();
        assert!(status.success() && errors.is_empty(), "{keys:?}: {status} {errors}");
    }
    let mut screen = Screen::start(process);
    screen.await_text("every 50 ms");
    screen.press(b"p");
    screen.await_text("paused");
    // What has changed is drawn, and no more: so this is where words change that have no letter in common.
    screen.press(b"p+s");
    screen.await_text("threads");
    screen.resize("100");
    screen.await_text("every 100 ms");
    kill(Pid::from_raw(screen.child.id() as i32), Signal::SIGTERM).unwrap();
    assert!(screen.end().0.success());
    let mut screen = Screen::start(process);
    screen.await_text("GREEN THREADS");
    server.interrupt_and_finish();
    let (status, errors) = screen.end();
    assert!(status.success(), "{status}");
    assert_eq!(errors, format!("sward (process {process}) has ended\n"));
}
