use proptest::prelude::*;

use super::*;
use crate::session::testkit::{NOW, login};
use crate::store::counters::memory::CountersInMemory;

/// Returns a lockout after 3 failures of an account in a network, 5 of an address or 8 of a network, with waits of 1, 2, 4 ...
/// 60 s, which forgets after 10 min.
fn lockout() -> Lockout {
    let login = Login {
        account_failures: 3,
        address_failures: 5,
        network_failures: 8,
        backoff_initial: secs(1),
        backoff_max: secs(60),
        reset_after: secs(600),
        ..login()
    };
    Lockout::new(&login, CountersInMemory::new())
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Counts an attempt, without waiting for the store.
fn try_with(
    lockout: &Lockout,
    account: &str,
    client: IpAddr,
    device: Option<Digest>,
    at: Timestamp,
) -> Result<CountedAttempt, Duration> {
    match lockout.attempt(account, client, device, at).now_or_never().unwrap() {
        Ok(attempt) => Ok(attempt),
        Err(AttemptRefused::Wait(wait)) => Err(wait),
        Err(AttemptRefused::NotCounted(error)) => panic!("{error}"),
    }
}

/// Makes a failing attempt, and returns the wait if it was refused: `None` if it was let through.
fn fail(lockout: &Lockout, account: &str, client: &str, at: Timestamp) -> Option<Duration> {
    match try_with(lockout, account, ip(client), None, at) {
        Ok(attempt) => {
            attempt.failed();
            None
        }
        Err(wait) => Some(wait),
    }
}

fn succeed(lockout: &Lockout, account: &str, client: &str, at: Timestamp) {
    try_with(lockout, account, ip(client), None, at).expect("let through").succeeded();
}

#[test]
fn the_chart_is_walked_from_free_to_waiting_and_back() {
    let lockout = lockout();
    let mut now = NOW;
    // A known network, so that the account-wide counter is not used.
    succeed(&lockout, "kim", "192.0.2.1", now);
    for _ in 0..3 {
        assert_eq!(fail(&lockout, "kim", "192.0.2.1", now), None, "Free");
    }
    // From Waiting to Probing: each failure doubles the wait.
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(fail(&lockout, "kim", "192.0.2.1", now), Some(secs(wait)), "Waiting");
        let almost = now.plus(secs(wait)).minus(Duration::from_millis(1));
        assert_eq!(fail(&lockout, "kim", "192.0.2.1", almost), Some(Duration::from_millis(1)));
        now = now.plus(secs(wait));
        // The address has a limit of its own, which is not tested here: it drains, and another address is used.
        assert_eq!(fail(&lockout, "kim", &format!("192.0.2.{wait}"), now), None, "Probeable");
    }
    now = now.plus(secs(60 + 600));
    for _ in 0..3 {
        assert_eq!(fail(&lockout, "kim", "192.0.2.1", now), None, "forgotten");
    }
    assert!(fail(&lockout, "kim", "192.0.2.1", now).is_some());
}

#[test]
fn parallel_attempts_cannot_exceed_the_limit() {
    let lockout = lockout();
    let in_flight: Vec<_> =
        (0..3).map(|_| try_with(&lockout, "kim", ip("192.0.2.1"), None, NOW).unwrap()).collect();
    assert_eq!(fail(&lockout, "kim", "192.0.2.1", NOW), Some(IN_FLIGHT_WAIT));
    for attempt in in_flight {
        attempt.failed();
    }
    assert_eq!(fail(&lockout, "kim", "192.0.2.1", NOW), Some(secs(1)));
    let probe = try_with(&lockout, "kim", ip("192.0.2.1"), None, NOW.plus(secs(1))).unwrap();
    let second = fail(&lockout, "kim", "192.0.2.1", NOW.plus(secs(1)));
    assert_eq!(second, Some(IN_FLIGHT_WAIT), "one probe at a time");
    probe.take_back();
    assert_eq!(fail(&lockout, "kim", "192.0.2.1", NOW.plus(secs(1))), None);
}

