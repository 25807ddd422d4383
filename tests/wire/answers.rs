//! The answers: headers, fixed descriptions, and the first fault in a fixed order.

use crate::common::{Answer, FORM, GOOD, Users, World, basic};
use crate::support::raw;

/// The order in which faults are found is fixed, so that a request always gets the same answer.
#[tokio::test]
async fn the_first_fault_in_the_fixed_order_is_the_one_answered() {
    let world = World::default();
    let big = vec![b'a'; 70_000];
    let description =
        |answer: Answer| answer.json()["error_description"].as_str().unwrap().to_owned();
    let json = [("content-type", "application/json")];
    let twice = [("content-type", "application/json"), ("content-type", FORM)];
    let form = [("content-type", FORM)];
    for (method, query, headers, body, expected) in [
        ("GET", Some("password=x"), &twice[..], &big[..], "The request body is too large"),
        ("GET", Some("password=x"), &twice, b"%zz", "Only POST is allowed"),
        ("POST", Some("password=x"), &twice, b"%zz", "A header that may occur once is repeated"),
        (
            "POST",
            Some("password=x"),
            &json,
            b"%zz",
            "Credentials must be in the body, not in the URI",
        ),
        (
            "POST",
            None,
            &json,
            b"%zz",
            "Content-Type must be application/x-www-form-urlencoded in UTF-8",
        ),
        ("POST", None, &form, b"a=1&a=2&b=%zz", "A parameter is repeated"),
        (
            "POST",
            None,
            &form,
            b"username=%00&scope=%22",
            "A parameter holds a character that is not allowed",
        ),
    ] {
        assert_eq!(description(raw(&world, method, query, headers, body).await), expected);
    }
}

/// RFC 6749 sections 5.1 and 5.2; OpenID conformance test "CheckTokenEndpointCacheHeaders".
#[tokio::test]
async fn no_answer_may_be_stored_and_every_answer_is_json() {
    let world = World::default();
    let answers = [
        world.post(GOOD).await,
        world.post("").await,
        world.send(&[], GOOD).await,
        world.post(&GOOD.replace("wonderland", "wrong")).await,
        raw(&world, "GET", None, &[], b"").await,
    ];
    for answer in answers {
        let headers = ["content-type", "cache-control", "pragma"].map(|name| answer.header(name));
        assert_eq!(
            headers,
            [Some("application/json"), Some("no-store"), Some("no-cache")],
            "{answer:?}"
        );
        assert!(answer.json().is_object());
    }
}

/// Above all no header that lets pages of other origins read an answer (RFC 9700 section 2.6): that
/// is for the host to decide.
#[tokio::test]
async fn no_answer_has_a_header_beyond_the_endpoints_own() {
    let world = World::default();
    let origin = ("origin", "https://elsewhere.example.com");
    let authorization = basic("web", "web-secret");
    let good = [("content-type", FORM), ("authorization", &*authorization), origin];
    let preflight = [origin, ("access-control-request-method", "POST")];
    let answers = [
        raw(&world, "POST", None, &good, GOOD.as_bytes()).await,
        raw(&world, "OPTIONS", None, &preflight, b"").await,
        raw(&world, "GET", None, &[origin], b"").await,
        world.send(&[origin], GOOD).await,
    ];
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 405, 405, 401]);
    let known = ["content-type", "cache-control", "pragma", "www-authenticate", "allow"];
    for (name, _) in answers.iter().flat_map(|answer| &answer.headers) {
        assert!(known.contains(&&**name), "{name}");
    }
}

#[tokio::test]
async fn a_granted_answer_has_token_type_lifetime_and_scope() {
    let world = World::default();
    let body = world.post(GOOD).await.is_granted();
    let members: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["access_token", "expires_in", "scope", "token_type"]);
    assert_eq!((&body["token_type"], &body["expires_in"]), (&"Bearer".into(), &600.into()));
    assert_eq!(body["scope"], "profile", "always, also where it is what was asked for");
}

/// RFC 6749 section 5.2: `%x20-21 / %x23-5B / %x5D-7E`, and never a part of the request (appendix
/// A.8).
#[tokio::test]
async fn a_description_is_a_fixed_sentence_in_the_allowed_characters() {
    let world = World::default();
    let marked = [
        "grant_type=marker1&username=marker2&password=marker3",
        "grant_type=password&username=marker2&password=marker3&scope=marker4",
        "grant_type=password&username=marker2&password=marker3",
        "grant_type=password&username=marker2&password=marker3&resource=marker5",
        "marker6=%00&marker6=1",
        "client_id=marker7",
    ];
    for form in marked {
        let answer = world.post(form).await;
        assert!(!answer.body.contains("marker"), "{}", answer.body);
        let description = answer.json()["error_description"].as_str().unwrap().to_owned();
        assert!(
            description.bytes().all(|byte| matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e)),
            "{description}"
        );
    }
}

#[tokio::test]
async fn trouble_on_our_side_is_generic_and_says_when_to_try_again() {
    let world = World::of(Users::who(|_| Err("db password hunter2 at 10.0.0.7".into())));
    let answer = world.post(GOOD).await;
    answer.is(503, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(!answer.body.contains("hunter2") && !answer.body.contains("10.0.0.7"));
    assert!(
        world.events.last().contains("hunter2"),
        "the observer is told: {}",
        world.events.last()
    );
}
