//! Key sets: entries that cannot be used are passed over, and sets that are refused as a whole.

use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use password_grant::Algorithm;
use password_grant::assertion::AssertionKey;
use password_grant::jose::{JwkSet, KeyError};
use serde_json::{Value, json};

use crate::common::private_keys::{ec, ed25519, rsa};
use crate::support::{ask, document, jwk, set, with, without, world_of};

/// Which entries are passed over, and why. The good key beside them stays usable.
#[tokio::test]
async fn an_entry_that_cannot_be_used_is_passed_over_and_named() {
    let pem = ed25519();
    let good = jwk(Algorithm::EdDsa, &pem);
    let rsa = jwk(Algorithm::Rs256, &rsa());
    let p256 = jwk(Algorithm::Es256, &ec(&ECDSA_P256_SHA256_FIXED_SIGNING));
    let n = URL_SAFE_NO_PAD.encode([0xff; 128]);
    for (entry, reason) in [
        (json!(7), KeyError::NotAnObject),
        (json!("key"), KeyError::NotAnObject),
        (json!([good.clone()]), KeyError::NotAnObject),
        (json!({}), KeyError::Malformed("kty")),
        (json!({ "kty": "future" }), KeyError::Unsupported),
        (json!({ "kty": "OKP", "crv": "X25519", "x": good["x"] }), KeyError::Unsupported),
        (json!({ "kty": "OKP", "crv": "Ed448", "x": good["x"] }), KeyError::Unsupported),
        (with(p256.clone(), "crv", "secp256k1"), KeyError::Unsupported),
        (without(p256.clone(), "y"), KeyError::Malformed("y")),
        (with(p256.clone(), "y", p256["x"].clone()), KeyError::Invalid),
        (with(p256.clone(), "alg", "ES384"), KeyError::Algorithm),
        (with(rsa.clone(), "use", "enc"), KeyError::Purpose),
        (
            with(rsa.clone(), "alg", "RSA-OAEP-256"),
            KeyError::UnknownAlgorithm("RSA-OAEP-256".into()),
        ),
        (with(rsa.clone(), "alg", "none"), KeyError::UnknownAlgorithm("none".into())),
        (with(rsa.clone(), "alg", "a".repeat(10_000)), KeyError::UnknownAlgorithm("a".repeat(32))),
        (with(rsa.clone(), "key_ops", json!(["encrypt"])), KeyError::Purpose),
        (with(rsa.clone(), "n", n), KeyError::ShortRsaKey { found: 1024 }),
        (with(rsa.clone(), "e", "AQ"), KeyError::Invalid),
        (with(rsa.clone(), "n", "not base64url!"), KeyError::Malformed("n")),
        (with(rsa.clone(), "kid", 7), KeyError::Malformed("kid")),
    ] {
        let read = set([entry.clone(), good.clone()]).unwrap();
        assert_eq!((read.keys.len(), read.unusable().len()), (1, 1), "{entry}");
        let unusable = &read.unusable()[0];
        assert_eq!((unusable.position(), unusable.reason()), (0, &reason), "{entry}");
        assert_eq!(unusable.kid(), entry["kid"].as_str(), "{entry}");
        assert!(unusable.to_string().contains(&reason.to_string()));
        // A set of this entry alone is refused, and the error names the entry and the reason.
        let error = set([entry.clone()]).unwrap_err();
        let KeyError::Unusable(named) = &error else { panic!("{error:?} for {entry}") };
        assert_eq!((named.len(), named[0].reason()), (1, &reason));
        assert!(error.to_string().contains(&reason.to_string()), "{error}");
        let world = world_of([entry, good.clone()]);
        ask(&world, &AssertionKey::from_pem(&pem).unwrap()).await.is_granted();
    }
}

/// The whole set is refused if it is not a key set, or if it contains a private key.
#[test]
fn a_leaked_private_key_or_a_malformed_document_refuses_the_whole_set() {
    let good = jwk(Algorithm::EdDsa, &ed25519());
    for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        let leaked = with(jwk(Algorithm::EdDsa, &ed25519()), private, "AQ");
        assert_eq!(set([good.clone(), leaked]).unwrap_err(), KeyError::Private, "{private}");
        let absent = with(good.clone(), private, Value::Null);
        assert_eq!(set([absent]).unwrap().keys.len(), 1, "{private}: null is not there");
    }
    let symmetric = json!({ "kty": "oct", "k": "c2VjcmV0" });
    assert_eq!(set([good.clone(), symmetric]).unwrap_err(), KeyError::Private);
    assert_eq!(set((0..21).map(|_| Value::Null)).unwrap_err(), KeyError::Set);
    assert_eq!(set([Value::Null, Value::Null]).unwrap_err(), KeyError::Empty);
    for text in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"keys":null}"#,
        r#"{"keys":{}}"#,
        r#"{"keys":[]} x"#,
        r#"{"keys":[],"keys":[]}"#,
        &document([good.clone()]).replacen(r#""crv""#, r#""crv":"Ed25519","crv""#, 1),
    ] {
        assert_eq!(JwkSet::from_json(text.as_bytes()).unwrap_err(), KeyError::Set, "{text}");
    }
}

/// A member that does not belong to the kind of a key is not read, whatever it is.
#[test]
fn members_of_other_kinds_are_ignored() {
    let (ec, rsa) = (ec(&ECDSA_P256_SHA256_FIXED_SIGNING), rsa());
    for (algorithm, pem, member) in [
        (Algorithm::Rs256, &rsa, "x"),
        (Algorithm::Rs256, &rsa, "y"),
        (Algorithm::Es256, &ec, "n"),
        (Algorithm::Es256, &ec, "x5c"),
    ] {
        for value in [json!(1), json!([]), json!("text")] {
            set([with(jwk(algorithm, pem), member, value.clone())])
                .unwrap_or_else(|fault| panic!("{algorithm} {member} {value}: {fault}"));
        }
    }
    let crossed = set([with(jwk(Algorithm::Rs256, &rsa), "crv", "P-256")]).unwrap_err();
    assert!(crossed.to_string().contains("not supported"), "{crossed}");
}

