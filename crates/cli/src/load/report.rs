//! The result of a run, as JSON (whose fields [`super`] lists) and as text for people.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;
use sward::time::Duration;
use sward_measure::quantity::{bytes, count, micros};

use super::failure::{FailureCount, Failures};
use super::plan::{LoadPlan, Pace, Verify};
use super::recorder::Measured;
use super::run::Ended;

/// If the generator uses at least this share of its workers' cores, it may be what limits the rate.
const GENERATOR_BUSY: f64 = 0.95;

/// A rate below this share of the requested one is worth a note.
const RATE_REACHED: f64 = 0.98;

/// The widest bar of the histogram, in characters.
const BAR: f64 = 40.0;

/// The result of a run. Names of times end in their unit.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) address: String,
    pub(crate) connections: usize,
    pub(crate) idle: usize,
    pub(crate) size: usize,
    pub(crate) pipeline: usize,
    pub(crate) rate: Option<f64>,
    pub(crate) verify: Verify,
    pub(crate) workers: usize,
    pub(crate) engine: String,
    pub(crate) interrupted: bool,
    pub(crate) seconds: f64,
    pub(crate) messages: u64,
    pub(crate) messages_per_second: f64,
    pub(crate) bytes_per_second: f64,
    pub(crate) latency_us: Option<Quantiles>,
    pub(crate) sent_late_us: Option<Quantiles>,
    pub(crate) histogram: Vec<Bucket>,
    pub(crate) generator_cpu_us_per_message: Option<f64>,
    pub(crate) generator_cpu_percent: f64,
    pub(crate) server_cpu_us_per_message: Option<f64>,
    pub(crate) server_cpu_percent: Option<f64>,
    pub(crate) connection_messages: Spread,
    pub(crate) unanswered: u64,
    pub(crate) unanswered_oldest_us: f64,
    pub(crate) idle_closed: usize,
    pub(crate) complaint: Option<String>,
    pub(crate) errors: Vec<FailureCount>,
}

/// A distribution of times, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    pub(crate) mean: f64,
}

/// A step of the histogram: latencies above `from_us` and up to `to_us`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Bucket {
    pub(crate) from_us: f64,
    pub(crate) to_us: f64,
    pub(crate) messages: u64,
}

/// How evenly connections were served.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: u64,
    pub(crate) median: u64,
    pub(crate) max: u64,
}

/// The measured window.
#[derive(Clone, Copy, Default)]
pub(super) struct Window {
    pub(super) length: Duration,
    /// The generator's CPU time.
    pub(super) own: Duration,
    /// The server's, if it was to be measured.
    pub(super) server: Option<Duration>,
}

/// What a run leaves for its report.
pub(super) struct Outcome {
    pub(super) interrupted: bool,
    /// `None` if every connection ended before it began.
    pub(super) window: Option<Window>,
    pub(super) measured: Measured,
    pub(super) ended: Ended,
    pub(super) idle_closed: usize,
    pub(super) failures: Failures,
}

