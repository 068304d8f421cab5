//! Reads and writes dates in a service's database as Django does with `USE_TZ`, its default: in UTC, a zone that SQLite and
//! MySQL do not store.

use super::Dialect;
use crate::clock::Timestamp;

impl Dialect {
    /// Returns SQL that reads a date column as a text with the seconds since 1970; [`seconds`] parses it.
    ///
    /// # Errors
    /// No column can have this name.
    pub fn as_seconds(self, column: &str) -> Result<String, String> {
        let column = self.quoted(column)?;
        let seconds = match self {
            Self::Sqlite => format!("CAST(strftime('%s', {column}) AS INTEGER)"),
            Self::Postgres => format!("CAST(floor(EXTRACT(EPOCH FROM {column})) AS bigint)"),
            Self::MySql => format!("TIMESTAMPDIFF(SECOND, '1970-01-01 00:00:00', {column})"),
        };
        Ok(self.as_text(&seconds))
    }

    /// Returns SQL that reads a date column as a text with the milliseconds since 1970; [`millis`] parses it.
    ///
    /// # Errors
    /// No column can have this name.
    pub fn as_millis(self, column: &str) -> Result<String, String> {
        let column = self.quoted(column)?;
        let millis = match self {
            Self::Sqlite => format!(
                "CAST(strftime('%s', {column}) AS INTEGER) * 1000 + CAST(substr(strftime('%f', {column}), 4, 3) AS INTEGER)"
            ),
            Self::Postgres => {
                format!("CAST(floor(EXTRACT(EPOCH FROM {column}) * 1000) AS bigint)")
            }
            Self::MySql => {
                format!("TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', {column}) DIV 1000")
            }
        };
        Ok(self.as_text(&millis))
    }

    /// Returns the placeholder of a parameter that is a date ([`Self::written_date`]).
    pub fn date(self, place: usize) -> String {
        let placeholder = self.placeholder(place);
        match self {
            Self::Postgres => format!("CAST({placeholder} AS timestamptz)"),
            Self::Sqlite | Self::MySql => placeholder,
        }
    }

    /// Formats a date as Django writes it.
    pub fn written_date(self, at: Timestamp) -> String {
        let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
        let at = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
        let zone = if self == Self::Postgres { "+00:00" } else { "" };
        format!("{}{zone}", at.strftime("%Y-%m-%d %H:%M:%S.%6f"))
    }
}

/// Parses a value of [`Dialect::as_millis`]. A date before 1970 becomes 1970.
pub fn millis(text: &str) -> Option<Timestamp> {
    let millis: i64 = text.parse().ok()?;
    Some(Timestamp::from_millis(u64::try_from(millis).unwrap_or(0)))
}

/// Parses a value of [`Dialect::as_seconds`].
pub fn seconds(text: &str) -> Option<Timestamp> {
    let seconds: i64 = text.parse().ok()?;
    Some(Timestamp::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_as_django_writes_it() {
        let at = Timestamp::from_secs(1_780_000_000);
        let later = Timestamp::from_millis(1_780_000_000_007);
        assert_eq!(Dialect::Sqlite.written_date(at), "2026-05-28 20:26:40.000000");
        assert_eq!(Dialect::MySql.written_date(later), "2026-05-28 20:26:40.007000");
        assert_eq!(Dialect::Postgres.written_date(at), "2026-05-28 20:26:40.000000+00:00");
    }
}
