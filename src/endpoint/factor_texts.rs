//! The texts of the pages about second factors in each language, like [`Texts`](super::texts::Texts) for the others.

use super::page_texts::page_texts;
use crate::refusal::Refusal;
use crate::wire::accept::Language;

page_texts! {
    FactorTexts {
        code_heading "Enter your code" "인증 코드 입력";
        code_hint "Open your authenticator app and enter the code that it shows for this account."
            "인증 앱을 열고 이 계정에 표시되는 코드를 입력하세요.";
        code_label "Code from the app" "앱의 인증 코드";
        go_on "Continue" "계속";
        recovery_summary "Use a recovery code instead" "복구 코드로 진행";
        recovery_label "Recovery code" "복구 코드";
        recovery_hint "One of the codes that you were shown when you set up the app. Each works once."
            "앱을 설정할 때 받은 코드 가운데 하나입니다. 코드마다 한 번만 쓸 수 있습니다.";
        confirm_heading "Confirm that it is you" "본인 확인";
        confirm_hint "What you are about to do takes a new confirmation. Then you go on where you were."
            "계속하려면 본인임을 다시 확인해야 합니다. 확인한 뒤 하던 일을 이어서 할 수 있습니다.";
        held_heading "Thank you" "확인되었습니다";
        held_hint "What you sent before was kept. Send it now to go on."
            "앞서 보낸 내용을 보관해 두었습니다. 지금 보내고 계속하세요.";
        sent_heading "Sent already" "이미 보낸 내용입니다";
        sent_hint "This was sent once and is not sent again, or it waited for too long. Look whether it arrived before you send it anew."
            "이 내용은 한 번만 전송되며 다시 보내지 않습니다. 또는 시간이 지났습니다. 다시 보내기 전에 처리되었는지 확인하세요.";
        sent_back "Go to that page" "해당 페이지로 이동";
        enrol_heading "Set up a second factor" "2단계 인증 설정";
        must_enrol "This account needs a second factor. You set it up once, with an authenticator app on your phone or computer."
            "이 계정에는 2단계 인증이 필요합니다. 휴대전화나 컴퓨터의 인증 앱으로 한 번만 설정하면 됩니다.";
        enrol_scan "Scan this code with your authenticator app." "인증 앱으로 이 코드를 스캔하세요.";
        enrol_qr "QR code for the authenticator app" "인증 앱용 QR 코드";
        enrol_secret "Or enter this key by hand" "또는 이 키를 직접 입력하세요";
        enrol_confirm "Then enter the code that the app shows." "그런 다음 앱에 표시된 코드를 입력하세요.";
        second_heading "Confirm that it is you" "본인 확인";
        with_app "Set up an authenticator app" "인증 앱 설정";
        with_passkey "Set up a passkey or security key" "패스키 또는 보안 키 설정";
        must_enrol_either "This account needs a second factor. You set it up once: an authenticator app, or a passkey on this device, your phone or a security key."
            "이 계정에는 2단계 인증이 필요합니다. 인증 앱, 또는 이 기기나 휴대전화, 보안 키의 패스키를 한 번만 설정하면 됩니다.";
        passkey_heading "Set up a passkey" "패스키 설정";
        passkey_means "Your device confirms that it is you by its PIN, your fingerprint or your face, or you touch a security key. Nothing has to be typed, and nobody can trick you into giving it away."
            "기기의 PIN, 지문, 얼굴 인식이나 보안 키로 본인임을 확인합니다. 입력할 것이 없고 속아서 알려 줄 위험도 없습니다.";
        passkey_name_label "What do you call this passkey?" "이 패스키의 이름";
        passkey_name_value "My passkey" "내 패스키";
        passkey_create "Create a passkey" "패스키 만들기";
        passkey_use "Use a passkey or security key" "패스키 또는 보안 키 사용";
        passkey_hint "Confirm with the passkey that you set up, on this device, your phone or a security key."
            "이 기기나 휴대전화, 보안 키에 설정해 둔 패스키로 확인하세요.";
        passkey_sign_in "Sign in with a passkey" "패스키로 로그인";
        passkey_failed "No passkey was used. Try again, or go on in another way."
            "패스키를 사용하지 못했습니다. 다시 시도하거나 다른 방법으로 계속하세요.";
        passkey_known "This device has a passkey for this account already." "이 기기에는 이미 이 계정의 패스키가 있습니다.";
        passkey_script "Passkeys take JavaScript, which is off in this browser." "패스키를 사용하려면 브라우저에서 자바스크립트를 켜야 합니다.";
        passkey_elsewhere "It was set up for another address of this service, and does not work here any more."
            "이 서비스의 다른 주소에서 설정한 것이어서 여기서는 더 이상 쓸 수 없습니다.";
        kind "Kind" "종류";
        kind_passkey "Passkey" "패스키";
        kind_passkey_copied "Passkey, also on other devices" "패스키, 다른 기기에도 저장됨";
        name_label "What do you call this device?" "이 기기의 이름";
        name_value "My phone" "내 휴대전화";
        invitation_label "Code from whoever runs this service" "서비스 관리자에게 받은 코드";
        invitation_hint "This browser has not signed in to this account before, so a password is not enough here."
            "이 브라우저에서 이 계정에 로그인한 적이 없으므로 비밀번호만으로는 설정할 수 없습니다.";
        recovery_heading "Your recovery codes" "복구 코드";
        recovery_keep "Keep these codes where you find them without your phone. Each lets you sign in once. They are not shown again."
            "휴대전화가 없어도 찾을 수 있는 곳에 보관하세요. 코드마다 한 번씩 로그인할 수 있으며 다시 표시되지 않습니다.";
        recovery_download "Download as a text file" "텍스트 파일로 내려받기";
        recovery_copy "Copy" "복사";
        recovery_copied "The codes are copied." "코드를 복사했습니다.";
        recovery_print_button "Print" "인쇄";
        recovery_print "To copy them, select the field above; to print them, use your browser's menu."
            "복사하려면 위 칸을 선택하고, 인쇄하려면 브라우저 메뉴를 사용하세요.";
        factors_heading "Second factors" "2단계 인증 수단";
        none_yet "You have none. Set one up, so that a stolen password is not enough to sign in."
            "아직 없습니다. 비밀번호가 유출되어도 로그인할 수 없도록 설정하세요.";
        added_at "Set up" "설정한 때";
        last_used "Last used" "마지막 사용";
        never "never" "없음";
        rename "Rename" "이름 변경";
        new_name "New name" "새 이름";
        remove "Remove" "삭제";
        codes_left "Recovery codes left" "남은 복구 코드";
        new_codes "Make new recovery codes" "새 복구 코드 만들기";
        trust_before "Do not ask for a code in this browser for" "이 브라우저에서 인증 코드를 묻지 않기:";
        trust_after "days" "일";
        distrust "Ask for a code in all browsers again" "모든 브라우저에서 인증 코드 다시 묻기";
        at_service "Kept by the service" "서비스에서 관리하는 수단";
        at_service_hint "You change and remove these in the service's own settings."
            "변경하거나 삭제하려면 서비스의 설정을 이용하세요.";
        kind_app "Authenticator app" "인증 앱";
        kind_codes "Codes that were written down" "적어 둔 코드";
        left "Left" "남은 개수";
        bad_code "The code is not right, or it was used already. Wait for the next one and try again."
            "코드가 올바르지 않거나 이미 사용되었습니다. 다음 코드를 기다렸다가 다시 시도하세요.";
        bad_passkey "The passkey was not accepted. Try again, or go on in another way."
            "패스키를 확인하지 못했습니다. 다시 시도하거나 다른 방법으로 계속하세요.";
        bad_invitation "The code from whoever runs this service is missing, not right, or too old."
            "서비스 관리자에게 받은 코드가 없거나 올바르지 않거나 기간이 지났습니다.";
        too_old "That took too long, or was begun in another place. Sign in again."
            "시간이 너무 오래 걸렸거나 다른 곳에서 시작한 로그인입니다. 다시 로그인하세요.";
        mail_offer "A code is mailed to the address of this account. Enter it here to go on."
            "이 계정의 메일 주소로 인증 코드를 보냅니다. 받은 코드를 여기에 입력하면 계속할 수 있습니다.";
        mail_send "Mail me a code" "메일로 코드 받기";
        mail_sent "A code is on its way to the mail address of this account. It works for a few minutes, here alone."
            "이 계정의 메일 주소로 코드를 보냈습니다. 몇 분 동안 여기에서만 쓸 수 있습니다.";
        mail_enter "Enter the code from the latest mail to the address of this account. It works for a few minutes, here alone."
            "이 계정의 메일 주소로 가장 최근에 받은 코드를 입력하세요. 몇 분 동안 여기에서만 쓸 수 있습니다.";
        mail_label "Code from the mail" "메일로 받은 코드";
        mail_again "Mail me another code" "코드 다시 받기";
        mail_instead "Or go on with a code by mail" "또는 메일로 받은 코드로 계속";
        mail_bad_code "The code is not right, or it works no more." "코드가 올바르지 않거나 더 이상 쓸 수 없습니다.";
        missing_code "Enter the code." "코드를 입력하세요.";
    }
}

impl FactorTexts {
    /// Returns what such a page says of its own refusals; `None` if it says what the login page says.
    pub(super) const fn problem(&self, refusal: Refusal) -> Option<&'static str> {
        match refusal {
            Refusal::BadCode | Refusal::SecondFactorRequired => Some(self.bad_code),
            Refusal::BadPasskey => Some(self.bad_passkey),
            Refusal::EnrolmentProofRequired => Some(self.bad_invitation),
            Refusal::TicketNotValid => Some(self.too_old),
            Refusal::BadBody => Some(self.missing_code),
            _ => None,
        }
    }
}
