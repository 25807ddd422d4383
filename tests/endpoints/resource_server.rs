//! `IntrospectedTokens`: a resource server that asks the introspection endpoint.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use password_grant::assertion::{AssertionKey, ClientAssertion};
use password_grant::event::AccessFault;
use password_grant::resource::{BearerRequest, IntrospectedTokens, IntrospectionTransport};
use password_grant::testing::ManualClock;
use password_grant::{
    AccessTokenVerifier, BoxError, Client, ClientAuthentication, Clock, Environment, HttpRequest,
    PasswordGrant, async_trait,
};
use serde_json::json;

use crate::common::sessions::Sessions;
use crate::common::{AUDIENCE, Events, FORM, ISSUER, noon};
use crate::support::INACTIVE;

/// Passes the form to the engine, or answers as scripted.
#[derive(Clone)]
struct Wire {
    grant: PasswordGrant,
    clock: ManualClock,
    scripted: Arc<Mutex<Option<(u16, String)>>>,
    hangs: bool,
    asked: Arc<AtomicUsize>,
    /// How long an answer of the engine takes.
    seconds: Arc<AtomicU64>,
}

#[async_trait]
impl IntrospectionTransport for Wire {
    async fn post(
        &self,
        url: &str,
        authorization: Option<&str>,
        form: &str,
    ) -> Result<(u16, Vec<u8>), BoxError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert_eq!(url, "https://id.example.com/oauth/introspect");
        if self.hangs {
            std::future::pending::<()>().await;
        }
        if let Some((status, body)) = self.scripted.lock().unwrap().clone() {
            return if status == 0 {
                Err("no connection".into())
            } else {
                Ok((status, body.into()))
            };
        }
        let headers = [("content-type", Some(FORM)), ("authorization", authorization)];
        let headers =
            headers.into_iter().filter_map(|(name, value)| Some((name, value?.as_bytes())));
        let answer =
            self.grant.introspect(HttpRequest::new("POST", None, headers, form.as_bytes())).await;
        self.clock.advance(Duration::from_secs(self.seconds.load(Ordering::SeqCst)));
        Ok((answer.status(), answer.into_body()))
    }
}

struct Remote {
    sessions: Sessions,
    wire: Wire,
    events: Events,
}

impl Remote {
    fn new() -> Self {
        let sessions = Sessions::new();
        let grant = sessions.world.grant.clone();
        let wire = Wire {
            grant,
            clock: sessions.world.clock.clone(),
            scripted: Arc::default(),
            hangs: false,
            asked: Arc::default(),
            seconds: Arc::default(),
        };
        Self { sessions, wire, events: Events::default() }
    }

    fn verifier(
        &self,
        configure: impl FnOnce(IntrospectedTokens) -> IntrospectedTokens,
    ) -> AccessTokenVerifier {
        let url = "https://id.example.com/oauth/introspect";
        let tokens = IntrospectedTokens::basic(url, "reports", "reports-secret", self.wire.clone());
        let clock = self.sessions.world.clock.clone();
        let verifier = AccessTokenVerifier::by_lookup(
            ISSUER,
            AUDIENCE,
            configure(tokens.environment(&Environment::new().clock(clock.clone()))),
        )
        .unwrap();
        verifier.environment(&Environment::new().clock(clock).observer(self.events.clone()))
    }

    fn answers(&self, status: u16, body: &str) {
        *self.wire.scripted.lock().unwrap() = Some((status, body.to_owned()));
    }

