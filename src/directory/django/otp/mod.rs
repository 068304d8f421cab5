//! Checks codes of the devices of django-otp and django-two-factor-auth as these packages do.
//!
//! **Single use.** `last_t` is written in one UPDATE that names the values that were read (`last_t`, the count of failures),
//! and a static token is deleted in one DELETE that names it. So of two equal codes at the same time, here or at the service,
//! only one matches its row.
//!
//! **Throttling.** A wrong code adds one to `throttling_failure_count` of each device that it was checked against, again by
//! naming the old count; whoever finds another count tries again, and then has to wait. So of any number of concurrent codes,
//! one is checked. A code with as many digits as a TOTP device expects counts there, and any other code counts at the devices
//! with static tokens: otherwise app codes mistyped for a year would lock the static tokens too. A right code clears the
//! failures of all the user's TOTP devices, since nobody says beforehand which device a code is from.
//!
//! **Rights.** Devices whose table may not be written cannot be used, because a code that stays valid could be used twice.
//! Such users are sent to the service's own page.

mod rows;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;

use self::rows::{StaticDevice, TotpDevice};
use self::tables::OtpTables;
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::config::DjangoOtpSettings;
use crate::directory::DirectoryError;
use crate::directory::second_factors::{
    FactorsAtService, ServiceCode, ServiceFactor, ServiceFactorKind, ServiceFactors, ServiceVerdict,
};
use crate::django::otp::{CodeMatch, rest};
use crate::hotp::is_code;
use crate::service::database::ServiceDatabase;

/// The most attempts for one code, when concurrent changes make an attempt void.
const ROUNDS: usize = 4;

/// How long the client must wait after that many attempts.
const RACED: Duration = Duration::from_secs(1);

/// `kind = "django-otp"`
pub struct DjangoOtp {
    directory: String,
    settings: DjangoOtpSettings,
    read: Arc<ServiceDatabase>,
    write: Arc<ServiceDatabase>,
    /// Set once all tables are known to be writable; until then the rights are checked each time.
    tables: OnceLock<OtpTables>,
}

/// A user's devices, with their current values.
struct UserDevices {
    totp: Vec<TotpDevice>,
    statics: Vec<StaticDevice>,
    /// Whether the user has devices that cannot be used here.
    has_others: bool,
}

impl DjangoOtp {
    /// Takes the settings, and the service's database, opened for reading and for writing. The database need not exist yet.
    pub fn new(
        directory: &str,
        settings: &DjangoOtpSettings,
        read: Arc<ServiceDatabase>,
        write: Arc<ServiceDatabase>,
    ) -> Self {
        let (directory, settings) = (directory.to_owned(), settings.clone());
        Self { directory, settings, read, write, tables: OnceLock::new() }
    }

    async fn tables(&self) -> Result<OtpTables, DirectoryError> {
        if let Some(tables) = self.tables.get() {
            return Ok(tables.clone());
        }
        let asked = OtpTables::ask(&self.settings, &self.read, &self.write).await;
        let tables = asked.map_err(|reason| self.failed(reason))?;
        if tables.are_writable() {
            return Ok(self.tables.get_or_init(|| tables).clone());
        }
        Ok(tables)
    }

    async fn devices(
        &self,
        tables: &OtpTables,
        user: &UserKey,
    ) -> Result<UserDevices, DirectoryError> {
        let answers = self.read.ask(tables.devices_of(user)).await;
        let mut answers = answers.map_err(|reason| self.failed(reason))?.into_iter();
        let totp = rows::totp(answers.next().unwrap_or_default());
        let statics = rows::statics(answers.next().unwrap_or_default());
        let (mut totp, mut statics) =
            totp.and_then(|totp| Ok((totp, statics?))).map_err(|reason| self.failed(reason))?;
        let all = totp.len() + statics.len();
        totp.retain(|device| tables.totp.may_write && device.parameters.is_usable());
        statics.retain(|device| tables.may_use_static() && !device.tokens.is_empty());
        let has_others = totp.len() + statics.len() < all;
        Ok(UserDevices { totp, statics, has_others })
    }

