//! The ways into the engine: typed requests, HTTP parts, and what the host adds to a request.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use password_grant::error::RequestFault;
use password_grant::{HttpRequest, Login, Reason, RequestContext, TokenRequest};

use crate::common::{Answer, FORM, GOOD, Users, World, basic};

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

/// Incident I26: only what the host passes counts. Forwarding headers are never read.
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
