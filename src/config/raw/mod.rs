//! Reads the file's shape: typed reading of single keys, with the place of every value.
//!
//! This is not derived from serde: a derived reader stops at its first error and loses the place of a value once it is read,
//! whereas here every check, also one between two sections, can point at a line. A [`RawTable`] remembers which keys were read;
//! whatever remains in the end is unknown to the program. So there is no list of keys besides the code that reads them, and a
//! test can compare `gateway.toml` with the code.
//!
//! A value that cannot be used is reported and then treated as absent, so that checking goes on with a default. Such a default
//! never reaches the program: a report with an error has no configuration.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::{Severity, UnplacedProblem};

mod renamed;
mod scalar;
mod value;

#[cfg(test)]
pub(super) use renamed::{former_names, new_names};
pub(super) use scalar::Wrong;
pub(super) use value::{duration_text, nearest, parse_duration};

/// The place of a value in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SourcePlace {
    pub(super) key: String,
    pub(super) span: Range<usize>,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct RawItem<T> {
    pub(super) value: T,
    pub(super) place: SourcePlace,
}

/// Collects problems while a file is read.
#[derive(Debug, Default)]
pub(super) struct RawReader {
    base: PathBuf,
    findings: RefCell<Vec<UnplacedProblem>>,
    known: RefCell<BTreeSet<String>>,
}

/// A table of the file, or its absence: then every key of it is absent.
pub(super) struct RawTable<'a> {
    reader: &'a RawReader,
    path: String,
    span: Range<usize>,
    entries: Option<&'a DeTable<'a>>,
    asked: RefCell<Vec<&'static str>>,
    foreign: RefCell<Vec<&'static str>>,
    is_free: Cell<bool>,
    required: RefCell<Vec<(&'static str, String)>>,
}

impl RawReader {
    /// Creates a reader that resolves relative paths against `base`.
    pub(super) fn new(base: &Path) -> Self {
        Self { base: base.to_owned(), ..Self::default() }
    }

    /// Reads the file's text. A syntax error is the only problem then, and nothing else is read.
    pub(super) fn read<R>(&self, text: &str, read: impl FnOnce(&RawTable<'_>) -> R) -> Option<R> {
        match DeTable::parse(text) {
            Ok(table) => Some(RawTable::root(self, table.get_ref()).done(read)),
            Err(error) => {
                let place = SourcePlace {
                    key: String::new(),
                    span: error.span().unwrap_or(text.len()..text.len()),
                };
                let message = error.message().trim().replace('\n', ", ");
                self.report(Severity::Error, place, format!("no valid TOML: {message}"), None);
                None
            }
        }
    }

    /// Returns all problems, and every key that was read.
    pub(super) fn finish(self) -> (Vec<UnplacedProblem>, BTreeSet<String>) {
        (self.findings.into_inner(), self.known.into_inner())
    }

    fn report(
        &self,
        severity: Severity,
        place: SourcePlace,
        message: String,
        help: Option<String>,
    ) {
        let SourcePlace { key, span } = place;
        self.findings.borrow_mut().push(UnplacedProblem { severity, key, span, message, help });
    }
}

impl<'a> RawTable<'a> {
    fn root(reader: &'a RawReader, entries: &'a DeTable<'a>) -> Self {
        Self::new(reader, String::new(), 0..0, Some(entries))
    }

    fn new(
        reader: &'a RawReader,
        path: String,
        span: Range<usize>,
        entries: Option<&'a DeTable<'a>>,
    ) -> Self {
        Self {
            reader,
            path,
            span,
            entries,
            asked: RefCell::default(),
            foreign: RefCell::default(),
            is_free: Cell::default(),
            required: RefCell::default(),
        }
    }

    fn done<R>(self, read: impl FnOnce(&Self) -> R) -> R {
        let result = read(&self);
        self.report_unknown();
        for (key, help) in self.required.take() {
            self.error(key, Wrong::new("is missing").help(help));
        }
        result
    }

    // --- places and problems