    fn asked(&self) -> usize {
        self.wire.asked.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_resource_server_can_ask_instead_of_checking_signatures() {
    let remote = Remote::new();
    let pair = remote.sessions.login("app").await;
    let verifier = remote.verifier(|tokens| tokens.cached_for(Duration::ZERO));
    let token = verifier.verify(&pair.access).await.unwrap();
    assert_eq!((token.subject.as_str(), token.client_id.as_str()), ("user-1", "app"));
    assert!(token.scope.contains("profile"));
    assert_eq!(verifier.verify("nonsense").await.unwrap_err(), AccessFault::NotOurs);
    assert_eq!(verifier.verify(&pair.refresh).await.unwrap_err(), AccessFault::NotOurs);
    remote.sessions.revoke("app", &pair.refresh).await;
    assert_eq!(
        verifier.verify(&pair.access).await.unwrap_err(),
        AccessFault::NotOurs,
        "revoked at once"
    );
}

/// The identifier and the secret are encoded so that servers which decode and servers which do not
/// mostly read the same, and `~` and `*` are the ones that encoders differ in.
#[tokio::test]
async fn its_basic_credentials_are_read_alike_by_servers_that_decode_and_those_that_do_not() {
    struct Sent(Arc<Mutex<Option<String>>>);
    #[async_trait]
    impl IntrospectionTransport for Sent {
        async fn post(
            &self,
            _: &str,
            authorization: Option<&str>,
            _: &str,
        ) -> Result<(u16, Vec<u8>), BoxError> {
            *self.0.lock().unwrap() = authorization.map(str::to_owned);
            Ok((200, br#"{"active":false}"#.to_vec()))
        }
    }
    let sent = Arc::new(Mutex::new(None));
    let url = "https://id.example.com/oauth/introspect";
    let tokens = IntrospectedTokens::basic(url, "client~a", "Qq8~x*y z+%:ä", Sent(sent.clone()));
    let verifier = AccessTokenVerifier::by_lookup(ISSUER, AUDIENCE, tokens)
        .unwrap()
        .environment(&Environment::new().observer(()));
    verifier.verify("token").await.unwrap_err();
    let header = sent.lock().unwrap().clone().unwrap();
    let pair = STANDARD.decode(header.strip_prefix("Basic ").unwrap()).unwrap();
    assert_eq!(String::from_utf8(pair).unwrap(), "client~a:Qq8~x%2Ay%20z%2B%25%3A%C3%A4");
}

#[tokio::test]
async fn it_can_prove_who_it_is_by_assertions() {
    let remote = Remote::new();
    let secret = "a secret of thirty-two bytes or more";
    let signs = ClientAuthentication::client_secret_jwt(secret).unwrap();
    remote.sessions.world.clients.insert(Client::confidential("signs", signs).resource_server());
    let pair = remote.sessions.login("app").await;
    let clock = remote.sessions.world.clock.clone();
    let assertions =
        ClientAssertion::new("signs", ISSUER, AssertionKey::from_secret(secret).unwrap())
            .environment(&Environment::new().clock(clock.clone()));
    let url = "https://id.example.com/oauth/introspect";
    let tokens = IntrospectedTokens::with_parameters(
        url,
        move || assertions.parameters(),
        remote.wire.clone(),
    );
    let tokens =
        tokens.environment(&Environment::new().clock(clock.clone())).cached_for(Duration::ZERO);
    let verifier = AccessTokenVerifier::by_lookup(ISSUER, AUDIENCE, tokens)
        .unwrap()
        .environment(&Environment::new().clock(clock));
    for _ in 0..3 {
        assert!(verifier.verify(&pair.access).await.is_ok());
    }
}

/// Without credentials of its own the resource server sends no request.
#[tokio::test]
async fn without_its_own_proof_it_does_not_ask() {
    let remote = Remote::new();
    let pair = remote.sessions.login("app").await;
    let url = "https://id.example.com/oauth/introspect";
    let no_proof = || Err::<Vec<(String, String)>, BoxError>("the key could not be read".into());
    let tokens = IntrospectedTokens::with_parameters(url, no_proof, remote.wire.clone());
    let verifier = AccessTokenVerifier::by_lookup(ISSUER, AUDIENCE, tokens)
        .unwrap()
        .environment(&Environment::new().observer(remote.events.clone()));
    assert_eq!(verifier.verify(&pair.access).await.unwrap_err(), AccessFault::ServerFault);
    assert_eq!(remote.asked(), 0);
    assert!(remote.events.last().contains("the key could not be read"), "{}", remote.events.last());
}

/// Requirement 129: an answer is cached for a short time, and never beyond the end of the token.
#[tokio::test]
async fn an_answer_is_remembered_for_a_moment() {
    let remote = Remote::new();
    let pair = remote.sessions.login("app").await;
    let verifier = remote.verifier(|tokens| tokens.cached_for(Duration::from_secs(3_600)));
    for (advance, asked) in [(0, 1), (59, 1), (1, 2), (0, 2)] {
        remote.sessions.advance(advance);
        assert!(verifier.verify(&pair.access).await.is_ok());
        assert_eq!(remote.asked(), asked);
    }
    // A clock that is set back does not prolong the cache.
    let now = remote.sessions.world.clock.now();
    remote.sessions.world.clock.set(now.minus(Duration::from_secs(60)));
    assert!(verifier.verify(&pair.access).await.is_ok());
    assert_eq!(remote.asked(), 3);
    remote.sessions.world.clock.set(now);
    assert!(verifier.verify(&pair.access).await.is_ok());
    remote.sessions.advance(600 - 60 - 1);
    assert!(verifier.verify(&pair.access).await.is_ok());
    let before = remote.asked();
    remote.sessions.advance(1);
    assert!(verifier.verify(&pair.access).await.is_err(), "its own end");
    assert_eq!(remote.asked(), before + 1);
    // Tokens that are not active are not cached.
    for _ in 0..2 {
        assert!(verifier.verify("nonsense").await.is_err());
    }
    assert_eq!(remote.asked(), before + 3);
}

/// An answer is as old as the question: what was revoked while it was on its way is known a minute
/// after that.
#[tokio::test]
async fn an_answer_that_took_long_is_remembered_for_less() {
    let remote = Remote::new();
    let pair = remote.sessions.login("app").await;
    let verifier = remote.verifier(|tokens| tokens.cached_for(Duration::from_secs(60)));
    remote.wire.seconds.store(5, Ordering::SeqCst);
    assert!(verifier.verify(&pair.access).await.is_ok());
    for (advance, asked) in [(54, 1), (1, 2)] {
        remote.sessions.advance(advance);
        assert!(verifier.verify(&pair.access).await.is_ok());
        assert_eq!(remote.asked(), asked);
    }
}

/// Requirement 129: the verifier accepts a token only after a clear yes.
#[tokio::test]
async fn what_is_no_clear_answer_opens_nothing() {
    let remote = Remote::new();
    let pair = remote.sessions.login("app").await;
    let good = json!({
        "active": true, "iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "client_id": "app",
        "scope": "profile", "exp": noon().unix_seconds() + 60, "token_type": "Bearer",
    });
    let with = |name: &str, value: serde_json::Value| {
        let mut changed = good.clone();
        changed[name] = value;
        changed.to_string()
    };
    let without = |name: &str| {
        let mut changed = good.clone();
        changed.as_object_mut().unwrap().remove(name);
        changed.to_string()
    };
    let verifier = remote.verifier(|tokens| tokens.cached_for(Duration::ZERO));
    let now = noon().unix_seconds() as f64;
    for answer in [
        good.to_string(),
        with("exp", json!(now + 60.5)),
        with("exp", json!(now - 28.5)),
        with("iat", json!(now + 29.5)),
        with("nbf", json!(now - 0.5)),
        with("exp", json!(1.9e9)),
        with("scope", json!("")).replace("\"profile\"", "\"\""),
    ] {
        remote.answers(200, &answer);
        assert!(verifier.verify(&pair.access).await.is_ok(), "{answer}");
    }
    let trouble = AccessFault::ServerFault;
    let cases = [
        (0, String::new(), trouble),
        (401, INACTIVE.to_owned(), trouble),
        (404, String::new(), trouble),
        (503, String::new(), trouble),
        (302, good.to_string(), trouble),
        (200, String::new(), trouble),
        (200, "[]".to_owned(), trouble),
        (200, "true".to_owned(), trouble),
        (200, r#"{"active":true,"active":true}"#.to_owned(), trouble),
        (200, with("active", json!("true")), trouble),
        (200, with("active", json!(1)), trouble),
        (200, without("active"), trouble),
        (200, without("iss"), trouble),
        (200, without("aud"), trouble),
        (200, without("sub"), trouble),
        (200, without("client_id"), trouble),
        (200, without("exp"), trouble),
        (200, with("exp", json!("9999999999")), trouble),
        (200, with("exp", json!(-1)), trouble),
        (200, with("exp", json!(1e300)), trouble),
        (200, with("iat", json!("1")), trouble),
        (200, with("exp", json!(now - 29.5)), AccessFault::Expired),
        (200, with("iat", json!(now + 30.5)), AccessFault::NotYetValid),
        (200, with("nbf", json!(now + 30.5)), AccessFault::NotYetValid),
        (200, with("nbf", json!("0")), AccessFault::NotOurs),
        (200, with("aud", json!([AUDIENCE, 1])), trouble),
        (200, with("scope", json!("a  b")), trouble),
        (200, with("filler", json!("x".repeat(70_000))), trouble),
        (200, INACTIVE.to_owned(), AccessFault::NotOurs),
        (200, with("token_type", json!("refresh_token")), AccessFault::NotOurs),
        (200, with("iss", json!("https://other.example.com")), AccessFault::Issuer),
        (200, with("aud", json!("https://other.example.com")), AccessFault::Audience),
        (200, with("exp", json!(0)), AccessFault::Expired),
        (200, with("cnf", json!({})), AccessFault::Bound),
    ];
    for (status, body, fault) in cases {
        remote.answers(status, &body);
        assert_eq!(verifier.verify(&pair.access).await.unwrap_err(), fault, "{status} {body:.200}");
    }
    let bearer = format!("Bearer {}", pair.access);
    remote.answers(500, "");
    let refusal = verifier
        .authorize(BearerRequest::new([("authorization", bearer.as_bytes())], None), "profile")
        .await
        .unwrap_err();
    assert_eq!((refusal.status(), refusal.header("retry-after")), (503, Some("1")));
    assert!(remote.events.last().contains("answered 500"), "{}", remote.events.last());
}

#[tokio::test]
async fn an_endpoint_without_answer_is_given_up() {
    let mut remote = Remote::new();
    let pair = remote.sessions.login("app").await;
    remote.wire.hangs = true;
    let verifier = remote.verifier(|tokens| tokens.timeout(Duration::from_secs(2)));
    let clock = remote.sessions.world.clock.clone();
    let (result, ()) = tokio::join!(verifier.verify(&pair.access), async {
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(2));
    });
    assert_eq!(result.unwrap_err(), AccessFault::ServerFault);
}
