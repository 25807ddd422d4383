//! The readings of Basic credentials, which clients encode in different ways.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use password_grant::{
    Client, Environment, Grant, HttpRequest, JwtIssuer, PasswordGrant, SigningKeys,
};

use crate::common::fakes::{ConstantRandomness, ScriptedClients};
use crate::common::{AUDIENCE, FORM, GOOD, ISSUER, Users, World, basic};
use crate::support::{anybody, digest, with_header, world_with};

/// RFC 6749 section 2.3.1 requires that both halves are form-encoded. Some clients do it, and some
/// do not.
#[tokio::test]
async fn basic_credentials_are_read_encoded_and_raw() {
    let secret = "s3cr:t +%&=/?~";
    let world = world_with(Client::confidential("odd:client", digest(secret)));
    with_header(&world, &basic("odd%3Aclient", "s3cr%3At+%2B%25%26%3D%2F%3F~")).await.is_granted();
    with_header(&world, &basic("odd%3aclient", "s3cr:t%20%2B%25%26=/?%7E")).await.is_granted();
    with_header(&world, &basic("odd%3Aclient", secret)).await.is_granted();
    // The identifier ends at the first colon.
    with_header(&world, &basic("odd:client", secret)).await.is(401, "invalid_client");

    for (stored, sent) in [
        ("a+b", "a+b"),
        ("a+b", "a%2Bb"),
        ("a b", "a+b"),
        ("a%zz", "a%zz"),
        ("%41", "%41"),
        ("A", "%41"),
    ] {
        let world = world_with(Client::confidential("c", digest(stored)));
        with_header(&world, &basic("c", sent)).await.is_granted();
        let post = format!(
            "{GOOD}&client_id=c&client_secret={}",
            stored.replace('%', "%25").replace('+', "%2B")
        );
        world.send(&[], &post).await.is(401, "invalid_client"); // registered for Basic only
    }
}

/// Each half has three readings: form-decoded (RFC 6749 section 2.3.1), as it is, and
/// percent-decoded with each `+` kept, as Dart's `oauth2` encodes it. This tries them one by one
/// and combined.
#[tokio::test]
async fn each_half_of_basic_credentials_is_read_in_three_ways() {
    for (id, secret, sent, granted) in [
        // Readings of the identifier.
        ("a b", "s", "a+b:s", true),
        ("a b", "s", "a%20b:s", true),
        ("a b", "s", "a b:s", true),
        ("a+b", "s", "a%2Bb:s", true),
        ("a+b", "s", "a+b:s", true),
        ("a+b:c", "s", "a+b%3Ac:s", true), // percent-encoded, but for the plus
        ("a b:c", "s", "a+b%3Ac:s", true),
        ("50%", "s", "50%:s", true), // no encoding of anything, so it is what it says
        ("100%zz", "s", "100%zz:s", true),
        ("%41", "s", "%41:s", true),
        ("A", "s", "%41:s", true),
        ("é", "s", "%C3%A9:s", false), // RFC 6749 appendix A.1
        ("a\u{fffd}", "s", "a%FF:s", false),
        ("a%FF", "s", "a%FF:s", true), // as it is, and never replaced
        ("A", "s", "%2541:s", false),  // decoded twice
        ("a", "s", "%61%00:s", false),
        // Readings of the secret.
        ("c", "p q", "c:p+q", true),
        ("c", "p+q", "c:p+q", true),
        ("c", "p+q", "c:p%2Bq", true),
        ("c", "p+q=r", "c:p+q%3Dr", true),
        ("c", "p q=r", "c:p+q%3Dr", true),
        ("c", "p+q%3Dr", "c:p+q%3Dr", true),
        ("c", "p q%3Dr", "c:p+q%3Dr", false), // no reading decodes the one and keeps the other
        ("c", "A", "c:%2541", false),
        ("c", "p\u{fffd}", "c:p%FF", false),
        // The halves are encoded in different ways.
        ("a+b", "p q", "a+b:p+q", true),
        ("a b", "p+q", "a+b:p+q", true),
        ("a+b:c", "p%q", "a+b%3Ac:p%q", true),
    ] {
        let world = world_with(Client::confidential(id, digest(secret)));
        let header = format!("Basic {}", STANDARD.encode(sent));
        let answer = with_header(&world, &header).await;
        if granted {
            assert_eq!(answer.claims()["client_id"], id, "{sent}");
        } else {
            answer.is(401, "invalid_client");
        }
    }
}

