//! The resource owner's credentials: RFC 6749 section 4.3.2.

use super::http::{Request, form};
use super::{Program, ZOE, text};

fn login(username: &str, password: &str) -> Request {
    let body = form(&[("grant_type", "password"), ("username", username), ("password", password)]);
    Request::token(body).basic("web", "web-secret")
}

/// RFC 6749 appendix B: UTF-8, form-encoded, where `+` is a space and `%2B` is a plus.
pub(crate) fn every_user_logs_in_whatever_characters_name_and_password_have(program: &Program) {
    let server = program.start();
    for (case, request, subject) in [
        ("letters", login("alice", "wonderland"), "user-1"),
        ("every byte escaped", login("zoë", "pässwörd +&=%"), "user-2"),
        (
            "a plus for the space, small hex digits",
            Request::token(ZOE).basic("web", "web-secret"),
            "user-2",
        ),
        ("by a public client", Request::token(format!("{ZOE}&client_id=mobile")), "user-2"),
    ] {
        let answer = server.send(&request);
        assert_eq!(answer.status, 200, "{case}: {answer:?}");
        let claims = super::token::verified(&text(&answer.json()["access_token"]), &server);
        assert_eq!(claims["sub"], subject, "{case}");
    }
}

/// Who has an account, and in what state it is, is nobody's business (OWASP ASVS 6.3.8).
pub(crate) fn every_failed_login_is_answered_with_the_same_bytes(program: &Program) {
    let server = program.start();
    let refusal = server.send(&login("nobody", "wonderland"));
    refusal.assert_error(400, "invalid_grant", &"an unknown user");
    refusal.assert_headers(&[
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("pragma", "no-cache"),
    ]);
    let long = "x".repeat(1024);
    for (case, username, password) in [
        ("a wrong password", "alice", "wrong"),
        ("another user's password", "alice", "builder"),
        ("a disabled user, the right password", "bob", "builder"),
        ("a disabled user, a wrong password", "bob", "wrong"),
        ("a long password", "alice", &long),
        ("a long password of nobody's", "nobody", &long),
        ("a name that is SQL", "alice' OR '1'='1", "wonderland"),
        ("a tab, which is allowed (RFC 6749 appendix A.15)", "ali\tce", "wonderland"),
    ] {
        assert_eq!(server.send(&login(username, password)).visible(), refusal.visible(), "{case}");
    }
}

/// Nothing is trimmed, folded, cut or normalised (OWASP ASVS 6.2.8).
pub(crate) fn names_and_passwords_are_compared_as_they_are(program: &Program) {
    let server = program.start();
    for (username, password) in [
        ("alice", "Wonderland"),
        ("alice", "wonderland "),
        ("alice", " wonderland"),
        ("alice", "wonderlan"),
        ("Alice", "wonderland"),
        ("alice ", "wonderland"),
        (" alice", "wonderland"),
        ("zoe", "pässwörd +&=%"),
        ("zoe\u{308}", "pässwörd +&=%"),
        ("zoë", "pässwörd  &=%"),
        ("zoë", "pa\u{308}ssw\u{f6}rd +&=%"),
    ] {
        let answer = server.send(&login(username, password));
        answer.assert_error(400, "invalid_grant", &(username, password));
    }
    assert_eq!(server.send(&login("alice", "wonderland")).status, 200);
}
