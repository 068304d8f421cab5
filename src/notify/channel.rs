//! A channel of notifications, and the results of an attempt to send one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::news::{News, NewsKind};
use crate::clock::Timestamp;
use crate::secret::random_bytes;

/// Sends messages through one channel.
#[async_trait]
pub trait Deliver: Send + Sync {
    /// Makes one attempt, in bounded time.
    async fn deliver(&self, parcel: &Parcel) -> Delivery;
}

/// A message to be sent.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The id of the message: the same in each attempt.
    pub id: String,
    /// The content.
    pub news: News,
    /// The present time.
    pub now: Timestamp,
}

/// The result of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// The message was sent.
    Sent,
    /// The attempt failed, and may succeed later: not before the given time, if the receiver named one. The text is for the
    /// log.
    Again(String, Option<Duration>),
    /// The attempt failed, and later ones will too. The text is for the log.
    Never(String),
    /// There is no recipient: the user has no address.
    NoAddress,
    /// The message must wait this long, although the channel works.
    Later(Duration),
}

/// A channel, as configured.
pub struct Channel {
    /// The name: a metric label, and the key under which its messages are stored.
    pub name: Arc<str>,
    /// The kinds of news that the channel sends.
    pub kinds: Vec<NewsKind>,
    /// The longest duration of an attempt.
    pub timeout: Duration,
    /// The sender.
    pub deliver: Arc<dyn Deliver>,
    /// Notified when a message was queued.
    pub(super) wake: Notify,
}

/// The channels, and the rules by which messages wait in them.
pub struct Channels {
    /// All channels.
    pub all: Vec<Arc<Channel>>,
    /// The rules for all of them.
    pub pace: Pace,
}

/// `[notify]`: limits of time and number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// The most messages that wait in one channel.
    pub queue: u32,
    /// How long the same incident is not reported again.
    pub cool_down: Duration,
    /// The backoff after the first failure; it doubles with each further one.
    pub first_retry: Duration,
    /// The longest backoff.
    pub longest_retry: Duration,
    /// The age at which a message is given up.
    pub give_up_after: Duration,
}

impl Channel {
    /// Creates a channel.
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
    /// Returns the backoff after this many failures: between half of the doubled time and all of it, so that messages that
    /// failed together are not retried together.
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
