//! The servers that are compared: `sward serve` under every model, and the user's.

use crate::error::{Result, bail};
use serde::Serialize;
use sward::EngineKind;
use sward_server::Model;

/// Children of the model `processes`: several, so that they share a listener.
const PROCESSES: &str = "2";

/// A server in a comparison.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Subject {
    /// Short and unique, for charts and tables.
    pub(crate) name: String,
    /// What it is, in a few words.
    pub(crate) description: String,
    /// The command that a user would type to start it.
    pub(crate) command: String,
    /// Its number in the order of colours, markers and dashes.
    #[serde(skip)]
    pub(crate) look: usize,
    #[serde(skip)]
    pub(crate) origin: Origin,
}

/// How a subject is started.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// As this program, by `serve`.
    Own { model: Model, engine: Option<EngineKind> },
    /// By a shell. `{port}` in the command stands for the port.
    Foreign,
}

impl Subject {
    /// Returns all of our own, in the order of tables and charts.
    pub(crate) fn own() -> Vec<Subject> {
        let green = EngineKind::ALL.map(|engine| {
            let text = format!("green threads; {}", engine.description());
            (engine.name(), text, Model::Green, Some(engine))
        });
        let others = [Model::Threads, Model::Blocking, Model::Processes];
        let others = others.map(|model| (model.name(), model.description().to_owned(), model, None));
        green
            .into_iter()
            .chain(others)
            .enumerate()
            .map(|(look, (name, text, model, engine))| Subject {
                look,
                name: name.to_owned(),
                description: text,
                command: format!("sward {}", arguments(model, engine).join(" ")),
                origin: Origin::Own { model, engine },
            })
            .collect()
    }

    /// Checks whether it runs here.
    pub(crate) fn available(&self) -> Result<(), String> {
        match self.origin {
            Origin::Own { engine: Some(engine), .. } => engine.available().map_err(|error| error.to_string()),
            _ => Ok(()),
        }
    }

    /// Returns whether it serves one client at a time, while others wait.
    pub(crate) fn serves_one(&self) -> bool {
        matches!(self.origin, Origin::Own { model: Model::Blocking, .. })
    }

    /// Returns whether it is the user's, so that it may not start at all.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self.origin, Origin::Foreign)
    }

    /// Returns the engine of its green threads, if it has them.
    pub(crate) fn engine(&self) -> Option<EngineKind> {
        match self.origin {
            Origin::Own { engine, .. } => engine,
            Origin::Foreign => None,
        }
    }
}

/// Returns the arguments of `sward` that start this server.
pub(crate) fn arguments(model: Model, engine: Option<EngineKind>) -> Vec<&'static str> {
    let mut arguments = vec!["serve", "upper", "--addr", "127.0.0.1:0", "--model", model.name()];
    if let Some(engine) = engine {
        arguments.extend(["--engine", engine.name()]);
    }
    if model.has_engine() {
        arguments.extend(["--workers", if model == Model::Processes { PROCESSES } else { "1" }]);
    }
    arguments
}

/// Parses `NAME=CMD` or `CMD` as one of the user's servers.
///
/// # Errors
/// There is no command, or it has no `{port}`.
pub(crate) fn foreign(text: &str) -> Result<Subject> {
    let no_command =
        |text: &str| format!("--with {text:?}: there is no command; as in 'mine=./server --port {{port}}'");
    let is_name = |text: &str| {
        !text.is_empty() && text.chars().all(|letter| letter.is_alphanumeric() || "._+-".contains(letter))
    };
    let (name, command) = match text.split_once('=').filter(|(name, _)| is_name(name)) {
        Some((name, command)) => (name.to_owned(), command),
        None => {
            let program = text.split_whitespace().next().ok_or_else(|| no_command(text))?;
            (program.rsplit('/').next().unwrap_or(program).to_owned(), text)
        }
    };
    if command.trim().is_empty() {
        return Err(no_command(text).into());
    }
    if !command.contains("{port}") {
        bail!(
            "--with {text}: the command has no {{port}}, so it cannot be told where to listen; as in 'mine=./server --port {{port}}'"
        );
    }
    let (description, command) = ("given by --with".to_owned(), command.to_owned());
    Ok(Subject { name, description, command, look: 0, origin: Origin::Foreign })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_foreign_servers() {
        let named = foreign("go 1=./x {port}").map(|subject| subject.name);
        assert_eq!(named.unwrap(), "go");
        let subject = foreign("mine=PORT={port} ./server").unwrap();
        assert_eq!((subject.name.as_str(), subject.command.as_str()), ("mine", "PORT={port} ./server"));
        assert_eq!(foreign("/usr/bin/python3 s.py {port}").unwrap().name, "python3");
        for wrong in ["./server 8080", "mine=", "", "mine= "] {
            assert!(foreign(wrong).is_err(), "{wrong:?}");
        }
    }
}
