//! What the page about one's account says, in each language: as [`Texts`](super::texts::Texts) for the others.

use crate::wire::accept::Language;

macro_rules! account_texts {
    ($($name:ident $english:literal $korean:literal;)+) => {
        /// Everything that the page says in one language.
        #[derive(Debug)]
        pub(super) struct AccountTexts {
            $(pub(super) $name: &'static str,)+
        }

        static ENGLISH: AccountTexts = AccountTexts { $($name: $english,)+ };
        static KOREAN: AccountTexts = AccountTexts { $($name: $korean,)+ };

        #[cfg(test)]
        impl AccountTexts {
            fn all(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }
    };
}

account_texts! {
    heading "Your account" "내 계정";
    sessions_heading "Where you are signed in" "로그인된 기기";
    this_one "This browser" "이 브라우저";
    place "Where" "위치";
    began "Signed in" "로그인";
    last_used "Last used" "마지막 사용";
    no_others "You are signed in nowhere else." "다른 곳에는 로그인되어 있지 않습니다.";
    others_count "Other sign-ins" "다른 로그인";
    end "Sign out" "로그아웃";
    end_others "Sign out everywhere else" "다른 모든 기기에서 로그아웃";
    end_all "Sign out everywhere, here too" "여기를 포함해 모두 로그아웃";
    show_more "Show more sign-ins" "로그인 더 보기";
    show_first "Back to the newest" "최근 로그인으로 돌아가기";
    done_ended "That sign-in has ended." "해당 로그인이 종료되었습니다.";
    done_others_ended "You are signed out everywhere else." "다른 모든 기기에서 로그아웃했습니다.";
}

impl AccountTexts {
    /// Those of this language.
    pub(super) fn of(language: Language) -> &'static Self {
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
            for (name, text) in AccountTexts::of(language).all() {
                let is_hangul = |c: char| ('가'..='힣').contains(&c);
                assert!(!text.trim().is_empty(), "{language:?} {name}");
                let is_korean = language == Language::Korean;
                assert_eq!(text.chars().any(is_hangul), is_korean, "{language:?} {name}");
            }
        }
    }
}
