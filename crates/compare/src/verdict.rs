//! Verdicts: whether the numbers support a claim.

use serde::Serialize;

use crate::plan::Experiment;

/// From this share on, a verdict mentions disturbed samples.
const NOISY_SHARE: f64 = 0.2;

/// From this share of disturbed samples on, numbers cannot refute a claim.
const NOISY_SHARE_MAX: f64 = 0.5;

/// What the numbers of an experiment say about a claim.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) experiment: Experiment,
    pub(crate) claim: &'static str,
    pub(crate) answer: Answer,
    /// The numbers behind it, in words.
    pub(crate) sentence: String,
}

/// Whether a claim holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Holds,
    DoesNotHold,
    /// The numbers are against it, but too many samples were disturbed.
    NotClear,
    NotMeasured,
}

impl Answer {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Answer::Holds => "holds here",
            Answer::DoesNotHold => "does not hold here",
            Answer::NotClear => "is unclear here",
            Answer::NotMeasured => "was not measured",
        }
    }

    pub(crate) fn mark(self) -> &'static str {
        match self {
            Answer::Holds => "✓",
            Answer::DoesNotHold => "✗",
            Answer::NotClear => "?",
            Answer::NotMeasured => "–",
        }
    }
}

impl Verdict {
    /// Creates a verdict. `judgement` is whether the claim holds, and the numbers in words; it is `None` if some of what `needs` names is
    /// missing.
    pub(crate) fn new(
        experiment: Experiment,
        claim: &'static str,
        needs: &str,
        judgement: Option<(bool, String)>,
    ) -> Verdict {
        let (answer, sentence) = match judgement {
            Some((true, sentence)) => (Answer::Holds, sentence),
            Some((false, sentence)) => (Answer::DoesNotHold, sentence),
            None => (Answer::NotMeasured, format!("This needs {needs}, measured without failures.")),
        };
        Verdict { experiment, claim, answer, sentence }
    }

    /// Weakens the verdict if many of the samples, `noisy` of `all`, were disturbed.
    pub(crate) fn weaken(&mut self, noisy: usize, all: usize) {
        let share = noisy as f64 / all.max(1) as f64;
        if share < NOISY_SHARE || self.answer == Answer::NotMeasured {
            return;
        }
        if share >= NOISY_SHARE_MAX && self.answer == Answer::DoesNotHold {
            self.answer = Answer::NotClear;
        }
        self.sentence.push_str(&format!(
            " Take it with care: other programs disturbed {noisy} of the {all} measurements of this experiment."
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_named_and_refutes_nothing() {
        let tempered = |holds: bool, noisy| {
            let mut verdict =
                Verdict::new(Experiment::Counter, "claim", "", Some((holds, "Numbers.".into())));
            verdict.weaken(noisy, 10);
            (verdict.answer, verdict.sentence.contains(&format!("{noisy} of the 10")))
        };
        assert_eq!(tempered(false, 1), (Answer::DoesNotHold, false));
        assert_eq!(tempered(false, 3), (Answer::DoesNotHold, true));
        assert_eq!(tempered(false, 5), (Answer::NotClear, true));
        assert_eq!(tempered(true, 10), (Answer::Holds, true));
    }
}
