//! Proposes the configuration blocks that follow from the findings. What cannot be seen from outside (keys, tables) is left
//! to be filled in; `--settings` fills it in.

use std::fmt::Write as _;

use super::SeenService;
use super::server::{KnownServer, ServerCapability};
use crate::doctor::finding::{DoctorReport, Weight};

/// Reports the three lines for services that take the caller from a header, and how a client could forge it there.
pub(super) fn remote_user(known: Option<KnownServer>, report: &mut DoctorReport) {
    let mut ways = String::new();
    match known {
        Some(KnownServer { name, folds: ServerCapability::No, .. }) => {
            let _ = writeln!(ways, "- by another spelling: not on {name}.");
        }
        Some(KnownServer { name, folds: ServerCapability::Yes, .. }) => {
            let _ =
                writeln!(ways, "- by another spelling: {name} takes Remote_User for Remote-User.");
        }
        Some(KnownServer { name, folds: ServerCapability::Depends(how), .. }) => {
            let _ = writeln!(ways, "- by another spelling (Remote_User): {name}, {how}.");
        }
        None => {
            let _ = writeln!(
                ways,
                "- by another spelling (Remote_User): this server is not known here, so perhaps."
            );
        }
    }
    ways.push_str(
        "- by Http-Remote-User: with ASGI and Django before 6.1, which reads that name instead.\n\
         - by a second field of the name: joined with a comma by most servers, as one name of a user.\n\
         - past the gateway: by the header itself, on any server.\n\
         The gateway removes all of these from what clients send. Nothing removes them from requests that bypass it.",
    );
    report.tell(
        Weight::Note,
        "remote-user",
        "for the form remote-user, three lines in the project, and that class in MIDDLEWARE after AuthenticationMiddleware",
        format!(
            "from django.contrib.auth.middleware import RemoteUserMiddleware\n\
             class GatewayUser(RemoteUserMiddleware):\n\
             \x20   header = \"HTTP_REMOTE_USER\"\n\
             with django.contrib.auth.backends.RemoteUserBackend in AUTHENTICATION_BACKENDS. How a client could forge it:\n{ways}"
        ),
    );
}

pub(super) fn blocks(server: &str, seen: &SeenService, report: &mut DoctorReport) {
    let mut upstream = format!("[[upstream]]\nname = \"app\"\nservers = [\"{server}\"]\n");
    if seen.chunked != Some(true) {
        upstream += "buffer_chunked = true\n";
    }
    report.propose(upstream);
    report.propose(
        "# `doorwarden doctor --settings manage.py` writes this with the table's real name and columns.\n\
         [[directory]]\nkind = \"django\"\ndatabase = \"sqlite:///srv/app/db.sqlite3\"\n",
    );
    let classes = &seen.classes;
    if classes.simplejwt {
        report.propose(
            "# SIGNING_KEY, or SECRET_KEY, in a file of mode 0600.\n\
             [[issuer]]\nkind = \"simplejwt\"\nkey_file = \"secrets/django-secret-key\"\n\
             # Refresh tokens that the service has given out are valid at /refresh, and at aliases of it.\n\
             adopt_refresh_tokens = true\n\
             # If rest_framework_simplejwt.token_blacklist is in INSTALLED_APPS: not those that were signed out.\n\
             #blacklist = true\n",
        );
        report.propose(
            "[[identity.form]]\nname = \"drf\"\nkind = \"simplejwt\"\nkey_file = \"secrets/django-secret-key\"\n",
        );
    }
    if classes.drf_token {
        report.propose("[[issuer]]\nkind = \"drf-token\"\n");
    }
    let token = classes.drf_token && !classes.simplejwt;
    if token {
        report.propose("[[identity.form]]\nname = \"token\"\nkind = \"drf-token\"\n");
    }
    if classes.basic {
        report.propose(
            "# Only if clients use it: it is among REST framework's defaults as well.\n\
             #[[issuer]]\n#kind = \"basic\"\n",
        );
    }
    if classes.hand_made {
        report.propose(
            "# See the class: the header, and the claim that holds the user's id.\n\
             [[issuer]]\nkind = \"jwt\"\nkey_file = \"secrets/django-secret-key\"\nheader = \"jwt-auth\"\nclaim = \"id\"\n",
        );
    }
    let session = classes.redirects || classes.session;
    if session {
        report.propose(
            "# Users who are signed in at the service stay signed in. engine is SESSION_ENGINE here as below.\n\
             [[issuer]]\nkind = \"django-session\"\nkey_file = \"secrets/django-secret-key\"\n",
        );
        report.propose(
            "[[identity.form]]\nname = \"session\"\nkind = \"django-session\"\nkey_file = \"secrets/django-secret-key\"\n",
        );
    }
    let preflight = if seen.cors { "forward_preflight = true\n" } else { "" };
    for path in &seen.public {
        let name = path.trim_matches('/').replace(['/', '_', '.'], "-");
        report.propose(format!(
            "[[route]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"app\"\naccess = \"public\"\n{preflight}"
        ));
    }
    let bearer = if classes.simplejwt { Some("drf") } else { token.then_some("token") };
    let identity = match (bearer, session) {
        (Some(form), true) => {
            format!("identity = {{ bearer = \"{form}\", cookie = \"session\" }}\n")
        }
        (Some(form), false) => format!("identity = \"{form}\"\n"),
        (None, true) => "identity = { cookie = \"session\" }\n".to_owned(),
        (None, false) => String::new(),
    };
    report.propose(format!(
        "[[route]]\nname = \"app\"\npath = \"/\"\nupstream = \"app\"\naccess = \"signed-in\"\n{identity}{preflight}"
    ));
}
