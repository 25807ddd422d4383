//! Who calls (RFC 6749 section 2.3): one method a request, every failure in the same bytes.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use common::{Answer, FORM, GOOD, Users, World, basic, noon};
use password_grant::environment::{RandomnessError, SecureRandom};
use password_grant::{
    AuthenticationMethod, BoxError, Client, ClientAuthentication, ClientBuilder, ClientSecret,
    ClientStore, Environment, Grant, HttpRequest, JwtIssuer, PasswordGrant, RequestContext,
    SigningKeys, async_trait,
};

/// A world with one more client, which may use the grant.
fn world_with(client: ClientBuilder) -> World {
    let world = World::default();
    world.clients.insert(client.grants([Grant::Password]).scope("profile".parse().unwrap()));
    world
}

fn digest(secret: &str) -> ClientSecret {
    ClientSecret::digest_of(secret)
}

async fn with_header(world: &World, authorization: &str) -> Answer {
    world.send(&[("authorization", authorization)], GOOD).await
}

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

/// Requirement 26: nothing in the answer tells the causes apart, or an attacker could list the clients.
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

/// The observer is told what the caller is not.
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
    // RFC 7521 section 4.2: an assertion without its type, a type without its assertion, a type we do not know.
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

/// RFC 6749 section 2.3.1 wants both halves form-encoded; many clients do, many do not.
#[tokio::test]
async fn basic_credentials_are_read_encoded_and_raw() {
    let secret = "s3cr:t +%&=/?~";
    let world = world_with(Client::confidential("odd:client", digest(secret)));
    with_header(&world, &basic("odd%3Aclient", "s3cr%3At+%2B%25%26%3D%2F%3F~")).await.is_granted();
    with_header(&world, &basic("odd%3aclient", "s3cr:t%20%2B%25%26=/?%7E")).await.is_granted();
    with_header(&world, &basic("odd%3Aclient", secret)).await.is_granted();
    // The first colon ends the identifier.
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

/// Three readings of each half, one by one and together: form-decoded (RFC 6749 section 2.3.1), as it is, and
/// percent-decoded with each `+` kept, as Dart's `oauth2` encodes.
#[tokio::test]
async fn each_half_of_basic_credentials_is_read_in_three_ways() {
    for (id, secret, sent, granted) in [
        // The identifier, in each of its readings.
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
        // The secret, in each of its.
        ("c", "p q", "c:p+q", true),
        ("c", "p+q", "c:p+q", true),
        ("c", "p+q", "c:p%2Bq", true),
        ("c", "p+q=r", "c:p+q%3Dr", true),
        ("c", "p q=r", "c:p+q%3Dr", true),
        ("c", "p+q%3Dr", "c:p+q%3Dr", true),
        ("c", "p q%3Dr", "c:p+q%3Dr", false), // no reading decodes the one and keeps the other
        ("c", "A", "c:%2541", false),
        ("c", "p\u{fffd}", "c:p%FF", false),
        // Each half in a way of its own.
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

/// `client_id` in the body may be any reading, and then is the one that is meant.
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
        // The other client's secret, and the name of this one.
        ("a+b:first", "&client_id=a%2Bb", Err((401, "invalid_client"))),
        ("a+b:second", "&client_id=a+b", Err((401, "invalid_client"))),
        ("a+b:neither", "", Err((401, "invalid_client"))),
        ("a+b:first", "&client_id=c", Err((400, "invalid_request"))),
        ("a+b:first", "&client_id=a%2520b", Err((400, "invalid_request"))),
        ("a%2Bb:second", "&client_id=a%252Bb", Err((401, "invalid_client"))), // a reading, but no client
    ] {
        let header = format!("Basic {}", STANDARD.encode(sent));
        let answer = world.send(&[("authorization", &header)], &format!("{GOOD}{body_id}")).await;
        match expected {
            Ok(id) => assert_eq!(answer.claims()["client_id"], id, "{sent} {body_id}"),
            Err((status, error)) => answer.is(status, error),
        }
    }
}

/// Credentials that are right for two clients name neither.
#[tokio::test]
async fn two_readings_that_name_two_clients_are_refused() {
    let world = world_with(Client::confidential("a b", digest("the same")));
    let same = |id: &str| Client::confidential(id, digest("the same")).grants([Grant::Password]);
    world.clients.insert(same("a+b").scope("profile".parse().unwrap()));
    let unknown = with_header(&world, &basic("nobody", "the same")).await;
    assert_eq!(with_header(&world, &basic("a+b", "the same")).await, unknown);
    assert!(world.events.last().ends_with("Ambiguous"), "{}", world.events.last());
    // Where it is said, it is known; so it is where only one reading is a client.
    let header = basic("a+b", "the same");
    let said = world.send(&[("authorization", &header)], &format!("{GOOD}&client_id=a%2Bb")).await;
    assert_eq!(said.claims()["client_id"], "a+b");
    assert_eq!(with_header(&world, &basic("a%20b", "the same")).await.claims()["client_id"], "a b");
    world.clients.remove("a b");
    assert_eq!(with_header(&world, &header).await.claims()["client_id"], "a+b");

    // Two public ones likewise, which have no secret that would tell them apart.
    for id in ["p q", "p+q"] {
        world
            .clients
            .insert(Client::public(id).grants([Grant::Password]).scope("profile".parse().unwrap()));
    }
    assert_eq!(with_header(&world, &basic("p+q", "")).await.status, 401);
    world.clients.remove("p q");
    assert_eq!(with_header(&world, &basic("p+q", "")).await.claims()["client_id"], "p+q");
}

/// At most three look-ups, and one for all who need no reading; how many is a matter of the request alone.
#[tokio::test]
async fn an_identifier_is_looked_up_once_in_each_reading_that_differs() {
    struct Counting(Arc<Mutex<Vec<String>>>);
    #[async_trait]
    impl ClientStore for Counting {
        async fn find(
            &self,
            client_id: &str,
            _: &RequestContext,
        ) -> Result<Option<Client>, BoxError> {
            self.0.lock().unwrap().push(client_id.to_owned());
            Ok((client_id == "known+%41").then(|| anybody("known+%41").build()))
        }
    }
    let looked_up = Arc::new(Mutex::new(Vec::new()));
    let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), common::AUDIENCE);
    let clients = Counting(looked_up.clone());
    let grant = PasswordGrant::builder(common::ISSUER, clients, Users::default(), tokens)
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
        assert_eq!(std::mem::take(&mut *looked_up.lock().unwrap()), expected, "{id}");
    }
}

