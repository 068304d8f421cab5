//! Loads sessions recorded from Django, for the tests of the format and of the credential.

use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Vectors {
    pub(crate) users: Vec<VectorUser>,
    pub(crate) sessions: Vec<Vector>,
}

#[derive(Deserialize)]
pub(crate) struct VectorUser {
    pub(crate) id: u64,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) is_active: bool,
}

#[derive(Deserialize)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) engine: String,
    pub(crate) secret_key: String,
    pub(crate) secret_key_fallbacks: Vec<String>,
    pub(crate) authentication_backends: Vec<String>,
    pub(crate) row: Option<VectorRow>,
    pub(crate) cookie: Option<String>,
    pub(crate) now: Option<u64>,
    pub(crate) max_age: Option<u64>,
    pub(crate) expect: Expectation,
}

#[derive(Deserialize)]
pub(crate) struct VectorRow {
    pub(crate) session_key: String,
    pub(crate) session_data: String,
    pub(crate) expire_date: String,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Expectation {
    pub(crate) accept: bool,
    pub(crate) user_id: Option<u64>,
    #[serde(default)]
    pub(crate) django_cycles_key: bool,
    pub(crate) reason: Option<String>,
}

pub(crate) fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../../tests/vectors/django.json")).unwrap()
}
