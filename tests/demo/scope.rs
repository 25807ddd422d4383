//! Scope: RFC 6749 section 3.3.

use super::http::{Request, encode};
use super::{ALICE, Program, alice, text};

pub(crate) fn the_answer_and_the_token_hold_the_scope_that_was_granted(program: &Program) {
    let server = program.start();
    for (asked, granted) in [
        ("", "profile"),
        ("&scope=", "profile"), // a parameter without a value is as if it were not there
        ("&scope=profile", "profile"),
        ("&scope=orders%3Aread", "orders:read"),
        ("&scope=profile+orders:read", "profile orders:read"),
        ("&scope=orders:read%20profile", "orders:read profile"),
        ("&scope=profile+profile", "profile"),
    ] {
        let answer = server.send(&alice().body(format!("{ALICE}{asked}")));
        assert_eq!(answer.status, 200, "{asked:?}: {answer:?}");
        let body = answer.json();
        assert_eq!(body["scope"], granted, "{asked:?}");
        let claims = super::token::verified(&text(&body["access_token"]), &server);
        assert_eq!(claims["scope"], granted, "{asked:?}");
    }
}

/// RFC 8707: naming the resource server that tokens are for anyway changes nothing.
pub(crate) fn the_audience_that_a_token_has_anyway_may_be_asked_for(program: &Program) {
    let server = program.start();
    for (more, granted) in [
        ("&audience=https%3A%2F%2Fapi.example.com", true),
        ("&resource=https://api.example.com", true),
        ("&resource=https://api.example.com&audience=https://api.example.com", true),
        ("&audience=https://api.example.com/", false),
        ("&audience=https://api.example.com&audience=https://other.example.com", false),
    ] {
        let answer = server.send(&alice().body(format!("{ALICE}{more}")));
        if granted {
            assert_eq!(answer.status, 200, "{more}: {answer:?}");
        } else {
            answer.assert_error(400, "invalid_target", &more);
        }
    }
}

/// Never silently narrowed; and what the client may not have is no reason to hash a password.
pub(crate) fn a_scope_that_is_not_registered_is_refused_before_the_password_is_tried(
    program: &Program,
) {
    let server = program.start();
    let wrong_password = ALICE.replace("wonderland", "wrong");
    for (client, scope) in [
        ("web", "canary"),
        ("web", "profile canary"),
        ("web", "Profile"),
        ("web", "profil"),
        ("web", "orders"),
        ("mobile", "orders:read"),
        ("mobile", "profile orders:read"),
    ] {
        for login in [ALICE, &wrong_password] {
            let body = format!("{login}&scope={}", encode(scope));
            let request = match client {
                "web" => alice().body(body),
                public => Request::token(format!("{body}&client_id={public}")),
            };
            let answer = server.send(&request);
            answer.assert_error(400, "invalid_scope", &request);
            assert!(!format!("{answer:?}").contains("canary"), "{answer:?}");
        }
    }
}

/// RFC 6749 appendix A.4, for whoever asks: a malformed request is refused before anybody is looked up.
pub(crate) fn a_malformed_scope_is_refused(program: &Program) {
    let server = program.start();
    let numbered: Vec<_> = (0..65).map(|number| format!("s{number}")).collect();
    for scope in [
        " ",
        " profile",
        "profile ",
        "profile  orders:read",
        "profile\torders:read",
        "profile\n",
        "profile\u{a0}orders:read",
        "\"profile\"",
        "pro\\file",
        "pröfile",
        "pro\u{7f}file",
        &numbered.join(" "),
        &"x".repeat(2049),
    ] {
        let body = format!("{ALICE}&scope={}", encode(scope));
        for request in [alice().body(body.clone()), Request::token(body).basic("web", "wrong")] {
            server.send(&request).assert_error(400, "invalid_scope", &request);
        }
    }
}
