//! Reads single values.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use crate::clock::Timestamp;
use crate::config::Constant;

use super::value::{duration_text, nearest, parse_duration, parse_size, size_text};
use super::{RawItem, RawTable, SourcePlace};

/// What is wrong with a value, without its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::config) struct Wrong {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Wrong {
    /// Creates a problem with this message.
    pub(in crate::config) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    /// Adds what is allowed, or what to do.
    pub(in crate::config) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Returns the problem of a value of another type.
    pub(super) fn kind(expected: &str, found: &DeValue<'_>) -> Self {
        let found = match found {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        Self::new(format!("expected {expected}, found {found}"))
    }

    /// Returns the problem of a word that is not in a closed list.
    pub(in crate::config) fn choice(text: &str, allowed: &[&str]) -> Self {
        let list: Vec<String> = allowed.iter().map(|one| format!("{one:?}")).collect();
        let list = format!("allowed: {}", list.join(", "));
        let meant = nearest(&text.to_ascii_lowercase(), allowed.iter().copied());
        Self::new(format!("{text:?} is none of its values")).help(match meant {
            Some(meant) => format!("did you mean {meant:?}? {list}"),
            None => list,
        })
    }
}

impl<'a> RawTable<'a> {
    /// Reads a duration (`"15m"`) within limits.
    pub(in crate::config) fn duration(
        &self,
        key: &'static str,
        allowed: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        const FORM: &str =
            "a duration with its unit, like \"500ms\", \"30s\", \"15m\", \"24h\" or \"14d\"";
        self.scalar(key, |value| {
            let text = text_of(value, "a duration")
                .map_err(|wrong| wrong.help(format!("write {FORM}")))?;
            let duration = parse_duration(text).ok_or_else(|| {
                Wrong::new(format!("{text:?} is no duration")).help(format!("allowed: {FORM}"))
            })?;
            within(duration, &allowed, duration_text)
        })
    }

    /// Reads a size (`"64KiB"`) within limits.
    pub(in crate::config) fn size(
        &self,
        key: &'static str,
        allowed: RangeInclusive<u64>,
    ) -> Option<usize> {
        const FORM: &str = "a size with its unit, like \"512B\", \"64KiB\" or \"1MiB\"";
        self.scalar(key, |value| {
            let text =
                text_of(value, "a size").map_err(|wrong| wrong.help(format!("write {FORM}")))?;
            let bytes = parse_size(text).ok_or_else(|| {
                Wrong::new(format!("{text:?} is no size")).help(format!("allowed: {FORM}"))
            })?;
            let bytes = within(bytes, &allowed, size_text)?;
            usize::try_from(bytes).map_err(|_| Wrong::new("is more than this machine can address"))
        })
    }

    /// Reports an error if the shorter duration is longer than the other, at the one that is in the file.
    pub(in crate::config) fn ordered(
        &self,
        (shorter_key, shorter): (&str, Duration),
        (longer_key, longer): (&str, Duration),
    ) {
        if shorter <= longer {
            return;
        }
        let (shorter, longer) = (duration_text(shorter), duration_text(longer));
        if self.has(longer_key) {
            let other = self.place(shorter_key).key;
            let message = format!("{longer} is shorter than {other} ({shorter})");
            self.error(longer_key, Wrong::new(message));
        } else {
            let other = self.place(longer_key).key;
            let message = format!("{shorter} is longer than {other} ({longer})");
            self.error(shorter_key, Wrong::new(message));
        }
    }

    /// Reads a whole number within limits.
    pub(in crate::config) fn number<N>(
        &self,
        key: &'static str,
        allowed: RangeInclusive<N>,
    ) -> Option<N>
    where
        N: Copy + PartialOrd + ToString + TryFrom<i128>,
    {
        self.scalar(key, |value| number_of(value, &allowed))
    }

    /// Reads an array of whole numbers within limits, without duplicates.
    pub(in crate::config) fn numbers<N>(
        &self,
        key: &'static str,
        allowed: RangeInclusive<N>,
    ) -> Option<Vec<N>>
    where
        N: Copy + PartialOrd + ToString + TryFrom<i128>,
    {
        let value = self.ask(key)?;
        let DeValue::Array(array) = value.get_ref() else {
            self.error(key, Wrong::kind("an array of integers", value.get_ref()));
            return None;
        };
        let mut numbers: Vec<N> = Vec::new();
        for element in array.iter() {
            let place = SourcePlace { key: self.key(key), span: element.span() };
            match number_of(element.get_ref(), &allowed) {
                Ok(number) if numbers.contains(&number) => {
                    self.error_at(place, Wrong::new("is listed twice"));
                }
                Ok(number) => numbers.push(number),
                Err(wrong) => self.error_at(place, wrong),
            }
        }
        Some(numbers)
    }

    /// Reads `true` or `false`.
    pub(in crate::config) fn flag(&self, key: &'static str) -> Option<bool> {
        self.scalar(key, |value| match value {
            DeValue::Boolean(flag) => Ok(*flag),
            other => Err(Wrong::kind("true or false", other)),
        })
    }

    /// Reads a boolean, a whole number or a text, with its type.
    pub(in crate::config) fn constant(&self, key: &'static str) -> Option<Constant> {
        self.scalar(key, |value| match value {
            DeValue::Boolean(flag) => Ok(Constant::Flag(*flag)),
            DeValue::Integer(_) => number_of(value, &(i64::MIN..=i64::MAX)).map(Constant::Number),
            DeValue::String(text) => Ok(Constant::Text(text.to_string())),
            other => Err(Wrong::kind("a boolean, an integer or a string", other)),
        })
    }

