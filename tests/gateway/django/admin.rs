//! Tests Django's own forms behind the gateway: Django's CSRF check compares `Origin` with the host and the scheme that it
//! sees, so a gateway that forwards another host or scheme breaks every form.

use super::{COOKIE, enter, report};
use crate::support::client::{Client, Request, Response};
use crate::support::django::Django;

/// The site, as the browser sees it.
struct Site {
    client: Client,
    scheme: &'static str,
    host: &'static str,
    session: String,
}

impl Site {
    fn request(&self, method: &str, target: &str, cookies: &str) -> Request {
        self.client
            .request(method, target)
            .host(self.host)
            // The header that a proxy which terminates TLS in front of the gateway sets.
            .header("X-Forwarded-Proto", self.scheme)
            .header("Cookie", &format!("{COOKIE}={}; {cookies}", self.session))
    }

    fn submit(
        &self,
        target: &str,
        cookies: &str,
        origin: &str,
        fields: &[(&str, &str)],
    ) -> Response {
        self.request("POST", target, cookies)
            .header("Origin", origin)
            .header("Referer", &format!("{}://{}{target}", self.scheme, self.host))
            .form(fields)
            .send()
    }
}

#[test]
fn the_admin_signs_in_through_the_gateway() {
    // The Django is this test's own, because signing in to it writes to the database.
    let django = Django::start();
    let gateway = django.setup().behind_a_proxy().start();
    for (scheme, host) in [
        ("http", "app.test"),
        ("https", "app.test"),
        ("http", "app.test:8080"),
        ("https", "app.test:8443"),
    ] {
        let client = gateway.client();
        let (_, session) = enter(&client, "admin", "admin-pass-1234");
        let site = Site { client, scheme, host, session };
        let origin = format!("{scheme}://{host}");

        let seen = report(&site.request("GET", "/api/v1/whoami", ""));
        assert_eq!(seen["meta"]["HTTP_HOST"], host);
        assert_eq!(seen["meta"]["wsgi.url_scheme"], scheme);

        let page = site.request("GET", "/admin/login/", "").send();
        assert_eq!(page.status, 200, "{}", page.text());
        let csrf = page.set_cookie("csrftoken").unwrap();
        let token = hidden(&page, "csrfmiddlewaretoken");
        let cookies = format!("csrftoken={csrf}");
        let fields = [
            ("csrfmiddlewaretoken", token.as_str()),
            ("username", "admin"),
            ("password", "admin-pass-1234"),
            ("next", "/admin/"),
        ];

        // Without its token, Django refuses: the check is on.
        let refused = site.submit("/admin/login/", &cookies, &origin, &fields[1..]);
        assert_eq!(refused.status, 403, "{origin}: {}", refused.text());

        let sent = site.submit("/admin/login/", &cookies, &origin, &fields);
        assert_eq!((sent.status, sent.header("location")), (302, Some("/admin/")), "{origin}");
        let cookies =
            format!("csrftoken={csrf}; sessionid={}", sent.set_cookie("sessionid").unwrap());
        let admin = site.request("GET", "/admin/", &cookies).send();
        assert_eq!(admin.status, 200);
        assert!(admin.text().contains("Site administration"), "{}", admin.text());
        // Both know the user: Django by its cookie, the view by the gateway's header.
        let seen = report(&site.request("GET", "/api/v1/whoami", &cookies));
        assert_eq!(seen["user"]["username"], "admin");
        assert_eq!(seen["meta"]["HTTP_X_USER_NAME"], "admin");
    }
}

#[test]
fn a_form_of_another_site_does_not_even_reach_django() {
    let django = Django::shared();
    let gateway = django.setup().start();
    let client = gateway.client();
    let (_, session) = enter(&client, "park", "park-pass-1234");
    let site = Site { client, scheme: "http", host: "app.test", session };
    let response = site.submit("/api/v1/whoami", "", "http://evil.test", &[("a", "b")]);
    assert_eq!((response.status, response.code().as_str()), (403, "cross_site"));
}

/// Returns the value of a hidden field.
fn hidden(page: &Response, name: &str) -> String {
    let text = page.text();
    let (_, rest) = text.split_once(&format!("name=\"{name}\" value=\"")).expect("the field");
    rest.split('"').next().unwrap().to_owned()
}
