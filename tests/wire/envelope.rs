//! Method, content type, headers, query and body: what comes before any parameter is read.

use password_grant::{HttpRequest, Login};

use crate::common::{Answer, FORM, GOOD, Users, World, basic};
use crate::support::raw;

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

/// Widely used clients always name the charset of their platform. For a form in ASCII it changes
/// nothing. For other forms it would contradict the bytes, which are read as UTF-8.
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
        // `é` in either encoding, escaped or raw, in a value or in the name of an unknown
        // parameter.
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
    // In these charsets, an octet below 128 need not be the character of ASCII.
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

/// For `DPoP` see RFC 9449 section 4.3. For the other headers, two values would leave open which
/// one counts.
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
    raw(
        &world,
        "POST",
        Some("grant_type=other&scope=admin&token=x&%zz"),
        &headers,
        GOOD.as_bytes(),
    )
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
    let broken =
        HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], b"").body_incomplete();
    Answer::from(world.grant.token(broken).await).is(400, "invalid_request");
    assert!(world.events.last().contains("BodyIncomplete"), "{}", world.events.last());
}
