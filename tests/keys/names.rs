//! Keys are named by `kid` or by the thumbprint of a certificate.

use password_grant::ClientAuthentication;
use password_grant::assertion::AssertionKey;
use serde_json::json;

use crate::common::World;
use crate::common::private_keys::ed25519;
use crate::support::{ask, register, world_of};

/// A name is compared only if the key has it: a shared secret may be registered without a `kid`,
/// and few keys have a thumbprint.
#[tokio::test]
async fn a_shared_secret_without_a_name_is_meant_by_every_name() {
    let secret = "partner-secret-partner-secret-0123";
    let world = World::default();
    register(&world, ClientAuthentication::client_secret_jwt(secret).unwrap());
    let key = || AssertionKey::from_secret(secret).unwrap();
    for named in [
        key(),
        key().with_kid("any"), // as a widely used example sends
        key().with_kid(""),
        key().certificate(b"a certificate that nobody registered"),
        key().with_kid("any").certificate_by_sha1(b"another"),
    ] {
        ask(&world, &named).await.is_granted();
    }
    let wrong = AssertionKey::from_secret("another-secret-another-secret-0123").unwrap();
    for named in [wrong.clone(), wrong.with_kid("any")] {
        ask(&world, &named).await.is(401, "invalid_client");
    }
}

#[tokio::test]
async fn a_thumbprint_counts_where_the_key_has_one() {
    let (one, two) = (ed25519(), ed25519());
    let key = |pem: &str| AssertionKey::from_pem(pem).unwrap();
    let plain = |pem: &str, kid: &str| json!(key(pem).with_kid(kid).public_jwk().unwrap());
    let certified = |pem: &str, kid: &str, der: &[u8]| {
        json!(key(pem).with_kid(kid).public_jwk().unwrap().with_certificate(der))
    };

    // Keys without a thumbprint: one in the assertion is ignored, and a `kid` is compared as
    // always.
    let world = world_of([plain(&one, "one"), plain(&two, "two")]);
    for (signer, granted) in [
        (key(&one).with_kid("one").certificate(b"DER"), true),
        (key(&two).with_kid("two").certificate_by_sha1(b"DER"), true),
        (key(&one).with_kid("two").certificate(b"DER"), false),
        (key(&one).with_kid("three").certificate(b"DER"), false),
        (key(&one).certificate(b"DER"), false), // either could be meant
    ] {
        assert_eq!(ask(&world, &signer).await.status == 200, granted, "{signer:?}");
    }
    // A key with a thumbprint is found by it, and by no other one.
    let world = world_of([certified(&one, "one", b"DER"), plain(&two, "two")]);
    for (signer, granted) in [
        (key(&one).certificate(b"DER"), true),
        (key(&one).with_kid("one").certificate(b"other"), false),
        (key(&one).certificate(b"other"), false),
        (key(&two).certificate(b"other"), true), // the only one that it could mean
        (key(&two).with_kid("two").certificate(b"DER"), false),
        (key(&two).certificate(b"DER"), false),
    ] {
        assert_eq!(ask(&world, &signer).await.status == 200, granted, "{signer:?}");
    }
}
