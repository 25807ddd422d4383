//! The life of a token after its login: refresh, revocation, introspection.

use std::collections::HashSet;
use std::thread;

use serde_json::{Value, json};

use super::http::{Request, Response, encode};
use super::resource::challenge;
use super::server::Server;
use super::{ALICE, AUDIENCE, Program, text};

const OFFLINE: &str = "scope=profile+orders:read+offline_access";

/// A client of the demo, and how it proves who it is.
#[derive(Clone, Copy, Debug)]
enum Client {
    Web,
    Mobile,
    Reports,
}

use Client::{Mobile, Reports, Web};

impl Client {
    fn sends(self, path: &str, form: &str) -> Request {
        let request = Request::token(form).target(path);
        match self {
            Web => request.basic("web", "web-secret"),
            Reports => request.basic("reports", "reports-secret"),
            Mobile => request.body(format!("{form}&client_id=mobile")),
        }
    }
}

fn login(server: &Server, client: Client) -> (String, String) {
    let scope = if matches!(client, Mobile) { "scope=profile+offline_access" } else { OFFLINE };
    pair(&server.send(&client.sends("/oauth/token", &format!("{ALICE}&{scope}"))))
}

fn pair(answer: &Response) -> (String, String) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    (text(&json["access_token"]), text(&json["refresh_token"]))
}

fn refreshing(client: Client, token: &str) -> Request {
    client
        .sends("/oauth/token", &format!("grant_type=refresh_token&refresh_token={}", encode(token)))
}

fn refresh(server: &Server, client: Client, token: &str) -> Response {
    server.send(&refreshing(client, token))
}

fn revoke(server: &Server, client: Client, token: &str) -> Response {
    server.send(&client.sends("/oauth/revoke", &format!("token={}", encode(token))))
}

fn introspect(server: &Server, client: Client, token: &str) -> Value {
    let answer =
        server.send(&client.sends("/oauth/introspect", &format!("token={}", encode(token))));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.assert_private_json(&"introspection");
    answer.json()
}

fn opens(server: &Server, access: &str) -> bool {
    let answer = server.send(&Request::get("/api/me").bearer(access));
    match answer.status {
        200 => true,
        401 => {
            let error = ("error".to_owned(), "invalid_token".to_owned());
            assert!(challenge(&answer).contains(&error), "{answer:?}");
            false
        }
        _ => panic!("{answer:?}"),
    }
}

/// Scenarios R3b and R4.
pub(crate) fn each_refresh_yields_another_refresh_token(program: &Program) {
    let server = program.start();
    for client in [Web, Mobile] {
        let (mut access, mut token) = login(&server, client);
        let mut seen = HashSet::from([token.clone()]);
        for _ in 0..3 {
            let answer = refresh(&server, client, &token);
            answer.assert_private_json(&client);
            let scope = text(&answer.json()["scope"]);
            assert!(scope.contains("offline_access"), "{scope}");
            let (next_access, next) = pair(&answer);
            assert!(opens(&server, &access) && opens(&server, &next_access), "{client:?}");
            assert!(seen.insert(next.clone()));
            (access, token) = (next_access, next);
        }
    }
}

pub(crate) fn there_is_no_refresh_token_without_offline_access(program: &Program) {
    let server = program.start();
    let answer = server.send(&Web.sends("/oauth/token", ALICE));
    assert_eq!((answer.status, answer.json().get("refresh_token")), (200, None));
    let other = Request::token("grant_type=refresh_token&refresh_token=x")
        .basic("odd%3Aclient", "s3cr%3At+%2B%25%26%3D%2F%3F%7E");
    server.send(&other).assert_error(400, "unauthorized_client", &"odd:client");
}

/// Within the window a lost answer is given again; beyond it, an old token shows theft.
pub(crate) fn a_used_refresh_token_is_a_retry_within_the_window_and_theft_after_it(
    program: &Program,
) {
    let server = program.start();
    let (_, first) = login(&server, Web);
    let (_, second) = pair(&refresh(&server, Web, &first));
    assert_eq!(pair(&refresh(&server, Web, &first)).1, second, "the same successor");

    let server = program.start_with(&[("REFRESH_RETRY_WINDOW", "0")]);
    let (access, first) = login(&server, Web);
    let (next_access, second) = pair(&refresh(&server, Web, &first));
    refresh(&server, Web, &first).assert_error(400, "invalid_grant", &"used before");
    refresh(&server, Web, &second).assert_error(400, "invalid_grant", &"its successor");
    assert!(!opens(&server, &access) && !opens(&server, &next_access));
}

/// Incident R1, over HTTP.
pub(crate) fn of_many_refreshes_at_once_there_is_one_lineage(program: &Program) {
    for window in ["10", "0"] {
        let server = program.start_with(&[("REFRESH_RETRY_WINDOW", window)]);
        let (_, token) = login(&server, Web);
        let (request, address) = (&refreshing(Web, &token), server.address);
        let answers: Vec<_> = thread::scope(|scope| {
            let ask = |_| scope.spawn(move || request.send(address));
            let threads: Vec<_> = (0..64).map(ask).collect();
            threads.into_iter().map(|thread| thread.join().expect("an answer")).collect()
        });
        let granted: Vec<_> =
            answers.iter().filter(|answer| answer.status == 200).map(pair).collect();
        let successors: HashSet<_> = granted.iter().map(|(_, token)| token).collect();
        assert_eq!(successors.len(), 1, "window {window}");
        let others = answers.iter().filter(|answer| answer.status != 200);
        let expected = if window == "0" { "400" } else { "503" };
        others.for_each(|answer| assert_eq!(answer.status.to_string(), expected, "{answer:?}"));
        let alive = refresh(&server, Web, &granted[0].1).status == 200;
        assert_eq!(alive, window != "0");
    }
}

