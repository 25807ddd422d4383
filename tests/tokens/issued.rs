//! What a JWT access token contains, by every algorithm (RFC 9068 section 2).

use std::time::Duration;

use jsonwebtoken::jwk::JwkSet as IndependentJwkSet;
use password_grant::{Algorithm, JwtIssuer, TokenIssuer};
use serde_json::{Value, json};

use crate::common::{AUDIENCE, ISSUER, noon, segment};
use crate::support::{SECRET, engine, every_kind, issue, verifier};

/// Requirement 124.
#[tokio::test]
async fn a_jwt_has_the_header_and_claims_of_rfc_9068_with_every_algorithm() {
    for (algorithm, keys) in every_kind() {
        let token = issue(&engine(&keys)).await;
        let header = segment(&token, 0);
        assert_eq!(
            (&header["typ"], &header["alg"]),
            (&json!("at+jwt"), &json!(algorithm.as_str()))
        );
        let kid = header["kid"].as_str().unwrap();
        match keys.public_jwk() {
            Some(jwk) => assert_eq!(kid, jwk.kid()),
            None => assert_eq!(algorithm, Algorithm::Hs256),
        }
        let claims = segment(&token, 1);
        let expected = json!({
            "iss": ISSUER, "sub": "user-1", "aud": AUDIENCE, "client_id": "mobile",
            "scope": "profile", "iat": noon().unix_seconds(),
            "exp": noon().unix_seconds() + 600, "jti": claims["jti"],
            "login_epoch": 0,
        });
        assert_eq!(claims, expected);
        assert_eq!(claims["jti"].as_str().unwrap().len(), 22);

        let verified = verifier(&keys, algorithm).verify(&token).await.unwrap();
        assert_eq!(
            (verified.subject.as_str(), verified.client_id.as_str(), verified.scope.as_str()),
            ("user-1", "mobile", "profile")
        );
        assert_eq!(verified.expires_at, noon().unix_seconds() + 600);
    }
}

/// An independent implementation verifies our tokens with our published keys.
#[tokio::test]
async fn an_independent_implementation_accepts_the_tokens() {
    for (algorithm, keys) in every_kind() {
        let grant = engine(&keys);
        let token = issue(&grant).await;
        let mut validation = jsonwebtoken::Validation::new(algorithm.as_str().parse().unwrap());
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        let key = if algorithm == Algorithm::Hs256 {
            jsonwebtoken::DecodingKey::from_secret(SECRET)
        } else {
            let published: IndependentJwkSet = serde_json::from_slice(grant.jwks().body()).unwrap();
            let kid = segment(&token, 0)["kid"].as_str().unwrap().to_owned();
            jsonwebtoken::DecodingKey::from_jwk(published.find(&kid).unwrap()).unwrap()
        };
        let decoded = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap();
        assert_eq!(decoded.claims["sub"], "user-1", "{algorithm}");
    }
}

#[tokio::test]
async fn a_jwt_issuer_inspects_its_own_tokens() {
    for (_, keys) in every_kind() {
        let token = issue(&engine(&keys)).await;
        let issuer = JwtIssuer::new(keys, AUDIENCE);
        assert_eq!(issuer.inspect(&token, noon()).await.unwrap().unwrap().client_id, "mobile");
        assert!(
            issuer.inspect(&token, noon().plus(Duration::from_secs(600))).await.unwrap().is_none()
        );
        assert!(issuer.inspect("garbage", noon()).await.unwrap().is_none());
    }
}