impl Report {
    /// Makes the report. Must be called inside the runtime of the run, whose engine it names.
    pub(super) fn new(plan: &LoadPlan, outcome: Outcome) -> Report {
        let Outcome { measured: Measured { latency, lateness }, ended, .. } = outcome;
        let Window { length, own, server } = outcome.window.unwrap_or_default();
        let (seconds, messages) = (length.as_secs_f64(), latency.len());
        let per_second = if seconds > 0.0 { messages as f64 / seconds } else { 0.0 };
        let per_message =
            |time: Duration| (messages > 0).then(|| rounded(time.as_secs_f64() * 1e6 / messages as f64));
        let errors = outcome.failures.into_counts();
        let complaint = match errors.iter().map(|error| error.count).sum::<u64>() {
            0 if messages == 0 && !outcome.interrupted => {
                Some("no message was answered in the measured time".to_owned())
            }
            0 => None,
            failed => Some(format!("{failed} of {} connections failed", plan.connections + plan.idle)),
        };
        let percent = |time: Duration| rounded(time.as_secs_f64() / seconds.max(1e-9) * 100.0);
        Report {
            address: plan.address.clone(),
            connections: plan.connections,
            idle: plan.idle,
            size: plan.size,
            pipeline: plan.pipeline,
            rate: match plan.pace {
                Pace::Closed => None,
                Pace::Open(rate) => Some(rate),
            },
            verify: plan.verify,
            workers: plan.workers,
            engine: sward::engine_name().unwrap_or("none").to_owned(),
            interrupted: outcome.interrupted,
            seconds: rounded(seconds),
            messages,
            messages_per_second: rounded(per_second),
            bytes_per_second: rounded(per_second * plan.size as f64),
            latency_us: Quantiles::of(&latency),
            sent_late_us: Quantiles::of(&lateness),
            histogram: buckets(&latency),
            generator_cpu_us_per_message: per_message(own),
            generator_cpu_percent: percent(own),
            server_cpu_us_per_message: server.and_then(per_message),
            server_cpu_percent: server.map(percent),
            connection_messages: Spread::of(ended.messages),
            unanswered: ended.unanswered,
            unanswered_oldest_us: rounded(ended.oldest.as_secs_f64() * 1e6),
            idle_closed: outcome.idle_closed,
            complaint,
            errors,
        }
    }

    /// Returns words of caution about the numbers.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.interrupted {
            notes.push("ended early by Ctrl-C or SIGTERM".to_owned());
        }
        if let Some(rate) = self.rate
            && self.seconds > 0.0
            && self.messages_per_second < rate * RATE_REACHED
        {
            notes.push(format!(
                "{}/s were asked for: the server or the generator did not keep up, so latencies include the wait",
                rate_text(rate)
            ));
        }
        if self.rate.is_none() && self.generator_cpu_percent >= GENERATOR_BUSY * 100.0 * self.workers as f64 {
            notes.push(
                "the generator is at its limit, so the server may do more: try --workers or a larger --size"
                    .to_owned(),
            );
        }
        if self.unanswered > 0 {
            notes.push(format!(
                "{} messages were sent and never answered; the oldest had waited {}",
                count(self.unanswered as f64),
                micros(self.unanswered_oldest_us)
            ));
        }
        if self.idle_closed > 0 {
            notes.push(format!(
                "the server has closed {} of {} silent connections",
                self.idle_closed, self.idle
            ));
        }
        notes
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { address, connections, size, pipeline, workers, engine, .. } = self;
        let pace = match self.rate {
            None => format!("closed loop, {pipeline} at once"),
            Some(rate) => format!("open loop, {}/s", rate_text(rate)),
        };
        let idle = if self.idle > 0 { format!(" (and {} idle)", self.idle) } else { String::new() };
        let verify = match self.verify {
            Verify::Upper => "every byte checked (upper)",
            Verify::Echo => "every byte checked (echo)",
            Verify::None => "replies not checked",
        };
        writeln!(formatter, "sward load {address}: {connections} connections{idle}, {size} bytes, {pace}")?;
        let measured = match self.seconds {
            0.0 if !self.interrupted => "not measured: every connection ended before".to_owned(),
            seconds => format!("measured for {seconds:.2} s"),
        };
        writeln!(formatter, "  {verify}; {measured}; {engine}, workers: {workers}")?;
        writeln!(formatter)?;
        let (messages, rate) = (count(self.messages as f64), count(self.messages_per_second));
        writeln!(
            formatter,
            "  messages    {messages}: {rate}/s, {}/s each way",
            bytes(self.bytes_per_second)
        )?;
        if let Some(latency) = &self.latency_us {
            writeln!(formatter, "  latency     {latency}")?;
        }
        if let Some(late) = &self.sent_late_us {
            writeln!(formatter, "  sent late   {late} (part of the latency)")?;
        }
        let Spread { min, median, max } = self.connection_messages;
        let [min, median, max] = [min, median, max].map(|messages| count(messages as f64));
        writeln!(
            formatter,
            "  connection  {min} messages at least, {median} median, {max} at most, all phases"
        )?;
        if let Some(each) = self.generator_cpu_us_per_message {
            writeln!(
                formatter,
                "  generator   {each:.2} µs CPU per message, {:.0} % of a core",
                self.generator_cpu_percent
            )?;
        }
        if let Some((each, percent)) = self.server_cpu_us_per_message.zip(self.server_cpu_percent) {
            writeln!(formatter, "  server      {each:.2} µs CPU per message, {percent:.0} % of a core")?;
        }
        if self.errors.is_empty() {
            writeln!(formatter, "  errors      none")?;
        }
        for FailureCount { kind, count, first } in &self.errors {
            writeln!(formatter, "  errors      {count} × {kind}; the first: {first}")?;
        }
        for note in self.notes() {
            writeln!(formatter, "  note        {note}")?;
        }
        self.draw_histogram(formatter)
    }
}

