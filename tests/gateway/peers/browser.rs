//! Tests what a browser does besides fetching: forms with files, downloads, event streams, WebSockets; over TLS and HTTP/2.

use serde_json::json;

use super::house;
use crate::support::browser::Browser;
use crate::support::eventually;

#[test]
fn a_browser_uploads_downloads_listens_and_talks() {
    let house = house();
    let downloads = tempfile::tempdir().unwrap();
    let browser = Browser::of_a_test(downloads.path());
    browser.open(&format!("{}/node/page", house.base(true)));
    assert_eq!(browser.run("return performance.getEntries()[0].nextHopProtocol"), "h2");

    for server in ["node", "uvicorn"] {
        let echoed = browser.run(&format!(
            "return new Promise((done) => {{
                const socket = new WebSocket(`wss://${{location.host}}/{server}/ws`);
                const echoed = [];
                socket.onopen = () => socket.send('hello');
                socket.onmessage = (message) => {{
                    echoed.push(message.data.length);
                    echoed.length === 1 ? socket.send('x'.repeat(60000)) : socket.close(1000);
                }};
                socket.onclose = (close) => done([...echoed, close.code]);
                setTimeout(() => done('too late'), 15000);
            }})"
        ));
        assert_eq!(echoed, json!([5, 60_000, 1000]), "{server}");
    }

    for (server, _) in &house.servers.all {
        let heard = browser.run(&format!(
            "return new Promise((done) => {{
                const events = new EventSource('/{server}/events?id=browser{server}');
                const heard = [];
                events.onmessage = (event) => {{
                    heard.push(event.data);
                    if (heard.length === 1) fetch('/{server}/release?id=browser{server}');
                    else {{ events.close(); done(heard); }}
                }};
                setTimeout(() => done(heard), 10000);
            }})"
        ));
        assert_eq!(heard, json!(["first", "second"]), "{server}");
    }

    let link = "const link = document.createElement('a');
                link.href = '/uvicorn/download';
                document.body.append(link);
                link.click();";
    browser.run(link);
    let file = downloads.path().join("한글.txt");
    eventually("the download", || {
        std::fs::read(&file).is_ok_and(|bytes| bytes == vec![b'd'; 300_000]).then_some(())
    });

    let form = "const form = document.createElement('form');
                form.id = 'form';
                form.action = '/php/echo';
                form.method = 'post';
                form.enctype = 'multipart/form-data';
                form.acceptCharset = 'utf-8';
                const input = document.createElement('input');
                input.type = 'file';
                input.name = 'file';
                const files = new DataTransfer();
                files.items.add(new File([new Uint8Array(200000)], '한글.bin'));
                input.files = files.files;
                const send = document.createElement('button');
                send.id = 'send';
                form.append(input, send);
                document.body.append(form);";
    browser.run(form);
    browser.follow("#send");
    let shown: serde_json::Value = serde_json::from_str(&browser.text("body")).unwrap();
    assert_eq!(shown["files"]["file"], json!(["한글.bin", 200_000]), "{shown}");
}
