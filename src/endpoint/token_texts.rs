//! The texts of the pages about personal access tokens in each language, like [`Texts`](super::texts::Texts) for the others.

use super::page_texts::page_texts;
use crate::wire::accept::Language;

page_texts! {
    TokenTexts {
        tokens_heading "Personal access tokens" "개인 액세스 토큰";
        what_for "A program that works for you presents a token in place of your password. Whoever has it may do what it was made for."
            "사용자를 대신하는 프로그램이 비밀번호 대신 제시합니다. 토큰을 가진 사람은 누구나 허용된 작업을 할 수 있습니다.";
        none_yet "You have none." "아직 없습니다.";
        created_at "Made" "만든 때";
        last_used "Last used" "마지막 사용";
        never "never" "없음";
        expires_at "Good until" "만료";
        routes "For" "사용할 수 있는 곳";
        all_routes "everything that takes tokens" "토큰을 받는 모든 곳";
        methods "Methods" "메서드";
        all_methods "all" "모두";
        revoke "Revoke" "폐기";
        new_heading "New token" "새 토큰";
        name_label "What is it for?" "용도";
        name_hint "A name by which you recognize it, like the machine that uses it."
            "사용할 컴퓨터 이름처럼 알아볼 수 있는 이름을 적으세요.";
        lifetime_label "Good for" "유효 기간";
        days "days" "일";
        routes_legend "Where may it be used?" "어디에서 사용합니까?";
        routes_hint "None chosen: everywhere that takes tokens." "선택하지 않으면 토큰을 받는 모든 곳에서 쓸 수 있습니다.";
        methods_legend "What may it do?" "무엇을 할 수 있습니까?";
        methods_read "Read only (GET)" "읽기만 (GET)";
        methods_all "Read and change" "읽기와 변경";
        create "Make the token" "토큰 만들기";
        made_heading "Your new token" "새 토큰";
        made_keep "Copy it now and keep it as you keep a password. It is not shown again."
            "지금 복사해 비밀번호처럼 보관하세요. 다시 표시되지 않습니다.";
        made_use "Programs send it in this header:" "프로그램은 다음 헤더로 보냅니다.";
        go_on "Continue" "계속";
        bad_input "Something in the form is missing or not allowed." "입력한 내용이 없거나 허용되지 않습니다.";
        too_many "There are too many tokens already. Revoke one first." "토큰이 너무 많습니다. 먼저 하나를 폐기하세요.";
    }
}
