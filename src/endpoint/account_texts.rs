//! The texts of the account page in each language, like [`Texts`](super::texts::Texts) for the other pages.

use super::page_texts::page_texts;
use crate::wire::accept::Language;

page_texts! {
    AccountTexts {
        heading "Your account" "내 계정";
        sessions_heading "Where you are signed in" "로그인된 기기";
        unknown_device "Unknown device" "알 수 없는 기기";
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
        activity_heading "What happened lately" "최근 활동";
        nothing_yet "Nothing yet." "아직 없습니다.";
        more_activity "Show more of it" "활동 더 보기";
        first_activity "Back to the latest" "최근 활동으로 돌아가기";
        factors_heading "Second factors" "2단계 인증 수단";
        factors_count "Set up" "설정한 수단";
        codes_left "Recovery codes left" "남은 복구 코드";
        factors_change "See to your second factors" "2단계 인증 수단 관리";
        devices_heading "Browsers that your account knows" "계정이 알고 있는 브라우저";
        devices_hint "While somebody guesses at your password, you go on signing in as ever in these. Forget what is not yours."
            "다른 사람이 비밀번호를 추측하는 동안에도 이 브라우저에서는 계속 로그인할 수 있습니다. 본인 것이 아니면 삭제하세요.";
        more_devices "Those that were used less lately" "더 오래전에 사용한 브라우저";
        no_devices "There are none." "없습니다.";
        first_used "First used" "처음 사용";
        forget "Forget" "삭제";
        forget_all "Forget all of them" "모두 삭제";
        done_devices_forgotten "Your account knows that no more." "계정에서 삭제되었습니다.";
        password_heading "Password" "비밀번호";
        password_hint "Your other sign-ins end, and browsers that your account knew have to show themselves anew."
            "다른 로그인은 모두 종료되고, 계정이 알고 있던 브라우저는 다시 확인해야 합니다.";
        current_password "Present password" "현재 비밀번호";
        new_password "New password" "새 비밀번호";
        new_password_again "New password, once more" "새 비밀번호 확인";
        done_password_changed "Your password was changed, and you are signed out everywhere else."
            "비밀번호가 변경되었고 다른 모든 기기에서 로그아웃되었습니다.";
        wrong_current "The present password is not right." "현재 비밀번호가 올바르지 않습니다.";
        too_short "The new password is too short." "새 비밀번호가 너무 짧습니다.";
        too_long "The new password is too long, or has a character that cannot be typed."
            "새 비밀번호가 너무 길거나 입력할 수 없는 문자가 있습니다.";
        like_name "The new password is too much like your name." "새 비밀번호가 사용자 이름과 너무 비슷합니다.";
        same_password "The new password is the present one." "새 비밀번호가 현재 비밀번호와 같습니다.";
        repeats "The new password is only one or two characters, again and again." "새 비밀번호가 한두 글자의 반복입니다.";
        tokens "Personal access tokens" "개인 액세스 토큰";
        differs "The two new passwords are not the same." "두 새 비밀번호가 서로 다릅니다.";
        signed_in "Signed in." "로그인했습니다.";
        signed_in_new "Signed in on a new device." "새 기기에서 로그인했습니다.";
        signed_in_elsewhere "Signed in at the service." "서비스에서 로그인했습니다.";
        wrong_password "A sign-in with a wrong password was refused." "잘못된 비밀번호로 시도한 로그인이 거부되었습니다.";
        wrong_code "A sign-in with a wrong code was refused." "잘못된 인증 코드로 시도한 로그인이 거부되었습니다.";
        locked_out "A sign-in was refused after too many failures." "실패가 너무 많아 로그인이 거부되었습니다.";
        no_proof "Somebody with your password tried to set up a second factor." "비밀번호를 아는 사람이 2단계 인증을 설정하려고 했습니다.";
        refused "A sign-in was refused." "로그인이 거부되었습니다.";
        invited "Whoever runs the service gave you a code to set up a second factor."
            "서비스 관리자가 2단계 인증을 설정할 코드를 발급했습니다.";
        device_trusted "You said that a browser need not ask for a code for a while."
            "한동안 이 브라우저에서 인증 코드를 묻지 않도록 했습니다.";
        devices_distrusted "You said that every browser has to ask for a code again."
            "모든 브라우저에서 인증 코드를 다시 묻도록 했습니다.";
        ended_account "You ended a sign-in from another one." "다른 로그인에서 로그인을 종료했습니다.";
        ended_everywhere "You signed out everywhere." "모든 기기에서 로그아웃했습니다.";
        ended_password "A sign-in ended because the password was changed or the account switched off."
            "비밀번호가 바뀌었거나 계정이 정지되어 로그인이 종료되었습니다.";
        ended_operator "Whoever runs the service ended a sign-in." "서비스 관리자가 로그인을 종료했습니다.";
        ended_not_me "You said that it was not you, and were signed out everywhere."
            "본인이 아니라고 답하여 모든 기기에서 로그아웃되었습니다.";
        ended_found "A sign-in was ended because it was used in an unusual way."
            "평소와 다르게 사용되어 로그인이 종료되었습니다.";
        password_changed "The password was changed." "비밀번호가 변경되었습니다.";
        mailed_link "A link that was mailed to you was opened, and its browser may try to sign in." "메일로 받은 링크를 열어 해당 브라우저에서 로그인을 시도할 수 있게 되었습니다.";
        devices_forgotten "You had browsers forgotten that your account knew." "계정이 알고 있던 브라우저를 삭제했습니다.";
        answered_me "You said that it was you." "본인이라고 답했습니다.";
        answered_not_me "You said that it was not you." "본인이 아니라고 답했습니다.";
        something "Something happened to the account." "계정에 변화가 있었습니다.";
        done_ended "That sign-in has ended." "해당 로그인이 종료되었습니다.";
        done_others_ended "You are signed out everywhere else." "다른 모든 기기에서 로그아웃했습니다.";
    }
}