#[test]
fn a_dropped_attempt_has_failed_and_one_taken_back_never_was() {
    let lockout = lockout();
    for _ in 0..20 {
        try_with(&lockout, "kim", ip("192.0.2.1"), None, NOW).unwrap().take_back();
    }
    for _ in 0..3 {
        drop(try_with(&lockout, "kim", ip("192.0.2.1"), None, NOW).unwrap());
    }
    assert_eq!(fail(&lockout, "kim", "192.0.2.1", NOW), Some(secs(1)));
}

#[test]
fn a_success_forgets_the_account_and_nothing_of_the_address() {
    let lockout = lockout();
    assert_eq!(fail(&lockout, "kim", "192.0.2.1", NOW), None);
    assert_eq!(fail(&lockout, "kim", "192.0.2.1", NOW), None);
    succeed(&lockout, "kim", "192.0.2.1", NOW);
    assert_eq!(fail(&lockout, "kim", "192.0.2.1", NOW), None);
    assert_eq!(fail(&lockout, "kim", "192.0.2.1", NOW), None);
    // The address has four failures so far, by two accounts: five are let through.
    assert_eq!(fail(&lockout, "lee", "192.0.2.1", NOW), None);
    assert_eq!(fail(&lockout, "new", "192.0.2.1", NOW), Some(secs(1)), "the address waits");
    assert_eq!(fail(&lockout, "new", "192.0.2.2", NOW), None, "its neighbor does not");
}

#[test]
fn a_stranger_does_not_lock_the_owner_out() {
    let lockout = lockout();
    succeed(&lockout, "kim", "198.51.100.7", NOW);
    let mut blocked = 0;
    for network in 0..100 {
        let stranger = format!("10.0.{network}.1");
        blocked += usize::from(fail(&lockout, "kim", &stranger, NOW).is_some());
    }
    assert_eq!(blocked, 94, "6 guesses from everywhere, twice the limit");
    assert_eq!(fail(&lockout, "kim", "203.0.113.1", NOW), Some(secs(30)), "a new network waits");
    succeed(&lockout, "kim", "198.51.100.200", NOW);
    // In a known network, only the account's own limit applies.
    for _ in 0..3 {
        assert_eq!(fail(&lockout, "kim", "198.51.100.7", NOW), None);
    }
    assert!(fail(&lockout, "kim", "198.51.100.7", NOW).is_some());
}

#[test]
fn a_network_is_forgotten_after_ninety_days() {
    let lockout = lockout();
    succeed(&lockout, "kim", "198.51.100.7", NOW);
    let later = NOW.plus(NETWORK_STAYS_KNOWN);
    for network in 0..6 {
        assert_eq!(fail(&lockout, "kim", &format!("10.0.{network}.1"), later), None);
    }
    assert!(fail(&lockout, "kim", "198.51.100.7", later).is_some());
}

#[test]
fn strangers_from_everywhere_wait_longer_and_longer() {
    let lockout = lockout();
    let mut now = NOW;
    let mut network = 0;
    let mut guess = |at| {
        network += 1;
        fail(&lockout, "kim", &format!("10.0.{network}.1"), at)
    };
    for _ in 0..6 {
        assert_eq!(guess(now), None);
    }
    // The first wait is multiplied by 30, up to the longest one.
    for wait in [30, 60, 60] {
        assert_eq!(guess(now), Some(secs(wait)));
        now = now.plus(secs(wait));
        assert_eq!(guess(now), None, "one after each wait");
    }
}

#[test]
fn no_account_can_be_guessed_at_for_more_than_its_guesses_a_day() {
    let login = Login { backoff_initial: secs(1), backoff_max: secs(1), ..login() };
    let login = Login { reset_after: secs(1), ..login };
    let lockout = Lockout::new(&login, CountersInMemory::new());
    // An attacker with a new network for each guess, who is never held back by the other limits.
    let guesses_of_day = |day: u64| {
        let tries = (0..86_400 / 20).map(|n| NOW.plus(secs(day * 86_400 + 20 * n)));
        tries
            .enumerate()
            .filter(|(n, at)| {
                let client = format!("10.{}.{}.1", n / 250, n % 250);
                fail(&lockout, "kim", &client, *at).is_none()
            })
            .count()
    };
    let first = guesses_of_day(0);
    assert!((90..=100).contains(&first), "{first}");
    for day in 1..4 {
        let more = guesses_of_day(day);
        assert!((40..=100).contains(&more), "{more}");
    }
}

