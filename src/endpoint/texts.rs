//! The texts of the gateway's pages, in each language.
//!
//! A language is one [`Texts`] and one line in [`Texts::of`]; the compiler requires every text, and a test checks that each
//! is there and in its language. `wire::accept` knows which one the visitor prefers.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use crate::refusal::Refusal;
use crate::wire::accept::Language;

macro_rules! texts {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The texts of the pages in one language.
        #[derive(Debug)]
        pub(super) struct Texts {
            /// The language's tag, for `lang`.
            pub(super) tag: &'static str,
            $($(#[doc = $doc])+ pub(super) $name: &'static str,)+
            /// The sentence that says how long to wait.
            pub(super) wait: fn(Duration) -> String,
            /// The sentences that say how many sessions were ended, and what to do next.
            pub(super) sessions_ended: fn(usize) -> String,
        }

        #[cfg(test)]
        impl Texts {
            fn all(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }
    };
}

texts! {
    /// Heading, title and button of the login page.
    sign_in,
    /// Heading and button of the page that asks before signing out.
    sign_out,
    /// Heading and button of the page that asks before signing out everywhere.
    sign_out_everywhere,
    /// The sentence that says what signing out ends.
    ends_here,
    /// The sentence that says what signing out everywhere ends.
    ends_everywhere,
    /// The words before the name of the signed-in user.
    signed_in_as,
    /// The message for a signed-in user whose account may not go where they want to.
    not_enough,
    /// The label of the name field.
    username,
    /// The label of the name field, where it is a mail address.
    email,
    /// The label of the password field.
    password,
    /// The word before the title of a page with a problem.
    error,
    /// The name of the operator's links for screen readers.
    more,
    /// The label of the request id.
    request_id,
    /// The label of the code.
    code,
    /// The link to `/`.
    start_page,
    /// The message for a field that was left empty.
    missing,
    /// The message that the browser will drop the cookie.
    insecure,
    /// The message for an empty field, where the name is a mail address.
    missing_email,
    /// The message for an empty field, where the name is something else.
    missing_any,
    /// The message for a name and a password that do not match.
    bad_credentials,
    /// The message that the service asks this user for a second factor.
    second_factor,
    /// The message after too many failures.
    too_many_attempts,
    /// The message for a full hashing pool.
    busy,
    /// The message for a store or directory that is down.
    unavailable,
    /// The message for a form from another site.
    cross_site,
    /// The message for a form that cannot be read.
    bad_form,
    /// Heading for 400 and its like.
    bad_request_heading,
    /// The message for a request that cannot be understood.
    bad_request,
    /// Heading for 401.
    signed_out_heading,
    /// The message if nobody is signed in.
    signed_out,
    /// Heading for 403.
    forbidden_heading,
    /// The message for a caller who is not allowed.
    forbidden,
    /// Heading for 404.
    not_found_heading,
    /// The message for a path where there is nothing.
    not_found,
    /// Heading for 500 and its like.
    failed_heading,
    /// The message for a failure of the gateway.
    failed,
    /// Heading for 502 and 504.
    upstream_heading,
    /// The message for an application that cannot be reached.
    upstream_down,
    /// The message for an application that does not answer in time.
    upstream_slow,
    /// Heading for 503.
    unavailable_heading,
    /// The message for an application that is down for maintenance.
    maintenance,
    /// Heading for 429.
    too_many_heading,
    /// The message for too many requests.
    too_many,
    /// The label of the account that an incident concerns.
    incident_account,
    /// The label of what happened.
    incident_what,
    /// The label of when it happened.
    incident_when,
    /// The label of the place that it came from.
    incident_where,
    /// The label of the device.
    incident_device,
    /// The button for users who say that it was them.
    this_was_me,
    /// The button for users who say that it was not them.
    this_was_not_me,
    /// Heading of the page that asks a user to confirm that it was not them.
    not_me_heading,
    /// The sentence that says what this answer does.
    not_me_means,
    /// Heading of the page that asks a user to confirm that it was them.
    me_heading,
    /// The sentence that says what this answer does.
    me_means,
    /// Heading after all sessions were ended.
    signed_out_everywhere,
    /// The link to where users change their password.
    change_password,
    /// Heading after a user said that it was them.
    thank_you,
    /// The message that nothing was changed.
    nothing_changed,
    /// Heading for a link that does not work.
    link_gone_heading,
    /// The message about what to do with such a link.
    link_gone,
}

static ENGLISH: Texts = Texts {
    tag: "en",
    sign_in: "Sign in",
    sign_out: "Sign out",
    sign_out_everywhere: "Sign out everywhere",
    ends_here: "This ends your session in this browser.",
    ends_everywhere: "This ends all of your sessions, on every device.",
    signed_in_as: "Signed in as",
    not_enough: "Your account may not open the page that you asked for. Sign in with another account to go there.",
    username: "Username",
    email: "Email",
    password: "Password",
    error: "Error",
    more: "More",
    request_id: "Request ID",
    code: "Code",
    start_page: "Go to the start page",
    missing: "Enter your username and your password.",
    insecure: "This page was opened without encryption, so your browser will not keep the sign-in. Open it with https:// instead, or ask whoever runs this service.",
    missing_email: "Enter your email and your password.",
    missing_any: "Fill in all fields.",
    bad_credentials: "The username or the password is not right. Check both and try again.",
    second_factor: "This account has a second factor, which this page does not ask for. Sign in on the service's own sign-in page.",
    too_many_attempts: "Too many failed attempts.",
    busy: "Many people are signing in right now. Try again in a moment.",
    unavailable: "Signing in is not possible at the moment. Try again in a few minutes.",
    cross_site: "The form was sent from another site. Sign in from this page.",
    bad_form: "The form could not be read. Sign in from this page.",
    bad_request_heading: "This request cannot be handled",
    bad_request: "The address or something sent with it is not valid. Check the address, or start again from the start page.",
    signed_out_heading: "You are not signed in",
    signed_out: "Sign in to see this page.",
    forbidden_heading: "You do not have access",
    forbidden: "You are not allowed to do this. If you think you should be, tell whoever runs this service and give them the request ID below.",
    not_found_heading: "Page not found",
    not_found: "There is nothing at this address. It may have been mistyped or moved.",
    failed_heading: "Something went wrong",
    failed: "The request could not be handled. Try again; if it happens again, tell whoever runs this service and give them the request ID below.",
    upstream_heading: "The service is not answering",
    upstream_down: "The service behind this page cannot be reached at the moment. Try again in a few minutes.",
    upstream_slow: "The service behind this page took too long to answer. Try again in a few minutes.",
    unavailable_heading: "Not available at the moment",
    maintenance: "The application is down for maintenance. Try again later.",
    too_many_heading: "Too many requests",
    too_many: "There were too many requests. Wait a moment and try again.",
    incident_account: "Account",
    incident_what: "What",
    incident_when: "When",
    incident_where: "Where",
    incident_device: "Device",
    this_was_me: "This was me",
    this_was_not_me: "This was not me",
    not_me_heading: "This was not you?",
    not_me_means: "The account will be signed out everywhere, on every device. Whoever used it has to sign in again.",
    me_heading: "This was you?",
    me_means: "Then nothing has to be done. Tell us, so that we know it next time.",
    signed_out_everywhere: "Signed out everywhere",
    change_password: "Change the password",
    thank_you: "Thank you",
    nothing_changed: "Nothing was changed. You can close this page.",
    link_gone_heading: "This link does not work any more",
    link_gone: "It was used, or it is too old. If you are worried about your account, sign in and change your password.",
    sessions_ended: |ended| {
        let sessions = match ended {
            0 => "No session was left to end.".to_owned(),
            1 => "1 session was ended.".to_owned(),
            more => format!("{more} sessions were ended."),
        };
        format!(
            "{sessions} Now change the password: whoever knows the old one could sign in again."
        )
    },
    wait: |wait| {
        let (count, unit) = rounded(wait, ["second", "minute", "hour"]);
        let plural = if count == 1 { "" } else { "s" };
        format!("Try again in {count} {unit}{plural}.")
    },
};

static KOREAN: Texts = Texts {
    tag: "ko",
    sign_in: "로그인",
    sign_out: "로그아웃",
    sign_out_everywhere: "모든 기기에서 로그아웃",
    ends_here: "이 브라우저에서 로그아웃됩니다.",
    ends_everywhere: "모든 기기에서 로그아웃됩니다.",
    signed_in_as: "로그인한 사용자",
    not_enough: "이 계정으로는 요청한 페이지를 열 수 없습니다. 다른 계정으로 로그인하세요.",
    username: "사용자 이름",
    email: "이메일",
    password: "비밀번호",
    error: "오류",
    more: "더 보기",
    request_id: "요청 ID",
    code: "코드",
    start_page: "시작 페이지로 이동",
    missing: "사용자 이름과 비밀번호를 입력하세요.",
    insecure: "암호화되지 않은 연결로 이 페이지를 열었기 때문에 브라우저가 로그인을 유지하지 않습니다. https:// 주소로 여시거나 서비스 관리자에게 문의하세요.",
    missing_email: "이메일과 비밀번호를 입력하세요.",
    missing_any: "모든 항목을 입력하세요.",
    bad_credentials: "사용자 이름 또는 비밀번호가 올바르지 않습니다. 확인한 후 다시 시도하세요.",
    second_factor: "이 계정에는 2단계 인증이 설정되어 있으며 이 페이지에서는 확인할 수 없습니다. 서비스의 로그인 페이지에서 로그인하세요.",
    too_many_attempts: "로그인 시도가 너무 많이 실패했습니다.",
    busy: "지금 로그인하는 사람이 많습니다. 잠시 후 다시 시도하세요.",
    unavailable: "지금은 로그인할 수 없습니다. 몇 분 후에 다시 시도하세요.",
    cross_site: "다른 사이트에서 보낸 양식입니다. 이 페이지에서 로그인하세요.",
    bad_form: "양식을 읽을 수 없습니다. 이 페이지에서 로그인하세요.",
    bad_request_heading: "처리할 수 없는 요청입니다",
    bad_request: "주소 또는 함께 보낸 내용이 올바르지 않습니다. 주소를 확인하거나 시작 페이지에서 다시 시작하세요.",
    signed_out_heading: "로그인되어 있지 않습니다",
    signed_out: "이 페이지를 보려면 로그인하세요.",
    forbidden_heading: "접근 권한이 없습니다",
    forbidden: "이 작업을 할 권한이 없습니다. 권한이 있어야 한다면 서비스 관리자에게 아래의 요청 ID를 알려 주세요.",
    not_found_heading: "페이지를 찾을 수 없습니다",
    not_found: "이 주소에는 아무것도 없습니다. 주소가 잘못되었거나 변경되었을 수 있습니다.",
    failed_heading: "문제가 발생했습니다",
    failed: "요청을 처리하지 못했습니다. 다시 시도하고, 계속되면 서비스 관리자에게 아래의 요청 ID를 알려 주세요.",
    upstream_heading: "서비스가 응답하지 않습니다",
    upstream_down: "지금은 이 페이지의 서비스에 연결할 수 없습니다. 몇 분 후에 다시 시도하세요.",
    upstream_slow: "이 페이지의 서비스가 제시간에 응답하지 않았습니다. 몇 분 후에 다시 시도하세요.",
    unavailable_heading: "지금은 이용할 수 없습니다",
    maintenance: "애플리케이션이 점검 중입니다. 잠시 후 다시 시도해 주세요.",
    too_many_heading: "요청이 너무 많습니다",
    too_many: "요청이 너무 많습니다. 잠시 기다렸다가 다시 시도해 주세요.",
    incident_account: "계정",
    incident_what: "내용",
    incident_when: "시각",
    incident_where: "위치",
    incident_device: "기기",
    this_was_me: "본인입니다",
    this_was_not_me: "본인이 아닙니다",
    not_me_heading: "본인이 아니신가요?",
    not_me_means: "모든 기기에서 이 계정이 로그아웃됩니다. 사용하던 사람은 다시 로그인해야 합니다.",
    me_heading: "본인이신가요?",
    me_means: "그렇다면 아무것도 하지 않아도 됩니다. 다음에 참고할 수 있도록 알려 주세요.",
    signed_out_everywhere: "모든 기기에서 로그아웃했습니다",
    change_password: "비밀번호 변경",
    thank_you: "감사합니다",
    nothing_changed: "변경된 것은 없습니다. 이 페이지를 닫아도 됩니다.",
    link_gone_heading: "이 링크는 더 이상 쓸 수 없습니다",
    link_gone: "이미 사용했거나 기간이 지났습니다. 계정이 걱정되면 로그인하여 비밀번호를 변경하세요.",
    sessions_ended: |ended| {
        let sessions = match ended {
            0 => "끝낼 세션이 남아 있지 않았습니다.".to_owned(),
            more => format!("세션 {more}개를 끝냈습니다."),
        };
        format!(
            "{sessions} 이전 비밀번호를 아는 사람이 다시 로그인할 수 있으니 지금 비밀번호를 변경하세요."
        )
    },
    wait: |wait| {
        let (count, unit) = rounded(wait, ["초", "분", "시간"]);
        format!("{count}{unit} 후에 다시 시도하세요.")
    },
};

impl Texts {
    /// Returns the texts in this language.
    pub(super) fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &ENGLISH,
            Language::Korean => &KOREAN,
        }
    }

    /// Returns the label of the field with the user name, by its name in a body. If there is no text for it, it is worded as
    /// Django words a field without a label of its own.
    pub(super) fn label_of(&self, field: &str) -> Cow<'static, str> {
        match field {
            "username" => self.username.into(),
            "email" => self.email.into(),
            other => {
                let words = other.replace(['_', '-', '.'], " ");
                let mut letters = words.trim().chars();
                let first = letters.next().map(|first| first.to_uppercase().to_string());
                format!("{}{}", first.unwrap_or_default(), letters.as_str()).into()
            }
        }
    }

    /// Returns the message of the login page for a field that was left empty.
    pub(super) fn missing_fields(&self, field: &str) -> &'static str {
        match field {
            "username" => self.missing,
            "email" => self.missing_email,
            _ => self.missing_any,
        }
    }

    /// Returns the message of the login page for a failed sign-in.
    pub(super) fn sign_in_problem(
        &self,
        refusal: Refusal,
        retry_after: Option<Duration>,
    ) -> String {
        let text = match (refusal.status(), refusal) {
            (StatusCode::UNAUTHORIZED, _) => self.bad_credentials,
            (StatusCode::TOO_MANY_REQUESTS, _) => self.too_many_attempts,
            (_, Refusal::SecondFactorElsewhere) => self.second_factor,
            (StatusCode::FORBIDDEN, _) => self.cross_site,
            (_, Refusal::Busy) => self.busy,
            (status, _) if status.is_client_error() => self.bad_form,
            (_, _) => self.unavailable,
        };
        match retry_after {
            Some(wait) if refusal == Refusal::TooManyAttempts => {
                format!("{text} {}", (self.wait)(wait))
            }
            _ => text.to_owned(),
        }
    }

    /// Returns heading and text of the page for a refusal, by its status; the page shows the code beside them.
    pub(super) fn refusal(&self, refusal: Refusal) -> (&'static str, &'static str) {
        match refusal {
            Refusal::SecondFactorElsewhere => return (self.forbidden_heading, self.second_factor),
            Refusal::AccountNotAllowed => return (self.forbidden_heading, self.not_enough),
            Refusal::Maintenance => return (self.unavailable_heading, self.maintenance),
            _ => {}
        }
        match refusal.status().as_u16() {
            401 => (self.signed_out_heading, self.signed_out),
            403 => (self.forbidden_heading, self.forbidden),
            404 => (self.not_found_heading, self.not_found),
            429 => (self.too_many_heading, self.too_many),
            502 => (self.upstream_heading, self.upstream_down),
            503 => (self.unavailable_heading, self.failed),
            504 => (self.upstream_heading, self.upstream_slow),
            400..=499 => (self.bad_request_heading, self.bad_request),
            _ => (self.failed_heading, self.failed),
        }
    }
}

