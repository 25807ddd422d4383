//! The parameters of a form: encoding, repetition, lengths, and characters.

use password_grant::error::RequestFault;
use password_grant::{HttpRequest, Login, Reason, Rejection, RequestLimits, TokenRequest};

use crate::common::{FORM, Users, World};

fn fault(body: &[u8]) -> Option<RequestFault> {
    let request = HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], body);
    match TokenRequest::from_http(&request).err()?.reason() {
        Reason::Request(fault) => Some(*fault),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_a_strict_encoding_of_utf8_is_refused_never_replaced() {
    for body in [
        &b"password=%"[..],
        b"password=%4",
        b"password=%zz",
        b"password=%4z",
        b"password=%+1",
        b"password=%FF",
        b"password=%C3",
        b"password=\xff",
        b"password=%ED%A0%80", // a surrogate
        b"password=%C0%80",    // an overlong NUL
        b"%zz=1",
        b"x=%zz", // unknown parameters too
        b"%ff=1",
    ] {
        assert_eq!(fault(body), Some(RequestFault::Encoding), "{}", body.escape_ascii());
    }
    for body in ["username=zo%C3%AB", "username=zoë", "username=%F0%9F%94%91", "username=a+b%2Bc"]
    {
        assert_eq!(fault(body.as_bytes()), None, "{body}");
    }
}

#[tokio::test]
async fn plus_is_a_space_and_percent_2b_a_plus() {
    let world = World::of(Users::who(|attempt| {
        let (name, password) = (attempt.username(), attempt.password().expose());
        let right = name == "zoë b" && password == " pässwörd +&=%\t ";
        Ok(if right {
            Login::accepted("user-2")
        } else {
            Login::rejected(Rejection::WrongPassword)
        })
    }));
    // The value is not trimmed, folded or truncated (requirement 14).
    let form =
        "grant_type=password&username=zo%C3%AB+b&password=+p%C3%A4ssw%c3%b6rd+%2B%26%3D%25%09+";
    world.post(form).await.is_granted();
}

/// RFC 6749 section 3.2: "Request and response parameters MUST NOT be included more than once".
#[test]
fn a_repeated_parameter_is_refused_whatever_its_name_and_value() {
    for body in [
        "username=alice&username=alice",
        "username=alice&username=bob",
        "username=&username=alice",
        "username=alice&username",
        "username=alice&user%6eame=bob", // the same name once decoded
        "grant_type=password&grant_type=password",
        "scope=a&scope=b",
        "client_id=a&client_id=a",
        "client_secret=a&client_secret=a",
        "unknown=1&unknown=2",
        "%75nknown=1&unknown=2",
        "=1&=2",
        // A repetition is found before the values are looked at.
        "username=%00&username=alice",
        "scope=%22&password=a&password=b",
    ] {
        assert_eq!(fault(body.as_bytes()), Some(RequestFault::Repeated), "{body}");
    }
    for body in [
        "resource=a&resource=b&audience=c&audience=c",
        "Username=a&username=b",
        "a=1&b=1&&c=1&",
        "",
    ] {
        assert_eq!(fault(body.as_bytes()), None, "{body}");
    }
}

#[test]
fn lengths_and_numbers_are_bounded() {
    let long = |name: &str, length: usize| format!("{name}={}", "a".repeat(length));
    for (name, limit) in [
        ("username", 320),
        // The maximum that may be configured. The limit of the engine is checked later.
        ("password", 4096),
        ("client_id", 256),
        ("client_secret", 512),
        ("grant_type", 1024),
        ("resource", 1024),
    ] {
        assert_eq!(fault(long(name, limit).as_bytes()), None, "{name}");
        assert_eq!(fault(long(name, limit + 1).as_bytes()), Some(RequestFault::TooLong), "{name}");
    }
    assert_eq!(fault(long("scope", 2048).as_bytes()), None);
    assert_eq!(fault(long("scope", 2049).as_bytes()), Some(RequestFault::Scope));
    assert_eq!(fault(format!("scope=a{}", "+a".repeat(63)).as_bytes()), None);
    assert_eq!(fault(format!("scope=a{}", "+a".repeat(64)).as_bytes()), Some(RequestFault::Scope));

    assert_eq!(fault(format!("{}=1", "n".repeat(64)).as_bytes()), None);
    assert_eq!(fault(format!("{}=1", "n".repeat(65)).as_bytes()), Some(RequestFault::TooLong));
    let many = |count: usize| {
        (0..count).map(|number| format!("n{number}=1")).collect::<Vec<_>>().join("&")
    };
    assert_eq!(fault(many(32).as_bytes()), None);
    assert_eq!(fault(many(33).as_bytes()), Some(RequestFault::TooManyParameters));
    assert_eq!(
        fault(format!("{}resource=a", "resource=a&".repeat(32)).as_bytes()),
        Some(RequestFault::TooManyParameters)
    );
}

/// Incident I22: a password of a megabyte must not reach a hasher. The limit counts decoded bytes,
/// the same for every user (incident I16).
#[tokio::test]
async fn an_over_long_password_is_refused_before_anybody_is_asked() {
    let world = World::default();
    for length in [1025, 60_000] {
        let form = format!("grant_type=password&username=alice&password={}", "a".repeat(length));
        world.post(&form).await.is(400, "invalid_request");
    }
    let form = format!("grant_type=password&username=alice&password={}", "%41".repeat(1024));
    world.post(&form).await.is(400, "invalid_grant");
    assert_eq!(world.users.asked(), 1);

    for (configured, effective) in [(0, 64), (100, 100), (1 << 20, 4096)] {
        let mut limits = RequestLimits::default();
        limits.password = configured;
        let world = World::with(Users::default(), |builder| builder.limits(limits));
        let form =
            |length| format!("grant_type=password&username=alice&password={}", "a".repeat(length));
        world.post(&form(effective)).await.is(400, "invalid_grant");
        world.post(&form(effective + 1)).await.is(400, "invalid_request");
    }
}

/// RFC 6749 appendix A.
#[test]
fn a_parameter_holds_only_the_characters_of_its_grammar() {
    for name in ["username", "password"] {
        for bad in ["%00", "%0A", "%0D", "%1F", "%7F", "%01", "%EF%BF%BE", "%EF%BF%BF"] {
            assert_eq!(
                fault(format!("{name}=a{bad}b").as_bytes()),
                Some(RequestFault::Character),
                "{name}={bad}"
            );
        }
        for good in ["%09", "+", "~", "%C2%80", "%EF%BF%BD", "%F0%90%80%80", "%F4%8F%BF%BF"] {
            assert_eq!(fault(format!("{name}=a{good}b").as_bytes()), None, "{name}={good}");
        }
    }
    for name in ["client_id", "client_secret", "grant_type", "client_assertion_type", "resource"] {
        for bad in ["%00", "%09", "%0A", "%1F", "%7F", "%C3%AB"] {
            assert_eq!(
                fault(format!("{name}=a{bad}b").as_bytes()),
                Some(RequestFault::Character),
                "{name}={bad}"
            );
        }
        assert_eq!(fault(format!("{name}=a+%22%5C~").as_bytes()), None, "{name}");
    }
}

/// A token or an assertion with odd characters does not make a request malformed: it is unknown,
/// and answered like any other.
#[test]
fn a_token_or_an_assertion_may_be_anything_that_decodes() {
    for name in ["refresh_token", "client_assertion"] {
        for odd in [
            "a".repeat(60_000),
            "%C3%A9".into(),
            "%00".into(),
            "%0A".into(),
            "%EF%BF%BD".into(),
            "=".into(),
        ] {
            assert_eq!(fault(format!("{name}={odd}").as_bytes()), None, "{name}");
        }
        for bad in ["%FF", "%C3", "%zz", "%", "\u{e9}%E9"] {
            assert_eq!(
                fault(format!("{name}={bad}").as_bytes()),
                Some(RequestFault::Encoding),
                "{name}={bad}"
            );
        }
        assert_eq!(
            fault(format!("{name}=a&{name}=a").as_bytes()),
            Some(RequestFault::Repeated),
            "{name}"
        );
    }
}

/// A lenient decoder replaces bytes that are not text, so that two passwords could become the same.
#[test]
fn from_a_form_that_was_parsed_elsewhere_a_replacement_character_is_refused() {
    for (name, value) in [
        ("password", "w\u{fffd}nderland"),
        ("username", "\u{fffd}"),
        ("refresh_token", "rt1.\u{fffd}"),
        ("unknown", "\u{fffd}"),
        ("un\u{fffd}known", "x"),
    ] {
        let refused = TokenRequest::from_pairs([(name.into(), value.into())]).unwrap_err();
        assert_eq!(refused.reason(), &Reason::Request(RequestFault::Encoding), "{name}={value}");
    }
    assert!(TokenRequest::from_pairs([("password".into(), "w\u{fffc}nderland".into())]).is_ok());
}

/// RFC 6749 section 3.3: `scope = scope-token *( SP scope-token )`.
#[tokio::test]
async fn a_malformed_scope_is_invalid_scope_before_the_client_is_known() {
    let world = World::default();
    for scope in [
        "+",
        "+profile",
        "profile+",
        "profile++orders:read",
        "pro%22file",
        "pro%5Cfile",
        "a%09b",
        "%C3%AB",
    ] {
        let form = format!("grant_type=password&username=alice&password=wonderland&scope={scope}");
        world.post(&form).await.is(400, "invalid_scope");
        world.send(&[], &form).await.is(400, "invalid_scope");
    }
    assert_eq!(world.users.asked(), 0);
}

/// RFC 6749 section 3.2: "Parameters sent without a value MUST be treated as if they were omitted".
#[tokio::test]
async fn a_parameter_without_a_value_is_as_if_it_were_not_there() {
    let world = World::default();
    let granted = world.post(
        "grant_type=password&username=alice&password=wonderland&scope=&client_id=&client_secret=",
    );
    assert_eq!(granted.await.is_granted()["scope"], "profile");
    for (form, description) in [
        ("grant_type=&username=alice&password=wonderland", "Grant type parameter missing"),
        ("grant_type=password&username=&password=wonderland", "Username parameter missing"),
        ("grant_type=password&username=alice&password=", "Password parameter missing"),
        ("grant_type=password&username=alice&password", "Password parameter missing"),
        ("grant_type=password", "Username parameter missing"),
    ] {
        let answer = world.post(form).await;
        answer.is(400, "invalid_request");
        assert_eq!(answer.json()["error_description"], description);
    }
}
