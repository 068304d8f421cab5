//! Defines the texts of some pages in every language, so that none is missing. [`Texts`](super::texts::Texts) are those that
//! all pages share.

/// Makes a type of texts from their names, with the English and the Korean text of each.
macro_rules! page_texts {
    ($texts:ident { $($name:ident $english:literal $korean:literal;)+ }) => {
        /// Everything that these pages say in one language.
        #[derive(Debug)]
        pub(super) struct $texts {
            $(pub(super) $name: &'static str,)+
        }

        impl $texts {
            /// Returns the texts in this language.
            pub(super) fn of(language: Language) -> &'static Self {
                static ENGLISH: $texts = $texts { $($name: $english,)+ };
                static KOREAN: $texts = $texts { $($name: $korean,)+ };
                match language {
                    Language::English => &ENGLISH,
                    Language::Korean => &KOREAN,
                }
            }
        }

        #[cfg(test)]
        mod tests {
            use super::*;

            #[test]
            fn no_text_is_missing_or_left_in_another_language() {
                for language in [Language::English, Language::Korean] {
                    let texts = $texts::of(language);
                    for (name, text) in [$((stringify!($name), texts.$name),)+] {
                        let is_hangul = |c: char| ('가'..='힣').contains(&c);
                        assert!(!text.trim().is_empty(), "{language:?} {name}");
                        let is_korean = language == Language::Korean;
                        assert_eq!(text.chars().any(is_hangul), is_korean, "{language:?} {name}");
                    }
                }
            }
        }
    };
}

pub(super) use page_texts;
