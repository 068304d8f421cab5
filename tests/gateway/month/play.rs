//! Shows the detectors what people and thieves do, and records the results. People whose session ends sign in again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use doorwarden::block::{Block, BlockSubject};
use doorwarden::caller::{Proof, SessionId, UserKey};
use doorwarden::clock::Timestamp;
use doorwarden::config::Detect;
use doorwarden::detect::Finding;
use doorwarden::detect::history::History;
use doorwarden::detect::respond::TakenAction;
use doorwarden::detect::watch::{
    Detection, DetectionParts, DetectorRules, FindingSink, NotDone, Respond,
};
use doorwarden::event::{Event, EventKind, Refresh, SignInFailure};
use doorwarden::notify::Incident;
use doorwarden::secret::Digest;
use doorwarden::store::SessionSelection;
use doorwarden::store::counters::memory::CountersInMemory;
use doorwarden::store::memory::Memory;
use doorwarden::wire::client_ip::TrustedProxies;
use parking_lot::Mutex;

use super::world::{Client, World};

/// Milliseconds of a day.
pub(super) const DAY: u64 = 86_400_000;
pub(super) const HOUR: u64 = 3_600_000;
pub(super) const MINUTE: u64 = 60_000;

/// The first day: a Monday.
const BEGIN: u64 = 1_798_416_000_000;

/// A request that uses one of a person's sessions.
#[derive(Clone, Copy)]
pub(super) struct Act {
    /// Milliseconds since the beginning.
    pub(super) at: u64,
    pub(super) person: u32,
    /// Each device of a person has a session of its own.
    pub(super) device: u8,
    pub(super) from: IpAddr,
    pub(super) client: Client,
    pub(super) deed: Deed,
    /// The number of the theft, if a thief does this.
    pub(super) theft: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Use,
    /// A refresh after another tab has already refreshed.
    Race,
    Refresh,
    /// A sign-in, with the device cookie or without.
    SignIn(bool),
    Misses,
    NotFound(u32),
}

