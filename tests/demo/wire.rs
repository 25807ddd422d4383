//! What is read as a token request and what is not: RFC 6749 section 3.2 and appendix B, read strictly.

use std::io::Write;

use super::http::{FORM, Request, Response, connect, form, read_answer};
use super::server::Server;
use super::{ALICE, Program, alice};

/// RFC 6749 section 3.2: the client MUST use POST; RFC 9110 section 15.5.6: the answer says so in `Allow`.
pub(crate) fn only_post_is_allowed(program: &Program) {
    let server = program.start();
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = server.send(&alice().method(method));
        answer.assert_error(405, "invalid_request", &method);
        answer.assert_headers(&[
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
            ("pragma", "no-cache"),
            ("allow", "POST"),
        ]);
    }
    // RFC 9110 section 9.3.2: as GET, without the body.
    let (get, head) = (Request::get("/oauth/token"), Request::new("HEAD", "/oauth/token"));
    let (get, head) = (server.send(&get).visible(), server.send(&head).visible());
    assert_eq!((head.0, &head.1), (get.0, &get.1));
    assert_eq!((head.0, &*head.2), (405, ""));
}

/// RFC 6749 appendix B.
pub(crate) fn the_content_type_is_a_form_in_utf_8(program: &Program) {
    let server = program.start();
    for value in [
        "application/x-www-form-urlencoded",
        "Application/X-WWW-Form-URLEncoded",
        "application/x-www-form-urlencoded;charset=utf-8",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "application/x-www-form-urlencoded ; Charset=Utf-8",
        "application/x-www-form-urlencoded; charset=\"utf-8\"",
        "application/x-www-form-urlencoded; charset=utf8",
        // As Java's most used client says it, whatever the form holds.
        "application/x-www-form-urlencoded;charset=ISO-8859-1",
        "application/x-www-form-urlencoded; charset=windows-1252",
    ] {
        let answer = server.send(&alice().without("Content-Type").header("Content-Type", value));
        assert_eq!(answer.status, 200, "{value}: {answer:?}");
    }
    for value in [
        "",
        "application/json",
        "multipart/form-data; boundary=canary",
        "text/plain",
        "application/x-www-form-urlencoded-canary",
        "application/x-www-form-urlencoded; charset=utf-16",
        "application/x-www-form-urlencoded; charset=\"utf-8",
        "application/x-www-form-urlencoded; charset=",
        "application/x-www-form-urlencoded; charset=utf-8; charset=latin1",
        "application/x-www-form-urlencoded; boundary=canary",
        "application/x-www-form-urlencoded, application/json",
    ] {
        let request = alice().without("Content-Type").header("Content-Type", value);
        assert_refused(&server, &request);
    }
    let zoë = Request::token(super::ZOE).basic("web", "web-secret").without("Content-Type");
    assert_refused(
        &server,
        &zoë.header("Content-Type", "application/x-www-form-urlencoded;charset=ISO-8859-1"),
    );
    assert_refused(&server, &alice().without("Content-Type"));
    let multipart =
        "--b\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\npassword\r\n--b--\r\n";
    let json = "{\"grant_type\":\"password\",\"username\":\"alice\",\"password\":\"wonderland\"}";
    for (value, body) in
        [("multipart/form-data; boundary=b", multipart), ("application/json", json)]
    {
        assert_refused(
            &server,
            &alice().without("Content-Type").header("Content-Type", value).body(body),
        );
    }
}

pub(crate) fn a_body_is_read_up_to_64_kib(program: &Program) {
    let server = program.start();
    let of_length = |length: usize| {
        let start = format!("{ALICE}&padding=");
        alice().body(format!("{start}{}", "x".repeat(length - start.len())))
    };
    let answer = server.send(&of_length(65_536));
    assert_eq!(answer.status, 200, "{answer:?}");
    for length in [65_537, 100_000] {
        server.send(&of_length(length)).assert_error(413, "invalid_request", &length);
    }
    // As everything that is wrong with the request itself, whoever sends it.
    let request = of_length(65_537).without("Authorization");
    server.send(&request).assert_error(413, "invalid_request", &"no client");
}

