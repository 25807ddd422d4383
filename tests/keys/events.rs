//! The observer is told which keys were passed over, and why.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use password_grant::assertion::AssertionKey;
use password_grant::event::EventKind;
use password_grant::jose::UnusableKey;
use password_grant::testing::ManualClock;
use password_grant::{Algorithm, ClientAuthentication, Event, Observer, PasswordGrantBuilder};

use crate::common::fakes::PublishedKeys;
use crate::common::private_keys::{ed25519, rsa};
use crate::common::{Users, World};
use crate::support::{ask, document, jwk, register, set, with};

/// Remembers the keys that were passed over, and the causes of server faults.
#[derive(Clone, Default)]
struct PassedOver(Arc<Mutex<Vec<String>>>);

impl Observer for PassedOver {
    fn observe(&self, event: &Event<'_>) {
        let line = match (event.kind, event.client_id, event.cause) {
            (EventKind::KeyPassedOver, Some(client_id), Some(key)) => {
                let key = key.downcast_ref::<UnusableKey>().expect("an entry of a set");
                format!("{client_id:?} {} {:?}", key.position(), key.reason())
            }
            (EventKind::ServerFault(_), _, Some(cause)) => cause.to_string(),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

#[tokio::test]
async fn the_observer_is_told_which_keys_of_a_published_set_were_passed_over() {
    let (pem, observer) = (ed25519(), PassedOver::default());
    let weak = with(jwk(Algorithm::Rs256, &rsa()), "n", URL_SAFE_NO_PAD.encode([0xff; 128]));
    let published = PublishedKeys::default();
    published.publish(document([weak.clone(), jwk(Algorithm::EdDsa, &pem)]));
    let (source, told) = (published.clone(), observer.clone());
    let publishes = |builder: PasswordGrantBuilder, _: &ManualClock| builder.jwks_source(source);
    let world = World::in_environment(Users::default(), |own| own.observer(told), publishes);
    register(&world, ClientAuthentication::private_key_jwt_uri("https://client.example/jwks"));
    let key = AssertionKey::from_pem(&pem).unwrap();
    for _ in 0..3 {
        ask(&world, &key).await.is_granted();
    }
    let lines = || std::mem::take(&mut *observer.0.lock().unwrap());
    assert_eq!(
        lines(),
        [r#""backend" 0 ShortRsaKey { found: 1024 }"#],
        "once for each time that it is fetched"
    );

    // However many keys were passed over, a bad assertion adds one line at most.
    let many = (0..19).map(|number| with(weak.clone(), "kid", format!("weak-{number}")));
    published.publish(document(many.chain([jwk(Algorithm::EdDsa, &pem)])));
    world.clock.advance(std::time::Duration::from_secs(600));
    ask(&world, &key).await.is_granted();
    assert_eq!(lines().len(), 19);
    for _ in 0..3 {
        ask(&world, &AssertionKey::from_pem(ed25519()).unwrap()).await.is(401, "invalid_client");
        assert_eq!(lines().len(), 1);
    }

    // If no key of the set can be used, the answer is 503, and the cause names each entry.
    published.publish(document([with(weak, "kid", "old")]));
    world.clock.advance(std::time::Duration::from_secs(2 * 86_400));
    ask(&world, &key).await.is(503, "temporarily_unavailable");
    let lines = lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains(
            r#"entry 0 of the key set, counted from 0, kid "old": an RSA key of 1024 bits"#
        ),
        "{lines:?}"
    );
}

#[tokio::test]
async fn the_observer_is_told_why_a_registered_key_was_passed_over_when_it_is_wanted() {
    let (pem, observer) = (ed25519(), PassedOver::default());
    let rsa = rsa();
    let told = observer.clone();
    let world =
        World::in_environment(Users::default(), |own| own.observer(told), |builder, _| builder);
    let keys = set([jwk(Algorithm::EdDsa, &pem), with(jwk(Algorithm::Rs256, &rsa), "use", "enc")])
        .unwrap();
    register(&world, ClientAuthentication::private_key_jwt(&keys).unwrap());
    ask(&world, &AssertionKey::from_pem(&pem).unwrap()).await.is_granted();
    assert!(observer.0.lock().unwrap().is_empty(), "nobody has missed it");
    let unusable = keys.unusable()[0].kid().unwrap().to_owned();
    for (key, told) in [
        (AssertionKey::from_pem(&rsa).unwrap(), true),
        (AssertionKey::from_pem(&rsa).unwrap().with_kid(unusable), true),
        (AssertionKey::from_pem(ed25519()).unwrap(), true), // it could be any
        (AssertionKey::from_pem(&rsa).unwrap().with_kid("another"), false),
    ] {
        ask(&world, &key).await.is(401, "invalid_client");
        let lines = std::mem::take(&mut *observer.0.lock().unwrap());
        assert_eq!(lines, [r#""backend" 1 Purpose"#][..usize::from(told)], "{key:?}");
    }
}
