use super::*;

#[test]
fn a_change_of_second_factors_is_told_each_time() {
    let (upstream, server) = (Upstream::start(), Receiver::smtp(&[]));
    let gateway = setup(&upstream)
        .with(&notify(&mail(&server, PLAIN)))
        .with("[second_factor]\nmode = \"optional\"")
        .start();
    for n in 1..=2 {
        let reset = gateway.command(&["user", "second-factor", "reset", "file/kim"]);
        assert!(reset.status.success(), "{}", String::from_utf8_lossy(&reset.stderr));
        let letters = server.wait_for(n);
        assert_eq!(letters[n - 1]["to"], json!(["kim@example.org"]));
        let text = letters[n - 1]["text"].as_str().unwrap();
        assert!(text.contains("took away the account's second factors"), "{text}");
        assert!(text.contains("https://app.example/incident?answer=not-me"), "{text}");
    }
}
