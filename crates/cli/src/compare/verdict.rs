//! Verdicts: what the numbers say about a claim.

use serde::Serialize;

use super::plan::Experiment;

/// What the numbers of an experiment say about a claim.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verdict {
    pub(super) experiment: Experiment,
    pub(super) claim: &'static str,
    pub(super) answer: Answer,
    /// The numbers that it rests on, in a sentence.
    pub(super) sentence: String,
}

/// Whether a claim is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Holds,
    DoesNotHold,
    NotMeasured,
}

impl Answer {
    pub(super) fn words(self) -> &'static str {
        match self {
            Answer::Holds => "holds here",
            Answer::DoesNotHold => "does not hold here",
            Answer::NotMeasured => "was not measured",
        }
    }

    pub(super) fn mark(self) -> &'static str {
        match self {
            Answer::Holds => "✓",
            Answer::DoesNotHold => "✗",
            Answer::NotMeasured => "–",
        }
    }
}

impl Verdict {
    /// `judgement` says whether the claim holds, and the numbers in a sentence; it is `None` if some are missing, and `needs` says which.
    pub(super) fn new(
        experiment: Experiment,
        claim: &'static str,
        needs: &str,
        judgement: Option<(bool, String)>,
    ) -> Verdict {
        let (answer, sentence) = match judgement {
            Some((true, sentence)) => (Answer::Holds, sentence),
            Some((false, sentence)) => (Answer::DoesNotHold, sentence),
            None => (Answer::NotMeasured, format!("It takes {needs}, without failures.")),
        };
        Verdict { experiment, claim, answer, sentence }
    }
}
