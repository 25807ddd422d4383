//! Lifetimes, issuers of the host and their faults, and token identifiers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use password_grant::testing::ManualClock;
use password_grant::{
    AccessToken, Client, Environment, Grant, HttpRequest, JwtIssuer, Login, PasswordGrant,
    TokenRequest,
};

use crate::common::{AUDIENCE, Answer, Events, FORM, GOOD, ISSUER, Users, World, clients, noon};
use crate::support::{Tokens, scope};

#[tokio::test]
async fn lifetimes_are_the_clients_or_else_the_servers() {
    let world = World::with(Users::default(), |builder| {
        builder.access_token_lifetime(Duration::from_secs(120))
    });
    let client = Client::public("brief").grants([Grant::Password]).scope(scope("profile"));
    world.clients.insert(client.access_token_lifetime(Duration::from_secs(5)));
    for (answer, seconds) in [
        (world.post(GOOD).await, 120),
        (world.send(&[], &format!("{GOOD}&client_id=brief")).await, 5),
    ] {
        assert_eq!(answer.is_granted()["expires_in"], seconds);
        let claims = answer.claims();
        assert_eq!(claims["iat"], noon().unix_seconds());
        assert_eq!(claims["exp"], noon().unix_seconds() + seconds);
    }
}

/// A lifetime in a table that makes no sense is a fault of the host, and yields no token.
#[tokio::test]
async fn a_lifetime_that_cannot_be_meant_is_our_trouble() {
    let world = World::default();
    for lifetime in [
        Duration::ZERO,
        Duration::from_millis(999),
        Duration::from_secs(367 * 86_400),
        Duration::MAX,
    ] {
        let client = Client::public("odd").grants([Grant::Password]).scope(scope("profile"));
        world.clients.insert(client.access_token_lifetime(lifetime));
        world.send(&[], &format!("{GOOD}&client_id=odd")).await.is(503, "temporarily_unavailable");
        let fault = world.events.last();
        assert!(
            fault.starts_with(r#"server fault: ClientRegistration with client "odd""#),
            "{fault}"
        );
        assert!(fault.contains("access_token_lifetime: "), "{fault}");
    }
    assert_eq!(world.users.asked(), 0, "found before the password is looked at");
}

/// The lifetime of a token begins after the password was verified.
#[tokio::test]
async fn a_token_is_issued_when_the_login_is_over() {
    let clock = ManualClock::at(noon());
    let hands = clock.clone();
    let users = Users::who(move |_| {
        hands.advance(Duration::from_secs(7));
        Ok(Login::accepted("user-1"))
    });
    let world = World::with(users, |builder| builder);
    let tokens = JwtIssuer::new(world.keys.clone(), AUDIENCE);
    let builder = PasswordGrant::builder(ISSUER, clients(), world.users.clone(), tokens);
    let grant = builder.environment(&Environment::new().clock(clock).observer(())).build().unwrap();
    let form = format!("{GOOD}&client_id=mobile");
    let headers = [("content-type", FORM.as_bytes())];
    let request = HttpRequest::new("POST", None, headers, form.as_bytes());
    assert_eq!(Answer::from(grant.token(request).await).claims()["iat"], noon().unix_seconds() + 7);
}

/// A token that verifiers would refuse for its length is not issued.
#[tokio::test]
async fn a_token_over_8_kib_is_not_issued() {
    for (length, fine) in [(5_000, true), (9_000, false)] {
        let world = World::of(Users::who(move |_| {
            Ok(Login::accepted("user-1").claim("photo", "x".repeat(length)))
        }));
        let answer = world.post(GOOD).await;
        if fine { drop(answer.is_granted()) } else { answer.is(500, "server_error") }
    }
}

#[tokio::test]
async fn an_issuer_of_the_hosts_own_sees_the_whole_authorization() {
    let tokens = Tokens(|authorization| {
        Ok(AccessToken::new(format!(
            "{}~{}~{}~{}",
            authorization.subject(),
            authorization.client().id(),
            authorization.scope().as_str().replace(' ', "+"),
            authorization.expires_at().since(authorization.issued_at()).as_secs(),
        ))?)
    });
    let grant = PasswordGrant::builder(ISSUER, clients(), Users::default(), Arc::new(tokens))
        .build()
        .unwrap();
    let request = TokenRequest::from_pairs(
        GOOD.split('&')
            .chain(["client_id=mobile"])
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(n, v)| (n.into(), v.into())),
    );
    let granted = grant.handle(request.unwrap()).await.unwrap();
    assert_eq!(granted.access_token().expose(), "user-1~mobile~profile~600");
    assert_eq!(granted.expires_in(), Duration::from_secs(600));
}

#[tokio::test]
async fn an_issuer_that_fails_is_500_and_its_text_stays_here() {
    let tokens = Tokens(|_| Err("hsm slot 3 pin 4711".into()));
    let events = Events::default();
    let grant = PasswordGrant::builder(ISSUER, clients(), Users::default(), tokens)
        .environment(&Environment::new().observer(events.clone()));
    let grant = grant.build().unwrap();
    let form = format!("{GOOD}&client_id=mobile");
    let headers = [("content-type", FORM.as_bytes())];
    let answer: Answer =
        grant.token(HttpRequest::new("POST", None, headers, form.as_bytes())).await.into();
    answer.is(500, "server_error");
    assert!(!answer.body.contains("4711"));
    assert_eq!(
        events.last(),
        r#"server fault: TokenIssuer with client "mobile": "hsm slot 3 pin 4711""#
    );
}

#[tokio::test]
async fn every_token_has_an_identifier_of_its_own() {
    let (one, other) = (World::default(), World::default());
    let mut ids = HashSet::new();
    for world in [&one, &other] {
        for _ in 0..50 {
            let id = world.post(GOOD).await.claims()["jti"].as_str().unwrap().to_owned();
            assert_eq!(id.len(), 22, "{id}");
            assert!(ids.insert(id));
        }
    }
}

/// RFC 6750 section 2.1: a token with characters that a client could not send back is refused.
#[test]
fn an_access_token_is_of_the_characters_of_a_bearer_token() {
    for (text, fine) in [
        ("abcABC019-._~+/", true),
        ("a==", true),
        ("", false),
        ("=", false),
        ("a=b", false),
        ("a b", false),
        ("a\r\nx: y", false),
        ("ü", false),
        (&"a".repeat(8192), true),
        (&"a".repeat(8193), false),
    ] {
        assert_eq!(AccessToken::new(text).is_ok(), fine, "{text:?}");
    }
}
