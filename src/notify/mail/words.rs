//! Words about incidents for users, in their language. A detector that this file does not know is described in general words,
//! so that a new detector needs nothing here to be reported.

use crate::wire::accept::Language;

/// Describes in one sentence what happened.
pub(crate) fn what(detector: &str, language: Language) -> &'static str {
    let (english, korean) = match detector {
        "refresh_reuse" => (
            "A sign-in that had been renewed was used in its old form: somebody else may hold a copy of it.",
            "이미 갱신된 로그인 정보가 다시 사용되었습니다. 다른 사람이 사본을 가지고 있을 수 있습니다.",
        ),
        "refresh_burst" => (
            "A sign-in was renewed far more often than usual.",
            "로그인이 평소보다 훨씬 자주 갱신되었습니다.",
        ),
        "token_countries" => (
            "One sign-in was used from several countries within a short time.",
            "짧은 시간 안에 하나의 로그인이 여러 나라에서 사용되었습니다.",
        ),
        "impossible_travel" => (
            "One sign-in was used from two places that are too far apart for the time in between.",
            "하나의 로그인이 그 시간 안에 이동할 수 없는 두 곳에서 사용되었습니다.",
        ),
        "outside_binding" => (
            "A sign-in was used outside the place that it belongs to.",
            "로그인이 허용된 위치 밖에서 사용되었습니다.",
        ),
        "client_change" => (
            "A sign-in went on in another browser or on another system.",
            "로그인이 다른 브라우저나 다른 운영 체제에서 이어졌습니다.",
        ),
        "new_country" => (
            "The account was signed in to from a country where it had not been used before.",
            "이전에 사용한 적이 없는 나라에서 로그인했습니다.",
        ),
        "new_device" => (
            "The account was signed in to on a device that had not been used before.",
            "이전에 사용한 적이 없는 기기에서 로그인했습니다.",
        ),
        "password_guessing" | "distributed_guessing" => {
            ("Somebody tries to guess the password.", "누군가 비밀번호를 추측하고 있습니다.")
        }
        "revoked_use" => (
            "A sign-in that had ended was used again and again.",
            "이미 끝난 로그인이 반복해서 사용되었습니다.",
        ),
        "session_count" => (
            "The account is signed in to in more places than allowed.",
            "허용된 수보다 많은 곳에서 로그인되어 있습니다.",
        ),
        "password_changed" => {
            ("The password of the account was changed.", "계정의 비밀번호가 변경되었습니다.")
        }
        "second_factor_added" => (
            "A second factor was set up for the account.",
            "계정에 2단계 인증 수단이 추가되었습니다.",
        ),
        "second_factor_removed" => (
            "A second factor was removed from the account.",
            "계정에서 2단계 인증 수단이 삭제되었습니다.",
        ),
        "second_factor_renamed" => (
            "A second factor of the account was given another name.",
            "계정의 2단계 인증 수단 이름이 변경되었습니다.",
        ),
        "recovery_codes_renewed" => (
            "New recovery codes were made for the account; the old ones do not work any more.",
            "계정의 복구 코드가 새로 만들어졌습니다. 이전 코드는 더 이상 쓸 수 없습니다.",
        ),
        "recovery_code_used" => {
            ("A recovery code of the account was used.", "계정의 복구 코드가 사용되었습니다.")
        }
        "device_trusted" => (
            "A browser was trusted: signing in to the account there takes no code for a while.",
            "신뢰하는 브라우저가 추가되었습니다. 그 브라우저에서는 한동안 인증 코드 없이 로그인할 수 있습니다.",
        ),
        "second_factor_reset" => (
            "Whoever runs the service took away the account's second factors; it sets up another one at the next sign-in.",
            "서비스 관리자가 계정의 2단계 인증 수단을 초기화했습니다. 다음 로그인 때 다시 설정합니다.",
        ),
        "personal_token_made" => (
            "A personal access token was made for the account: a program that has it may act for you.",
            "계정의 개인 액세스 토큰이 만들어졌습니다. 이 토큰을 가진 프로그램은 사용자를 대신할 수 있습니다.",
        ),
        "personal_token_ended" => (
            "A personal access token of the account works no more.",
            "계정의 개인 액세스 토큰을 더 이상 쓸 수 없습니다.",
        ),
        "personal_token_revoked" => (
            "A personal access token of the account was revoked.",
            "계정의 개인 액세스 토큰이 폐기되었습니다.",
        ),
        "passkey_added" => (
            "A passkey was set up for the account: whoever has it can sign in.",
            "계정에 패스키가 추가되었습니다. 그 패스키로 로그인할 수 있습니다.",
        ),
        "passkey_removed" => {
            ("A passkey was removed from the account.", "계정에서 패스키가 삭제되었습니다.")
        }
        "passkey_cloned" => (
            "A passkey of the account was used, and somebody else may hold a copy of its key. It was refused: remove that passkey.",
            "계정의 패스키가 사용되었는데 다른 사람이 그 키의 사본을 가지고 있을 수 있어 거부했습니다. 해당 패스키를 삭제하세요.",
        ),
        _ => ("The account was used in an unusual way.", "계정이 평소와 다르게 사용되었습니다."),
    };
    of(language, english, korean)
}

