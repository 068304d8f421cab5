//! What the files of texts for some pages have in common: each text in every language, and none of them missing. As
//! [`Texts`](super::texts::Texts), which all pages share.

/// Makes a type of texts: their name, English, Korean.
macro_rules! page_texts {
    ($texts:ident { $($name:ident $english:literal $korean:literal;)+ }) => {
        /// Everything that these pages say in one language.
        #[derive(Debug)]
        pub(super) struct $texts {
            $(pub(super) $name: &'static str,)+
        }

        impl $texts {
            /// Those of this language.
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