/// A body that is announced to be larger than what is read is not waited for: nobody has to send any of it.
pub(crate) fn a_body_that_is_announced_as_too_large_is_refused_at_once(program: &Program) {
    let server = program.start();
    for target in ["/oauth/token", "/oauth/revoke", "/oauth/introspect"] {
        for announced in [65_537, 1 << 40] {
            let mut connection = connect(server.address);
            connection.write_all(&alice().target(target).head(announced)).expect("send the head");
            if program.is_rocket {
                connection.write_all(&[b'x'; 16]).expect("send the beginning");
            }
            read_answer(&mut connection, "POST").assert_error(
                413,
                "invalid_request",
                &(target, announced),
            );
        }
    }
}

/// Nobody has to send the rest, and no memory is kept for it.
pub(crate) fn too_large_a_body_is_refused_before_it_has_all_come(program: &Program) {
    let server = program.start();
    let mut announced = connect(server.address);
    announced.write_all(&alice().head(1_000_000_000)).expect("send the head");
    announced.write_all(&[b'x'; 70_000]).expect("send the beginning");
    read_answer(&mut announced, "POST").assert_error(413, "invalid_request", &"Content-Length");

    let mut chunked = connect(server.address);
    chunked
        .write_all(&alice().header("Transfer-Encoding", "chunked").head(0))
        .expect("send the head");
    chunked
        .write_all(format!("{:x}\r\n{}\r\n", 70_000, "x".repeat(70_000)).as_bytes())
        .expect("send a chunk");
    read_answer(&mut chunked, "POST").assert_error(413, "invalid_request", &"chunks");
}

/// The answer is the same for clients that authenticate and for those that do not: nobody has been looked up yet.
pub(crate) fn a_malformed_body_is_refused_before_anybody_is_looked_up(program: &Program) {
    let server = program.start();
    let mut bodies: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add =
        |case: &str, more: &[u8]| bodies.push((case.into(), [ALICE.as_bytes(), more].concat()));

    // RFC 6749 section 3.2: parameters MUST NOT be included more than once. Unknown ones are no exception here.
    for parameter in [
        "grant_type=password",
        "username=alice",
        "password=wonderland",
        "user%6eame=canary",
        "username=",
    ] {
        add("a parameter repeated", format!("&{parameter}").as_bytes());
    }
    for name in [
        "scope",
        "client_id",
        "client_secret",
        "client_assertion",
        "client_assertion_type",
        "refresh_token",
        "canary",
    ] {
        add("a parameter repeated", format!("&{name}=canary&{name}=canary").as_bytes());
        add("repeated without a value", format!("&{name}=&{name}=").as_bytes());
        add("repeated with another value", format!("&{name}=canary&{name}=other").as_bytes());
    }

    // RFC 6749 appendix B. What is not an encoding of UTF-8 is never replaced by something else.
    for escape in [
        "%",
        "%4",
        "%zz",
        "%u0041",
        "%%41",
        "%+1",
        "%ff",
        "%c3%28",
        "%c0%af",
        "%ed%a0%80",
        "%f5%80%80%80",
    ] {
        add("a value badly encoded", format!("&canary={escape}").as_bytes());
        add("a name badly encoded", format!("&{escape}=canary").as_bytes());
    }
    add("bytes that are no UTF-8", b"&canary=\xff\xfe");

    // The lengths of what is read.
    add("a long name", format!("&{}=canary", "n".repeat(65)).as_bytes());
    add("a long client_id", format!("&client_id={}", "c".repeat(257)).as_bytes());
    add("a long client_secret", format!("&client_secret={}", "c".repeat(513)).as_bytes());
    let many: String = (4..=33).map(|number| format!("&p{number}=canary")).collect();
    add("33 parameters", many.as_bytes());

    // RFC 6749 appendix A: the characters of each.
    add("client_id", "&client_id=caf%C3%A9-canary".as_bytes());
    add("client_secret", "&client_secret=canary%0A".as_bytes());
    let controls = [
        "\0", "\u{1}", "\u{8}", "\n", "\r", "\u{b}", "\u{1b}", "\u{1f}", "\u{7f}", "\u{fffe}",
        "\u{ffff}",
    ];
    for control in controls {
        let dangerous = format!("canary{control}canary");
        for (username, password) in [(&*dangerous, "wonderland"), ("alice", &*dangerous)] {
            let body =
                form(&[("grant_type", "password"), ("username", username), ("password", password)]);
            bodies.push((format!("{control:?}"), body.into()));
        }
    }
    for (username, password) in
        [("u".repeat(321), "canary".into()), ("canary".into(), "p".repeat(1025))]
    {
        let body =
            form(&[("grant_type", "password"), ("username", &username), ("password", &password)]);
        bodies.push(("too long".into(), body.into()));
    }

    for (case, body) in bodies {
        for secret in ["web-secret", "wrong"] {
            let request = Request::token(body.clone()).basic("web", secret);
            let answer = server.send(&request);
            answer.assert_error(400, "invalid_request", &(&case, &request));
            assert_says_nothing_of_the_request(&answer);
        }
    }
}

