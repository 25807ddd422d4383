//! Token requests that the form extractor of a framework has parsed get the same answers as over
//! HTTP.
#![cfg(feature = "http")]

mod common;

use std::net::SocketAddr;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Form, Router};
use common::{GOOD, Users, World, basic};
use password_grant::{HttpResponse, PasswordGrant, TokenRequest};

async fn token(
    State(grant): State<PasswordGrant>,
    headers: HeaderMap,
    Form(request): Form<TokenRequest<'static>>,
) -> Response {
    let request = headers
        .get_all("authorization")
        .iter()
        .fold(request, |request: TokenRequest<'_>, value| request.authorization(value.as_bytes()));
    let answer = grant.handle(request).await;
    let answer: HttpResponse = answer.map_or_else(Into::into, Into::into);
    Response::<axum::body::Body>::from(answer).into_response()
}

async fn serve(grant: PasswordGrant) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/token", post(token)).with_state(grant);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

async fn send(
    address: SocketAddr,
    authorization: &'static [&'static str],
    body: Vec<u8>,
) -> (u16, String) {
    tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut request = agent.post(format!("http://{address}/token"));
        for secret in authorization {
            request = request.header("authorization", basic("web", secret));
        }
        let request = request.header("content-type", common::FORM);
        let mut response = request.send(&body[..]).unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deserialised_request_is_answered_as_one_that_was_parsed_here() {
    let world = World::with(Users::default(), |builder| builder);
    let address = serve(world.grant.clone()).await;
    const WEB: &[&str] = &["web-secret"];

    let (status, body) = send(address, WEB, GOOD.into()).await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("access_token"));

    let many = (0..33).map(|number| format!("&p{number}=1")).collect::<String>();
    for (fault, authorization, body, error) in [
        ("repeated", WEB, format!("{GOOD}&username=bob").into_bytes(), "A parameter is repeated"),
        (
            "repeated without a value",
            WEB,
            format!("{GOOD}&username=").into_bytes(),
            "A parameter is repeated",
        ),
        (
            "unknown and repeated",
            WEB,
            format!("{GOOD}&x=1&x=2").into_bytes(),
            "A parameter is repeated",
        ),
        (
            "not text",
            WEB,
            [GOOD.as_bytes(), b"&x=\xff"].concat(),
            "The request body is not form-encoded UTF-8",
        ),
        (
            "escaped and not text",
            WEB,
            format!("{GOOD}&x=%C3%28").into_bytes(),
            "The request body is not form-encoded UTF-8",
        ),
        ("too many", WEB, format!("{GOOD}{many}").into_bytes(), "Too many parameters"),
        (
            "control character",
            WEB,
            GOOD.replace("alice", "al%0Aice").into_bytes(),
            "A parameter holds a character that is not allowed",
        ),
        (
            "too long",
            WEB,
            GOOD.replace("wonderland", &"w".repeat(1025)).into_bytes(),
            "A parameter is too long",
        ),
        (
            "scope",
            WEB,
            GOOD.replace("scope=profile", "scope=a%20%20b").into_bytes(),
            "Scope parameter malformed or too long",
        ),
        (
            "two headers",
            &["web-secret", "web-secret"],
            GOOD.into(),
            "A header that may occur once is repeated",
        ),
        ("empty", WEB, Vec::new(), "Grant type parameter missing"),
    ] {
        let (status, body) = send(address, authorization, body).await;
        let json: serde_json::Value =
            serde_json::from_str(&body).unwrap_or_else(|_| panic!("{fault}: {body}"));
        assert_eq!((status, json["error_description"].as_str()), (400, Some(error)), "{fault}");
    }
    assert_eq!(world.users.asked(), 1, "what is malformed reaches no user look-up");
    assert!(
        world.events.lines().iter().any(|line| line == "request refused: Repeated"),
        "it is observed"
    );
}

/// Any deserializer of forms will do, not only that of axum. Values that are borrowed are copied.
#[test]
fn a_request_is_deserialised_by_any_form_deserialiser() {
    let request: TokenRequest<'_> = serde_urlencoded::from_bytes(GOOD.as_bytes()).unwrap();
    assert_eq!((request.grant_type(), request.username()), (Some("password"), Some("alice")));
    let request: TokenRequest<'_> =
        serde_json::from_str(r#"{"username":"alice","password":"hunter2"}"#).unwrap();
    assert_eq!(request.username(), Some("alice"));
    assert!(!format!("{request:?}").contains("hunter2"), "{request:?}");
    let fault = serde_json::from_str::<TokenRequest<'_>>(r#"{"password":31415926}"#).unwrap_err();
    assert!(!fault.to_string().contains("31415926"), "{fault}");
    // What follows a fault is read to its end, or the deserialiser would refuse the rest.
    serde_json::from_str::<TokenRequest<'_>>(r#"{"scope":"a","scope":"b","x":"1"}"#).unwrap();
}
