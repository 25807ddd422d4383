//! How a client is identified: by which method, and that every failure gets the same bytes.

use password_grant::{Client, ClientAuthentication, Grant};

use crate::common::{GOOD, World, basic, noon};
use crate::support::{digest, with_header};

#[tokio::test]
async fn each_way_of_identifying_a_client_works_where_it_is_registered() {
    let world = World::default();
    world.clients.insert(Client::confidential("basic", digest("s")).grants([Grant::Password]));
    world.clients.insert(
        Client::confidential("post", ClientAuthentication::post(digest("s")))
            .grants([Grant::Password]),
    );
    let form = "grant_type=password&username=alice&password=wonderland";
    for (id, header, body) in [("basic", true, false), ("post", false, true), ("web", true, true)] {
        let secret = if id == "web" { "web-secret" } else { "s" };
        let by_header = world.send(&[("authorization", &basic(id, secret))], form).await;
        let by_body =
            world.send(&[], &format!("{form}&client_id={id}&client_secret={secret}")).await;
        for (answer, accepted) in [(by_header, header), (by_body, body)] {
            if accepted { drop(answer.is_granted()) } else { answer.is(401, "invalid_client") }
        }
        world.send(&[], &format!("{form}&client_id={id}")).await.is(401, "invalid_client");
    }
    world.send(&[], &format!("{GOOD}&client_id=mobile")).await.is_granted();
}

/// Requirement 26: if the answer told the causes apart, an attacker could find out which clients
/// exist.
#[tokio::test]
async fn every_failure_to_authenticate_gets_the_same_bytes() {
    let world = World::default();
    world
        .clients
        .insert(Client::confidential("off", digest("s")).grants([Grant::Password]).disabled());
    world.clients.insert(
        Client::confidential("over", digest("s")).grants([Grant::Password]).expires_at(noon()),
    );
    world.clients.insert(Client::confidential("basic-only", digest("s")).grants([Grant::Password]));
    world.clients.insert(Client::public("off-public").grants([Grant::Password]).disabled());
    let mut answers = Vec::new();
    for authorization in [
        basic("nobody", "web-secret"),
        basic("web", "wrong"),
        basic("web", ""), // I29: an empty secret is no way around one
        basic("WEB", "web-secret"),
        basic("web ", "web-secret"),
        basic("off", "s"),
        basic("off", "wrong"),
        basic("over", "s"),
        basic("mobile", "anything"), // node-oidc-provider: a public client that sends a secret
        basic("", "web-secret"),
        "Basic ?".to_owned(),
        "Bearer abc".to_owned(),
    ] {
        answers.push((authorization.clone(), with_header(&world, &authorization).await));
    }
    for credentials in [
        "client_id=nobody&client_secret=web-secret",
        "client_id=web&client_secret=wrong",
        "client_id=web",
        "client_id=web&client_secret=",
        "client_id=basic-only&client_secret=s",
        "client_id=mobile&client_secret=anything",
        "client_id=off-public",
        "client_id=nobody",
        "client_secret=web-secret",
        "",
    ] {
        answers.push((
            credentials.to_owned(),
            world.send(&[], &format!("{GOOD}&{credentials}")).await,
        ));
    }
    let (_, expected) = answers[0].clone();
    expected.is(401, "invalid_client");
    assert_eq!(
        expected.header("www-authenticate"),
        Some(r#"Basic realm="https://id.example.com""#)
    );
    for (input, answer) in answers {
        assert_eq!(answer, expected, "{input}");
    }
    assert_eq!(world.users.asked(), 0);
}

/// The observer learns the reason, which the caller does not.
#[tokio::test]
async fn the_reason_is_observed() {
    let world = World::default();
    world.clients.insert(Client::public("off").disabled());
    world.clients.insert(Client::public("over").expires_at(noon()));
    for (authorization, line) in [
        (basic("nobody", "s"), r#"client "nobody" not authenticated: Unknown"#),
        (basic("web", "s"), r#"client "web" not authenticated: Secret"#),
        (basic("off", ""), r#"client "off" not authenticated: Disabled"#),
        (basic("over", ""), r#"client "over" not authenticated: Expired"#),
        (basic("mobile", "s"), r#"client "mobile" not authenticated: Method"#),
        ("Basic =".to_owned(), "client not authenticated: MalformedAuthorization"),
    ] {
        with_header(&world, &authorization).await.is(401, "invalid_client");
        assert_eq!(world.events.last(), line);
    }
    world.send(&[], GOOD).await.is(401, "invalid_client");
    assert_eq!(world.events.last(), "client not authenticated: Unidentified");
}

#[tokio::test]
async fn more_than_one_method_in_a_request_is_malformed() {
    let world = World::default();
    let authorization = basic("web", "web-secret");
    for credentials in [
        "client_secret=web-secret",
        "client_id=web&client_secret=web-secret",
        "client_assertion=e30.e30.e30",
        "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_id=mobile", // requirement 32: it must name the same client
        "client_id=WEB",
    ] {
        let form = format!("{GOOD}&{credentials}");
        world.send(&[("authorization", &authorization)], &form).await.is(400, "invalid_request");
    }
    world
        .send(&[("authorization", &authorization)], &format!("{GOOD}&client_id=web"))
        .await
        .is_granted();
    // RFC 7521 section 4.2: an assertion without its type, a type without an assertion, and an
    // unknown type.
    for credentials in [
        "client_assertion=a.b.c",
        "client_assertion_type=x",
        "client_assertion=a.b.c&client_assertion_type=x",
    ] {
        world
            .send(&[], &format!("{GOOD}&client_id=web&{credentials}"))
            .await
            .is(400, "invalid_request");
    }
    assert_eq!(world.users.asked(), 1, "for the one that was granted");
}