/// `client_id` in the body may be any of the readings, and decides which one is meant.
#[tokio::test]
async fn a_client_id_in_the_body_says_which_reading_is_meant() {
    let world = world_with(Client::confidential("a b", digest("first")));
    let plus = Client::confidential("a+b", digest("second")).grants([Grant::Password]);
    world.clients.insert(plus.scope("profile".parse().unwrap()));
    for (sent, body_id, expected) in [
        ("a+b:first", "", Ok("a b")),
        ("a+b:second", "", Ok("a+b")),
        ("a+b:first", "&client_id=a+b", Ok("a b")),
        ("a+b:second", "&client_id=a%2Bb", Ok("a+b")),
        // The secret is the other client's, and `client_id` is this client's.
        ("a+b:first", "&client_id=a%2Bb", Err((401, "invalid_client"))),
        ("a+b:second", "&client_id=a+b", Err((401, "invalid_client"))),
        ("a+b:neither", "", Err((401, "invalid_client"))),
        ("a+b:first", "&client_id=c", Err((400, "invalid_request"))),
        ("a+b:first", "&client_id=a%2520b", Err((400, "invalid_request"))),
        // A reading that is not a client.
        ("a%2Bb:second", "&client_id=a%252Bb", Err((401, "invalid_client"))),
    ] {
        let header = format!("Basic {}", STANDARD.encode(sent));
        let answer = world.send(&[("authorization", &header)], &format!("{GOOD}{body_id}")).await;
        match expected {
            Ok(id) => assert_eq!(answer.claims()["client_id"], id, "{sent} {body_id}"),
            Err((status, error)) => answer.is(status, error),
        }
    }
}

/// Credentials that are valid for two clients are refused.
#[tokio::test]
async fn two_readings_that_name_two_clients_are_refused() {
    let world = world_with(Client::confidential("a b", digest("the same")));
    let same = |id: &str| Client::confidential(id, digest("the same")).grants([Grant::Password]);
    world.clients.insert(same("a+b").scope("profile".parse().unwrap()));
    let unknown = with_header(&world, &basic("nobody", "the same")).await;
    assert_eq!(with_header(&world, &basic("a+b", "the same")).await, unknown);
    assert!(world.events.last().ends_with("Ambiguous"), "{}", world.events.last());
    // They are accepted if `client_id` says which client is meant, or if only one reading is a
    // client.
    let header = basic("a+b", "the same");
    let said = world.send(&[("authorization", &header)], &format!("{GOOD}&client_id=a%2Bb")).await;
    assert_eq!(said.claims()["client_id"], "a+b");
    assert_eq!(with_header(&world, &basic("a%20b", "the same")).await.claims()["client_id"], "a b");
    world.clients.remove("a b");
    assert_eq!(with_header(&world, &header).await.claims()["client_id"], "a+b");

    // Two public clients are ambiguous too: they have no secret that would tell them apart.
    for id in ["p q", "p+q"] {
        world
            .clients
            .insert(Client::public(id).grants([Grant::Password]).scope("profile".parse().unwrap()));
    }
    assert_eq!(with_header(&world, &basic("p+q", "")).await.status, 401);
    world.clients.remove("p q");
    assert_eq!(with_header(&world, &basic("p+q", "")).await.claims()["client_id"], "p+q");
}

/// There are at most three look-ups, and one if all readings are the same. The number depends on
/// the request alone.
#[tokio::test]
async fn an_identifier_is_looked_up_once_in_each_reading_that_differs() {
    let clients =
        ScriptedClients::new(|id, _| Ok((id == "known+%41").then(|| anybody("known+%41").build())));
    let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE);
    let grant = PasswordGrant::builder(ISSUER, clients.clone(), Users::default(), tokens)
        .environment(&Environment::new().observer(()))
        .build()
        .unwrap();
    for (id, expected) in [
        ("plain", &["plain"][..]),
        ("a%3Ab", &["a:b", "a%3Ab"]),
        ("a+b", &["a b", "a+b"]),
        ("a+b%3Ac", &["a b:c", "a+b%3Ac", "a+b:c"]),
        ("50%", &["50%"]),
        ("%C3%A9", &["%C3%A9"]),
        ("known+%41", &["known A", "known+%41", "known+A"]),
    ] {
        let header = basic(id, "secret");
        let headers = [("content-type", FORM.as_bytes()), ("authorization", header.as_bytes())];
        grant.token(HttpRequest::new("POST", None, headers, GOOD.as_bytes())).await;
        assert_eq!(clients.take_asked(), expected, "{id}");
    }
}

/// Requirement 41: a guess counts against every client that one of its readings names.
#[tokio::test]
async fn guesses_are_counted_whichever_way_the_identifier_is_spelt() {
    // Clients are counted in a few groups, which a random key chooses. With this key, `web` shares
    // no group with the clients that fail here.
    let world = World::in_environment(
        Users::default(),
        |own| own.randomness(ConstantRandomness(1)),
        |builder, _| builder,
    );
    let client = Client::confidential("a+b", digest("secret")).grants([Grant::Password]);
    world.clients.insert(client.scope("profile".parse().unwrap()));
    let from = |id: &str, secret: &str| {
        let header = basic(id, secret);
        let grant = world.grant.clone();
        async move {
            let headers = [("content-type", FORM.as_bytes()), ("authorization", header.as_bytes())];
            let request = HttpRequest::new("POST", None, headers, GOOD.as_bytes())
                .peer("192.0.2.1".parse().unwrap());
            grant.token(request).await.status()
        }
    };
    assert_eq!(from("a+b", "secret").await, 200);
    let mut refused = 0;
    for spelling in ["a+b", "a%2Bb", "%61+b", "a+%62", "%61%2B%62"].iter().cycle() {
        match from(spelling, "guess").await {
            401 => refused += 1,
            429 => break,
            other => panic!("{other}"),
        }
        assert!(refused < 100);
    }
    assert_eq!(refused, 20, "the limit of one client at one address");
    assert_eq!(from("a+b", "secret").await, 429);
    assert_eq!(from("web", "web-secret").await, 200);
}

