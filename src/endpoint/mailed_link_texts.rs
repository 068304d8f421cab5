//! The texts of the pages about mailed links in each language, like [`Texts`](super::texts::Texts) for the others.

use super::page_texts::page_texts;
use crate::wire::accept::Language;

page_texts! {
    LinkTexts {
        account "Account" "계정";
        offer_sign_in "Passwords are being guessed for this account, so new browsers have to wait. With a link that is mailed to its owner you need not."
            "이 계정의 비밀번호를 추측하려는 시도가 많아 새 브라우저는 기다려야 합니다. 계정 주인의 메일로 받은 링크를 열면 기다리지 않아도 됩니다.";
        offer_enrol "Or have a link mailed to the address of this account, and open it in this browser."
            "또는 이 계정의 메일 주소로 링크를 받아 이 브라우저에서 여세요.";
        offer_button "Mail me a link" "메일로 링크 받기";
        asked_heading "Check your mail" "메일을 확인하세요";
        asked_message "If this account can be mailed a link, one is on its way. Open it in this browser within ten minutes, and then sign in with your password. No more than three are mailed in an hour."
            "링크를 받을 수 있는 계정이라면 곧 메일이 도착합니다. 10분 안에 이 브라우저에서 연 다음 비밀번호로 로그인하세요. 링크는 한 시간에 세 번까지만 보냅니다.";
        open_heading "Sign in in this browser?" "이 브라우저에서 로그인할까요?";
        open_message "You asked for this link here. Go on, and sign in with your password within ten minutes."
            "이 브라우저에서 요청한 링크입니다. 계속한 다음 10분 안에 비밀번호로 로그인하세요.";
        open_button "Continue" "계속";
        opened_heading "You can sign in now" "이제 로그인할 수 있습니다";
        opened_message "Sign in in this browser with your password within ten minutes."
            "10분 안에 이 브라우저에서 비밀번호로 로그인하세요.";
        other_heading "This is another browser" "다른 브라우저입니다";
        other_message "The link works in the browser in which it was asked for, and still does. Open it there. If you did not ask for it, close this page, and give the link to nobody."
            "이 링크는 요청한 브라우저에서만 쓸 수 있으며 아직 유효합니다. 그 브라우저에서 여세요. 요청한 적이 없다면 이 페이지를 닫고 링크를 다른 사람에게 알려 주지 마세요.";
        gone_heading "This link does not work any more" "이 링크는 더 이상 쓸 수 없습니다";
        gone_message "It was used, is older than ten minutes, or the account is another by now. You can ask for another one when you sign in."
            "이미 사용했거나 10분이 지났거나 계정이 변경되었습니다. 로그인할 때 다시 요청할 수 있습니다.";
    }
}