/// A theft, and the results.
#[derive(Clone, Default)]
pub(super) struct Theft {
    pub(super) kind: usize,
    pub(super) begun: Option<u64>,
    pub(super) requests: u32,
    /// The detector that found it first, and after how many of the thief's requests; `stopped` if it did more than report.
    pub(super) told: Option<(&'static str, u32)>,
    pub(super) stopped: Option<(&'static str, u32)>,
}

/// Findings about people who are not victims.
#[derive(Clone, Copy, Default)]
pub(super) struct Alarms {
    /// Sessions ended, addresses blocked, or new sign-ins demanded.
    pub(super) acted: u64,
    /// Sessions slowed down.
    pub(super) limited: u64,
    /// Findings that were only reported.
    pub(super) told: u64,
}

#[derive(Default)]
struct Account {
    over: Mutex<HashSet<SessionId>>,
    live: Mutex<HashMap<UserKey, Vec<SessionId>>>,
    blocked: Mutex<Vec<(Arc<Block>, u64)>>,
    found: Mutex<Vec<(Finding, Vec<TakenAction>)>>,
}

pub(super) struct Play {
    watching: Detection,
    account: Arc<Account>,
    sessions: HashMap<(u32, u8), Open>,
    counter: u64,
    agents: HashMap<(u8, u8), Arc<str>>,
    victims: HashMap<u32, u32>,
    pub(super) thefts: Vec<Theft>,
    pub(super) alarms: BTreeMap<&'static str, Alarms>,
    pub(super) events: u64,
}

struct Open {
    id: SessionId,
    /// A thief has rotated its refresh token: the owner's is spent.
    spent: bool,
}

#[async_trait]
impl Respond for Account {
    async fn end(&self, which: &SessionSelection, _: Timestamp) -> Result<(), NotDone> {
        let mut over = self.over.lock();
        match which {
            SessionSelection::Session(session) => {
                over.insert(session.clone());
                self.live.lock().values_mut().for_each(|all| all.retain(|one| one != session));
            }
            SessionSelection::User(user) => {
                over.extend(self.live.lock().remove(user).unwrap_or_default());
            }
            SessionSelection::OthersOf { .. } | SessionSelection::SignIns { .. } => {
                unreachable!("no detector spares one")
            }
        }
        Ok(())
    }

    async fn block(&self, block: Block) -> Result<bool, NotDone> {
        match &block.subject {
            BlockSubject::Session(session) if block.demand.name() == "sign_in" => {
                self.over.lock().insert(session.clone());
            }
            BlockSubject::Address(_) => {
                let until = block.until.as_millis();
                self.blocked.lock().push((Arc::new(block), until));
            }
            BlockSubject::Session(_) | BlockSubject::User(_) => {}
        }
        Ok(true)
    }

    async fn sessions(&self, user: &UserKey, _: Timestamp) -> Vec<SessionId> {
        let live = self.live.lock();
        live.get(user).map(|all| all.iter().rev().cloned().collect()).unwrap_or_default()
    }

    async fn groups(&self, _: &UserKey, _: Timestamp) -> Vec<String> {
        Vec::new()
    }

    async fn has_second_factor(&self, _: &UserKey, _: Timestamp) -> bool {
        false
    }

    fn notify(&self, _: Incident) {}
}

impl FindingSink for Account {
    fn finding(&self, finding: &Finding, taken: &[TakenAction], _: Option<&NotDone>) {
        self.found.lock().push((finding.clone(), taken.to_vec()));
    }
}

fn user(person: u32) -> UserKey {
    UserKey::new("people", &person.to_string())
}

impl Play {
    /// Creates a play with the gateway's default settings.
    pub(super) fn new(thefts: Vec<Theft>) -> Self {
        let account = Arc::new(Account::default());
        let settings = Detect::default();
        let rules =
            DetectorRules { settings, places: Arc::new(World), trusted: TrustedProxies::default() };
        let watching = Detection::new(DetectionParts {
            rules: Arc::new(ArcSwap::from_pointee(rules)),
            silences: Arc::default(),
            history: Arc::new(History::new(Memory::new())),
            counters: CountersInMemory::new(),
            respond: Arc::clone(&account) as Arc<dyn Respond>,
            report: Arc::clone(&account) as Arc<dyn FindingSink>,
        });
        Self {
            watching,
            account,
            sessions: HashMap::new(),
            counter: 0,
            agents: HashMap::new(),
            victims: HashMap::new(),
            thefts,
            alarms: BTreeMap::new(),
            events: 0,
        }
    }

    /// Plays all acts of a day, given in any order.
    pub(super) async fn day(&mut self, mut acts: Vec<Act>) {
        acts.sort_by_key(|act| act.at);
        for act in acts {
            self.act(&act).await;
        }
        self.account.blocked.lock().clear();
    }

    async fn act(&mut self, act: &Act) {
        if self.is_blocked(act) {
            return;
        }
        if let Some(number) = act.theft {
            let theft = &mut self.thefts[usize::try_from(number).unwrap()];
            theft.begun.get_or_insert(act.at);
            theft.requests += 1;
            self.victims.insert(act.person, number);
        }
        let what = match act.deed {
            Deed::SignIn(known) => self.sign_in(act, known),
            Deed::Misses => EventKind::SignInFailed {
                account: format!("person-{}", act.person).into(),
                user: Some(user(act.person)),
                why: SignInFailure::WrongPassword,
            },
            Deed::NotFound(path) => EventKind::NotFound { path: Digest::of(&path.to_le_bytes()) },
            Deed::Use | Deed::Refresh | Deed::Race => {
                let is_over =
                    self.open(act).is_none_or(|open| self.account.over.lock().contains(&open.id));
                if is_over {
                    // The thief has no session left; a person signs in again in the same browser.
                    if act.theft.is_some() {
                        return;
                    }
                    let what = self.sign_in(act, true);
                    self.show(act, what).await;
                }
                let Some(what) = self.with_session(act) else { return };
                what
            }
        };
        self.show(act, what).await;
    }

    fn open(&self, act: &Act) -> Option<&Open> {
        self.sessions.get(&(act.person, act.device))
    }

    fn with_session(&mut self, act: &Act) -> Option<EventKind> {
        let open = self.sessions.get_mut(&(act.person, act.device))?;
        let (session, user) = (open.id.clone(), user(act.person));
        if act.deed == Deed::Use {
            return Some(EventKind::SessionUsed { session, user, proof: Proof::SessionCookie });
        }
        let is_thief = act.theft.is_some();
        if !is_thief && std::mem::take(&mut open.spent) {
            self.account.over.lock().insert(session.clone());
            return Some(EventKind::RefreshReused { session, user });
        }
        open.spent |= is_thief;
        let how = if act.deed == Deed::Race { Refresh::ReplayedInGrace } else { Refresh::Rotated };
        Some(EventKind::Refreshed { session, user, how })
    }

    fn sign_in(&mut self, act: &Act, known_device: bool) -> EventKind {
        self.counter += 1;
        let session = SessionId::new(&format!("s-{}", self.counter));
        let user = user(act.person);
        let mut live = self.account.live.lock();
        let all = live.entry(user.clone()).or_default();
        let key = (act.person, act.device);
        let open = Open { id: session.clone(), spent: false };
        // A browser that signs in again replaces its session; a program leaves the old one.
        if let Some(before) = self.sessions.insert(key, open)
            && known_device
        {
            all.retain(|one| *one != before.id);
        }
        all.push(session.clone());
        EventKind::SignedIn {
            session,
            user,
            account: format!("person-{}", act.person).into(),
            tokens: true,
            cookie: true,
            known_device,
            methods: doorwarden::caller::AuthMethods::default(),
        }
    }

    async fn show(&mut self, act: &Act, what: EventKind) {
        let Client { family, version } = act.client;
        let agent =
            self.agents.entry((family, version)).or_insert_with(|| act.client.agent().into());
        let event = Event {
            at: Timestamp::from_millis(BEGIN + act.at),
            request_id: None,
            client: Some(act.from),
            agent: Some(Arc::clone(agent)),
            what,
        };
        self.events += 1;
        self.watching.show(&event).await;
        let found = std::mem::take(&mut *self.account.found.lock());
        for (finding, taken) in found {
            self.judge(act, &finding, &taken);
        }
    }

    /// Records whether the finding is about a thief or a false alarm.
    fn judge(&mut self, act: &Act, finding: &Finding, taken: &[TakenAction]) {
        let is_strong = |one: &TakenAction| {
            matches!(
                one,
                TakenAction::StepUp
                    | TakenAction::EndSession
                    | TakenAction::EndUserSessions
                    | TakenAction::BlockAddress
            )
        };
        let name = finding.detector.name();
        let stopped = taken.iter().any(is_strong);
        let about = finding.user.as_ref().and_then(|user| user.id.parse::<u32>().ok());
        let theft = about.and_then(|person| self.victims.get(&person).copied()).or(act.theft);
        let theft = theft.map(|number| &mut self.thefts[usize::try_from(number).unwrap()]);
        // Only a thief spends another person's token, however late that shows.
        let is_reuse = name == "refresh_reuse";
        let is_within_a_day = |theft: &&mut Theft| {
            is_reuse || theft.begun.is_some_and(|begun| act.at.saturating_sub(begun) < DAY)
        };
        if let Some(theft) = theft.filter(is_within_a_day) {
            let after = (name, theft.requests);
            theft.told.get_or_insert(after);
            if stopped {
                theft.stopped.get_or_insert(after);
            }
            return;
        }
        let alarms = self.alarms.entry(name).or_default();
        match (stopped, taken.contains(&TakenAction::Limit)) {
            (true, _) => alarms.acted += 1,
            (false, true) => alarms.limited += 1,
            (false, false) => alarms.told += 1,
        }
    }

    fn is_blocked(&self, act: &Act) -> bool {
        let now = BEGIN + act.at;
        self.account.blocked.lock().iter().any(|(block, until)| {
            let BlockSubject::Address(network) = &block.subject else { return false };
            now < *until && network.contains(&act.from)
        })
    }
}
