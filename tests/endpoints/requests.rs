//! What both endpoints have in common: who may ask, what a request is, and a store that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use password_grant::assertion::{AssertionKey, ClientAssertion};
use password_grant::event::AccessFault;
use password_grant::state::{InMemoryState, StateSecret};
use password_grant::testing::ManualClock;
use password_grant::time::Timestamp;
use password_grant::token::TokenDetails;
use password_grant::{
    AccessToken, Authorization, BoxError, Client, ClientAuthentication, ClientSecret, Environment,
    Grant, HttpRequest, PasswordGrant, TokenIssuer, async_trait,
};

use crate::common::fakes::{FaultyStore, StoreFault};
use crate::common::sessions::{OFFLINE, Sessions, about};
use crate::common::{Answer, FORM, ISSUER, JWT_BEARER, Users, World, basic, clients, noon};
use crate::support::{INACTIVE, is_revoked};

/// Requirements 34, 43 and 118, incident R18: without authentication there is no answer about a
/// token.
#[tokio::test]
async fn whoever_asks_about_a_token_authenticates_first() {
    let sessions = Sessions::new();
    let pair = sessions.login("app").await;
    let refused = sessions.ask("", OFFLINE).await;
    refused.is(401, "invalid_client");
    let off = Client::confidential("off", ClientSecret::digest_of("off-secret")).disabled();
    sessions.world.clients.insert(off);
    for endpoint in ["revoke", "introspect"] {
        let form = format!("token={}", pair.access);
        let wrong = basic("app", "wrong");
        for answer in [
            sessions.about("", &form, endpoint).await,
            sessions.about("off", &form, endpoint).await,
            about(&sessions.world, &[("authorization", &wrong)], &form, endpoint).await,
            about(&sessions.world, &[], &format!("{form}&client_id=app"), endpoint).await,
        ] {
            assert_eq!(answer, refused, "{endpoint}");
        }
    }
    // A public client may not introspect, not even its own tokens.
    let own = sessions.login("phone").await;
    assert_eq!(sessions.introspect("phone", &own.access).await, refused);
    assert!(sessions.is_active(&pair.access).await);
}

#[tokio::test]
async fn what_is_no_request_about_a_token_is_refused() {
    let sessions = Sessions::new();
    for endpoint in ["revoke", "introspect"] {
        for form in [
            "",
            "token=",
            "token=a&token=b",
            "token=%zz",
            "token=%FF",
            "token_type_hint=access_token",
        ] {
            sessions.about("app", form, endpoint).await.is(400, "invalid_request");
        }
        // Parameters of the token endpoint are ignored here, even a malformed scope.
        let answer =
            sessions.about("app", "token=nonsense&scope=++&grant_type=password", endpoint).await;
        assert_eq!(answer.status, 200);
        let headers = [("content-type", FORM.as_bytes())];
        for query in ["x=y&token=a", "password=a", "refresh_token=a", "client_secret=a"] {
            let request = HttpRequest::new("POST", Some(query), headers, b"token=a");
            let answer: Answer = match endpoint {
                "revoke" => sessions.world.grant.revoke(request).await.into(),
                _ => sessions.world.grant.introspect(request).await.into(),
            };
            answer.is(400, "invalid_request");
        }
        let get = HttpRequest::new("GET", Some("token=a"), headers, b"");
        let answer: Answer = match endpoint {
            "revoke" => sessions.world.grant.revoke(get).await.into(),
            _ => sessions.world.grant.introspect(get).await.into(),
        };
        answer.is(405, "invalid_request");
        assert_eq!(answer.header("allow"), Some("POST"));
    }
    // The token endpoint ignores the parameter `token`.
    sessions.ask("app", &format!("{OFFLINE}&token=%00")).await.is_granted();
}