/// Returns a time to wait in the largest fitting unit, rounded up so that nobody retries too early.
fn rounded(wait: Duration, [second, minute, hour]: [&'static str; 3]) -> (u64, &'static str) {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
    match seconds {
        0..120 => (seconds, second),
        120..7200 => (seconds.div_ceil(60), minute),
        _ => (seconds.div_ceil(3600), hour),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_missing_or_left_in_another_language() {
        for language in [Language::English, Language::Korean] {
            let texts = Texts::of(language);
            assert_eq!(texts.tag, language.code());
            for (name, text) in texts.all() {
                let is_hangul = |c: char| ('가'..='힣').contains(&c);
                assert!(!text.trim().is_empty(), "{} {name}", texts.tag);
                assert_eq!(text.chars().any(is_hangul), texts.tag == "ko", "{} {name}", texts.tag);
            }
        }
    }

    #[test]
    fn a_wait_is_rounded_up() {
        for (millis, english, korean) in [
            (0, "in 1 second.", "1초 "),
            (29_001, "in 30 seconds.", "30초 "),
            (120_000, "in 2 minutes.", "2분 "),
            (121_000, "in 3 minutes.", "3분 "),
            (7_200_001, "in 3 hours.", "3시간 "),
        ] {
            let wait = Duration::from_millis(millis);
            assert!((ENGLISH.wait)(wait).ends_with(english), "{millis}");
            assert!((KOREAN.wait)(wait).starts_with(korean), "{millis}");
        }
    }

    #[test]
    fn every_refusal_has_a_page() {
        for refusal in Refusal::ALL {
            let (heading, text) = ENGLISH.refusal(*refusal);
            assert!(!heading.is_empty() && !text.is_empty());
        }
        assert_eq!(ENGLISH.refusal(Refusal::GroupRequired).0, "You do not have access");
        assert_eq!(ENGLISH.refusal(Refusal::UpstreamTimeout).1, ENGLISH.upstream_slow);
    }

    #[test]
    fn only_a_lockout_names_the_wait() {
        let wait = Some(Duration::from_secs(30));
        let locked = ENGLISH.sign_in_problem(Refusal::TooManyAttempts, wait);
        assert_eq!(locked, "Too many failed attempts. Try again in 30 seconds.");
        assert_eq!(ENGLISH.sign_in_problem(Refusal::Busy, wait), ENGLISH.busy);
        assert_eq!(ENGLISH.sign_in_problem(Refusal::StoreUnavailable, None), ENGLISH.unavailable);
        assert_eq!(
            KOREAN.sign_in_problem(Refusal::SecondFactorElsewhere, None),
            KOREAN.second_factor
        );
        assert_eq!(KOREAN.refusal(Refusal::SecondFactorElsewhere).1, KOREAN.second_factor);
    }
}