/// Incident C28: every character that a secret may contain arrives unchanged, encoded and raw.
#[tokio::test]
async fn every_allowed_character_survives_in_identifier_and_secret() {
    let all: String = (' '..='~').collect();
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let world = world_with(Client::confidential(&*all, digest(&all)));
    with_header(&world, &basic(&encode(&all), &encode(&all))).await.is_granted();
    with_header(&world, &basic(&encode(&all), &all)).await.is_granted();
}

/// Requirement 37; incidents C27, C29.
#[tokio::test]
async fn the_basic_header_is_read_strictly() {
    let world = World::default();
    let token = STANDARD.encode("web:web-secret");
    // 14 bytes: two padding characters are missing.
    let unpadded = STANDARD_NO_PAD.encode("web:web-secret");
    assert_ne!(token, unpadded);
    for (header, accepted) in [
        (format!("Basic {token}"), true),
        (format!("basic {token}"), true),
        (format!("BASIC {token}"), true),
        (format!("Basic  {token}"), true), // RFC 9110 section 11.4: 1*SP
        (format!("basic     {token}"), true),
        (format!("Basic \t{token}"), false),
        (format!("Basic\t {token}"), false),
        (format!("Basic\u{a0}{token}"), false),
        (format!("Basic\t{token}"), false),
        (format!(" Basic {token}"), false),
        (format!("Basic {token} "), false),
        (format!("Basic {token}!"), false),
        (format!("Basic {unpadded}"), false),
        (format!("Basic {token}="), false),
        (format!("Basic {}", STANDARD.encode("web:web-secret\n")), false),
        (format!("Basic {}", STANDARD.encode("web:web-secret\0")), false),
        (format!("Basic {}", STANDARD.encode("web")), false),
        (format!("Basic {}", STANDARD.encode(":web-secret")), false),
        (format!("Basic {}", STANDARD.encode(b"web:\xff")), false),
        (format!("Basic {}", STANDARD.encode("wëb:web-secret")), false),
        (format!("Basic {}", STANDARD.encode("%zz:web-secret")), false),
        (format!("Basic {}", STANDARD.encode("we%00b:web-secret")), false),
        ("Basic".to_owned(), false),
        ("Basic ".to_owned(), false),
        (token.clone(), false),
        (format!("Basic{token}"), false),
        (format!("Basic {token}, Basic {token}"), false),
        (String::new(), false),
    ] {
        let answer = with_header(&world, &header).await;
        if accepted { drop(answer.is_granted()) } else { answer.is(401, "invalid_client") }
    }
    // The last character has non-canonical bits: the same bytes, spelt differently.
    let last = token.trim_end_matches('=').len() - 1;
    let mut respelt = token.clone().into_bytes();
    respelt[last] += 1;
    let respelt = String::from_utf8(respelt).unwrap();
    with_header(&world, &format!("Basic {respelt}")).await.is(401, "invalid_client");
    // The URL-safe alphabet is refused. `~~~` and `???` encode to the characters in which the
    // alphabets differ.
    let world = world_with(Client::confidential("c", digest("~~~???")));
    let header = basic("c", "~~~???");
    with_header(&world, &header).await.is_granted();
    assert!(header.contains(['+', '/']));
    with_header(&world, &header.replace('+', "-").replace('/', "_"))
        .await
        .is(401, "invalid_client");
}

#[tokio::test]
async fn over_long_basic_credentials_are_refused() {
    let (id, secret) = ("i".repeat(256), "s".repeat(512));
    let world = world_with(Client::confidential(&*id, digest(&secret)));
    with_header(&world, &basic(&id, &secret)).await.is_granted();
    let too_long = format!("{id}i");
    world
        .clients
        .insert(Client::confidential(&*too_long, digest(&secret)).grants([Grant::Password]));
    with_header(&world, &basic(&too_long, &secret)).await.is(401, "invalid_client");
    with_header(&world, &basic(&id, &"s".repeat(60_000))).await.is(401, "invalid_client");
    let long = "s".repeat(513);
    let world = world_with(Client::confidential("c", digest(&long)));
    with_header(&world, &basic("c", &long)).await.is(401, "invalid_client");
    with_header(&world, &basic("c", &"%73".repeat(513))).await.is(401, "invalid_client");
}
