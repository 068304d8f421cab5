//! Tests that any sequence of calls, with the file closed and opened in between, has the same results as in the store in
//! memory.

use proptest::prelude::*;

use super::super::super::memory::Memory;
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Create {
        user: u8,
    },
    /// The number of a session, and the number of a token among all that were ever made.
    Rotate {
        session: usize,
        token: usize,
    },
    Look {
        session: usize,
        token: usize,
    },
    Touch {
        session: usize,
    },
    End {
        session: usize,
    },
    EndUser {
        user: u8,
    },
    List {
        user: Option<u8>,
    },
    Upkeep,
    Wait {
        seconds: u64,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let (session, token) = (0..4_usize, 0..12_usize);
    prop_oneof![
        3 => (0..2_u8).prop_map(|user| Step::Create { user }),
        8 => (session.clone(), token.clone())
            .prop_map(|(session, token)| Step::Rotate { session, token }),
        2 => (session.clone(), token).prop_map(|(session, token)| Step::Look { session, token }),
        2 => session.clone().prop_map(|session| Step::Touch { session }),
        1 => session.prop_map(|session| Step::End { session }),
        1 => (0..2_u8).prop_map(|user| Step::EndUser { user }),
        2 => proptest::option::of(0..2_u8).prop_map(|user| Step::List { user }),
        1 => Just(Step::Upkeep),
        4 => prop_oneof![Just(1), Just(9), Just(10), Just(600), Just(3600)]
            .prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Reopen),
    ]
}

/// What the tests refer to by number, and the time.
#[derive(Clone)]
struct Scene {
    sessions: Vec<String>,
    /// Each token, with its own session.
    tokens: Vec<(String, String)>,
    now: Timestamp,
}

impl Scene {
    fn session(&self, number: usize) -> String {
        self.sessions.get(number).cloned().unwrap_or_else(|| "none".to_owned())
    }

    /// Returns a token with its own session, or with another one if `session` is 3.
    fn token(&self, session: usize, token: usize) -> (String, String) {
        let (own, name) = self
            .tokens
            .get(self.tokens.len().saturating_sub(1 + token))
            .cloned()
            .unwrap_or_else(|| ("none".to_owned(), "none".to_owned()));
        (if session == 3 { self.session(0) } else { own }, name)
    }
}

fn ids(sessions: &[Arc<Session>]) -> Vec<String> {
    let mut ids: Vec<_> = sessions.iter().map(|session| session.id.to_string()).collect();
    ids.sort();
    ids
}

/// Takes one step on one store, and returns the result as text to compare.
async fn take(store: &(impl Sessions + RefreshTokens), step: &Step, scene: &Scene) -> String {
    let user = |user: &u8| UserKey::new("django", &user.to_string());
    let now = scene.now;
    match step {
        Step::Create { user } => {
            let mut new = new_session(&format!("s{}", scene.sessions.len()), &user.to_string());
            new.at = now;
            format!("{:?}", store.create(new).await.map(|session| session.id.clone()))
        }
        Step::Rotate { session, token } => {
            let (session, name) = scene.token(*session, *token);
            let successor = format!("{session}-{}", scene.tokens.len());
            match store.rotate(rotate(&session, &name, &successor, now)).await.unwrap() {
                RotationOutcome::Rotated(of) => format!("rotated {}", of.id),
                RotationOutcome::Replayed(of, sealed) => format!("replayed {} {sealed:?}", of.id),
                RotationOutcome::Reused(of) => format!("reused {} {}", of.id, of.is_live(now)),
                RotationOutcome::Expired => "expired".to_owned(),
                RotationOutcome::Unknown => "unknown".to_owned(),
            }
        }
        Step::Look { session, token } => {
            let (session, name) = scene.token(*session, *token);
            match store.look(&SessionId::new(&session), &digest(&name), now).await.unwrap() {
                RefreshState::Fresh(of) => format!("fresh {}", of.id),
                RefreshState::Spent(of, at) => format!("spent {} {at}", of.id),
                RefreshState::Expired => "expired".to_owned(),
                RefreshState::Unknown => "unknown".to_owned(),
            }
        }
        Step::Touch { session } => {
            let id = SessionId::new(&scene.session(*session));
            let found = store.find(SessionBy::Id(&id), now).await.unwrap();
            found
                .inspect(|session| session.touch(now))
                .map(|s| s.id.to_string())
                .unwrap_or_default()
        }
        Step::End { session } => {
            let which = SessionSelection::Session(SessionId::new(&scene.session(*session)));
            format!("{:?}", ids(&store.end(&which, EndReason::SignedOut, now).await.unwrap()))
        }
        Step::EndUser { user: of } => {
            let which = SessionSelection::User(user(of));
            format!("{:?}", ids(&store.end(&which, EndReason::SignedOut, now).await.unwrap()))
        }
        Step::List { user: of } => {
            let key = of.as_ref().map(user);
            let listed = store.list(key.as_ref(), now).await.unwrap();
            format!("{:?}", listed.iter().map(|s| s.id.as_str()).collect::<Vec<_>>())
        }
        // A reopened file knows the last uses as of the last upkeep.
        Step::Upkeep | Step::Reopen => {
            let upkeep = store.upkeep(now).await.unwrap();
            format!("{:?} {}", ids(&upkeep.expired), upkeep.active)
        }
        Step::Wait { .. } => String::new(),
    }
}

async fn play(steps: &[Step]) {
    let memory = Memory::new();
    let (mut embedded, folder) = fresh();
    let mut scene = Scene { sessions: Vec::new(), tokens: Vec::new(), now: T0 };
    for (number, step) in steps.iter().enumerate() {
        let (expected, told) =
            (take(&*memory, step, &scene).await, take(&*embedded, step, &scene).await);
        assert_eq!(told, expected, "step {number}, {step:?}");
        match step {
            Step::Create { .. } => {
                let id = format!("s{}", scene.sessions.len());
                scene.tokens.push((id.clone(), format!("{id}-0")));
                scene.sessions.push(id);
            }
            Step::Rotate { session, token } if told.starts_with("rotated") => {
                let (session, _) = scene.token(*session, *token);
                let successor = format!("{session}-{}", scene.tokens.len());
                scene.tokens.push((session, successor));
            }
            Step::Wait { seconds } => scene.now = scene.now.plus(Duration::from_secs(*seconds)),
            Step::Reopen => {
                drop(embedded);
                embedded = open(&folder);
            }
            Step::Rotate { .. }
            | Step::Look { .. }
            | Step::Touch { .. }
            | Step::End { .. }
            | Step::EndUser { .. }
            | Step::List { .. }
            | Step::Upkeep => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_in_the_file_tells_what_the_store_in_memory_tells(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(play(&steps));
    }
}
