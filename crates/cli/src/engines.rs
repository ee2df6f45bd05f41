//! `sward engines`: lists the I/O engines.

use std::fmt::Write;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use sward::EngineKind;

use crate::output;

/// List the I/O engines: which of them work here, and which one is the default
#[derive(clap::Args)]
pub(crate) struct Engines {}

impl Engines {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let default = EngineKind::default_here().0;
        let mut table = String::new();
        for kind in EngineKind::ALL {
            let mark = if kind == default { "(default)" } else { "" };
            let state = match kind.available() {
                Ok(()) => "available".to_owned(),
                Err(error) => format!("not available: {error}"),
            };
            writeln!(table, "{kind:<10}{mark:<11}{state}")?;
        }
        output::print(&table)
    }
}

/// Returns the parser of `--engine`, which lists the engines in the help.
pub(crate) fn engine_parser() -> impl TypedValueParser<Value = EngineKind> {
    let values = EngineKind::ALL.map(|kind| PossibleValue::new(kind.name()).help(kind.description()));
    PossibleValuesParser::new(values).try_map(|name| name.parse::<EngineKind>())
}