    /// Returns the place of the value of `key`; if it is absent, the beginning of its table.
    pub(super) fn place(&self, key: &str) -> SourcePlace {
        let span = self.value(key).map_or_else(|| self.span.clone(), Spanned::span);
        SourcePlace { key: self.key(key), span }
    }

    /// Whether the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Reports an error about the value of `key`.
    pub(super) fn error(&self, key: &str, wrong: Wrong) {
        self.error_at(self.place(key), wrong);
    }

    /// Reports an error about a place.
    pub(super) fn error_at(&self, place: SourcePlace, wrong: Wrong) {
        self.reader.report(Severity::Error, place, wrong.message, wrong.help);
    }

    /// Reports a warning about the value of `key`.
    pub(super) fn warn(&self, key: &str, wrong: Wrong) {
        self.warn_at(self.place(key), wrong);
    }

    /// Reports a warning about a place.
    pub(super) fn warn_at(&self, place: SourcePlace, wrong: Wrong) {
        self.reader.report(Severity::Warning, place, wrong.message, wrong.help);
    }

    // --- tables within

    /// Reads a table; an absent one is read too, as one without keys.
    pub(super) fn table<R>(&self, key: &'static str, read: impl FnOnce(&RawTable<'_>) -> R) -> R {
        let table = self.ask(key).and_then(|value| match value.get_ref() {
            DeValue::Table(table) => Some((value.span(), table)),
            other => {
                self.error(key, Wrong::kind("a table", other));
                None
            }
        });
        let (span, entries) = match table {
            Some((span, table)) => (span, Some(table)),
            None => (self.span.clone(), None),
        };
        RawTable::new(self.reader, self.key(key), span, entries).done(read)
    }

