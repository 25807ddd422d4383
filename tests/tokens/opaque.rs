//! Opaque access tokens, kept as digests and looked up.

use std::sync::Arc;
use std::time::Duration;

use password_grant::event::AccessFault;
use password_grant::resource::{BearerRequest, TokenLookup};
use password_grant::testing::{InMemoryTokens, ManualClock};
use password_grant::token::{OpaqueIssuer, TokenDetails, TokenDigest, TokenStore};
use password_grant::{
    AccessTokenVerifier, BoxError, Environment, HttpRequest, PasswordGrant, TokenIssuer,
    async_trait,
};
use serde_json::Value;

use crate::common::{AUDIENCE, Answer, FORM, GOOD, ISSUER, Users, clients, noon};
use crate::support::issue;

/// A look-up is called only for tokens of the right characters and length.
#[tokio::test]
async fn a_look_up_is_never_asked_for_what_cannot_be_a_token() {
    struct Never;
    #[async_trait]
    impl TokenLookup for Never {
        async fn look_up(&self, token: &str) -> Result<Option<TokenDetails>, BoxError> {
            panic!("asked for {token:?}")
        }
    }
    let verifier = AccessTokenVerifier::by_lookup(ISSUER, AUDIENCE, Never)
        .unwrap()
        .environment(&Environment::new().observer(()));
    for token in ["", "a b", "a\r\nb", "a\0", "'", "=", &"a".repeat(8193)] {
        assert_eq!(verifier.verify(token).await.unwrap_err(), AccessFault::NotOurs);
    }
    let request = BearerRequest::new([("authorization", &b"Bearer abc"[..])], None);
    let lookup = AccessTokenVerifier::by_lookup(ISSUER, AUDIENCE, InMemoryLookup)
        .unwrap()
        .environment(&Environment::new().observer(()));
    assert_eq!(
        lookup.authorize(request, "").await.unwrap_err().status(),
        403,
        "an empty setting lets nobody in"
    );
}

/// A look-up that knows every token.
struct InMemoryLookup;

#[async_trait]
impl TokenLookup for InMemoryLookup {
    async fn look_up(&self, _: &str) -> Result<Option<TokenDetails>, BoxError> {
        let mut details = TokenDetails::new(ISSUER, "user-1", "web", AUDIENCE, u64::MAX);
        details.scope = "profile".parse()?;
        Ok(Some(details))
    }
}

/// Access tokens can be opaque instead of JWTs.
#[tokio::test]
async fn opaque_tokens_are_random_kept_as_digests_and_looked_up() {
    let store = InMemoryTokens::new();
    let tokens = OpaqueIssuer::new(store.clone(), AUDIENCE);
    let clock = ManualClock::at(noon());
    let builder = PasswordGrant::builder(ISSUER, clients(), Users::default(), tokens.clone());
    let grant =
        builder.environment(&Environment::new().clock(clock.clone()).observer(())).build().unwrap();
    let (token, other) = (issue(&grant).await, issue(&grant).await);
    assert_ne!(token, other);
    assert_eq!(token.len(), 43, "256 bits in base64url");

    let verifier = AccessTokenVerifier::by_lookup(ISSUER, AUDIENCE, tokens.clone())
        .unwrap()
        .environment(&Environment::new().clock(clock.clone()).observer(()));
    let verified = verifier.verify(&token).await.unwrap();
    assert_eq!(
        (verified.subject.as_str(), verified.client_id.as_str(), verified.scope.as_str()),
        ("user-1", "mobile", "profile")
    );
    assert_eq!(verifier.verify(&token[1..]).await.unwrap_err(), AccessFault::NotOurs);
    assert_eq!(verifier.verify(&format!("{token}A")).await.unwrap_err(), AccessFault::NotOurs);
    let elsewhere =
        AccessTokenVerifier::by_lookup(ISSUER, "https://other.example.com", tokens.clone())
            .unwrap();
    assert_eq!(
        elsewhere
            .environment(&Environment::new().clock(clock.clone()))
            .verify(&token)
            .await
            .unwrap_err(),
        AccessFault::Audience
    );

    assert_eq!(tokens.inspect(&token, noon()).await.unwrap().unwrap().subject, "user-1");
    assert!(tokens.inspect(&token, noon().plus(Duration::from_secs(600))).await.unwrap().is_none());
    clock.advance(Duration::from_secs(630));
    assert_eq!(verifier.verify(&token).await.unwrap_err(), AccessFault::Expired);
    assert!(
        serde_json::from_slice::<Value>(grant.metadata().body()).unwrap().get("jwks_uri").is_none()
    );
}

#[tokio::test]
async fn a_token_table_that_fails_neither_issues_nor_lets_through() {
    struct Down;
    #[async_trait]
    impl TokenStore for Down {
        async fn save(&self, _: &TokenDigest, _: &TokenDetails) -> Result<(), BoxError> {
            Err("disk full".into())
        }
        async fn find(&self, _: &TokenDigest) -> Result<Option<TokenDetails>, BoxError> {
            Err("disk gone".into())
        }
    }
    let tokens = OpaqueIssuer::new(Arc::new(Down), AUDIENCE);
    let builder = PasswordGrant::builder(ISSUER, clients(), Users::default(), tokens.clone());
    let grant = builder.environment(&Environment::new().observer(())).build().unwrap();
    let form = format!("{GOOD}&client_id=mobile");
    let request =
        HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], form.as_bytes());
    Answer::from(grant.token(request).await).is(500, "server_error");

    let verifier = AccessTokenVerifier::by_lookup(ISSUER, AUDIENCE, tokens)
        .unwrap()
        .environment(&Environment::new().observer(()));
    let headers = [("authorization", &b"Bearer abc"[..])];
    let refusal = verifier.authenticate(BearerRequest::new(headers, None)).await.unwrap_err();
    assert_eq!((refusal.status(), refusal.header("retry-after")), (503, Some("1")));
    assert!(!String::from_utf8_lossy(refusal.body()).contains("disk"));
}

#[tokio::test]
async fn what_an_opaque_token_means_survives_a_json_column() {
    struct Column(std::sync::Mutex<std::collections::HashMap<TokenDigest, String>>);
    #[async_trait]
    impl TokenLookup for Column {
        async fn look_up(&self, token: &str) -> Result<Option<TokenDetails>, BoxError> {
            let rows = self.0.lock().unwrap();
            Ok(rows
                .values()
                .find(|_| token == "known")
                .map(|row| serde_json::from_str(row))
                .transpose()?)
        }
    }
    let tokens = InMemoryTokens::new();
    let issuer = OpaqueIssuer::new(tokens, AUDIENCE);
    let builder = PasswordGrant::builder(ISSUER, clients(), Users::default(), issuer.clone());
    let token =
        issue(&builder.environment(&Environment::new().observer(())).build().unwrap()).await;
    let details = issuer.look_up(&token).await.unwrap().unwrap();
    let row = serde_json::to_string(&details).unwrap();
    let column = Column(std::sync::Mutex::new([([0; 32], row)].into()));
    let verifier = AccessTokenVerifier::by_lookup(ISSUER, AUDIENCE, column)
        .unwrap()
        .environment(&Environment::new().observer(()));
    assert_eq!(verifier.verify("known").await.unwrap().scope.as_str(), "profile");
}