#[test]
fn a_known_device_goes_on_while_others_guess_and_is_used_up_after_ten_failures() {
    let lockout = lockout();
    let device = Some(Digest::of(b"device"));
    let with_device = |at| try_with(&lockout, "kim", ip("203.0.113.1"), device, at);
    for network in 0..100 {
        fail(&lockout, "kim", &format!("10.0.{network}.1"), NOW);
        // The device's own network fails as well.
        fail(&lockout, &format!("name-{network}"), "203.0.113.1", NOW);
    }
    assert!(fail(&lockout, "kim", "203.0.113.1", NOW).is_some(), "a stranger waits");
    for _ in 0..9 {
        with_device(NOW).expect("let through").failed();
    }
    with_device(NOW).expect("let through").succeeded();
    for _ in 0..10 {
        with_device(NOW).expect("let through").failed();
    }
    assert!(with_device(NOW).is_err(), "it is a stranger's by now");
    let other = Some(Digest::of(b"another"));
    assert!(try_with(&lockout, "kim", ip("203.0.113.1"), other, NOW).is_ok());
    // Of simultaneous attempts, no more are let through.
    let third = Some(Digest::of(b"third"));
    let at_once: Vec<_> =
        (0..20).map(|_| try_with(&lockout, "kim", ip("203.0.113.1"), third, NOW)).collect();
    assert_eq!(at_once.iter().filter(|attempt| attempt.is_ok()).count(), 10);
}

#[test]
fn the_failures_of_a_shared_address_drain() {
    let lockout = lockout();
    // A user mistypes every two minutes, all day, which is as fast as the address drains.
    for minute in 0..1000 {
        let at = NOW.plus(secs(120 * minute));
        assert_eq!(fail(&lockout, &format!("user{minute}"), "192.0.2.1", at), None, "{minute}");
    }
}

#[test]
fn what_is_one_address_and_one_network() {
    let table = [
        ("192.0.2.77", "192.0.2.77/32", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.77/32", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"),
    ];
    for (client, address, network) in table {
        let expected: (IpNet, IpNet) = (address.parse().unwrap(), network.parse().unwrap());
        assert_eq!(networks(ip(client)), expected);
    }
}

#[test]
fn spelling_makes_no_second_account() {
    for (a, b) in [
        ("Kim", "kIM"),
        ("ｋｉｍ", "kim"),
        ("STRASSE", "straße"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("é", "e\u{301}"),
        ("ﬁn", "fin"),
        (" kim\u{a0} ", "kim"),
        ("k\u{200b}i\u{ad}m\u{feff}", "kim"),
        ("\u{e0041}kim\u{fe0f}", "kim"),
    ] {
        assert_eq!(folded(a), folded(b), "{a:?}");
    }
    assert_ne!(folded("kim"), folded("kin"));
    assert_ne!(folded("kim lee"), folded("kimlee"));
}

#[test]
fn however_many_names_and_addresses_are_invented_few_are_held() {
    let counters = CountersInMemory::new();
    let lockout = Lockout { counters: counters.clone(), ..lockout() };
    for n in 0..10_000_u32 {
        let client = IpAddr::from(std::net::Ipv4Addr::from(0x0100_0000 + n * 251));
        let device = Digest::of(&n.to_be_bytes());
        let name = format!("name-{n}");
        if let Ok(attempt) = try_with(&lockout, &name, client, None, NOW) {
            attempt.failed();
        }
        if let Ok(attempt) = try_with(&lockout, &name, client, Some(device), NOW) {
            attempt.succeeded();
        }
    }
    for scope in [ATTEMPTS, NETWORKS] {
        let (held, bytes) = counters.held(scope);
        assert!(held > 6000 && bytes <= scope.most_bytes, "{scope:?}: {held} {bytes}");
    }
}

/// Counts nothing, and never answers immediately.
struct SlowOrDown(bool, Arc<CountersInMemory>);

#[async_trait::async_trait]
impl Counters for SlowOrDown {
    async fn change(
        &self,
        scope: CounterScope,
        keys: &[CounterKey],
        at: Timestamp,
        change: &mut crate::store::counters::CounterChange<'_>,
    ) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        match self.0 {
            true => Err(StoreError("down".into())),
            false => self.1.change(scope, keys, at, change).await,
        }
    }
}

