//! The tower service and layer, called as a framework calls them, with bodies that come in pieces.

mod common;

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use common::{AUDIENCE, FORM, GOOD, Users, World, basic};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use password_grant::tower::{GrantService, RequireTokenLayer};
use password_grant::{Endpoint, Login, VerifiedToken};
use tower::{Layer, Service, ServiceExt, service_fn};

/// A body whose pieces are counted as they are read. `None` is an error of the connection.
struct Pieces {
    pieces: Vec<Option<Bytes>>,
    announced: Option<u64>,
    read: Arc<AtomicUsize>,
}

impl Pieces {
    fn new(pieces: impl IntoIterator<Item = Option<Bytes>>) -> (Self, Arc<AtomicUsize>) {
        let mut pieces: Vec<_> = pieces.into_iter().collect();
        pieces.reverse();
        let read = Arc::new(AtomicUsize::new(0));
        (Self { pieces, announced: None, read: read.clone() }, read)
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let Some(piece) = self.pieces.pop() else { return Poll::Ready(None) };
        self.read.fetch_add(1, Ordering::SeqCst);
        let broken = || std::io::ErrorKind::ConnectionReset.into();
        Poll::Ready(Some(piece.map(Frame::data).ok_or_else(broken)))
    }

    fn size_hint(&self) -> SizeHint {
        self.announced.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn service(world: &World) -> GrantService {
    GrantService::new(world.grant.clone(), |parts| parts.extensions.get::<IpAddr>().copied())
}

fn token_request<B>(body: B) -> Request<B> {
    Request::post("/oauth/token")
        .header("content-type", FORM)
        .header("authorization", basic("web", "web-secret"))
        .body(body)
        .unwrap()
}

async fn text(answer: Response<Full<Bytes>>) -> String {
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_body_in_pieces_is_read_as_one_and_its_peer_is_known() {
    let world = World::of(Users::who(|attempt| {
        assert_eq!(attempt.context().peer(), Some([192, 0, 2, 7].into()));
        Ok(Login::accepted("user-1"))
    }));
    let (front, back) = GOOD.split_at(20);
    let (body, read) = Pieces::new([front, "", back].map(|piece| Some(Bytes::from(piece))));
    let mut request = token_request(body);
    request.extensions_mut().insert(IpAddr::from([192, 0, 2, 7]));
    let answer = service(&world).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(read.load(Ordering::SeqCst), 3);
    assert_eq!(world.users.asked(), 1);
}

#[tokio::test]
async fn a_body_over_the_limit_is_not_read_beyond_it() {
    let world = World::default();
    let piece = || Some(Bytes::from(vec![b'a'; 8 * 1024]));
    let pieces = world.grant.body_limit() / (8 * 1024) + 1;
    let (body, read) = Pieces::new((0..100).map(|_| piece()));
    assert_eq!(service(&world).oneshot(token_request(body)).await.unwrap().status(), 413);
    assert_eq!(read.load(Ordering::SeqCst), pieces);

    let (mut body, read) = Pieces::new((0..100).map(|_| piece()));
    body.announced = Some(world.grant.body_limit() as u64 + 1);
    assert_eq!(service(&world).oneshot(token_request(body)).await.unwrap().status(), 413);
    assert_eq!(read.load(Ordering::SeqCst), 0, "its Content-Length is over the limit");

    let mut whole = GOOD.to_owned() + "&padding=";
    whole.push_str(&"a".repeat(world.grant.body_limit() - whole.len()));
    let answer = service(&world).oneshot(token_request(Full::<Bytes>::from(whole))).await.unwrap();
    assert_eq!(answer.status(), 200, "as large as the limit");
}

#[tokio::test]
async fn a_broken_upload_is_not_one_that_is_too_large() {
    let world = World::default();
    let (body, _) = Pieces::new([Some(Bytes::from_static(GOOD.as_bytes())), None]);
    let answer = service(&world).oneshot(token_request(body)).await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(text(answer).await.contains("incomplete"));
    assert_eq!(world.users.asked(), 0);
}

#[tokio::test]
async fn paths_are_the_hosts_choice_and_others_are_not_found() {
    let world = World::default();
    let service = service(&world).at(Endpoint::Token, "/token").at(Endpoint::Jwks, "/keys");
    let mut paths: Vec<_> = service.paths().collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/.well-known/oauth-authorization-server", "/keys", "/token"]);
    for (method, path, status) in [
        ("GET", "/keys", 200),
        ("HEAD", "/keys", 200),
        ("POST", "/keys", 405),
        ("GET", "/token", 405),
        ("GET", "/.well-known/oauth-authorization-server", 200),
        ("GET", "/.well-known/jwks.json", 404),
        ("POST", "/oauth/token", 404),
        ("POST", "/token/", 404),
        ("GET", "/", 404),
    ] {
        let request = Request::builder().method(method).uri(path);
        let answer = service.answer(request.body(Full::<Bytes>::default()).unwrap()).await;
        assert_eq!(answer.status(), status, "{method} {path}");
        // Frameworks that map bodies would lose their size.
        let length = answer.headers()["content-length"].to_str().unwrap().to_owned();
        assert_eq!(length, text(answer).await.len().to_string(), "{method} {path}");
    }
}

#[tokio::test]
async fn a_guarded_route_gets_the_verified_token_and_nobody_else_gets_in() {
    let world = World::default();
    let verifier = world.grant.verifier(AUDIENCE).unwrap();
    let called = Arc::new(AtomicUsize::new(0));
    let route = service_fn({
        let called = called.clone();
        move |request: Request<Full<Bytes>>| {
            called.fetch_add(1, Ordering::SeqCst);
            let token = request.extensions().get::<VerifiedToken>().expect("a verified token");
            let subject = token.subject.as_str().to_owned();
            async move { Ok::<_, Infallible>(Response::new(Full::from(subject))) }
        }
    });
    let guard = RequireTokenLayer::new(verifier).peer(|_| Some([192, 0, 2, 7].into()));
    let (any, orders) = (guard.layer(route.clone()), guard.scope("orders:read").layer(route));
    let ask = |token: Option<&str>| {
        let request = Request::get("/orders");
        let request = match token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        };
        request.body(Full::<Bytes>::default()).unwrap()
    };
    let profile = world.post(GOOD).await.access_token();
    let both = world.post(&GOOD.replace("profile", "orders:read+profile")).await.access_token();

    let answer = any.clone().oneshot(ask(Some(&profile))).await.unwrap();
    assert_eq!((answer.status().as_u16(), text(answer).await.as_str()), (200, "user-1"));
    let answer = orders.clone().oneshot(ask(Some(&both))).await.unwrap();
    assert_eq!(text(answer).await, "user-1");
    assert_eq!(called.load(Ordering::SeqCst), 2);

    let refused = orders.clone().oneshot(ask(Some(&profile))).await.unwrap();
    assert_eq!(refused.status(), 403);
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("insufficient_scope"), "{challenge}");
    let told = world.events.last();
    for fact in ["Scope, token \"", "of client \"web\"", "from \"192.0.2.7\""] {
        assert!(told.contains(fact), "{told}");
    }
    for mut route in [any, orders] {
        for token in [None, Some("unknown")] {
            let refused = route.ready().await.unwrap().call(ask(token)).await.unwrap();
            assert_eq!(refused.status(), 401);
            assert!(refused.headers().contains_key("www-authenticate"));
        }
    }
    assert_eq!(called.load(Ordering::SeqCst), 2, "no refused request reaches the route");
}

/// A body type that can be named nowhere, as in a closure, and the parts as an extractor has them.
#[tokio::test]
async fn an_answer_converts_without_a_type_and_a_verifier_takes_borrowed_parts() {
    let world = World::default();
    let answer = world.grant.metadata().into_http();
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.body().as_bytes(), world.grant.metadata().body());
    let token = world.post(GOOD).await.access_token();
    let request = Request::get("/").header("authorization", format!("Bearer {token}"));
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    let verifier = world.grant.verifier(AUDIENCE).unwrap();
    verifier.authenticate(&mut parts).await.unwrap();
    verifier.authorize(&mut parts, "profile").await.unwrap();
}
