//! Text templates with placeholders: `{{ name }}`, and nothing else.
//!
//! There are no conditions and no loops, so an operator's template cannot fail when it is needed: a name that does not exist is
//! an error when the file is read.

/// A template whose placeholders are all known.
#[derive(Clone, Debug)]
pub(super) struct MailTemplate(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    /// An index into the names.
    Value(usize),
}

impl MailTemplate {
    /// Parses a template whose placeholders have these names.
    ///
    /// # Errors
    /// The problem, with its line.
    pub(super) fn parse(text: &str, names: &[&str]) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let read = text.len() - rest.len() + before.len();
            let line = 1 + text.get(..read).unwrap_or_default().matches('\n').count();
            let (name, next) = after
                .split_once("}}")
                .ok_or_else(|| format!("line {line}: {{{{ without a }}}} after it"))?;
            let name = name.trim();
            let index = names.iter().position(|known| *known == name).ok_or_else(|| {
                format!("line {line}: there is no {name:?}; allowed: {}", names.join(", "))
            })?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Value(index));
            rest = next;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// Returns the text with its values, each escaped by `write`.
    pub(super) fn fill(&self, values: &[&str], write: impl Fn(&str) -> String) -> String {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Value(index) => {
                    filled.push_str(&write(values.get(*index).copied().unwrap_or_default()));
                }
            }
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::html;

    #[test]
    fn places_are_filled_in_and_values_are_no_places() {
        let template = MailTemplate::parse("{{ a }}-{{b}}-{{ a }}.", &["a", "b"]).unwrap();
        assert_eq!(template.fill(&["1", "{{ a }}"], str::to_owned), "1-{{ a }}-1.");
        let page = MailTemplate::parse("<a href=\"{{ a }}\">", &["a"]).unwrap();
        let filled = page.fill(&["\"><script>'&"], html::escape);
        assert_eq!(filled, "<a href=\"&quot;&gt;&lt;script&gt;&#39;&amp;\">");
    }

    #[test]
    fn a_place_that_does_not_exist_is_told_with_its_line() {
        let problem = |text| MailTemplate::parse(text, &["what", "when"]).unwrap_err();
        assert_eq!(problem("a\nb {{ whta }}"), "line 2: there is no \"whta\"; allowed: what, when");
        assert_eq!(problem("a\n\n{{ what "), "line 3: {{ without a }} after it");
    }
}