#[tokio::test]
async fn a_store_that_is_down_lets_nobody_try_and_one_that_is_slow_counts_later() {
    let memory = CountersInMemory::new();
    let with = |is_down| {
        let counters = Arc::new(SlowOrDown(is_down, Arc::clone(&memory)));
        Lockout { counters, ..lockout() }
    };
    let down = with(true).attempt("kim", ip("192.0.2.1"), None, NOW).await;
    assert!(matches!(down, Err(AttemptRefused::NotCounted(_))));
    let slow = with(false);
    for _ in 0..3 {
        // The client disconnected.
        drop(slow.attempt("kim", ip("192.0.2.1"), None, NOW).await.expect("let through"));
    }
    let counted = async || {
        let key = [CounterKey::of("192.0.2.0/24\0kim")];
        let read = |entries: &mut [CounterEntry]| {
            let counter = Counter::read(&entries[0]);
            (counter.failures, counter.in_flight)
        };
        changed(&*memory, ATTEMPTS, &key, NOW, read).await.unwrap()
    };
    for _ in 0..1000 {
        if counted().await == (3, 0) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{:?}", counted().await);
}

#[derive(Clone, Debug)]
enum Step {
    Start,
    Fail,
    TakeBack,
    Advance(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Start),
        3 => Just(Step::Fail),
        1 => Just(Step::TakeBack),
        2 => (0_u64..90_000).prop_map(Step::Advance),
    ];
    proptest::collection::vec(step, 0..200)
}

#[test]
fn attempts_that_cost_no_password_check_push_out_nothing() {
    let lockout = lockout();
    for _ in 0..3 {
        assert_eq!(fail(&lockout, "kim", "192.0.2.1", NOW), None);
    }
    for guess in 0..5 {
        assert_eq!(fail(&lockout, &format!("own-{guess}"), "198.51.100.1", NOW), None);
    }
    for guess in 0..10_000 {
        let name = format!("any-{guess}");
        assert!(fail(&lockout, &name, "198.51.100.1", NOW).is_some(), "the address waits");
        try_with(&lockout, &name, ip("203.0.113.1"), None, NOW).expect("let through").take_back();
    }
    assert_eq!(fail(&lockout, "kim", "192.0.2.1", NOW), Some(secs(1)));
}

proptest! {
    /// In every order, there are no more tries than the limit and one for each wait that passed.
    #[test]
    fn tries_are_bounded_in_every_order(steps in steps()) {
        let lockout = lockout();
        let (mut now, mut in_flight, mut tries) = (NOW, Vec::new(), 0_u32);
        for step in steps {
            match step {
                Step::Start => in_flight.extend(try_with(&lockout, "kim", ip("192.0.2.1"), None, now).ok()),
                Step::Fail => if let Some(attempt) = in_flight.pop() {
                    attempt.failed();
                    tries += 1;
                },
                Step::TakeBack => if let Some(attempt) = in_flight.pop() {
                    attempt.take_back();
                },
                Step::Advance(millis) => now = now.plus(Duration::from_millis(millis)),
            }
            // A probe needs a wait of a second or more to have passed; ten minutes of quiet give three tries more.
            let passed = u32::try_from(now.since(NOW).as_secs()).unwrap();
            prop_assert!(tries <= 3 + passed + 3 * (passed / 600));
            prop_assert!(in_flight.len() <= 3);
        }
    }
}
