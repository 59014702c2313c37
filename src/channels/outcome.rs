//! Owns what an attempt came to before its times and texts are known: what the pure tables of every channel give.

use super::Verdict;
use crate::clock::Timestamp;

/// The verdict without its times and texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The other side has it: by SMTP 250 after the final dot, nothing else.
    Sent,
    /// Not now; costs an attempt.
    Later,
    /// Not ever, with the reason.
    Never(&'static str),
    /// It was fully written and nothing says what became of it.
    Ambiguous,
    /// Not the message's fault, with the reason; costs nothing.
    Hold(&'static str),
}

impl Outcome {
    /// The verdict: `reference` of what was sent, `until` when what is held may be tried again.
    #[must_use]
    pub fn verdict(self, reference: Option<String>, until: Timestamp) -> Verdict {
        match self {
            Self::Sent => Verdict::Sent { reference },
            Self::Later => Verdict::Later { not_before: None },
            Self::Never(reason) => Verdict::Never { reason },
            Self::Ambiguous => Verdict::Ambiguous,
            Self::Hold(why) => Verdict::Hold { until, why },
        }
    }
}