    /// Reads an array of tables, in order.
    pub(super) fn tables<R>(
        &self,
        key: &'static str,
        mut read: impl FnMut(&RawTable<'_>) -> R,
    ) -> Vec<R> {
        let Some(value) = self.ask(key) else { return Vec::new() };
        let DeValue::Array(array) = value.get_ref() else {
            let help = format!("write it as [[{}]]", self.key(key));
            self.error(key, Wrong::kind("an array of tables", value.get_ref()).help(help));
            return Vec::new();
        };
        let mut all = Vec::new();
        for element in array.iter() {
            match element.get_ref() {
                DeValue::Table(table) => {
                    let table =
                        RawTable::new(self.reader, self.key(key), element.span(), Some(table));
                    all.push(table.done(&mut read));
                }
                other => {
                    let place = SourcePlace { key: self.key(key), span: element.span() };
                    self.error_at(place, Wrong::kind("a table", other));
                }
            }
        }
        all
    }

    /// Returns the keys of this table, which are all the operator's own, with their texts.
    pub(super) fn free(&self) -> Vec<(RawItem<String>, RawItem<String>)> {
        let mut all = Vec::new();
        for (name, value) in self.entries.into_iter().flatten() {
            let key = self.key(name.get_ref());
            match value.get_ref() {
                DeValue::String(text) => all.push((
                    RawItem {
                        value: name.get_ref().to_string(),
                        place: SourcePlace { key: key.clone(), span: name.span() },
                    },
                    RawItem {
                        value: text.to_string(),
                        place: SourcePlace { key, span: value.span() },
                    },
                )),
                other => {
                    let place = SourcePlace { key, span: value.span() };
                    self.error_at(place, Wrong::kind("a string", other));
                }
            }
        }
        self.is_free.set(true);
        all
    }

    // --- keys

    /// Whether the value is `false`, for keys that turn something off. `true` is refused, and the next getter reads the rest.
    pub(super) fn is_off(&self, key: &'static str, otherwise: &str) -> bool {
        match self.ask(key).map(Spanned::get_ref) {
            Some(DeValue::Boolean(true)) => {
                let help = format!("allowed: {otherwise}, or false to turn it off");
                self.error(key, Wrong::new("true has no meaning here").help(help));
                true
            }
            Some(DeValue::Boolean(false)) => true,
            _ => false,
        }
    }

    /// Whether the value is a table, or absent.
    pub(super) fn is_table_or_absent(&self, key: &str) -> bool {
        matches!(self.value(key).map(Spanned::get_ref), None | Some(DeValue::Table(_)))
    }

    /// Reports those of `keys` that are there: they have a meaning, but not here.
    pub(super) fn refuse(&self, keys: &[&'static str], why: &str, help: &str) {
        for key in keys {
            self.foreign.borrow_mut().push(key);
            if self.has(key) {
                self.error(key, Wrong::new(why).help(help));
            }
        }
    }

    /// Marks these keys as known, without a report.
    pub(super) fn pass_over(&self, keys: &[&'static str]) {
        self.foreign.borrow_mut().extend_from_slice(keys);
    }

    /// Whether the value is an array.
    pub(super) fn is_list(&self, key: &str) -> bool {
        matches!(self.value(key).map(Spanned::get_ref), Some(DeValue::Array(_)))
    }

    /// Whether the value is an array without elements.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        matches!(self.value(key).map(Spanned::get_ref), Some(DeValue::Array(all)) if all.is_empty())
    }

    /// Returns the path below the configuration's folder.
    pub(super) fn below(&self, path: &Path) -> PathBuf {
        self.reader.base.join(path)
    }

    /// Reports an error if the key is absent, or an array without elements.
    pub(super) fn require(&self, key: &'static str, help: &str) {
        if !self.has(key) {
            self.required.borrow_mut().push((key, help.to_owned()));
        } else if self.is_empty_list(key) {
            self.error(key, Wrong::new("is empty").help(help));
        }
    }

    fn ask(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.reader.known.borrow_mut().insert(self.key(key));
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        self.value(key)
    }

    /// Returns the value of `key`, also under the key's former name.
    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.written(key).or_else(|| {
            let former = renamed::former_name(&self.key(key))?;
            self.written(last_part(former))
        })
    }

    /// Returns the value under this very name.
    fn written(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.entries?.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn report_unknown(&self) {
        let asked = self.asked.borrow();
        let foreign = self.foreign.borrow();
        if self.is_free.get() {
            return;
        }
        let mut allowed = asked.clone();
        allowed.sort_unstable();
        let allowed = format!("allowed: {}", allowed.join(", "));
        for (name, _) in self.entries.into_iter().flatten() {
            let key = name.get_ref().as_ref();
            if asked.contains(&key) || foreign.contains(&key) {
                continue;
            }
            let place = SourcePlace { key: self.key(key), span: name.span() };
            if let Some(new) = renamed::name_since(&place.key) {
                self.report_former(place, new);
                continue;
            }
            let (meant, wrong) = match renamed::new_name(&place.key) {
                Some(new) => {
                    (Some(last_part(new)), Wrong::new(format!("this key is called {new}")))
                }
                None => match nearest(key, asked.iter().copied()) {
                    Some(meant) => (
                        Some(meant),
                        Wrong::new("unknown key").help(format!("did you mean {meant}? {allowed}")),
                    ),
                    None => (None, Wrong::new("unknown key").help(allowed.clone())),
                },
            };
            // A typo is one problem: the key that was meant is not reported as missing as well.
            self.required.borrow_mut().retain(|(key, _)| Some(*key) != meant);
            self.error_at(place, wrong);
        }
    }

    /// Reports a key under its former name. It has been read, unless the key occurs under its new name as well.
    fn report_former(&self, place: SourcePlace, new: &'static str) {
        if self.written(last_part(new)).is_some() {
            let wrong = Wrong::new(format!("this key is called {new} now, which is set too"));
            self.error_at(place, wrong.help("remove the former name"));
        } else {
            let wrong = Wrong::new(format!("this key is called {new} now"));
            self.warn_at(place, wrong.help("the former name still works"));
        }
    }
}

/// Returns the key's own name in its path.
fn last_part(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}