    fn failed(&self, reason: String) -> DirectoryError {
        DirectoryError { directory: self.directory.clone(), reason }
    }

    fn totp_rest(&self, device: &TotpDevice, at: Timestamp) -> Option<Duration> {
        rest(self.settings.throttle_factor, device.failures, device.failed_at, at)
    }

    fn static_rest(&self, device: &StaticDevice, at: Timestamp) -> Option<Duration> {
        rest(self.settings.static_throttle_factor, device.failures, device.failed_at, at)
    }

    /// Checks the code once. `None` if somebody else changed a row first, so that what was read is outdated.
    async fn look(
        &self,
        tables: &OtpTables,
        devices: &UserDevices,
        code: ServiceCode<'_>,
    ) -> Result<Option<ServiceVerdict>, String> {
        let at = code.at;
        let digits = code.digits.map(|digits| digits.expose());
        let asked: Vec<&TotpDevice> = devices
            .totp
            .iter()
            .filter(|device| digits.is_some_and(|one| one.len() == device.parameters.digits))
            .collect();
        let (resting, awake): (Vec<&TotpDevice>, Vec<&TotpDevice>) =
            asked.iter().partition(|device| self.totp_rest(device, at).is_some());
        let is_of_app = !asked.is_empty();
        if is_of_app && awake.is_empty() {
            let waits = resting.iter().filter_map(|device| self.totp_rest(device, at));
            return Ok(waits.min().map(ServiceVerdict::Wait));
        }
        let mut is_used = false;
        for device in &awake {
            match device.parameters.look_at(digits.unwrap_or_default(), at) {
                CodeMatch::Right { t, drift } => {
                    let drift = if self.settings.sync { drift } else { device.parameters.drift };
                    let used = self.write.change(tables.use_step(device, t, drift, at)).await?;
                    if used == 0 {
                        return Ok(None);
                    }
                    self.clear_others(tables, devices, device).await;
                    return Ok(Some(ServiceVerdict::Used(ServiceFactorKind::App)));
                }
                CodeMatch::Used => is_used = true,
                CodeMatch::Wrong => {}
            }
        }
        if let Some(verdict) = self.look_at_tokens(tables, devices, code, !is_of_app).await? {
            return Ok(verdict);
        }
        for device in &awake {
            let failed = tables.totp.failed(device.id, device.failures, at);
            if self.write.change(failed).await? == 0 {
                return Ok(None);
            }
        }
        Ok(Some(if is_used { ServiceVerdict::Replayed } else { ServiceVerdict::Wrong }))
    }

    /// Checks a code against the static tokens. If `counts`, a wrong code counts as a failed static token. `None` if it is
    /// not a static token and no failure was counted.
    async fn look_at_tokens(
        &self,
        tables: &OtpTables,
        devices: &UserDevices,
        code: ServiceCode<'_>,
        counts: bool,
    ) -> Result<Option<Option<ServiceVerdict>>, String> {
        let at = code.at;
        let (resting, awake): (Vec<&StaticDevice>, Vec<&StaticDevice>) =
            devices.statics.iter().partition(|device| self.static_rest(device, at).is_some());
        let typed = code.typed.expose();
        let lower = typed.to_ascii_lowercase();
        let mut found = None;
        for device in &awake {
            for token in &device.tokens {
                // Every token is compared, so that the time does not reveal which one is similar.
                let is_right = is_code(typed, &token.text) | is_code(&lower, &token.text);
                if is_right && found.is_none() {
                    found = Some((*device, token));
                }
            }
        }
        if let Some((device, token)) = found {
            let Some(delete) = tables.use_token(device, token) else { return Ok(None) };
            if self.write.change(delete).await? == 0 {
                return Ok(Some(None));
            }
            if let Some(cleared) = tables.token_used(device, at)
                && let Err(error) = self.write.change(cleared).await
            {
                tracing::warn!(error, "what was counted at a device of a service's stays");
            }
            let left = devices.statics.iter().map(|device| device.tokens.len()).sum::<usize>();
            let left = u32::try_from(left.saturating_sub(1)).unwrap_or(u32::MAX);
            let kind = ServiceFactorKind::WrittenCodes { left };
            return Ok(Some(Some(ServiceVerdict::Used(kind))));
        }
        if !counts {
            return Ok(None);
        }
        if awake.is_empty() {
            let waits = resting.iter().filter_map(|device| self.static_rest(device, at));
            return Ok(Some(Some(waits.min().map_or(ServiceVerdict::Wrong, ServiceVerdict::Wait))));
        }
        for device in &awake {
            let Some(failed) = tables.static_failed(device, at) else { continue };
            if self.write.change(failed).await? == 0 {
                return Ok(Some(None));
            }
        }
        Ok(Some(Some(ServiceVerdict::Wrong)))
    }

