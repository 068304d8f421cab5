//! Parses rows of django-otp's tables.

use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::django::otp::TotpParameters;
use crate::service::database::QueryTexts;
use crate::service::database::dates::millis;

/// An authenticator app.
pub(super) struct TotpDevice {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) parameters: TotpParameters,
    pub(super) failures: u32,
    pub(super) failed_at: Option<Timestamp>,
    pub(super) last_used: Option<Timestamp>,
}

/// A device that holds static tokens.
pub(super) struct StaticDevice {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) failures: u32,
    pub(super) failed_at: Option<Timestamp>,
    pub(super) last_used: Option<Timestamp>,
    pub(super) tokens: Vec<StaticToken>,
}

/// A static token of a device.
pub(super) struct StaticToken {
    pub(super) id: i64,
    pub(super) text: Zeroizing<String>,
}

/// The columns of a row, read one after another.
struct Columns(std::vec::IntoIter<Option<String>>);

impl Columns {
    fn next(&mut self) -> Option<String> {
        self.0.next().flatten()
    }

    fn text(&mut self) -> Result<String, String> {
        self.next().ok_or_else(|| SHAPE.to_owned())
    }

    fn number<N: TryFrom<i64>>(&mut self) -> Result<N, String> {
        let number: i64 = self.text()?.parse().map_err(|_| SHAPE.to_owned())?;
        N::try_from(number).map_err(|_| SHAPE.to_owned())
    }

    fn date(&mut self) -> Option<Timestamp> {
        self.next().and_then(|text| millis(&text))
    }
}

const SHAPE: &str = "a row of a device is not as django-otp writes it";

/// Parses rows with the columns of `tables::TOTP_COLUMNS`.
pub(super) fn totp(rows: Vec<QueryTexts>) -> Result<Vec<TotpDevice>, String> {
    rows.into_iter()
        .map(|row| {
            let mut columns = Columns(row.into_iter());
            let (id, name) = (columns.number()?, columns.text()?);
            let key = Zeroizing::new(columns.text()?);
            let key = TotpParameters::read_key(&key).unwrap_or_else(|| {
                tracing::warn!(id, "the key of a TOTP device of a service's cannot be read");
                Zeroizing::default()
            });
            let has_key = !key.is_empty();
            let parameters = TotpParameters {
                key,
                step: columns.number()?,
                t0: columns.number()?,
                // Without a key no code is valid.
                digits: columns.number::<usize>()? * usize::from(has_key),
                tolerance: columns.number()?,
                drift: columns.number()?,
                last_t: columns.number()?,
            };
            let (failures, failed_at) = (columns.number()?, columns.date());
            let last_used = columns.date();
            Ok(TotpDevice { id, name, parameters, failures, failed_at, last_used })
        })
        .collect()
}

/// Parses rows of static devices: one row for each token, and one for a device without tokens.
pub(super) fn statics(rows: Vec<QueryTexts>) -> Result<Vec<StaticDevice>, String> {
    let mut devices: Vec<StaticDevice> = Vec::new();
    for row in rows {
        let mut columns = Columns(row.into_iter());
        let (id, name) = (columns.number()?, columns.text()?);
        let (failures, failed_at) = (columns.number()?, columns.date());
        let last_used = columns.date();
        if devices.last().is_none_or(|last| last.id != id) {
            let tokens = Vec::new();
            devices.push(StaticDevice { id, name, failures, failed_at, last_used, tokens });
        }
        let Some(token) = columns.next() else { continue };
        let token_id = token.parse().map_err(|_| SHAPE.to_owned())?;
        let text = Zeroizing::new(columns.text()?);
        if let Some(device) = devices.last_mut().filter(|_| !text.is_empty()) {
            device.tokens.push(StaticToken { id: token_id, text });
        }
    }
    Ok(devices)
}
