//! Dates in a service's database, as Django has them (`USE_TZ`, its default): UTC, which SQLite and MySQL do not say.

use super::Dialect;
use crate::clock::Timestamp;

impl Dialect {
    /// A column with a date as a text with the seconds since 1970; [`seconds`] reads it.
    ///
    /// # Errors
    /// No column can be called so.
    pub fn as_seconds(self, column: &str) -> Result<String, String> {
        let column = self.quoted(column)?;
        let seconds = match self {
            Self::Sqlite => format!("CAST(strftime('%s', {column}) AS INTEGER)"),
            Self::Postgres => format!("CAST(floor(EXTRACT(EPOCH FROM {column})) AS bigint)"),
            Self::MySql => format!("TIMESTAMPDIFF(SECOND, '1970-01-01 00:00:00', {column})"),
        };
        Ok(self.as_text(&seconds))
    }

    /// The same in thousandths; [`millis`] reads it.
    ///
    /// # Errors
    /// No column can be called so.
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

    /// A parameter that is a date ([`Self::written_date`]).
    pub fn date(self, place: usize) -> String {
        let placeholder = self.placeholder(place);
        match self {
            Self::Postgres => format!("CAST({placeholder} AS timestamptz)"),
            Self::Sqlite | Self::MySql => placeholder,
        }
    }

    /// A date as Django writes it.
    pub fn written_date(self, at: Timestamp) -> String {
        let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
        let at = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
        let zone = if self == Self::Postgres { "+00:00" } else { "" };
        format!("{}{zone}", at.strftime("%Y-%m-%d %H:%M:%S.%6f"))
    }
}

/// What [`Dialect::as_millis`] gave. Before 1970 there was no Django.
pub fn millis(text: &str) -> Option<Timestamp> {
    let millis: i64 = text.parse().ok()?;
    Some(Timestamp::from_millis(u64::try_from(millis).unwrap_or(0)))
}

/// What [`Dialect::as_seconds`] gave.
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