impl Report {
    fn draw_histogram(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(most) = self.histogram.iter().map(|bucket| bucket.messages).max() else { return Ok(()) };
        writeln!(formatter, "\n  latency up to")?;
        for Bucket { to_us, messages, .. } in &self.histogram {
            let bar = "█".repeat((*messages as f64 / most as f64 * BAR).ceil() as usize);
            let share = *messages as f64 / self.messages as f64 * 100.0;
            writeln!(formatter, "  {:>10}  {share:>6.2} %  {bar}", micros(*to_us))?;
        }
        Ok(())
    }
}

impl Quantiles {
    /// Returns the quantiles of a histogram in nanoseconds; `None` if it is empty.
    fn of(histogram: &Histogram<u64>) -> Option<Quantiles> {
        let at = |quantile| rounded(histogram.value_at_quantile(quantile) as f64 / 1e3);
        (!histogram.is_empty()).then(|| Quantiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
            mean: rounded(histogram.mean() / 1e3),
        })
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p90, p99, p999, max] = [self.p50, self.p90, self.p99, self.p999, self.max].map(micros);
        write!(formatter, "p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p999}  max {max}")
    }
}

impl Spread {
    fn of(mut messages: Vec<u64>) -> Spread {
        messages.sort_unstable();
        match messages.as_slice() {
            [] => Spread::default(),
            [min, ..] => {
                Spread { min: *min, median: messages[messages.len() / 2], max: messages[messages.len() - 1] }
            }
        }
    }
}

/// Converts a histogram in nanoseconds to steps of 1, 2, 5, from the first to the last that is not empty.
fn buckets(histogram: &Histogram<u64>) -> Vec<Bucket> {
    let mut bounds = (3..).flat_map(|exponent| [1, 2, 5].map(|digit| digit * 10_u64.pow(exponent)));
    let mut buckets: Vec<Bucket> = Vec::new();
    let mut to = 0;
    for step in histogram.iter_recorded() {
        while step.value_iterated_to() > to {
            let from = to;
            to = bounds.next().expect("the longest time is below the largest bound");
            buckets.push(Bucket { from_us: from as f64 / 1e3, to_us: to as f64 / 1e3, messages: 0 });
        }
        let bucket = buckets.last_mut().expect("pushed before the first value, which is above 0");
        bucket.messages += step.count_at_value();
    }
    let empty = buckets.iter().take_while(|bucket| bucket.messages == 0).count();
    buckets.split_off(empty)
}

/// Formats a requested rate. A large one is a whole number.
fn rate_text(rate: f64) -> String {
    if rate.fract() == 0.0 { count(rate) } else { rate.to_string() }
}

/// Rounds to the three decimals that JSON has.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_every_message_once() {
        let mut measured = Measured::new();
        for nanoseconds in [100, 900, 1_500, 40_000, 49_000, 700_000_000, u64::MAX] {
            measured.latency.saturating_record(nanoseconds);
        }
        let buckets = buckets(&measured.latency);
        assert_eq!(buckets.iter().map(|bucket| bucket.messages).sum::<u64>(), 7);
        assert!(buckets.windows(2).all(|pair| pair[0].to_us == pair[1].from_us));
        assert_eq!((buckets[0].to_us, buckets[0].messages), (1.0, 2));
        let at_50_us = buckets.iter().find(|bucket| bucket.to_us == 50.0).unwrap();
        assert_eq!(at_50_us.messages, 2);
    }
}
