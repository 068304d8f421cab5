//! Judges how certain it is that a session used in several countries is not used by one person.
//!
//! | clients | countries | |
//! |---|---|---|
//! | equal `User-Agent` | known for this user | no finding |
//! | equal `User-Agent` | at least one is new | a doubtful finding: reported once, and nothing else is done |
//! | equal but for an update since | known for this user | no finding |
//! | equal but for an update since | at least one is new | certain |
//! | different | any | certain |
//!
//! A country is known for a user if they have signed in from it, or a finding about it was reported to them.

use super::Finding;
use super::client_version::Likeness;
use super::history::History;
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::geo::Country;

/// The certainty that a session used in several countries is used by several people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Certainty {
    /// The usual behavior of this user.
    Usual,
    /// Perhaps one person on two networks.
    Doubtful,
    /// The session is not used by one person with one client.
    Certain,
}

impl Certainty {
    /// Judges clients of a user that were this similar in these countries. A doubt is recorded, so that the next one is no
    /// finding.
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

    /// Returns the finding as it is to be reported, if at all.
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