/// Requirement 41: whatever reading a guess is meant in, it is counted on each client that it could have been right for.
#[tokio::test]
async fn guesses_are_counted_whichever_way_the_identifier_is_spelt() {
    /// Clients are counted in a few groups, by a random key: by this one, `web` is in none of those that are spoilt here.
    struct Same;
    impl SecureRandom for Same {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomnessError> {
            bytes.fill(1);
            Ok(())
        }
    }
    let world =
        World::in_environment(Users::default(), |own| own.randomness(Same), |builder, _| builder);
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

/// C28: every character that a secret may hold makes the round trip, encoded and raw.
#[tokio::test]
async fn every_allowed_character_survives_in_identifier_and_secret() {
    let all: String = (' '..='~').collect();
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let world = world_with(Client::confidential(&*all, digest(&all)));
    with_header(&world, &basic(&encode(&all), &encode(&all))).await.is_granted();
    with_header(&world, &basic(&encode(&all), &all)).await.is_granted();
}

/// Requirement 37, C27, C29: the grammar of the header, by table.
#[tokio::test]
async fn the_basic_header_is_read_strictly() {
    let world = World::default();
    let token = STANDARD.encode("web:web-secret");
    let unpadded = STANDARD_NO_PAD.encode("web:web-secret"); // 14 bytes: two padding characters are missing
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
    // Non-canonical bits in the last character: the same bytes, spelt differently.
    let last = token.trim_end_matches('=').len() - 1;
    let mut respelt = token.clone().into_bytes();
    respelt[last] += 1;
    let respelt = String::from_utf8(respelt).unwrap();
    with_header(&world, &format!("Basic {respelt}")).await.is(401, "invalid_client");
    // The URL-safe alphabet is another one: `~~~` and `???` hold the characters in which they differ.
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

/// A store whose answers a test scripts.
struct Store(fn(&str, &RequestContext) -> Result<Option<Client>, BoxError>);

#[async_trait]
impl ClientStore for Store {
    async fn find(
        &self,
        client_id: &str,
        context: &RequestContext,
    ) -> Result<Option<Client>, BoxError> {
        (self.0)(client_id, context)
    }
}

fn grant_over(store: Store) -> PasswordGrant {
    let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), common::AUDIENCE);
    PasswordGrant::builder(common::ISSUER, Arc::new(store), Users::default(), tokens)
        .environment(&Environment::new().observer(()))
        .build()
        .unwrap()
}

fn anybody(id: &str) -> ClientBuilder {
    Client::public(id).grants([Grant::Password]).scope("profile".parse().unwrap())
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
    let grant = grant_over(Store(|_, _| Err("connection refused".into())));
    let answer = ask(&grant, "mobile", None).await;
    answer.is(503, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(!answer.body.contains("connection"));
}

/// A database that compares without regard to case finds a client that was not named.
#[tokio::test]
async fn a_client_with_another_identifier_than_the_one_named_is_not_found() {
    let grant = grant_over(Store(|_, _| Ok(Some(anybody("mobile").build()))));
    ask(&grant, "mobile", None).await.is_granted();
    for other in ["MOBILE", "mobile+", "mobil", "mobile%25"] {
        ask(&grant, other, None).await.is(401, "invalid_client");
    }
}

#[tokio::test]
async fn the_store_is_asked_in_the_tenant_that_the_host_named() {
    let grant = grant_over(Store(|id, context| {
        Ok((context.tenant() == Some("demo")).then(|| anybody(id).build()))
    }));
    ask(&grant, "mobile", Some("demo")).await.is_granted();
    ask(&grant, "mobile", Some("other")).await.is(401, "invalid_client");
    ask(&grant, "mobile", None).await.is(401, "invalid_client");
}

/// Requirement 39, C35.
#[test]
fn generated_secrets_are_256_random_bits_in_base64url() {
    let mut seen = std::collections::HashMap::<char, usize>::new();
    for _ in 0..2000 {
        let (plain, _) = ClientSecret::generate().unwrap();
        assert_eq!(plain.expose().len(), 43);
        // The last character carries four bits only.
        plain.expose()[..42].chars().for_each(|character| *seen.entry(character).or_default() += 1);
    }
    assert_eq!(seen.len(), 64, "every symbol of the alphabet occurs");
    let expected = 2000.0 * 42.0 / 64.0;
    let chi_square: f64 =
        seen.values().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
    // 63 degrees of freedom: beyond 150 lies less than one in a hundred million.
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

/// Requirement 137: without randomness there is no secret, rather than a weak one.
#[test]
fn no_secret_is_generated_without_randomness() {
    struct Broken;
    impl SecureRandom for Broken {
        fn fill(&self, _: &mut [u8]) -> Result<(), RandomnessError> {
            Err(RandomnessError::new())
        }
    }
    assert!(ClientSecret::generate_with(&Broken).is_err());
}