/// RFC 6749 section 2.3.1: credentials MUST NOT be in the request URI, which logs and histories keep.
pub(crate) fn credentials_in_the_query_are_refused_unread(program: &Program) {
    let server = program.start();
    for parameter in [
        "username=canary",
        "password=canary",
        "pass%77ord=canary",
        "client_secret=canary",
        "client_assertion=canary",
        "refresh_token=canary",
        "access_token=canary",
        "harmless=1&password=canary",
        "password",
    ] {
        let target = format!("/oauth/token?{parameter}");
        for request in
            [alice(), alice().body("grant_type=password"), alice().without("Authorization")]
        {
            assert_refused(&server, &request.target(&*target));
        }
    }
}

/// Which of the two would count is left open, so a proxy in front could be shown another one than the server.
pub(crate) fn a_repeated_header_is_refused(program: &Program) {
    let server = program.start();
    for request in [
        alice().header("Content-Type", FORM),
        alice().header("content-type", "application/json"),
        alice().basic("web", "web-secret"),
        alice().basic("canary", "canary"),
        alice().bearer("canary"),
        Request::token(ALICE).bearer("canary").basic("web", "web-secret"),
    ] {
        assert_refused(&server, &request);
    }
}

/// RFC 6749 section 2.3: one authentication method a request; RFC 7521 section 4.2: `client_id` must not contradict it,
/// and an assertion comes with its type.
pub(crate) fn contradictory_client_authentication_is_refused(program: &Program) {
    const JWT_BEARER: &str =
        "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    let server = program.start();
    for more in [
        "client_secret=web-secret",
        "client_id=web&client_secret=web-secret",
        "client_id=mobile",
        "client_id=canary",
        "client_assertion=canary",
        JWT_BEARER,
        "client_assertion=canary&client_assertion_type=canary",
    ] {
        assert_refused(&server, &alice().body(format!("{ALICE}&{more}")));
    }
    for more in [
        "client_assertion=canary",
        "client_assertion=canary&client_assertion_type=",
        JWT_BEARER,
        "client_assertion=canary&client_assertion_type=canary",
        "client_id=web&client_secret=web-secret&client_assertion=canary",
        "client_id=mobile&client_assertion=canary",
    ] {
        assert_refused(&server, &Request::token(format!("{ALICE}&{more}")));
    }
}