/// Describes what was done about it. If the incident is a change by the user, nothing else was changed.
pub(crate) fn done_about(detector: &str, actions: &[String], language: Language) -> &'static str {
    let is_change = ["second_factor_", "recovery_code", "password_changed"];
    match actions.is_empty() && is_change.iter().any(|change| detector.starts_with(change)) {
        true => of(language, "Nothing else was changed.", "그 밖에 변경된 것은 없습니다."),
        false => done(actions, language),
    }
}

/// Describes what was done about it: the strongest of the actions.
pub(crate) fn done(actions: &[String], language: Language) -> &'static str {
    let any = |name: &str| actions.iter().any(|action| action == name);
    let (english, korean) = if any("end_user_sessions") {
        ("The account was signed out everywhere.", "모든 기기에서 이 계정이 로그아웃되었습니다.")
    } else if any("end_session") {
        (
            "The sign-in was ended: whoever used it has to sign in again.",
            "해당 로그인이 종료되었습니다. 다시 로그인해야 합니다.",
        )
    } else if any("step_up") {
        (
            "Whoever uses it has to prove who they are before they can go on.",
            "계속하려면 본인 확인을 다시 해야 합니다.",
        )
    } else if any("block_address") {
        ("The address was blocked for a while.", "해당 주소가 일정 시간 차단되었습니다.")
    } else {
        ("Nothing was changed.", "변경된 것은 없습니다.")
    };
    of(language, english, korean)
}

/// Returns the word for an unknown value.
pub(crate) fn unknown(language: Language) -> &'static str {
    of(language, "unknown", "알 수 없음")
}

/// Describes the device: browser and system, as far as the `User-Agent` names them.
pub(crate) fn device(agent: &str, language: Language) -> String {
    match (browser(agent), system(agent)) {
        (Some(browser), Some(system)) => match language {
            Language::English => format!("{browser} on {system}"),
            Language::Korean => format!("{browser} ({system})"),
        },
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => match product(agent) {
            Some(product) => product.to_owned(),
            None => unknown(language).to_owned(),
        },
    }
}

/// The first match counts: most browsers also name those below them.
const BROWSERS: [(&str, &str); 15] = [
    ("KAKAOTALK", "KakaoTalk"),
    ("NAVER(inapp", "Naver"),
    ("Whale/", "Whale"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Vivaldi/", "Vivaldi"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Version/", "Safari"),
    ("Trident/", "Internet Explorer"),
];

const SYSTEMS: [(&str, &str); 7] = [
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];

fn browser(agent: &str) -> Option<&'static str> {
    BROWSERS.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
}

fn system(agent: &str) -> Option<&'static str> {
    SYSTEMS.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
}

/// Returns `curl` for `curl/8.5.0`: letters, digits, `-` and `_` only, so that a sender's own text does not get into a mail.
fn product(agent: &str) -> Option<&str> {
    let product = agent.split(['/', ' ']).next()?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (!product.is_empty() && product.len() <= 32 && product.bytes().all(legal)).then_some(product)
}

const fn of(language: Language, english: &'static str, korean: &'static str) -> &'static str {
    match language {
        Language::English => english,
        Language::Korean => korean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_told_in_words() {
        for (agent, english, korean) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox on Linux",
                "Firefox (Linux)",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
                "Edge on Windows",
                "Edge (Windows)",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
                "Safari (iPhone)",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; SM-S921N) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36",
                "Samsung Internet on Android",
                "Samsung Internet (Android)",
            ),
            ("curl/8.5.0", "curl", "curl"),
            ("python-requests/2.34", "python-requests", "python-requests"),
            ("", "unknown", "알 수 없음"),
            ("<b>Click http://evil.example</b>", "unknown", "알 수 없음"),
            ("Dear\r\nBcc: you@example.org", "unknown", "알 수 없음"),
        ] {
            assert_eq!(device(agent, Language::English), english, "{agent}");
            assert_eq!(device(agent, Language::Korean), korean, "{agent}");
        }
    }

    #[test]
    fn every_sentence_is_in_its_language() {
        let hangul = |text: &str| text.chars().any(|c| ('가'..='힣').contains(&c));
        for detector in
            ["refresh_reuse", "token_countries", "new_device", "password_guessing", "another"]
        {
            assert!(!hangul(what(detector, Language::English)), "{detector}");
            assert!(hangul(what(detector, Language::Korean)), "{detector}");
        }
        for action in ["end_user_sessions", "end_session", "step_up", "block_address", "observe"] {
            let actions = [action.to_owned(), "notify".to_owned()];
            assert!(!hangul(done(&actions, Language::English)), "{action}");
            assert!(hangul(done(&actions, Language::Korean)), "{action}");
        }
    }
}
