//! Signing keys, an engine that issues with them, and a verifier.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use password_grant::event::AccessFault;
use password_grant::testing::ManualClock;
use password_grant::{
    AccessTokenVerifier, Algorithm, Environment, HttpRequest, JwtIssuer, PasswordGrant, SigningKeys,
};
use serde_json::{Value, json};

use crate::common::private_keys::{pkcs8_of_rsa, rsa_pair};
use crate::common::{AUDIENCE, Answer, FORM, GOOD, ISSUER, Users, clients, encode, noon};

pub const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

/// PEM in lines of 64 characters, as other programs write it.
pub fn pem(kind: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<_> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}

pub fn p256() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

/// One set of keys for each algorithm.
pub fn every_kind() -> Vec<(Algorithm, SigningKeys)> {
    let ed = Ed25519KeyPair::generate().unwrap();
    vec![
        (
            Algorithm::EdDsa,
            SigningKeys::from_pem(pem("PRIVATE KEY", ed.to_pkcs8v1().unwrap().as_ref())).unwrap(),
        ),
        (
            Algorithm::Es256,
            SigningKeys::from_pem(pem("PRIVATE KEY", p256().to_pkcs8v1().unwrap().as_ref()))
                .unwrap(),
        ),
        (
            Algorithm::Rs256,
            SigningKeys::from_pem(pem("PRIVATE KEY", &pkcs8_of_rsa(&rsa_pair()))).unwrap(),
        ),
        (Algorithm::Hs256, SigningKeys::from_hs256_secret(SECRET).unwrap()),
    ]
}

pub fn engine(keys: &SigningKeys) -> PasswordGrant {
    let tokens = JwtIssuer::new(keys.clone(), AUDIENCE);
    let builder = PasswordGrant::builder(ISSUER, clients(), Users::default(), tokens);
    builder
        .environment(&Environment::new().clock(ManualClock::at(noon())).observer(()))
        .build()
        .unwrap()
}

pub async fn issue(grant: &PasswordGrant) -> String {
    let form = format!("{GOOD}&client_id=mobile");
    let request =
        HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], form.as_bytes());
    Answer::from(grant.token(request).await).access_token()
}

pub fn verifier(keys: &SigningKeys, algorithm: Algorithm) -> AccessTokenVerifier {
    let keys = keys.verification_keys().unwrap();
    let verifier = AccessTokenVerifier::new(ISSUER, AUDIENCE, [algorithm], keys).unwrap();
    verifier.environment(&Environment::new().clock(ManualClock::at(noon())).observer(()))
}

/// A key pair of the test's own, to sign what the issuer never would.
pub struct Forge {
    pub pair: Ed25519KeyPair,
    pub keys: SigningKeys,
}

impl Forge {
    pub fn new() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let keys =
            SigningKeys::from_pem(pem("PRIVATE KEY", pair.to_pkcs8().unwrap().as_ref())).unwrap();
        Self { pair, keys }
    }

    pub fn verifier(&self) -> AccessTokenVerifier {
        verifier(&self.keys, Algorithm::EdDsa)
    }

    pub fn header(&self) -> Value {
        json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": self.keys.public_jwk().unwrap().kid() })
    }

    pub fn claims() -> Value {
        let now = noon().unix_seconds();
        json!({
            "iss": ISSUER, "sub": "user-1", "aud": AUDIENCE, "client_id": "web", "scope": "profile",
            "iat": now, "exp": now + 600, "jti": "t-1",
        })
    }

    pub fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        format!("{signed}.{}", encode(self.pair.sign(signed.as_bytes())))
    }

    pub async fn judge(&self, header: &Value, claims: &Value) -> Result<(), AccessFault> {
        let token = self.sign(&header.to_string(), &claims.to_string());
        self.verifier().verify(&token).await.map(drop)
    }
}

pub fn changed(mut object: Value, name: &str, value: Value) -> Value {
    if value.is_null() {
        object.as_object_mut().unwrap().remove(name);
    } else {
        object[name] = value;
    }
    object
}