/// Requirements 115 and 122, incident R14: if the store fails, the answer is 503 and nothing else.
#[tokio::test]
async fn a_store_that_fails_is_neither_active_nor_inactive_nor_revoked() {
    let clock = ManualClock::at(noon());
    let store = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
    // How many calls are still answered, before all others fail.
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let counted = left.clone();
    let shared = FaultyStore::over(store, move |_| {
        let (set, get) = (Ordering::SeqCst, Ordering::SeqCst);
        match counted.fetch_update(set, get, |left| left.checked_sub(1)) {
            Ok(_) => StoreFault::None,
            Err(_) => StoreFault::Fails,
        }
    });
    let secret = StateSecret::new([0x5a; 32]).unwrap();
    let sessions = Sessions::over(
        Users::default(),
        |refresh| refresh,
        |builder| builder.shared_state(shared, secret),
    );
    let pair = sessions.login("app").await;
    for token in [&pair.access, &pair.refresh] {
        for (client, endpoint) in [("app", "introspect"), ("app", "revoke")] {
            let mut failed = 0;
            for calls in 0.. {
                left.store(calls, Ordering::SeqCst);
                let answer = sessions.about(client, &format!("token={token}"), endpoint).await;
                left.store(usize::MAX, Ordering::SeqCst);
                if answer.status == 200 {
                    break;
                }
                answer.is(503, "temporarily_unavailable");
                assert_eq!(answer.header("retry-after"), Some("1"));
                failed += 1;
            }
            assert!(failed > 0, "{endpoint}");
        }
    }
    left.store(0, Ordering::SeqCst);
    assert_eq!(
        sessions.verifier().verify(&pair.access).await.unwrap_err(),
        AccessFault::ServerFault
    );
}

/// The audience of an assertion may be the endpoint that is called, if its client is registered for
/// that.
#[tokio::test]
async fn an_assertion_may_name_the_endpoint_that_is_called() {
    let at = |path: &str| format!("{ISSUER}/oauth/{path}");
    let (revocation, introspection) = (at("revoke"), at("introspect"));
    let sessions = Sessions::over(
        Users::default(),
        |refresh| refresh,
        |builder| builder.revocation_endpoint(revocation).introspection_endpoint(introspection),
    );
    let secret = "a secret of thirty-two bytes or more";
    let signs = ClientAuthentication::client_secret_jwt(secret).unwrap();
    let signs =
        signs.compatibility([password_grant::assertion::AssertionCompatibility::EndpointAudience]);
    sessions.world.clients.insert(Client::confidential("signs", signs).grants([Grant::Password]));
    for (path, endpoint, status) in [
        ("introspect", "introspect", 200),
        ("token", "introspect", 200),
        ("revoke", "introspect", 401),
        ("revoke", "revoke", 200),
        ("introspect", "revoke", 401),
    ] {
        let key = AssertionKey::from_secret(secret).unwrap();
        let assertion = ClientAssertion::new("signs", at(path), key)
            .environment(&Environment::new().clock(sessions.world.clock.clone()))
            .sign()
            .unwrap();
        let form = format!(
            "token=nonsense&client_assertion_type={JWT_BEARER}&client_assertion={assertion}"
        );
        assert_eq!(
            sessions.about("", &form, endpoint).await.status,
            status,
            "{path} at {endpoint}"
        );
        // All endpoints share one record: an assertion that was used here is used there too.
        if status == 200 {
            sessions.about("", &form, "introspect").await.is(401, "invalid_client");
        }
    }
}

/// A token with characters that ours never have is unknown, and not a malformed request.
#[tokio::test]
async fn an_odd_token_is_unknown_and_not_malformed() {
    struct Never;
    #[async_trait]
    impl TokenIssuer for Never {
        async fn issue(&self, _: &Authorization<'_>) -> Result<AccessToken, BoxError> {
            Ok(AccessToken::new("token")?)
        }
        async fn inspect(
            &self,
            token: &str,
            _: Timestamp,
        ) -> Result<Option<TokenDetails>, BoxError> {
            panic!("asked for {token:?}")
        }
    }
    let hosts = PasswordGrant::builder(ISSUER, clients(), Users::default(), Never)
        .environment(&Environment::new().observer(()))
        .build()
        .unwrap();
    let hosts = World { grant: hosts, ..World::default() };
    let sessions = Sessions::new();
    for odd in [
        "a".repeat(8_193),
        format!("rt1.{}", "A".repeat(20_000)),
        "%C3%A9".to_owned(),
        "rt1.%C3%A9".to_owned(),
        "a%00".to_owned(),
        "a%0A".to_owned(),
        "a+b".to_owned(),
        "%EF%BF%BD".to_owned(),
        "%22".to_owned(),
        "=".to_owned(),
    ] {
        assert_eq!(sessions.introspect("reports", &odd).await.body, INACTIVE, "{odd}");
        is_revoked(&sessions.revoke("app", &odd).await);
        let form = format!("token={odd}");
        for endpoint in ["introspect", "revoke"] {
            let web = basic("web", "web-secret");
            assert_eq!(
                about(&hosts, &[("authorization", &web)], &form, endpoint).await.status,
                200,
                "{odd}"
            );
        }
        // A client that has not authenticated gets the same answer, whatever token it sends.
        sessions.about("", &form, "introspect").await.is(401, "invalid_client");
    }
}
