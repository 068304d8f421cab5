//! Values within HTML that is no template of ours: an operator's error pages and letters. Pages of ours are escaped by their templates.

/// A value as HTML shows it, in a text and in a quoted attribute alike (the HTML standard: "escaping a string").
pub fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_text_or_its_attribute() {
        for (value, shown) in [
            ("<b>", "&lt;b&gt;"),
            ("\" onload='x", "&quot; onload=&#39;x"),
            ("&amp;", "&amp;amp;"),
            ("김민정 {{code}}", "김민정 {{code}}"),
        ] {
            assert_eq!(escape(value), shown);
        }
    }
}
