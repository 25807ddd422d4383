//! Refresh keys and signing keys are replaced, one instance after the other, without a refused
//! token.

use password_grant::state::InMemoryState;
use password_grant::{JwtIssuer, RefreshKeys, RefreshTokens, SigningKeys};

use crate::common::sessions::{Gate, Pair, keys, verifier};
use crate::common::{AUDIENCE, Users};
use crate::support::{Instance, signing};

/// Publish the new key, switch to it, retire the old one, one instance after the other: no token is
/// refused, and any instance repeats a lost answer.
#[tokio::test]
async fn keys_change_over_without_a_gap() {
    let (former, next) = ([0x11; 32], [0x33; 32]);
    let one = |first| RefreshKeys::new(first).unwrap();
    let stages = [
        (one(former), one(former)),
        (one(former).with_previous(next).unwrap(), one(former)),
        (one(former).with_previous(next).unwrap(), one(former).with_previous(next).unwrap()),
        (one(next).with_previous(former).unwrap(), one(former).with_previous(next).unwrap()),
        (one(next).with_previous(former).unwrap(), one(next).with_previous(former).unwrap()),
    ];
    let store = InMemoryState::new();
    let instance = |keys: RefreshKeys| {
        let tokens = JwtIssuer::new(signing(), AUDIENCE);
        Instance::issuing(
            store.clone(),
            Users::default(),
            tokens,
            RefreshTokens::new(keys, Gate::default()),
        )
    };
    let mut pair = instance(one(former)).login().await;
    for (stage, (left, right)) in stages.into_iter().enumerate() {
        let instances = [instance(left), instance(right)];
        for (rotating, retrying) in [(0, 1), (1, 0), (0, 0), (1, 1)] {
            let rotated = Pair::of(&instances[rotating].refresh(&pair.refresh).await);
            let again = Pair::of(&instances[retrying].refresh(&pair.refresh).await);
            assert_eq!(again.refresh, rotated.refresh, "stage {stage}");
            pair = rotated;
        }
    }
    let alone = instance(one(next));
    pair = Pair::of(&alone.refresh(&pair.refresh).await);
    alone.refresh(&pair.refresh).await.is_granted();
}

/// The same for the keys of access tokens: whichever instance signs, every verifier has the key.
#[tokio::test]
async fn signing_keys_change_over_without_a_gap() {
    let former = SigningKeys::generate().unwrap();
    let next = SigningKeys::generate().unwrap();
    let (old_jwk, new_jwk) = (former.public_jwk().unwrap(), next.public_jwk().unwrap());
    let stages = [
        (former.clone(), former.clone()),
        (former.clone().publish(new_jwk.clone()).unwrap(), former.clone()),
        (
            former.clone().publish(new_jwk.clone()).unwrap(),
            former.clone().publish(new_jwk.clone()).unwrap(),
        ),
        (next.clone().publish(old_jwk.clone()).unwrap(), former.clone().publish(new_jwk).unwrap()),
        (next.clone().publish(old_jwk.clone()).unwrap(), next.clone().publish(old_jwk).unwrap()),
    ];
    for (stage, (left, right)) in stages.into_iter().enumerate() {
        let store = InMemoryState::new();
        let instance = |keys: &SigningKeys| {
            let tokens = JwtIssuer::new(keys.clone(), AUDIENCE);
            Instance::issuing(
                store.clone(),
                Users::default(),
                tokens,
                RefreshTokens::new(self::keys(), Gate::default()),
            )
        };
        for issuing in [&left, &right] {
            let pair = instance(issuing).login().await;
            for verifying in [&left, &right] {
                assert!(verifier(verifying).verify(&pair.access).await.is_ok(), "stage {stage}");
                assert!(instance(verifying).is_active(&pair.access).await, "stage {stage}");
            }
        }
    }
}
