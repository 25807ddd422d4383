//! What comes in over HTTP and what goes out (RFC 6749 sections 3.2, 5.1, 5.2 and appendices A and B).

mod common;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use common::{Answer, FORM, GOOD, Users, World, basic};
use password_grant::error::RequestFault;
use password_grant::{
    HttpRequest, Login, Reason, Rejection, RequestContext, RequestLimits, TokenRequest,
};

async fn raw(
    world: &World,
    method: &str,
    query: Option<&str>,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
    world.grant.token(HttpRequest::new(method, query, headers, body)).await.into()
}

fn fault(body: &[u8]) -> Option<RequestFault> {
    let request = HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], body);
    match TokenRequest::from_http(&request).err()?.reason() {
        Reason::Request(fault) => Some(*fault),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_method_but_post_is_refused_with_the_one_that_is_allowed() {
    let world = World::default();
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", "", "POST "]
    {
        let answer = raw(&world, method, None, &[("content-type", FORM)], GOOD.as_bytes()).await;
        answer.is(405, "invalid_request");
        assert_eq!(answer.header("allow"), Some("POST"), "{method}");
    }
    assert_eq!(world.post(GOOD).await.header("allow"), None);
}

#[tokio::test]
async fn only_a_form_in_utf8_is_read() {
    let world = World::default();
    let authorization = basic("web", "web-secret");
    for (content_type, accepted) in [
        (FORM, true),
        ("Application/X-WWW-Form-URLencoded", true),
        ("application/x-www-form-urlencoded;charset=UTF-8", true), // scenario R1
        ("application/x-www-form-urlencoded; charset=utf-8", true),
        ("application/x-www-form-urlencoded ; charset=\"utf-8\"", true),
        ("application/x-www-form-urlencoded;", true), // RFC 9110 section 5.6.6
        ("application/x-www-form-urlencoded; charset=utf8", true),
        ("application/x-www-form-urlencoded; charset=utf-8; charset=\"UTF8\"", true),
        ("application/x-www-form-urlencoded; charset=utf-8; charset=latin1", false),
        ("application/x-www-form-urlencoded; charset=", false),
        ("application/x-www-form-urlencoded; charset=\"\"", false),
        ("application/x-www-form-urlencoded; charset=iso 8859", false),
        ("application/x-www-form-urlencoded; charset", false),
        ("application/x-www-form-urlencoded; boundary=x", false),
        ("application/x-www-form-urlencoded, application/json", false),
        ("application/x-www-form-urlencodedx", false),
        ("multipart/form-data; boundary=x", false),
        ("application/json", false),
        ("text/plain", false),
        ("", false),
    ] {
        let headers = [("Content-Type", content_type), ("Authorization", &authorization)];
        let answer = raw(&world, "POST", None, &headers, GOOD.as_bytes()).await;
        if accepted {
            answer.is_granted();
        } else {
            answer.is(400, "invalid_request");
        }
    }
    raw(&world, "POST", None, &[("authorization", &authorization)], GOOD.as_bytes())
        .await
        .is(400, "invalid_request");
}

/// Widely used clients always name the charset of their platform. In an all-ASCII form it changes nothing; elsewhere it
/// would be a lie about bytes that we read as UTF-8.
#[tokio::test]
async fn another_charset_is_taken_where_it_changes_nothing() {
    let world = World::of(Users::who(|attempt| Ok(Login::accepted(attempt.username()))));
    let authorization = basic("web", "web-secret");
    let ascii = GOOD.to_owned();
    let form = |username: &str| {
        format!("grant_type=password&username={username}&password=wonderland&scope=profile")
    };
    let send = async |label: &str, body: &[u8]| {
        let content_type = format!("{FORM};charset={label}");
        let headers = [("Content-Type", &*content_type), ("Authorization", &authorization)];
        raw(&world, "POST", None, &headers, body).await
    };
    for label in [
        "ISO-8859-1",
        "iso-8859-15",
        "latin1",
        "US-ASCII",
        "ascii",
        "windows-1252",
        "Cp1252",
        "Shift_JIS",
        "GB18030",
        "EUC-KR",
        "KOI8-R",
        "macintosh",
        "\"ISO-8859-1\"",
        "csISOLatin1",
        "x-mac-roman",
        "unheard-of",
    ] {
        send(label, ascii.as_bytes()).await.is_granted();
        send(label, form("al%69ce%2B").as_bytes()).await.is_granted();
        // `é` in either encoding, escaped or as it is, in a value or in a name that nobody knows.
        for body in [
            &form("%E9")[..],
            &form("%C3%A9"),
            &form("é"),
            &format!("{ascii}&%C3%A9=1"),
            &format!("{ascii}&x=é"),
        ] {
            send(label, body.as_bytes()).await.is(400, "invalid_request");
        }
        send(label, b"grant_type=password&username=\xe9&password=x")
            .await
            .is(400, "invalid_request");
    }
    for label in ["UTF-8", "utf8", "\"Utf-8\""] {
        send(label, form("%C3%A9").as_bytes()).await.is_granted();
        send(label, form("%E9").as_bytes()).await.is(400, "invalid_request");
    }
    // In these, an octet below 128 need not be the character of ASCII.
    for label in [
        "utf-16",
        "UTF-16LE",
        "utf16",
        "csUTF16",
        "UTF-32",
        "utf-32be",
        "UTF-7",
        "csUnicode",
        "ISO-10646-UCS-2",
        "UCS-4",
        "IBM037",
        "IBM1047",
        "cp1047",
        "cp500",
        "EBCDIC-CP-US",
        "ibm1140",
        "CP875",
        "x-ibm1025",
        "037",
        "500",
        "cp1200",
        "windows-1200",
        "ccsid1200",
        "u16",
        "cp65000",
        "u7",
        "imap-utf-7",
        "ISO-2022-JP",
        "HZ-GB-2312",
        "UTF-EBCDIC",
        "utf_16",
        "UCS2",
    ] {
        send(label, ascii.as_bytes()).await.is(400, "invalid_request");
    }
}

/// RFC 9449 section 4.3 for `DPoP`; for the others two values leave open which one counts.
#[tokio::test]
async fn a_header_that_may_occur_once_is_refused_twice() {
    let world = World::default();
    let authorization = basic("web", "web-secret");
    for repeated in [("content-type", FORM), ("AUTHORIZATION", &*authorization), ("DPoP", "proof")]
    {
        let once = [("Content-Type", FORM), ("Authorization", &*authorization), ("dpop", "proof")];
        raw(&world, "POST", None, &once, GOOD.as_bytes()).await.is_granted();
        let twice: Vec<_> = once.into_iter().chain([repeated]).collect();
        raw(&world, "POST", None, &twice, GOOD.as_bytes()).await.is(400, "invalid_request");
    }
}

/// RFC 6749 section 2.3.1: credentials in a URI end up in logs and histories.
#[tokio::test]
async fn a_credential_in_the_query_is_refused_and_nothing_in_the_query_is_read() {
    let world = World::default();
    let headers = [("content-type", FORM), ("authorization", &*basic("web", "web-secret"))];
    for query in [
        "password=wonderland",
        "username=alice",
        "client_secret=web-secret",
        "refresh_token=x",
        "client_assertion=x",
        "access_token=x",
        "x=1&p%61ssword=wonderland",
        "password",
    ] {
        raw(&world, "POST", Some(query), &headers, GOOD.as_bytes())
            .await
            .is(400, "invalid_request");
    }
    raw(&world, "POST", Some("grant_type=other&scope=admin&%zz"), &headers, GOOD.as_bytes())
        .await
        .is_granted();
    raw(&world, "POST", Some(GOOD), &headers, b"").await.is(400, "invalid_request");
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_whatever_else_is_wrong_with_it() {
    let world = World::default();
    let limit = world.grant.body_limit();
    assert_eq!(limit, 64 * 1024);
    let headers = [("content-type", FORM), ("authorization", &*basic("web", "web-secret"))];
    let mut body = format!("{GOOD}&x=").into_bytes();
    body.resize(limit, b'a');
    raw(&world, "POST", None, &headers, &body).await.is_granted();
    body.push(b'a');
    raw(&world, "POST", None, &headers, &body).await.is(413, "invalid_request");
    raw(&world, "GET", None, &[], &body).await.is(413, "invalid_request");

    let stopped =
        HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], b"").body_too_large();
    Answer::from(world.grant.token(stopped).await).is(413, "invalid_request");
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
    // Not trimmed, not folded, nothing cut off (requirement 14).
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
        // Found before the values are looked at:
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
        ("password", 4096), // the most that an engine may be told; its own limit is held against it later
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

/// I22: a megabyte of password must not reach a hasher. The limit counts decoded bytes, for everybody the same (I16).
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

/// A token or an assertion that is odd is no fault of the request: it is unknown, and answered as any that is.
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

/// What a lenient decoder leaves of bytes that are no text: two passwords could become the same.
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

/// RFC 6749 sections 5.1 and 5.2; OIDF conformance "CheckTokenEndpointCacheHeaders".
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

#[tokio::test]
async fn a_granted_answer_has_token_type_lifetime_and_scope() {
    let world = World::default();
    let body = world.post(GOOD).await.is_granted();
    let members: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["access_token", "expires_in", "scope", "token_type"]);
    assert_eq!((&body["token_type"], &body["expires_in"]), (&"Bearer".into(), &600.into()));
    assert_eq!(body["scope"], "profile", "always, also where it is what was asked for");
}