    /// Clears the failures of the user's other apps, for which the codes were not meant. If that fails, they stay, which does no
    /// harm.
    async fn clear_others(&self, tables: &OtpTables, devices: &UserDevices, used: &TotpDevice) {
        for device in devices.totp.iter().filter(|one| one.id != used.id && one.failures > 0) {
            let cleared = self.write.change(tables.totp.cleared(device.id, device.failures)).await;
            if let Err(error) = cleared {
                tracing::warn!(error, "what was counted at a device of a service's stays");
            }
        }
    }
}

#[async_trait]
impl FactorsAtService for DjangoOtp {
    fn directory(&self) -> &str {
        &self.directory
    }

    async fn of(&self, user: &UserKey, at: Timestamp) -> Result<ServiceFactors, DirectoryError> {
        let tables = self.tables().await?;
        let devices = self.devices(&tables, user).await?;
        let apps = devices.totp.iter().map(|device| ServiceFactor {
            id: format!("totp {}", device.id),
            kind: ServiceFactorKind::App,
            name: device.name.clone(),
            last_used: device.last_used,
        });
        let statics = devices.statics.iter().map(|device| ServiceFactor {
            id: format!("static {}", device.id),
            kind: ServiceFactorKind::WrittenCodes {
                left: u32::try_from(device.tokens.len()).unwrap_or(u32::MAX),
            },
            name: device.name.clone(),
            last_used: device.last_used,
        });
        let rests = devices.totp.iter().map(|device| self.totp_rest(device, at));
        let rests = rests.chain(devices.statics.iter().map(|one| self.static_rest(one, at)));
        let rests: Vec<Option<Duration>> = rests.collect();
        let all_rest = rests.iter().all(Option::is_some);
        let usable: Vec<ServiceFactor> = apps.chain(statics).collect();
        Ok(ServiceFactors {
            is_elsewhere: usable.is_empty() && devices.has_others,
            usable,
            wait: rests.into_iter().flatten().min().filter(|_| all_rest),
        })
    }

    async fn use_code(
        &self,
        user: &UserKey,
        code: ServiceCode<'_>,
    ) -> Result<ServiceVerdict, DirectoryError> {
        let tables = self.tables().await?;
        for _ in 0..ROUNDS {
            let devices = self.devices(&tables, user).await?;
            let looked = self.look(&tables, &devices, code).await;
            if let Some(verdict) = looked.map_err(|reason| self.failed(reason))? {
                return Ok(verdict);
            }
        }
        Ok(ServiceVerdict::Wait(RACED))
    }

    async fn missing(&self) -> Result<Vec<String>, DirectoryError> {
        let missing = tables::missing(&self.settings, &self.read, &self.write).await;
        missing.map_err(|reason| self.failed(reason))
    }
}
