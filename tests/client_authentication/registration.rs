//! Secrets, ends and methods of a registration, and stores that fail.

use std::time::Duration;

use password_grant::{
    AuthenticationMethod, Client, ClientAuthentication, Environment, HttpRequest, JwtIssuer,
    PasswordGrant, SigningKeys,
};

use crate::common::fakes::ScriptedClients;
use crate::common::{AUDIENCE, Answer, FORM, GOOD, ISSUER, Users, World, basic, noon};
use crate::support::{anybody, digest, with_header, world_with};

/// Two widely used clients send Basic with an empty secret for a public client.
#[tokio::test]
async fn basic_with_an_empty_secret_identifies_a_public_client_and_no_other() {
    let world = world_with(Client::confidential("hollow", digest("")));
    with_header(&world, &basic("mobile", "")).await.is_granted();
    with_header(&world, &basic("hollow", "")).await.is(401, "invalid_client");
    world
        .send(&[], &format!("{GOOD}&client_id=hollow&client_secret="))
        .await
        .is(401, "invalid_client");
}

/// Requirement 40.
#[tokio::test]
async fn several_secrets_are_live_at_once_each_until_its_end() {
    let old = digest("old").expires_at(noon().plus(Duration::from_secs(60)));
    let world = world_with(Client::confidential(
        "c",
        ClientAuthentication::basic(old).or_secret(digest("new")),
    ));
    for secret in ["old", "new"] {
        with_header(&world, &basic("c", secret)).await.is_granted();
    }
    world.clock.advance(Duration::from_millis(59_999));
    with_header(&world, &basic("c", "old")).await.is_granted();
    world.clock.advance(Duration::from_millis(1));
    with_header(&world, &basic("c", "old")).await.is(401, "invalid_client");
    with_header(&world, &basic("c", "new")).await.is_granted();
}

#[tokio::test]
async fn a_registration_ends_when_it_says() {
    let world = world_with(Client::public("guest").expires_at(noon().plus(Duration::from_secs(1))));
    world.send(&[], &format!("{GOOD}&client_id=guest")).await.is_granted();
    world.clock.advance(Duration::from_secs(1));
    world.send(&[], &format!("{GOOD}&client_id=guest")).await.is(401, "invalid_client");
}

#[tokio::test]
async fn a_method_that_is_switched_off_is_refused_whatever_a_client_is_registered_for() {
    let only_basic = [AuthenticationMethod::ClientSecretBasic];
    let world = World::with(Users::default(), |builder| builder.authentication_methods(only_basic));
    world.post(GOOD).await.is_granted();
    let post = format!("{GOOD}&client_id=web&client_secret=web-secret");
    world.send(&[], &post).await.is(401, "invalid_client");
    world.send(&[], &format!("{GOOD}&client_id=mobile")).await.is(401, "invalid_client");
}

fn grant_over(store: ScriptedClients) -> PasswordGrant {
    let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE);
    PasswordGrant::builder(ISSUER, store, Users::default(), tokens)
        .environment(&Environment::new().observer(()))
        .build()
        .unwrap()
}

async fn ask(grant: &PasswordGrant, client_id: &str, tenant: Option<&str>) -> Answer {
    let form = format!("{GOOD}&client_id={client_id}");
    let request =
        HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], form.as_bytes());
    let request = match tenant {
        Some(tenant) => request.tenant(tenant),
        None => request,
    };
    grant.token(request).await.into()
}

#[tokio::test]
async fn a_store_that_fails_is_503_and_never_the_clients_fault() {
    let grant = grant_over(ScriptedClients::new(|_, _| Err("connection refused".into())));
    let answer = ask(&grant, "mobile", None).await;
    answer.is(503, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(!answer.body.contains("connection"));
}

/// A database that compares without regard to case may find a client that was not named.
#[tokio::test]
async fn a_client_with_another_identifier_than_the_one_named_is_not_found() {
    let grant = grant_over(ScriptedClients::new(|_, _| Ok(Some(anybody("mobile").build()))));
    ask(&grant, "mobile", None).await.is_granted();
    for other in ["MOBILE", "mobile+", "mobil", "mobile%25"] {
        ask(&grant, other, None).await.is(401, "invalid_client");
    }
}

#[tokio::test]
async fn the_store_is_asked_in_the_tenant_that_the_host_named() {
    let grant = grant_over(ScriptedClients::new(|id, context| {
        Ok((context.tenant() == Some("demo")).then(|| anybody(id).build()))
    }));
    ask(&grant, "mobile", Some("demo")).await.is_granted();
    ask(&grant, "mobile", Some("other")).await.is(401, "invalid_client");
    ask(&grant, "mobile", None).await.is(401, "invalid_client");
}