/// RFC 6749 section 5.2: `%x20-21 / %x23-5B / %x5D-7E`, and never anything of the request (appendix A.8).
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

#[tokio::test]
async fn the_typed_entrance_sees_repeated_parameters_and_grants_what_http_grants() {
    let world = World::default();
    let pairs = |form: &'static str| {
        form.split('&')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (name.into(), value.into()))
    };
    let authorization = basic("web", "web-secret");
    let request =
        TokenRequest::from_pairs(pairs(GOOD)).unwrap().authorization(authorization.as_bytes());
    assert_eq!(world.grant.handle(request).await.unwrap().scope().as_str(), "profile");

    let repeated: [(Cow<'_, str>, Cow<'_, str>); 2] =
        [("username".into(), "alice".into()), ("username".into(), "".into())];
    let refusal = TokenRequest::from_pairs(repeated).unwrap_err();
    assert_eq!(refusal.reason(), &Reason::Request(RequestFault::Repeated));

    let twice = TokenRequest::from_pairs(pairs(GOOD)).unwrap();
    let twice =
        twice.authorization(authorization.as_bytes()).authorization(authorization.as_bytes());
    let refusal = world.grant.handle(twice).await.unwrap_err();
    assert_eq!(
        (refusal.status(), refusal.reason()),
        (400, &Reason::Request(RequestFault::RepeatedHeader))
    );

    let nul: [(Cow<'_, str>, Cow<'_, str>); 1] = [("password".into(), "a\0b".into())];
    assert_eq!(
        TokenRequest::from_pairs(nul).unwrap_err().reason(),
        &Reason::Request(RequestFault::Character)
    );
}

