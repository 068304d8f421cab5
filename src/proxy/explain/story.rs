//! An explanation in the making: its steps in order, and how it ended.

use serde_json::{Map, Value, json};

use crate::config::Route;
use crate::refusal::Refusal;

/// What a step says of the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StoryMark {
    /// It gets past this.
    Yes,
    /// It does not.
    No,
    /// It is told for the reader's sake.
    Note,
}

/// How it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StoryEnd {
    /// It goes to an upstream.
    Forward,
    /// The gateway answers it.
    Serve,
    /// The token is good.
    Good,
    /// It is refused.
    Refuse,
    /// A password would be looked at, and nobody looks at one to explain something.
    Undecided,
}

/// The steps so far.
#[derive(Debug, Default)]
pub(super) struct Story {
    steps: Vec<Value>,
    more: Map<String, Value>,
}

impl StoryMark {
    const fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Note => "note",
        }
    }
}

impl StoryEnd {
    const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Serve => "serve",
            Self::Good => "good",
            Self::Refuse => "refuse",
            Self::Undecided => "undecided",
        }
    }
}

impl Story {
    /// One more step.
    pub(super) fn step(&mut self, step: &'static str, mark: StoryMark, text: impl Into<String>) {
        self.steps.push(json!({"step": step, "mark": mark.name(), "text": text.into()}));
    }

    /// One more member of the answer.
    pub(super) fn member(&mut self, name: &str, value: Value) {
        self.more.insert(name.into(), value);
    }

    /// Where it leads.
    pub(super) fn route(&mut self, route: &Route) {
        self.member("route", json!(route.name));
    }

    /// The whole of it.
    pub(super) fn end(self, end: StoryEnd) -> Value {
        let mut all = Map::new();
        all.insert("decision".into(), json!(end.name()));
        all.extend(self.more);
        all.insert("steps".into(), Value::Array(self.steps));
        Value::Object(all)
    }

    /// It is refused, in this step.
    pub(super) fn refused(mut self, step: &'static str, refusal: Refusal, why: &str) -> Value {
        if refusal == Refusal::Busy {
            let text = "a name and a password would be checked; no password is checked to explain";
            self.step(step, StoryMark::Note, text);
            return self.end(StoryEnd::Undecided);
        }
        self.step(step, StoryMark::No, why);
        self.member("status", json!(refusal.status().as_u16()));
        self.member("code", json!(refusal.code()));
        self.member("detail", json!(refusal.detail()));
        self.end(StoryEnd::Refuse)
    }
}
