//! How sure it is that one session, used in several countries, is not used by one person.
//!
//! | clients | countries | |
//! |---|---|---|
//! | the same to the letter | this person's | nothing is told |
//! | the same to the letter | one of them is new | a doubt: told once, and nothing else is done |
//! | the same with an update since | this person's | nothing is told |
//! | the same with an update since | one of them is new | certain |
//! | others | any | certain |
//!
//! A country is a person's if they have signed in from it, or were told of it.

use super::Finding;
use super::client_version::Likeness;
use super::history::History;
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::geo::Country;

/// What is to be thought of a session that was used in several countries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Certainty {
    /// As this person always does.
    Usual,
    /// Perhaps one person on two networks.
    Doubtful,
    /// Whoever it is, it is not one person with one client.
    Certain,
}

impl Certainty {
    /// Of a user whose clients were so alike in these countries. A doubt is noted, so that the next one is none.
    pub(super) fn of(
        history: &History,
        user: &UserKey,
        countries: &[Country],
        likeness: Likeness,
        at: Timestamp,
    ) -> Self {
        match (likeness, history.knows(user, countries, at)) {
            (Likeness::Same | Likeness::Update, true) => Self::Usual,
            (Likeness::Same, false) => {
                history.told(user, countries, at);
                Self::Doubtful
            }
            (Likeness::Update, false) | (Likeness::Other, _) => Self::Certain,
        }
    }

    /// What is left of a finding.
    pub(super) fn judge(self, finding: Finding) -> Option<Finding> {
        match self {
            Self::Usual => None,
            Self::Doubtful => Some(Finding { is_doubtful: true, ..finding }),
            Self::Certain => Some(finding),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::at;
    use super::*;
    use crate::store::memory::Memory;

    #[test]
    fn each_row_of_the_table() {
        let [korea, states] = ["KR", "US"].map(|name| Country::new(name).unwrap());
        let both = [korea, states];
        for (likeness, first, then) in [
            (Likeness::Same, Certainty::Doubtful, Certainty::Usual),
            (Likeness::Update, Certainty::Certain, Certainty::Certain),
            (Likeness::Other, Certainty::Certain, Certainty::Certain),
        ] {
            let (history, kim) = (History::new(Memory::new()), UserKey::new("django", "1"));
            let judge = |likeness| Certainty::of(&history, &kim, &both, likeness, at(1));
            assert_eq!((judge(likeness), judge(likeness)), (first, then), "{likeness:?}");
            history.told(&kim, &both, at(1));
            let usual =
                if likeness == Likeness::Other { Certainty::Certain } else { Certainty::Usual };
            assert_eq!(judge(likeness), usual, "{likeness:?}");
            assert_eq!(
                Certainty::of(&history, &kim, &[], Likeness::Same, at(1)),
                Certainty::Doubtful
            );
        }
    }
}