/// Every cause, the same bytes; and who asks for another client's changes nothing.
pub(crate) fn every_refresh_token_that_is_not_valid_is_answered_with_the_same_bytes(
    program: &Program,
) {
    let server = program.start();
    let (_, token) = login(&server, Web);
    let expected = refresh(&server, Web, "nonsense");
    expected.assert_error(400, "invalid_grant", &"nonsense");
    let (_, revoked) = login(&server, Web);
    revoke(&server, Web, &revoked);
    let other = if token.as_bytes()[20] == b'A' { "B" } else { "A" };
    let changed = format!("{}{other}{}", &token[..20], &token[21..]);
    for (client, token) in
        [(Mobile, &token), (Web, &revoked), (Web, &changed), (Web, &"rt1.".to_owned())]
    {
        assert_eq!(refresh(&server, client, token).visible(), expected.visible(), "{client:?}");
    }
    pair(&refresh(&server, Web, &token));
}

/// Longer than any, or of characters that none of ours has: the clients of a server that is replaced come with its tokens.
pub(crate) fn an_odd_token_is_unknown_at_every_endpoint(program: &Program) {
    let server = program.start();
    let nonsense = refresh(&server, Web, "nonsense");
    for odd in [
        "a".repeat(2_049),
        "a".repeat(8_193),
        "é".into(),
        "rt1.é".into(),
        "a b\n".into(),
        "\u{fffd}".into(),
    ] {
        assert_eq!(refresh(&server, Web, &odd).visible(), nonsense.visible(), "{odd}");
        assert_eq!(introspect(&server, Reports, &odd), json!({ "active": false }), "{odd}");
        let answer = revoke(&server, Web, &odd);
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"{}".as_slice()), "{odd}");
    }
    for malformed in ["token=%ff", "token=%zz", "token=a&token=a", "token="] {
        for path in ["/oauth/introspect", "/oauth/revoke"] {
            server.send(&Reports.sends(path, malformed)).assert_error(
                400,
                "invalid_request",
                &malformed,
            );
        }
    }
}

pub(crate) fn a_revoked_token_is_refused_everywhere(program: &Program) {
    let server = program.start();
    for client in [Web, Mobile] {
        let (access, token) = login(&server, client);
        let (next_access, next) = pair(&refresh(&server, client, &token));
        // The access token alone.
        let answer = revoke(&server, client, &access);
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"{}".as_slice()));
        answer.assert_private_json(&client);
        assert!(!opens(&server, &access) && opens(&server, &next_access));
        // The family.
        assert_eq!(revoke(&server, client, &next).status, 200);
        assert!(!opens(&server, &next_access));
        refresh(&server, client, &next).assert_error(400, "invalid_grant", &client);
        assert_eq!(introspect(&server, Reports, &next_access), json!({ "active": false }));
        // Again, and what nobody knows.
        for token in [&next, &access, &"nonsense".to_owned()] {
            assert_eq!(revoke(&server, client, token).status, 200);
        }
    }
    let (access, token) = login(&server, Web);
    for token in [&access, &token] {
        revoke(&server, Mobile, token).assert_error(400, "invalid_grant", &"another client's");
    }
    assert!(opens(&server, &access));
}

pub(crate) fn introspection_tells_a_resource_server_and_nobody_else(program: &Program) {
    let server = program.start();
    let (access, token) = login(&server, Web);
    let told = introspect(&server, Reports, &access);
    for (name, value) in [
        ("active", json!(true)),
        ("sub", json!("user-1")),
        ("client_id", json!("web")),
        ("scope", json!("profile orders:read offline_access")),
        ("token_type", json!("Bearer")),
        ("iss", json!(server.url)),
        ("aud", json!(AUDIENCE)),
    ] {
        assert_eq!(told[name], value, "{name}: {told}");
    }
    assert_eq!(told["exp"].as_u64(), told["iat"].as_u64().map(|issued| issued + 600));
    assert_eq!(introspect(&server, Web, &access), told, "its own client");
    let refresh_token = introspect(&server, Web, &token);
    assert_eq!(refresh_token["active"], true, "its own refresh token");
    // RFC 7662 section 2.2 means the type by which an access token is used.
    assert_eq!(refresh_token.get("token_type"), None, "{refresh_token}");
    let (mobiles, _) = login(&server, Mobile);
    for (caller, token) in [(Web, &mobiles), (Reports, &token), (Reports, &"nonsense".to_owned())] {
        assert_eq!(introspect(&server, caller, token), json!({ "active": false }), "{caller:?}");
    }
    let form = format!("token={}", encode(&access));
    for request in [
        Mobile.sends("/oauth/introspect", &form),
        Request::token(form.clone()).target("/oauth/introspect"),
        Request::token(form.clone()).target("/oauth/introspect").basic("reports", "wrong"),
    ] {
        server.send(&request).assert_error(401, "invalid_client", &request);
    }
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        server.send(&Request::get(path)).assert_error(405, "invalid_request", &path);
        server.send(&Reports.sends(path, "")).assert_error(400, "invalid_request", &path);
    }
}
