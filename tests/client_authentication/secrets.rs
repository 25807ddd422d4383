//! Generated client secrets.

use password_grant::{Client, ClientSecret};

use crate::common::basic;
use crate::common::fakes::NoRandomness;
use crate::support::{with_header, world_with};

/// Requirement 39, incident C35.
#[test]
fn generated_secrets_are_256_random_bits_in_base64url() {
    let mut seen = std::collections::HashMap::<char, usize>::new();
    for _ in 0..2000 {
        let (plain, _) = ClientSecret::generate().unwrap();
        assert_eq!(plain.expose().len(), 43);
        // The last character carries four bits only, so it is left out.
        plain.expose()[..42].chars().for_each(|character| *seen.entry(character).or_default() += 1);
    }
    assert_eq!(seen.len(), 64, "every symbol of the alphabet occurs");
    let expected = 2000.0 * 42.0 / 64.0;
    let chi_square: f64 =
        seen.values().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
    // With 63 degrees of freedom, a value above 150 has a probability of less than one in a hundred
    // million.
    assert!(chi_square < 150.0, "{chi_square}");
}

#[tokio::test]
async fn a_generated_secret_is_the_one_that_its_stored_form_accepts() {
    let (plain, stored) = ClientSecret::generate().unwrap();
    let world = world_with(Client::confidential(
        "c",
        ClientSecret::from_sha256_slice(stored.sha256()).unwrap(),
    ));
    with_header(&world, &basic("c", plain.expose())).await.is_granted();
    assert!(ClientSecret::from_sha256_slice(&stored.sha256()[1..]).is_err());
    assert!(ClientSecret::from_sha256_slice(&[]).is_err());
}

/// Requirement 137: without randomness the call fails, instead of returning something weaker.
#[test]
fn no_secret_is_generated_without_randomness() {
    assert!(ClientSecret::generate_with(&NoRandomness).is_err());
}