#[tokio::test]
async fn members_and_entries_that_are_null_are_ignored() {
    let pem = ed25519();
    let good = jwk(Algorithm::EdDsa, &pem);
    let key = AssertionKey::from_pem(&pem).unwrap();
    ask(&world_of([good.clone(), Value::Null]), &key).await.is_granted();
    ask(&world_of([Value::Null, good.clone(), Value::Null]), &key).await.is_granted();
    let mut full = good;
    for absent in [
        "d", "p", "q", "dp", "dq", "qi", "oth", "k", "use", "key_ops", "alg", "x5t", "x5t#S256",
        "x5c", "n", "e",
    ] {
        full[absent] = Value::Null;
    }
    assert!(set([full.clone()]).unwrap().unusable().is_empty());
    ask(&world_of([full]), &key).await.is_granted();
}

/// A key is named by `kid` and algorithm together, so several keys may have one `kid`.
#[tokio::test]
async fn only_what_is_really_ambiguous_is_refused() {
    let (rsa, other_rsa, ed, other_ed) = (rsa(), rsa(), ed25519(), ed25519());
    let p256 = ec(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let key = |algorithm, pem: &str| AssertionKey::from_pem_for(algorithm, pem).unwrap();
    let named = |algorithm, pem: &str, kid: &str| with(jwk(algorithm, pem), "kid", kid);
    let nameless = |algorithm, pem: &str| without(jwk(algorithm, pem), "kid");

    // One RSA key for two algorithms has one entry for each, without a `kid` or under the same one.
    for entries in [
        [nameless(Algorithm::Rs256, &rsa), nameless(Algorithm::Ps256, &rsa)],
        [named(Algorithm::Rs256, &rsa, "one"), named(Algorithm::Ps256, &rsa, "one")],
    ] {
        let world = world_of(entries);
        for algorithm in [Algorithm::Rs256, Algorithm::Ps256] {
            ask(&world, &key(algorithm, &rsa)).await.is_granted();
        }
        ask(&world, &key(Algorithm::Rs384, &rsa)).await.is(401, "invalid_client");
        ask(&world, &key(Algorithm::Rs256, &other_rsa)).await.is(401, "invalid_client");
    }
    // Keys of several kinds have one `kid`.
    let world = world_of([
        named(Algorithm::Rs256, &rsa, "2026"),
        named(Algorithm::Es256, &p256, "2026"),
        named(Algorithm::EdDsa, &ed, "2026"),
    ]);
    for (algorithm, pem) in
        [(Algorithm::Rs256, &rsa), (Algorithm::Es256, &p256), (Algorithm::EdDsa, &ed)]
    {
        ask(&world, &key(algorithm, pem).with_kid("2026")).await.is_granted();
        ask(&world, &key(algorithm, pem)).await.is_granted();
        ask(&world, &key(algorithm, pem).with_kid("2025")).await.is(401, "invalid_client");
    }
    // The same entry twice, or the same key under two names, is only one key.
    let certified = with(named(Algorithm::EdDsa, &ed, "one"), "x5t", "thumbprint");
    for entries in [
        [named(Algorithm::EdDsa, &ed, "one"), named(Algorithm::EdDsa, &ed, "one")],
        [
            named(Algorithm::EdDsa, &ed, "one"),
            with(named(Algorithm::EdDsa, &ed, "one"), "alg", "Ed25519"),
        ],
        [named(Algorithm::EdDsa, &ed, "one"), named(Algorithm::EdDsa, &ed, "two")],
        [named(Algorithm::EdDsa, &ed, "one"), certified],
    ] {
        let world = world_of(entries);
        ask(&world, &key(Algorithm::EdDsa, &ed)).await.is_granted();
        ask(&world, &key(Algorithm::EdDsa, &ed).with_kid("one")).await.is_granted();
        ask(&world, &key(Algorithm::EdDsa, &other_ed)).await.is(401, "invalid_client");
    }
    let whole = without(named(Algorithm::Rs256, &rsa, "one"), "alg");
    ask(&world_of([whole, named(Algorithm::Rs256, &rsa, "one")]), &key(Algorithm::Rs256, &rsa))
        .await
        .is_granted();

    // Two keys of one kind with one `kid` are ambiguous: either could be meant.
    for entries in [
        [named(Algorithm::EdDsa, &ed, "one"), named(Algorithm::EdDsa, &other_ed, "one")],
        [named(Algorithm::Rs256, &rsa, "one"), named(Algorithm::Rs256, &other_rsa, "one")],
        [
            named(Algorithm::Ps384, &rsa, "one"),
            without(named(Algorithm::Rs256, &other_rsa, "one"), "alg"),
        ],
    ] {
        assert_eq!(set(entries).unwrap_err(), KeyError::RepeatedKid);
    }
    let apart = [named(Algorithm::Rs256, &rsa, "one"), named(Algorithm::Ps256, &other_rsa, "one")];
    ask(&world_of(apart), &key(Algorithm::Ps256, &other_rsa).with_kid("one")).await.is_granted();
    // An assertion without a `kid` is refused if two keys fit.
    let world =
        world_of([named(Algorithm::EdDsa, &ed, "one"), named(Algorithm::EdDsa, &other_ed, "two")]);
    for pem in [&ed, &other_ed] {
        ask(&world, &key(Algorithm::EdDsa, pem)).await.is(401, "invalid_client");
    }
}
