//! Tests notifications to the address in Django's user model.

use super::*;
use crate::support::django::Django;
use crate::support::eventually;

fn django_setup(django: &Django, directory: &str, channels: &str) -> Gateway {
    let tokens = "[tokens]\nrefresh_grace = \"0s\"\n[login]\naccount_failures = 100\n";
    django.setup_with(directory).behind_a_proxy().with(tokens).with(&notify(channels)).start()
}

#[test]
fn a_letter_goes_to_the_address_that_django_has_when_it_is_sent() {
    let (django, server) = (Django::start(), Receiver::smtp(&[]));
    let gateway = django_setup(&django, "", &mail(&server, PLAIN));
    let client = gateway.client();
    let taken = || drop(incident(&client, "kim", "kim-pass-1234"));
    taken();
    assert_eq!(server.wait_for(1)[0]["to"], json!(["kim@example.com"]));
    django.run("User.objects.filter(username='kim').update(email='kim@new.example')");
    taken();
    assert_eq!(server.wait_for(2)[1]["to"], json!(["kim@new.example"]));
    django.run("User.objects.filter(username='kim').update(email='')");
    taken();
    eventually("nobody", || (notices(&gateway, "mail", "no_address") == 1.0).then_some(()));
    assert_eq!(server.received().len(), 2);
}

#[test]
fn another_column_is_named_where_the_model_has_another() {
    let (django, server) = (Django::start(), Receiver::smtp(&[]));
    django.run("User.objects.filter(username='kim').update(last_name='kim@column.example')");
    let gateway = django_setup(&django, "columns.email = \"last_name\"", &mail(&server, PLAIN));
    drop(incident(&gateway.client(), "kim", "kim-pass-1234"));
    assert_eq!(server.wait_for(1)[0]["to"], json!(["kim@column.example"]));
}