/// I26: only what the host hands over counts; no forwarding header is ever read.
#[tokio::test]
async fn peer_tenant_and_host_value_reach_the_host_as_it_gave_them() {
    struct RequestId(u32);
    type Seen = (Option<IpAddr>, Option<String>, Option<u32>);
    let seen = Arc::new(Mutex::new(Vec::<Seen>::new()));
    let log = seen.clone();
    let world = World::of(Users::who(move |attempt| {
        let context: &RequestContext = attempt.context();
        let id = context.extension::<RequestId>().map(|id| id.0);
        log.lock().unwrap().push((context.peer(), context.tenant().map(str::to_owned), id));
        Ok(Login::accepted("user-1"))
    }));
    let authorization = basic("web", "web-secret");
    let headers = [
        ("content-type", FORM.as_bytes()),
        ("authorization", authorization.as_bytes()),
        ("x-forwarded-for", b"203.0.113.9"),
        ("forwarded", b"for=203.0.113.9"),
        ("x-user-identity-domain-name", b"other"),
    ];
    let request = || HttpRequest::new("POST", None, headers, GOOD.as_bytes());
    Answer::from(world.grant.token(request()).await).is_granted();
    let peer: IpAddr = "198.51.100.4".parse().unwrap();
    let known = request().peer(peer).tenant("demo").extension(Arc::new(RequestId(7)));
    Answer::from(world.grant.token(known).await).is_granted();
    let expected = [(None, None, None), (Some(peer), Some("demo".to_owned()), Some(7))];
    assert_eq!(seen.lock().unwrap()[..], expected);
}

/// With the feature `http`: the conversions that adapters stand on.
#[cfg(feature = "http")]
#[tokio::test]
async fn http_parts_go_in_and_an_http_response_comes_out() {
    let world = World::default();
    let request = http::Request::post("/oauth/token?x=1")
        .header("content-type", FORM)
        .header("authorization", basic("web", "wrong"))
        .body(())
        .unwrap();
    let (parts, ()) = request.into_parts();
    let answer = world.grant.token(HttpRequest::from_parts(&parts, GOOD.as_bytes())).await;
    let response: http::Response<Vec<u8>> = answer.clone().into();
    assert_eq!(response.status(), 401);
    assert_eq!(response.body(), answer.body());
    let headers: Vec<_> = response
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(headers, answer.headers().collect::<Vec<_>>());
    assert_eq!(response.headers()["www-authenticate"], r#"Basic realm="https://id.example.com""#);
}
