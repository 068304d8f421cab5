//! The answer of `project/proof.py`: whether the gateway decides as Django does.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Everything that Django was asked, and the results.
#[derive(Debug, Deserialize)]
pub(super) struct SignInProof {
    pub(super) obstacles: Vec<Obstacle>,
    /// What a user's row must have besides the name or key, by the manager's own query.
    pub(super) conditions: Vec<ColumnCondition>,
    /// `exact` or `fold`.
    pub(super) username_case: String,
    pub(super) second_factors: Vec<SecondFactor>,
    /// The users of the sample, and all users.
    pub(super) asked: u64,
    pub(super) users: u64,
    /// The first backend that finds users again.
    pub(super) session_backend: String,
    /// The schema in which the open connection finds the user's tables; empty if the database has no schemas.
    pub(super) schema: String,
    /// Each table's schema and name.
    pub(super) tables: BTreeMap<String, Option<(String, String)>>,
    /// How many passwords each of the project's hashers has.
    pub(super) hashes: BTreeMap<String, u64>,
    pub(super) address_readers: Vec<AddressReader>,
}

/// Something that the gateway would decide otherwise than the service, or that cannot be shown to be decided alike.
#[derive(Debug, Deserialize)]
pub(super) struct Obstacle {
    pub(super) effect: ObstacleEffect,
    pub(super) about: String,
    pub(super) says: String,
    pub(super) means: String,
}

/// The consequence of an obstacle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ObstacleEffect {
    /// The service continues to sign people in.
    Follow,
    /// Even then the gateway decides otherwise.
    Fail,
}

/// A condition on `column`: it is null, is not null, or has a value.
#[derive(Debug, Deserialize)]
pub(super) struct ColumnCondition {
    pub(super) column: String,
    #[serde(default)]
    pub(super) is: Option<String>,
    #[serde(default)]
    pub(super) equals: Option<serde_json::Value>,
}

/// A table with a row for each device of a user.
#[derive(Debug, Deserialize)]
pub(super) struct SecondFactor {
    pub(super) model: String,
    pub(super) table: String,
    pub(super) user_column: String,
    /// What the column contains: `id` or `username`.
    pub(super) user_key: String,
    /// Whether the model's rows are known to be devices.
    pub(super) known: bool,
    pub(super) conditions: Vec<ColumnCondition>,
}

/// A package that counts by the client's address.
#[derive(Debug, Deserialize)]
pub(super) struct AddressReader {
    pub(super) package: String,
    /// What the package takes for the client's address behind the gateway.
    pub(super) seen: String,
    pub(super) is_right: bool,
    /// The setting that corrects it.
    pub(super) line: String,
}
