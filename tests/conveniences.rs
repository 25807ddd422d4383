//! What hosts would otherwise write themselves.

mod common;

use common::sessions::{Gate, OFFLINE, register};
use common::{AUDIENCE, Answer, ISSUER, Users, clients};
use password_grant::error::{ClientFault, NotAllowed, RequestFault, ServerFault, TokenFault};
use password_grant::event::AccessFault;
use password_grant::state::{InMemoryState, StateSecret};
use password_grant::{
    ClientSecret, Environment, Grant, HttpRequest, JwtIssuer, PasswordGrant, RefreshKeys,
    RefreshTokens, Rejection, SigningKeys, Subject,
};

#[test]
fn a_grant_is_read_from_text_and_from_json() {
    for grant in [Grant::Password, Grant::RefreshToken] {
        assert_eq!(grant.as_str().parse::<Grant>().unwrap(), grant);
        let json = serde_json::to_string(&grant).unwrap();
        assert_eq!(json, format!("\"{grant}\""));
        assert_eq!(serde_json::from_str::<Grant>(&json).unwrap(), grant);
    }
    for name in ["Password", "", "implicit"] {
        assert!(name.parse::<Grant>().is_err());
        let error = serde_json::from_value::<Grant>(name.into()).unwrap_err().to_string();
        assert!(error.contains(&format!("{name:?} is not the name of a grant")), "{error}");
    }
}

#[test]
fn a_primary_key_is_a_subject() {
    assert_eq!(Subject::from(42_i64), "42");
    assert_eq!(Subject::from(i64::MIN), i64::MIN.to_string().as_str());
}

#[test]
fn a_stored_secret_is_written_and_read_in_hexadecimal_digits() {
    let secret = ClientSecret::digest_of("abc");
    // FIPS 180-2 appendix B.1
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(secret.to_hex(), hex);
    for text in [hex.to_owned(), hex.to_uppercase()] {
        assert_eq!(ClientSecret::from_sha256_hex(&text).unwrap().sha256(), secret.sha256());
    }
    for text in [
        &hex[1..],
        &hex[..62],
        &format!("{hex}00"),
        &format!("{hex}\n"),
        &hex.replace('b', "g"),
        "",
    ] {
        assert!(ClientSecret::from_sha256_hex(text).is_err(), "{text}");
    }
}

/// The same key with and without the line end that an editor has put behind it, and random bytes as
/// they are.
#[tokio::test]
async fn a_key_is_read_from_a_file_as_it_is() {
    let store = InMemoryState::new();
    let engine = |refresh: &[u8], state: &[u8]| {
        let clients = clients();
        register(&clients);
        let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE);
        PasswordGrant::builder(ISSUER, clients, Users::default(), tokens)
            .environment(&Environment::new().observer(()))
            .refresh_tokens(RefreshTokens::new(RefreshKeys::new(refresh).unwrap(), Gate::default()))
            .shared_state(store.clone(), StateSecret::new(state).unwrap())
            .build()
            .unwrap()
    };
    let text = [b'k'; 44];
    let with = |end: &[u8]| [&text[..], end].concat();
    let (one, other) = (engine(&text, &text), engine(&with(b"\n"), &with(b"\r\n")));
    let login = format!("{OFFLINE}&client_id=phone");
    let answer = Answer::from(one.token(HttpRequest::form(&login)).await).is_granted();
    let token = answer["refresh_token"].as_str().unwrap();
    let refresh = format!("grant_type=refresh_token&client_id=phone&refresh_token={token}");
    Answer::from(other.token(HttpRequest::form(&refresh)).await).is_granted();

    let random = [[0xff; 31].as_slice(), b"\n"].concat();
    assert!(RefreshKeys::new(&random).is_ok() && StateSecret::new(&random).is_ok());
    assert!(RefreshKeys::new(with(b"\n").get(..31).unwrap()).is_err());
}

#[test]
fn every_fault_is_an_error_with_its_reason_in_words() {
    let errors: [(Box<dyn std::error::Error>, &str); 8] = [
        (Box::new(AccessFault::NotYetValid), "not yet valid"),
        (Box::new(ClientFault::AssertionSeen), "assertion seen"),
        (Box::new(NotAllowed::OwnerScope), "owner scope"),
        (Box::new(RequestFault::BodyTooLarge), "body too large"),
        (Box::new(ServerFault::StateStore), "state store"),
        (Box::new(Rejection::WrongPassword), "wrong password"),
        (Box::new(Rejection::Other("suspended for unpaid bills")), "suspended for unpaid bills"),
        (Box::new(TokenFault::Account(Rejection::Disabled)), "account refused: disabled"),
    ];
    for (error, words) in errors {
        assert_eq!(error.to_string(), words);
    }
}
