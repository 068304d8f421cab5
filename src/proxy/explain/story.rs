//! Builds an explanation: its steps in order, and its end.

use serde_json::{Map, Value, json};

use crate::config::Route;
use crate::refusal::Refusal;

/// The meaning of a step for the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StoryMark {
    /// The request gets past this step.
    Yes,
    /// The request does not get past this step.
    No,
    /// The step is only information.
    Note,
}

/// The end of an explanation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StoryEnd {
    /// The request goes to an upstream.
    Forward,
    /// The gateway answers the request.
    Serve,
    /// The token is valid.
    Good,
    /// The request is refused.
    Refuse,
    /// A password would have to be checked, and none is checked for an explanation.
    Undecided,
}

/// An explanation in progress.
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
    /// Adds a step.
    pub(super) fn step(&mut self, step: &'static str, mark: StoryMark, text: impl Into<String>) {
        self.steps.push(json!({"step": step, "mark": mark.name(), "text": text.into()}));
    }

    /// Adds a member to the answer.
    pub(super) fn member(&mut self, name: &str, value: Value) {
        self.more.insert(name.into(), value);
    }

    /// Adds the route that the request takes.
    pub(super) fn route(&mut self, route: &Route) {
        self.member("route", json!(route.name));
    }

    /// Returns the complete explanation.
    pub(super) fn end(self, end: StoryEnd) -> Value {
        let mut all = Map::new();
        all.insert("decision".into(), json!(end.name()));
        all.extend(self.more);
        all.insert("steps".into(), Value::Array(self.steps));
        Value::Object(all)
    }

    /// Ends the explanation with a refusal in this step.
    pub(super) fn refused(mut self, step: &'static str, refusal: Refusal, why: &str) -> Value {
        if refusal == Refusal::Busy {
            let text = "a name and a password would be checked; explain checks no password";
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