/// RFC 6749 section 5.2. The description is what the client's developer has to go by, so it names the parameter.
pub(crate) fn an_incomplete_request_of_a_known_client_is_told_what_is_missing(program: &Program) {
    let server = program.start();
    for (body, code, description) in [
        ("", "invalid_request", Some("Grant type parameter missing")),
        (
            "username=alice&password=wonderland",
            "invalid_request",
            Some("Grant type parameter missing"),
        ),
        (
            "grant_type=&username=alice&password=wonderland",
            "invalid_request",
            Some("Grant type parameter missing"),
        ),
        (
            "grant_type=password&password=wonderland",
            "invalid_request",
            Some("Username parameter missing"),
        ),
        (
            "grant_type=password&username=&password=wonderland",
            "invalid_request",
            Some("Username parameter missing"),
        ),
        ("grant_type=password", "invalid_request", Some("Username parameter missing")),
        (
            "grant_type=password&username=alice",
            "invalid_request",
            Some("Password parameter missing"),
        ),
        (
            "grant_type=password&username=alice&password=",
            "invalid_request",
            Some("Password parameter missing"),
        ),
        ("grant_type=canary&username=alice&password=wonderland", "unsupported_grant_type", None),
        ("grant_type=Password&username=alice&password=wonderland", "unsupported_grant_type", None),
        ("grant_type=password+&username=alice&password=wonderland", "unsupported_grant_type", None),
        ("grant_type=authorization_code&code=canary", "unsupported_grant_type", None),
        ("grant_type=client_credentials", "unsupported_grant_type", None),
        // RFC 8707 section 2; these two may be repeated.
        (
            "grant_type=password&username=alice&password=wonderland&audience=canary",
            "invalid_target",
            None,
        ),
        (
            "grant_type=password&username=alice&password=wonderland&resource=canary&resource=b",
            "invalid_target",
            None,
        ),
    ] {
        let answer = server.send(&alice().body(body));
        answer.assert_error(400, code, &body);
        assert_says_nothing_of_the_request(&answer);
        if let Some(description) = description {
            assert_eq!(answer.json()["error_description"], description, "{body}");
        }
    }
    // Nothing is read from the query, so this lacks all it needs.
    let request = alice().body("").target("/oauth/token?grant_type=password");
    server.send(&request).assert_error(400, "invalid_request", &request);
}

/// RFC 6749 section 3.2: unknown parameters are ignored, and one without a value is as if it were not there.
pub(crate) fn what_is_harmless_is_accepted(program: &Program) {
    let server = program.start();
    let many: String = (4..=32).map(|number| format!("&p{number}=v")).collect();
    for body in [
        format!("{ALICE}&unknown=1&other=1"),
        format!("{ALICE}&UserName=bob"), // names are case-sensitive, so this one is unknown
        format!(
            "{ALICE}&client_id=&client_secret=&client_assertion=&client_assertion_type=&scope=&resource=&audience="
        ),
        format!("{ALICE}&flag"),
        format!("&&{ALICE}&&"),
        format!("{ALICE}&{}=v", "n".repeat(64)),
        format!("{ALICE}{many}"),
        "password=wonderland&username=alice&grant_type=password".into(),
        "%67rant_type=pass%77ord&username=%61lice&password=wonderlan%64".into(),
    ] {
        let answer = server.send(&alice().body(body.clone()));
        assert_eq!(answer.status, 200, "{body}: {answer:?}");
    }
    for target in [
        "/oauth/token?",
        "/oauth/token?trace=1",
        "/oauth/token?scope=canary&grant_type=canary&client_id=canary",
    ] {
        let answer = server.send(&alice().target(target));
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        assert_eq!(answer.json()["scope"], "profile", "{target}");
    }
}

fn assert_refused(server: &Server, request: &Request) {
    let answer = server.send(request);
    answer.assert_error(400, "invalid_request", request);
    assert_says_nothing_of_the_request(&answer);
}

/// RFC 6749 section 5.2 lets a description hold what was sent; ours never do, in whatever encoding.
fn assert_says_nothing_of_the_request(answer: &Response) {
    let shown = String::from_utf8_lossy(&answer.body);
    for sent in ["canary", "alice", "wonderland", "web-secret"] {
        assert!(!shown.contains(sent), "{shown}");
    }
    assert!(!answer.headers.iter().any(|(_, value)| value.contains("canary")), "{answer:?}");
}
