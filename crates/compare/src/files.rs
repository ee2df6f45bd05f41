//! The files of a run. A file is written under a temporary name and renamed when it is complete, so nobody reads half a file.
//! A device or a pipe, such as `/dev/stdout`, is written to directly instead of being replaced by a file.
//!
//! Other users may be able to write to the folder, as to `/tmp`. So the temporary name cannot be guessed, and creating it follows no link
//! (`O_EXCL`). A link under the final name is followed only if the kernel follows it (`fs.protected_symlinks`).

use std::fs::{self, File, Metadata};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use sward_measure::terminal::printable;

use crate::chapter::{Chapter, Comparison};
use crate::error::{Context, Error, Result, bail};
use crate::study::Metric;

/// Checks that a file can be written, before time is spent on measuring.
///
/// # Errors
/// It cannot be written. The error says why, and what to do.
pub(crate) fn check(path: &Path) -> Result<()> {
    let denied = |error: &io::Error| cannot(path, "this file cannot be written", error);
    match present(path).map_err(|error| denied(&error))? {
        Some(found) if found.is_dir() => {
            bail!("{}: that is a directory; name a file in it", path.display())
        }
        Some(found) if !found.is_file() => return Ok(()),
        Some(_) | None => {}
    }
    let part = part(path)?;
    File::create_new(&part).map_err(|error| denied(&error))?;
    fs::remove_file(&part).context(format_args!("removing {}", part.display()))
}

/// Creates a folder, unless it exists, and checks that files can be written there.
///
/// # Errors
/// It cannot be created, or nothing can be written there.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| cannot(path, "this folder cannot be made", &error))?;
    check(&path.join("picture.svg"))
}

/// Writes a whole file, or none.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let failed = format!("writing {}", path.display());
    if present(path).context(&failed)?.is_some_and(|found| !found.is_file()) {
        let opened = File::options().write(true).open(path);
        return opened.and_then(|mut file| file.write_all(text.as_bytes())).context(&failed);
    }
    // The file that a link names; otherwise renaming would replace the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let part = part(&target)?;
    let written = File::create_new(&part)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&part, &target));
    if written.is_err() {
        // The first error is the one that matters.
        let _ = fs::remove_file(&part);
    }
    written.context(&failed)
}

/// Says what is wrong with a path that the user has chosen, and what to do.
fn cannot(path: &Path, what: &str, error: &io::Error) -> Error {
    let advice = match error.kind() {
        ErrorKind::NotFound => "make the folder that it is to be in (mkdir -p), or name another",
        ErrorKind::PermissionDenied => "name one in a folder that you may write to",
        _ => "name another",
    };
    Error::Failed(format!("{}: {what}: {error}; {advice}", path.display()))
}

/// Returns the metadata of what is there, if anything is.
///
/// # Errors
/// The kernel refuses to say, for example because it does not follow a link.
fn present(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// Returns a new temporary name for a file.
fn part(path: &Path) -> Result<PathBuf> {
    let Some(name) = path.file_name() else {
        bail!("{}: that is no name of a file; name one", path.display());
    };
    let random = RandomState::new().hash_one(std::process::id());
    Ok(path.with_file_name(format!(".{}.{random:016x}.part", name.to_string_lossy())))
}

/// Formats everything as JSON.
pub(crate) fn json(comparison: &Comparison, chapters: &[Chapter]) -> Result<String> {
    let plan = &comparison.plan;
    let verdicts: Vec<_> = chapters.iter().flat_map(|chapter| &chapter.verdicts).collect();
    let failures: Vec<_> =
        plan.experiments.iter().flat_map(|&experiment| comparison.study.failures(experiment)).collect();
    let value = json!({
        "machine": comparison.machine,
        "mode": plan.mode,
        "rounds": plan.rounds,
        "window_ms": plan.window.as_millis() as u64,
        "size": plan.size,
        "took_seconds": comparison.took.as_secs_f64(),
        "subjects": plan.subjects,
        "notes": comparison.notes,
        "verdicts": verdicts,
        "failures": failures,
        "medians": comparison.study.summaries(),
        "samples": comparison.study.samples,
    });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}

/// Formats all measurements as CSV, a line for each.
pub(crate) fn csv(comparison: &Comparison) -> String {
    let quote = |text: &str| format!("\"{}\"", printable(text).replace('"', "\"\"").replace('\n', " "));
    let mut text = "experiment,subject,x,round,noisy,others_cpu_percent".to_owned();
    for &metric in Metric::ALL {
        text.push_str(&format!(",{}", metric.name()));
    }
    text.push_str(",failure\n");
    for sample in &comparison.study.samples {
        let (experiment, subject) = (sample.experiment.name(), quote(&sample.subject));
        let (x, round, noisy, others) = (sample.x, sample.round, sample.noisy, sample.others_cpu_percent);
        text.push_str(&format!("{experiment},{subject},{x},{round},{noisy},{others}"));
        for &metric in Metric::ALL {
            text.push(',');
            if let Some(value) = sample.values.get(&metric) {
                text.push_str(&value.to_string());
            }
        }
        text.push_str(&format!(",{}\n", sample.failure.as_deref().map_or_else(String::new, quote)));
    }
    text
}
