//! Builds statements that change a row of a service's table, with the parameters in the order of the text.

use crate::clock::Timestamp;
use crate::service::database::{Dialect, Statement};

/// A statement under construction.
pub(super) struct ChangeText {
    dialect: Dialect,
    sql: String,
    parameters: Vec<String>,
}

impl ChangeText {
    pub(super) fn new(dialect: Dialect, sql: &str) -> Self {
        Self { dialect, sql: sql.to_owned(), parameters: Vec::new() }
    }

    pub(super) fn sql(mut self, sql: &str) -> Self {
        self.sql.push_str(sql);
        self
    }

    pub(super) fn number(mut self, number: i64) -> Self {
        self.parameters.push(number.to_string());
        let placeholder = self.dialect.number(self.parameters.len());
        self.sql(&placeholder)
    }

    pub(super) fn date(mut self, at: Timestamp) -> Self {
        self.parameters.push(self.dialect.written_date(at));
        let placeholder = self.dialect.date(self.parameters.len());
        self.sql(&placeholder)
    }

    pub(super) fn text(mut self, text: &str) -> Self {
        self.parameters.push(text.to_owned());
        let placeholder = self.dialect.placeholder(self.parameters.len());
        self.sql(&placeholder)
    }

    pub(super) fn made(self) -> Statement {
        Statement { sql: self.sql.into(), parameters: self.parameters }
    }
}
