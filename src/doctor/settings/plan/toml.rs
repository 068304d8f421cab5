//! Writes TOML with comments: tables, keys with the setting that each value came from, and separate notes.

use std::fmt::Write as _;

const WIDTH: usize = 118;

/// A text that is being written.
#[derive(Default)]
pub(super) struct Toml {
    text: String,
    /// Whether the next block belongs to the comment before it.
    is_attached: bool,
}

impl Toml {
    /// Writes a heading between rules, as in the sample file.
    pub(super) fn section(&mut self, title: &str) {
        let rule = "-".repeat(WIDTH.saturating_sub(title.len() + 8));
        self.is_attached = false;
        self.line(&format!("\n\n# --- {title} {rule}"));
    }

    /// Writes words for the reader, broken into lines.
    pub(super) fn comment(&mut self, words: &str) {
        let mut line = String::from("#");
        for word in words.split_whitespace() {
            if line.len() + 1 + word.len() > WIDTH {
                self.line(&line);
                line = String::from("#");
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(&line);
    }

    /// Writes a comment about the block that follows.
    pub(super) fn note(&mut self, words: &str) {
        self.line("");
        self.comment(words);
        self.is_attached = true;
    }

    /// Writes lines to copy as comments, each unchanged.
    pub(super) fn lines(&mut self, lines: &[String]) {
        for line in lines {
            // A line break in a name would end the comment.
            self.line(&format!("#   {}", line.replace(char::is_control, " ")));
        }
        self.is_attached = true;
    }

    /// Writes `[name]` or `[[name]]`.
    pub(super) fn table(&mut self, header: &str) {
        let before = if std::mem::take(&mut self.is_attached) { "" } else { "\n" };
        self.line(&format!("{before}{header}"));
    }

    pub(super) fn string(&mut self, key: &str, value: &str, from: &str) {
        self.raw(key, &quoted(value), from);
    }

    pub(super) fn flag(&mut self, key: &str, value: bool, from: &str) {
        self.raw(key, if value { "true" } else { "false" }, from);
    }

    pub(super) fn list(&mut self, key: &str, values: &[String], from: &str) {
        let all: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        self.raw(key, &format!("[{}]", all.join(", ")), from);
    }

    pub(super) fn duration(&mut self, key: &str, seconds: u64, from: &str) {
        self.string(key, &duration(seconds), from);
    }

    /// Writes a value that is TOML already.
    pub(super) fn raw(&mut self, key: &str, value: &str, from: &str) {
        self.is_attached = false;
        let line = format!("{key} = {value}");
        match from {
            "" => self.line(&line),
            from => self.line(&format!("{line:<44} # {from}")),
        }
    }

    /// Writes the content of another text as comments, for operators who want it.
    pub(super) fn commented(&mut self, other: &Self) {
        self.is_attached = false;
        for line in other.text.trim().lines() {
            self.line(&format!("#{line}"));
        }
    }

    pub(super) fn append(&mut self, other: &Self) {
        self.text.push_str(&other.text);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, line: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// Returns a basic string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(letter);
            }
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns a duration in the largest unit that expresses it exactly.
pub(super) fn duration(seconds: u64) -> String {
    for (unit, length) in [("d", 86_400), ("h", 3600), ("m", 60)] {
        if seconds != 0 && seconds.is_multiple_of(length) {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_is_read_back_as_it_was(text in any::<String>()) {
            let mut toml = Toml::default();
            toml.string("key", &text, "SOME_SETTING");
            let read: ::toml::Table = toml.finish().parse().unwrap();
            prop_assert_eq!(read["key"].as_str(), Some(text.as_str()));
        }

        #[test]
        fn no_comment_ends_early(words in "[ -~\n]{0,400}") {
            let mut toml = Toml::default();
            toml.comment(&words);
            prop_assert!(toml.finish().lines().all(|line| line.starts_with('#')));
        }
    }

    #[test]
    fn durations_have_the_largest_unit() {
        for (seconds, text) in
            [(0, "0s"), (90, "90s"), (300, "5m"), (3600, "1h"), (86_400, "1d"), (1_209_600, "14d")]
        {
            assert_eq!(duration(seconds), text);
        }
    }
}
