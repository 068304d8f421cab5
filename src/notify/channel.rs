//! One way to tell somebody, and what may come of an attempt.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::news::{News, NewsKind};
use crate::clock::Timestamp;
use crate::secret::random_bytes;

/// Sends.
#[async_trait]
pub trait Deliver: Send + Sync {
    /// Makes one attempt, in bounded time.
    async fn deliver(&self, parcel: &Parcel) -> Delivery;
}

/// What is to be sent.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The message's id: the same in each attempt.
    pub id: String,
    /// What it says.
    pub news: News,
    /// Now.
    pub now: Timestamp,
}

/// What came of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// It was sent.
    Sent,
    /// It may work later: not before the given time, if the receiver named one. The text is for the log.
    Again(String, Option<Duration>),
    /// It never will. The text is for the log.
    Never(String),
    /// There is nobody to send it to: a person without an address.
    NoAddress,
    /// Not now, although the channel works: so much later.
    Later(Duration),
}

/// A channel, as configured.
pub struct Channel {
    /// Its name: a metric label, and what its messages are kept under.
    pub name: Arc<str>,
    /// What it is told.
    pub kinds: Vec<NewsKind>,
    /// An attempt takes no longer.
    pub timeout: Duration,
    /// How it sends.
    pub deliver: Arc<dyn Deliver>,
    /// Rung when a message was put in.
    pub(super) wake: Notify,
}

/// The channels, and by which rules messages wait in them.
pub struct Channels {
    /// All of them.
    pub all: Vec<Arc<Channel>>,
    /// The rules.
    pub pace: Pace,
}

/// `[notify]`: how long and how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// How many messages wait in one channel at most.
    pub queue: u32,
    /// For how long the same incident is no news.
    pub cool_down: Duration,
    /// The wait after the first failure; it doubles with each further one.
    pub first_retry: Duration,
    /// The longest wait.
    pub longest_retry: Duration,
    /// A message older than this is given up.
    pub give_up_after: Duration,
}

impl Channel {
    /// A channel.
    pub fn new(
        name: &str,
        kinds: Vec<NewsKind>,
        timeout: Duration,
        deliver: Arc<dyn Deliver>,
    ) -> Arc<Self> {
        Arc::new(Self { name: name.into(), kinds, timeout, deliver, wake: Notify::new() })
    }
}

impl Pace {
    /// How long to wait after so many failures: between half of the doubled wait and all of it, so that what failed together
    /// does not come back together.
    pub(super) fn wait(&self, failures: u32) -> Duration {
        let doubled = self.first_retry.saturating_mul(1 << failures.saturating_sub(1).min(20));
        let longest = doubled.min(self.longest_retry);
        let part = u32::from(u16::from_le_bytes(random_bytes().unwrap_or([0xff, 0xff])));
        longest / 2 + longest / 2 * part / 0x1_0000
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::PACE;

    #[test]
    fn waits_double_up_to_the_longest_and_vary() {
        for (failures, least, most) in
            [(1, 500, 1000), (2, 1000, 2000), (4, 4000, 8000), (9, 4000, 8000), (99, 4000, 8000)]
        {
            for _ in 0..50 {
                let wait = PACE.wait(failures).as_millis();
                assert!((least..=most).contains(&wait), "{failures}: {wait}");
            }
        }
    }
}