    /// Reads a text that `read` accepts.
    pub(in crate::config) fn text<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        self.scalar(key, |value| read(text_of(value, "a string")?))
    }

    /// Reads a point in time: TOML's own date and time, with its offset.
    pub(in crate::config) fn date(&self, key: &'static str) -> Option<Timestamp> {
        self.scalar(key, |value| {
            const FORM: &str = "write a date and time with its offset and without quotes, like 2027-06-30T00:00:00Z";
            let DeValue::Datetime(date) = value else {
                return Err(Wrong::kind("a date and time", value).help(FORM));
            };
            let at: jiff::Timestamp =
                date.to_string().parse().map_err(|_| Wrong::new("is no point in time").help(FORM))?;
            u64::try_from(at.as_millisecond())
                .map(Timestamp::from_millis)
                .map_err(|_| Wrong::new("lies before 1970"))
        })
    }

    /// Reads one of a closed list of words.
    pub(in crate::config) fn choice<T: Copy>(
        &self,
        key: &'static str,
        words: &[(&str, T)],
    ) -> Option<T> {
        self.text(key, |text| {
            words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
                let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                Wrong::choice(text, &allowed)
            })
        })
    }

    /// Reads the path of a file; a relative one is below the configuration's folder.
    pub(in crate::config) fn path(&self, key: &'static str) -> Option<PathBuf> {
        self.text(key, |text| self.resolve(text))
    }

    /// Resolves a path; see [`Self::path`].
    pub(in crate::config) fn resolve(&self, text: &str) -> Result<PathBuf, Wrong> {
        if text.is_empty() || text.contains('\0') {
            return Err(Wrong::new("is no path of a file"));
        }
        Ok(self.reader.base.join(text))
    }

    /// Reads an array of texts that `read` accepts, without duplicates. What it does not accept is reported and left out.
    pub(in crate::config) fn list<T: PartialEq>(
        &self,
        key: &'static str,
        mut read: impl FnMut(&str) -> Result<T, Wrong>,
    ) -> Option<Vec<RawItem<T>>> {
        let value = self.ask(key)?;
        let DeValue::Array(array) = value.get_ref() else {
            let mut wrong = Wrong::kind("an array of strings", value.get_ref());
            if matches!(value.get_ref(), DeValue::String(_)) {
                wrong = wrong.help("put it into brackets: [\"...\"]");
            }
            self.error(key, wrong);
            return None;
        };
        let mut items: Vec<RawItem<T>> = Vec::new();
        for element in array.iter() {
            let place = SourcePlace { key: self.key(key), span: element.span() };
            match text_of(element.get_ref(), "a string").and_then(&mut read) {
                Ok(value) if items.iter().any(|item| item.value == value) => {
                    self.error_at(place, Wrong::new("is listed twice"));
                }
                Ok(value) => items.push(RawItem { value, place }),
                Err(wrong) => self.error_at(place, wrong),
            }
        }
        Some(items)
    }

    /// Reads an array as [`Self::list`] does, without the places.
    pub(in crate::config) fn values<T: PartialEq>(
        &self,
        key: &'static str,
        read: impl FnMut(&str) -> Result<T, Wrong>,
    ) -> Option<Vec<T>> {
        Some(self.list(key, read)?.into_iter().map(|item| item.value).collect())
    }

    /// Reads one text, or an array of texts as [`Self::values`] does; empty if it is absent.
    pub(in crate::config) fn one_or_more<T: PartialEq>(
        &self,
        key: &'static str,
        mut read: impl FnMut(&str) -> Result<T, Wrong>,
    ) -> Vec<T> {
        match self.ask(key).map(Spanned::get_ref) {
            Some(DeValue::String(text)) => match read(text) {
                Ok(value) => vec![value],
                Err(wrong) => {
                    self.error(key, wrong);
                    Vec::new()
                }
            },
            _ => self.values(key, read).unwrap_or_default(),
        }
    }

    fn scalar<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&'a DeValue<'a>) -> Result<T, Wrong>,
    ) -> Option<T> {
        let value = self.ask(key).map(Spanned::get_ref)?;
        read(value).map_err(|wrong| self.error(key, wrong)).ok()
    }
}

fn text_of<'v>(value: &'v DeValue<'_>, expected: &str) -> Result<&'v str, Wrong> {
    match value {
        DeValue::String(text) => Ok(text),
        other => Err(Wrong::kind(expected, other)),
    }
}

fn number_of<N>(value: &DeValue<'_>, allowed: &RangeInclusive<N>) -> Result<N, Wrong>
where
    N: Copy + PartialOrd + ToString + TryFrom<i128>,
{
    let DeValue::Integer(digits) = value else {
        return Err(Wrong::kind("an integer", value));
    };
    i128::from_str_radix(digits.as_str(), digits.radix())
        .ok()
        .and_then(|number| N::try_from(number).ok())
        .filter(|number| allowed.contains(number))
        .ok_or_else(|| out_of_range(&digits.to_string(), allowed, |one| one.to_string()))
}

fn within<T: PartialOrd + Copy>(
    value: T,
    allowed: &RangeInclusive<T>,
    write: impl Fn(T) -> String,
) -> Result<T, Wrong> {
    if allowed.contains(&value) {
        Ok(value)
    } else {
        Err(out_of_range(&write(value), allowed, |one| write(*one)))
    }
}

fn out_of_range<T>(text: &str, allowed: &RangeInclusive<T>, write: impl Fn(&T) -> String) -> Wrong {
    Wrong::new(format!("{text} is out of range")).help(format!(
        "allowed: {} to {}",
        write(allowed.start()),
        write(allowed.end())
    ))
}
