//! The grant itself (RFC 6749 section 4.3): what is asked of whom, in which order, and what comes of it.

mod common;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{AUDIENCE, Answer, FORM, GOOD, ISSUER, Users, World, basic, noon, segment};
use password_grant::environment::{RandomnessError, SecureRandom};
use password_grant::error::ErrorCode;
use password_grant::event::EventKind;
use password_grant::testing::{InMemoryClients, InMemoryTokens, ManualClock};
use password_grant::token::OpaqueIssuer;
use password_grant::{
    AccessToken, Authorization, BoxError, BuildError, Client, Environment, Event, Grant,
    HttpRequest, JwtIssuer, Login, Observer, PasswordGrant, PasswordGrantBuilder, Reason,
    Rejection, RequestLimits, Scope, SigningKeys, TokenIssuer, TokenRequest, async_trait,
};
use serde_json::{Value, json};

fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

/// Requirements 67 and 17: each request lacks one thing more than the one before it in the order of checks, and gets
/// the answer of the earliest check that it fails. Whoever is not yet to be asked is not asked.
#[tokio::test]
async fn checks_come_in_their_order_and_the_password_is_looked_at_last() {
    let world = World::default();
    let right = basic("web", "web-secret");
    let wrong = basic("web", "wrong");
    let idle = basic("idle", "idle-secret");
    for (authorization, form, status, error) in [
        // Malformed: before anybody is looked up.
        (&wrong, "grant_type=magic&scope=%22", 400, "invalid_scope"),
        (&wrong, "client_secret=x", 400, "invalid_request"),
        // The client, before anything that is only missing or not allowed.
        (&wrong, "", 401, "invalid_client"),
        (&wrong, "grant_type=magic", 401, "invalid_client"),
        (&right, "scope=admin", 400, "invalid_request"),
        (&right, "grant_type=magic&scope=admin", 400, "unsupported_grant_type"),
        (&right, "grant_type=authorization_code&code=x", 400, "unsupported_grant_type"),
        (&right, "grant_type=Password", 400, "unsupported_grant_type"),
        (&idle, "grant_type=password&scope=admin", 400, "unauthorized_client"),
        (&right, "grant_type=password&scope=admin&resource=x", 400, "invalid_scope"),
        (&right, "grant_type=password&resource=x", 400, "invalid_target"),
        (&right, "grant_type=password", 400, "invalid_request"),
        (&right, "grant_type=password&username=alice", 400, "invalid_request"),
        (&right, "grant_type=password&password=wonderland", 400, "invalid_request"),
    ] {
        world.send(&[("authorization", authorization)], form).await.is(status, error);
        assert_eq!(world.users.asked(), 0, "{form}");
    }
    world.post(&GOOD.replace("wonderland", "wrong")).await.is(400, "invalid_grant");
    assert_eq!(world.users.asked(), 1);
}

/// I6, requirement 66: a client that was given nothing may do nothing.
#[tokio::test]
async fn a_client_may_use_no_grant_until_it_is_given_one() {
    let world = World::default();
    world.clients.insert(Client::public("new").scope(scope("profile")));
    world.send(&[], &format!("{GOOD}&client_id=new")).await.is(400, "unauthorized_client");
    assert_eq!(world.users.asked(), 0);
    assert_eq!(world.events.last(), r#"client "new" is not registered for what it asked: Grant"#);
}

#[tokio::test]
async fn the_scope_is_what_was_asked_for_or_the_default_and_nothing_is_silently_left_out() {
    let world = World::default();
    world.clients.insert(Client::public("scopeless").grants([Grant::Password]));
    let form =
        |scope: &str| format!("grant_type=password&username=alice&password=wonderland{scope}");
    for (client, asked, granted) in [
        ("web", "", Ok("profile")),
        ("web", "&scope=", Ok("profile")),
        ("web", "&scope=orders:read", Ok("orders:read")),
        ("web", "&scope=orders%3Aread+profile", Ok("orders:read profile")),
        ("web", "&scope=profile+profile", Ok("profile")),
        ("web", "&scope=profile+admin", Err("invalid_scope")),
        ("web", "&scope=Profile", Err("invalid_scope")),
        ("web", "&scope=orders", Err("invalid_scope")),
        ("mobile", "", Err("invalid_scope")), // no default: RFC 6749 section 3.3
        ("mobile", "&scope=profile", Ok("profile")),
        ("scopeless", "", Ok("")),
        ("scopeless", "&scope=profile", Err("invalid_scope")),
    ] {
        let form = form(asked);
        let answer = match client {
            "web" => world.post(&form).await,
            public => world.send(&[], &format!("{form}&client_id={public}")).await,
        };
        match granted {
            Ok("") => {
                assert_eq!(answer.is_granted().get("scope"), None);
                assert_eq!(answer.claims().get("scope"), None);
            }
            Ok(granted) => {
                assert_eq!(answer.is_granted()["scope"], granted, "{client} {asked}");
                assert_eq!(answer.claims()["scope"], granted);
            }
            Err(error) => answer.is(400, error),
        }
    }
}

#[tokio::test]
async fn no_client_gets_a_scope_that_the_server_does_not_have() {
    let world = World::with(Users::default(), |builder| builder.scopes(scope("profile")));
    world.post(GOOD).await.is_granted();
    let orders = GOOD.replace("scope=profile", "scope=orders:read");
    world.post(&orders).await.is(400, "invalid_scope");
}

/// A default scope beyond the registered one is the host's mistake, not the caller's, and never a grant.
#[tokio::test]
async fn a_registration_that_contradicts_itself_is_our_trouble() {
    let world = World::default();
    world.clients.insert(
        Client::public("odd")
            .grants([Grant::Password])
            .scope(scope("profile"))
            .default_scope(scope("profile admin")),
    );
    let form = "grant_type=password&username=alice&password=wonderland&client_id=odd";
    world.send(&[], form).await.is(503, "temporarily_unavailable");
    assert_eq!(world.events.last(), r#"server fault: ClientRegistration with client "odd""#);
    assert_eq!(world.users.asked(), 0);
}

/// Requirement 71: the hook that sees the user narrows; it never widens.
#[tokio::test]
async fn the_final_scope_lies_within_what_was_asked_for() {
    for (most, granted) in [
        (Some("profile"), Some("profile")),
        (Some("orders:read admin profile"), Some("profile orders:read")),
        (Some("admin"), None),
        (Some(""), None),
        (None, Some("profile orders:read")),
    ] {
        let world = World::of(Users::who(move |_| {
            let login = Login::accepted("user-1");
            Ok(match most {
                Some("") => login.scope(Scope::empty()),
                Some(most) => login.scope(scope(most)),
                None => login,
            })
        }));
        let answer =
            world.post("grant_type=password&username=a&password=b&scope=profile+orders:read").await;
        match granted {
            Some(granted) => {
                assert_eq!(answer.is_granted()["scope"], granted);
                assert_eq!(answer.claims()["scope"], granted);
            }
            None => answer.is(400, "invalid_scope"),
        }
    }
}

#[tokio::test]
async fn the_audience_is_the_registered_one_that_was_asked_for() {
    let world = World::default();
    let client = Client::public("app").grants([Grant::Password]).scope(scope("profile"));
    world.clients.insert(client.audiences(["https://a.example.com", "https://b.example.com"]));
    for (asked, audience) in [
        ("", json!("https://a.example.com")),
        ("&audience=https://b.example.com", json!("https://b.example.com")),
        (
            "&resource=https://b.example.com&resource=https://b.example.com",
            json!("https://b.example.com"),
        ),
        (
            "&resource=https://b.example.com&audience=https://a.example.com",
            json!(["https://b.example.com", "https://a.example.com"]),
        ),
        ("&resource=https://c.example.com", Value::Null),
        ("&resource=https://a.example.com&resource=https://c.example.com", Value::Null),
        ("&resource=https://a.example.com/", Value::Null),
    ] {
        let answer = world.send(&[], &format!("{GOOD}&client_id=app{asked}")).await;
        if audience.is_null() {
            answer.is(400, "invalid_target");
        } else {
            assert_eq!(answer.claims()["aud"], audience, "{asked}");
        }
    }
    assert_eq!(
        world.post(GOOD).await.claims()["aud"],
        AUDIENCE,
        "the issuer's own, where none is registered"
    );
}

/// Whoever asks for what they get anyway is not refused for it.
#[tokio::test]
async fn the_audience_that_a_token_has_anyway_may_be_named() {
    let world = World::default();
    for (asked, granted) in [
        (format!("&audience={AUDIENCE}"), true),
        (format!("&resource={AUDIENCE}"), true),
        (format!("&resource={AUDIENCE}&audience={AUDIENCE}"), true),
        (format!("&resource=&audience={AUDIENCE}"), true),
        (format!("&audience={AUDIENCE}/"), false),
        (format!("&audience={}", AUDIENCE.to_uppercase()), false),
        (format!("&audience={AUDIENCE}&resource=https://other.example.com"), false),
        (format!("&audience={ISSUER}"), false),
    ] {
        let answer = world.post(&format!("{GOOD}{asked}")).await;
        if granted {
            assert_eq!(answer.claims()["aud"], AUDIENCE, "{asked}");
        } else {
            answer.is(400, "invalid_target");
        }
    }
    // A client that is registered for others does not get it anyway.
    let client = Client::public("app").grants([Grant::Password]).scope(scope("profile"));
    world.clients.insert(client.audiences(["https://a.example.com"]));
    world
        .send(&[], &format!("{GOOD}&client_id=app&audience={AUDIENCE}"))
        .await
        .is(400, "invalid_target");
    // Opaque tokens have one too; an issuer of the host's that says none has none.
    struct Silent;
    #[async_trait]
    impl TokenIssuer for Silent {
        async fn issue(&self, _: &Authorization<'_>) -> Result<AccessToken, BoxError> {
            Ok(AccessToken::new("token")?)
        }
    }
    let opaque: Arc<dyn TokenIssuer> = Arc::new(OpaqueIssuer::new(InMemoryTokens::new(), AUDIENCE));
    for (issuer, status) in [(opaque, 200), (Arc::new(Silent), 400)] {
        let builder = PasswordGrant::builder(ISSUER, common::clients(), Users::default(), issuer);
        let grant = builder.environment(&Environment::new().observer(())).build().unwrap();
        let form = format!("{GOOD}&client_id=mobile&resource={AUDIENCE}");
        let request =
            HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], form.as_bytes());
        assert_eq!(grant.token(request).await.status(), status);
    }
}

/// The most frequent mistake in an adapter, which otherwise nobody notices.
#[tokio::test]
async fn it_is_told_once_that_many_requests_come_without_an_address() {
    #[derive(Clone, Default)]
    struct Missing(Arc<AtomicUsize>);
    impl Observer for Missing {
        fn observe(&self, event: &Event<'_>) {
            if event.kind == EventKind::NoPeerAddress {
                assert!(event.to_string().contains("limits by address did not apply"), "{event}");
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    let told_by = async |configure: fn(PasswordGrantBuilder) -> PasswordGrantBuilder,
                         peers: Vec<Option<&str>>| {
        let missing = Missing::default();
        let observer = missing.clone();
        let configure = |builder: PasswordGrantBuilder, _: &ManualClock| configure(builder);
        let world =
            World::in_environment(Users::default(), |own| own.observer(observer), configure);
        for peer in peers {
            let form = format!("{GOOD}&client_id=mobile");
            let request = HttpRequest::new(
                "POST",
                None,
                [("content-type", FORM.as_bytes())],
                form.as_bytes(),
            );
            let request = match peer {
                Some(peer) => request.peer(peer.parse().unwrap()),
                None => request,
            };
            assert_eq!(world.grant.token(request).await.status(), 200);
        }
        missing.0.load(Ordering::SeqCst)
    };
    let (some, none) = (Some("192.0.2.1"), None);
    assert_eq!(told_by(|builder| builder, vec![some; 120]).await, 0);
    assert_eq!(
        told_by(|builder| builder, vec![none; 99]).await,
        0,
        "a health check of the host's own"
    );
    assert_eq!(told_by(|builder| builder, vec![none; 250]).await, 1);
    assert_eq!(told_by(|builder| builder, [some, none].repeat(100)).await, 1);
    assert_eq!(
        told_by(PasswordGrantBuilder::dangerous_without_attempt_limits, vec![none; 120]).await,
        0,
        "there are no limits"
    );
}

/// I20, requirement 25.
#[tokio::test]
async fn every_rejection_gets_the_same_bytes_and_its_reason_stays_private() {
    let reasons = [
        Rejection::UnknownUser,
        Rejection::WrongPassword,
        Rejection::NoPassword,
        Rejection::UnusableHash,
        Rejection::Disabled,
        Rejection::Locked,
        Rejection::Expired,
        Rejection::PasswordChangeRequired,
        Rejection::SecondFactorRequired,
        Rejection::Other("marker"),
    ];
    let mut answers = Vec::new();
    for reason in reasons {
        let world = World::of(Users::who(move |_| {
            Ok(Login::rejected(reason).member("hint", "marker").scope(Scope::empty()))
        }));
        answers.push(world.post(GOOD).await);
        assert!(
            world.events.last().ends_with(&format!("rejected: {reason:?}")),
            "{}",
            world.events.last()
        );
    }
    answers[0].is(400, "invalid_grant");
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert!(!answers[0].body.contains("marker"));
}

#[tokio::test]
async fn another_step_is_asked_for_with_the_hosts_code_and_members() {
    let world =
        World::of(Users::who(
            |_| Ok(Login::more_needed("mfa_required").member("mfa_token", "m-1")),
        ));
    let answer = world.post(GOOD).await;
    answer.is(403, "mfa_required");
    assert_eq!(answer.json()["mfa_token"], "m-1");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        world.events.last(),
        r#"login of "alice" through client "web" needs another step: "mfa_required""#
    );

    let request = [
        ("grant_type", "password"),
        ("username", "a"),
        ("password", "b"),
        ("client_id", "mobile"),
        ("scope", "profile"),
    ];
    let request =
        TokenRequest::from_pairs(request.map(|(name, value)| (name.into(), value.into()))).unwrap();
    let refusal = world.grant.handle(request).await.unwrap_err();
    assert_eq!(refusal.code(), &ErrorCode::Host("mfa_required".into()));
    assert_eq!(refusal.reason(), &Reason::MoreNeeded("mfa_required".into()));
}

#[tokio::test]
async fn the_host_adds_to_answers_and_tokens_and_overrides_nothing() {
    let added = World::of(Users::who(|_| {
        Ok(Login::accepted("user-1")
            .member("account", json!({ "plan": "pro" }))
            .claim("roles", json!(["staff"])))
    }));
    let answer = added.post(GOOD).await;
    assert_eq!(answer.is_granted()["account"]["plan"], "pro");
    assert_eq!(answer.claims()["roles"][0], "staff");
    assert_eq!(answer.claims().get("account"), None);

    for member in [
        "access_token",
        "token_type",
        "expires_in",
        "scope",
        "refresh_token",
        "error",
        "error_description",
        "",
    ] {
        let world =
            World::of(Users::who(move |_| Ok(Login::accepted("user-1").member(member, "x"))));
        world.post(GOOD).await.is(500, "server_error");
        let world = World::of(Users::who(move |_| {
            Ok(Login::more_needed("mfa_required").member(member, "x"))
        }));
        let answer = world.post(GOOD).await;
        answer.is(500, "server_error");
        assert_eq!(answer.json().as_object().unwrap().len(), 2, "{}", answer.body);
        assert_eq!(answer.body.matches("\"error\"").count(), 1);
    }
    for claim in
        ["iss", "sub", "aud", "client_id", "scope", "iat", "exp", "nbf", "jti", "cnf", "act", ""]
    {
        let world = World::of(Users::who(move |_| Ok(Login::accepted("user-1").claim(claim, "x"))));
        world.post(GOOD).await.is(500, "server_error");
    }
    for code in ["", "invalid_grant", "invalid_client", "server_error", "a b", "a\"b", "a\nb", "ä"]
    {
        let world =
            World::of(Users::who(move |_| Ok(Login::more_needed(code).member("mfa_token", "m-1"))));
        let answer = world.post(GOOD).await;
        answer.is(500, "server_error");
        assert!(!answer.body.contains("m-1"));
        assert_eq!(world.events.last(), r#"server fault: HostMember with client "web""#);
    }
    let nobody = World::of(Users::who(|_| Ok(Login::accepted(""))));
    nobody.post(GOOD).await.is(500, "server_error");
}

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

/// A value in a table that cannot be meant is the host's mistake, never a token.
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
        assert_eq!(world.events.last(), r#"server fault: ClientRegistration with client "odd""#);
    }
    assert_eq!(world.users.asked(), 0, "found before the password is looked at");
}

/// The time that a password took does not shorten the token.
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
    let builder = PasswordGrant::builder(ISSUER, common::clients(), world.users.clone(), tokens);
    let grant = builder.environment(&Environment::new().clock(clock).observer(())).build().unwrap();
    let form = format!("{GOOD}&client_id=mobile");
    let headers = [("content-type", FORM.as_bytes())];
    let request = HttpRequest::new("POST", None, headers, form.as_bytes());
    assert_eq!(Answer::from(grant.token(request).await).claims()["iat"], noon().unix_seconds() + 7);
}

/// Requirement 4: the limit is the engine's, whoever has parsed the request.
#[tokio::test]
async fn a_parsed_request_is_held_against_the_engines_limits() {
    for (limit, length, fine) in [(72, 72, true), (72, 73, false), (4096, 4096, true)] {
        let mut limits = RequestLimits::default();
        limits.password = limit;
        let users = Users::who(|_| Ok(Login::accepted("user-1")));
        let world = World::with(users, |builder| builder.limits(limits));
        let form = GOOD.replace("wonderland", &"a".repeat(length)) + "&client_id=mobile";
        let pairs = form
            .split('&')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(n, v)| (n.into(), v.into()));
        let request = TokenRequest::from_pairs(pairs).unwrap();
        assert_eq!(world.grant.handle(request).await.is_ok(), fine, "{limit} {length}");
        let headers = [("content-type", FORM.as_bytes())];
        let http = HttpRequest::new("POST", None, headers, form.as_bytes());
        assert_eq!(world.grant.handle(TokenRequest::from_http(&http).unwrap()).await.is_ok(), fine);
        assert_eq!(world.users.asked(), if fine { 2 } else { 0 });
    }
}

/// Section 0: a bug is 500 `server_error`, in our words.
#[tokio::test]
async fn a_panic_in_the_hosts_code_is_an_answer_too() {
    let world = World::of(Users::who(|_| panic!("on purpose")));
    let answer = world.post(GOOD).await;
    answer.is(500, "server_error");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(world.events.last(), "server fault: Panic");
}

/// A token that no verifier would read is not handed out.
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

/// Requirement 74.
#[tokio::test]
async fn the_subject_is_what_the_authenticator_says_never_the_name_typed() {
    let world = World::default();
    let claims = world.post(GOOD).await.claims();
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("user-1"), &json!("web")));
}

#[tokio::test]
async fn the_authenticator_gets_what_was_typed_and_what_is_known_about_the_request() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let world = World::of(Users::who(move |attempt| {
        let (name, password) =
            (attempt.username().to_owned(), attempt.password().expose().to_owned());
        log.lock().unwrap().push((
            name,
            password,
            attempt.scope().to_string(),
            attempt.client().id().to_string(),
        ));
        Ok(Login::accepted("user-1"))
    }));
    world
        .post("grant_type=password&username=+Al%C4%B0ce+&password=+pw+&scope=orders:read")
        .await
        .is_granted();
    let expected =
        (" Alİce ".to_owned(), " pw ".to_owned(), "orders:read".to_owned(), "web".to_owned());
    assert_eq!(seen.lock().unwrap()[..], [expected]);
}

/// A token issuer that fails, or hands out what a test wants.
struct Tokens(fn(&Authorization<'_>) -> Result<AccessToken, BoxError>);

#[async_trait]
impl TokenIssuer for Tokens {
    async fn issue(&self, authorization: &Authorization<'_>) -> Result<AccessToken, BoxError> {
        (self.0)(authorization)
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
    let grant =
        PasswordGrant::builder(ISSUER, common::clients(), Users::default(), Arc::new(tokens))
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
    let events = common::Events::default();
    let grant = PasswordGrant::builder(ISSUER, common::clients(), Users::default(), tokens)
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

/// Requirement 137.
#[tokio::test]
async fn without_randomness_no_engine_is_built() {
    struct Broken;
    impl SecureRandom for Broken {
        fn fill(&self, _: &mut [u8]) -> Result<(), RandomnessError> {
            Err(RandomnessError::new())
        }
    }
    for limited in [true, false] {
        let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE);
        let builder = PasswordGrant::builder(ISSUER, common::clients(), Users::default(), tokens)
            .environment(&Environment::new().randomness(Broken));
        let builder = if limited { builder } else { builder.dangerous_without_attempt_limits() };
        assert!(matches!(builder.build(), Err(BuildError::Randomness(_))));
    }
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

/// Requirement 80: a failed login waits, everything else does not.
#[tokio::test]
async fn a_failure_floor_holds_failed_logins_back_and_nothing_else() {
    let world = World::with(Users::default(), |builder| {
        builder.min_failure_time(Duration::from_millis(300))
    });
    let wrong = GOOD.replace("wonderland", "wrong");
    let mut failing = Box::pin(world.post(&wrong));
    assert!(futures_util::poll!(&mut failing).is_pending());
    world.clock.advance(Duration::from_millis(299));
    assert!(futures_util::poll!(&mut failing).is_pending());
    world.clock.advance(Duration::from_millis(1));
    failing.await.is(400, "invalid_grant");

    world.post(GOOD).await.is_granted();
    world.post("").await.is(400, "invalid_request");
    world.send(&[], GOOD).await.is(401, "invalid_client");
    assert_eq!(world.clock.sleepers(), 0);
}

#[tokio::test]
async fn what_happened_is_observed_in_lines_that_cannot_be_forged() {
    let world = World::default();
    world.post(GOOD).await.is_granted();
    let issued = world.events.last();
    assert!(
        issued.contains(r#"issued to client "web" for subject "user-1", scope "profile""#),
        "{issued}"
    );

    world
        .post("grant_type=password&username=%E2%80%A8eve%22%5C%C2%85&password=x")
        .await
        .is(400, "invalid_grant");
    let line = world.events.last();
    assert!(
        !line.contains(|character: char| character.is_control() || character == '\u{2028}'),
        "{line:?}"
    );
    assert_eq!(
        line,
        r#"login of "\u{2028}eve\"\\\u{85}" through client "web" rejected: WrongPassword"#
    );
}

fn builder(issuer: &str) -> PasswordGrantBuilder {
    let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE);
    PasswordGrant::builder(issuer, InMemoryClients::default(), Users::default(), tokens)
}

/// Requirement 123; RFC 8414 section 2.
#[test]
fn the_issuer_is_https_or_on_loopback() {
    for (issuer, fine) in [
        ("https://id.example.com", true),
        ("https://id.example.com/tenant/1", true),
        ("https://id.example.com:8443/", true),
        ("https://[2001:db8::1]:8443", true),
        ("http://localhost:8080", true),
        ("http://127.0.0.1", true),
        ("http://127.8.9.1:1", true),
        ("http://[::1]:8080", true),
        ("http://id.example.com", false),
        ("http://localhost.example.com", false),
        ("http://127.0.0.1.example.com", false),
        ("http://10.0.0.1", false),
        ("http://[::2]", false),
        ("http://localhost@evil.example.com", false),
        ("https://id.example.com?x=1", false),
        ("https://id.example.com#x", false),
        ("https://id.example.com/a b", false),
        ("https://id.example.com/\r\nx", false),
        ("https://user@id.example.com", false),
        ("https://", false),
        ("https:///path", false),
        ("http://[::1]evil.example.com", false),
        ("http://[::1].evil.example.com/x", false),
        ("http://localhost:x.evil.example.com", false),
        ("http://127.0.0.1:999999", false),
        ("https://[zz]", false),
        ("https://a:b:c", false),
        ("https://[::1%25eth0]", false),
        ("https://..", false),
        ("https://a..b", false),
        ("https://a%41.example.com", false),
        ("HTTPS://id.example.com", false),
        ("ftp://id.example.com", false),
        ("id.example.com", false),
        ("", false),
    ] {
        let built = builder(issuer).build();
        assert_eq!(built.is_ok(), fine, "{issuer}");
        assert!(fine || matches!(built, Err(BuildError::Url(_))));
    }
    assert!(builder(ISSUER).token_endpoint("http://id.example.com/t").build().is_err());
    assert!(builder(ISSUER).jwks_uri("/jwks").build().is_err());
}

#[test]
fn a_configuration_that_cannot_work_is_refused_when_it_is_built() {
    assert!(matches!(
        builder(ISSUER).access_token_lifetime(Duration::ZERO).build(),
        Err(BuildError::Lifetime)
    ));
    assert!(matches!(
        builder(ISSUER).authentication_methods([]).build(),
        Err(BuildError::NoAuthenticationMethod)
    ));
    for member in [
        "issuer",
        "token_endpoint",
        "token_endpoint_auth_methods_supported",
        "grant_types_supported",
    ] {
        assert!(matches!(
            builder(ISSUER).metadata_member(member, "x").build(),
            Err(BuildError::MetadataMember(_))
        ));
    }
    assert!(
        builder(ISSUER)
            .metadata_member("service_documentation", "https://x.example")
            .build()
            .is_ok()
    );

    struct Unready;
    #[async_trait]
    impl TokenIssuer for Unready {
        async fn issue(&self, _: &Authorization<'_>) -> Result<AccessToken, BoxError> {
            Err("never".into())
        }
        fn check(&self) -> Result<(), BoxError> {
            Err("no key".into())
        }
    }
    let unready =
        PasswordGrant::builder(ISSUER, InMemoryClients::default(), Users::default(), Unready)
            .build();
    assert!(matches!(unready, Err(BuildError::TokenIssuer(_))));
}

#[tokio::test]
async fn an_engine_is_cheap_to_share_and_serves_in_parallel() {
    fn shareable<T: Clone + Send + Sync + 'static>(_: &T) {}
    let world = Arc::new(World::default());
    shareable(&world.grant);
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            tokio::spawn({
                let world = world.clone();
                async move { world.post(GOOD).await.access_token() }
            })
        })
        .collect();
    let mut ids = HashSet::new();
    for task in tasks {
        ids.insert(segment(&task.await.unwrap(), 1)["jti"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 64);
}

#[test]
fn the_future_of_a_request_can_move_between_threads() {
    fn sendable<T: Send>(_: T) {}
    let world = World::default();
    let headers = [("content-type", FORM.as_bytes())];
    sendable(world.grant.token(HttpRequest::new("POST", None, headers, b"")));
}

/// RFC 6750 section 2.1: what no client could send back is not a token.
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

/// For hosts that count attempts before the engine sees the request.
#[test]
fn a_parsed_request_shows_what_is_no_secret() {
    let form = format!("{GOOD}&client_id=mobile");
    let http = HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], form.as_bytes());
    let request = TokenRequest::from_http(&http).unwrap();
    let shown = (request.grant_type(), request.client_id(), request.username());
    assert_eq!(shown, (Some("password"), Some("mobile"), Some("alice")));
}

/// Incident I27, requirement 139: a right password leaves a trace, also where no token follows.
#[tokio::test]
async fn a_login_is_observed_even_if_no_token_follows() {
    let world =
        World::of(Users::who(|_| Ok(Login::accepted("user-1").scope("profile".parse().unwrap()))));
    world
        .post("grant_type=password&username=alice&password=x&scope=orders:read")
        .await
        .is(400, "invalid_scope");
    let expected = [
        r#"attempt on "a…(5)" through client "web" admitted, counted on Account"#,
        r#"login of "alice" through client "web" accepted: subject "user-1""#,
        r#"client "web" is not registered for what it asked: OwnerScope"#,
    ];
    assert_eq!(world.events.lines(), expected);
}

/// What happened has happened, whatever becomes of the line about it.
#[tokio::test]
async fn an_observer_that_panics_changes_no_answer() {
    struct Panics;
    impl Observer for Panics {
        fn observe(&self, _: &Event<'_>) {
            panic!("on purpose");
        }
    }
    let world = World::with(Users::default(), |builder| builder);
    let tokens = JwtIssuer::new(world.keys.clone(), AUDIENCE);
    let builder = PasswordGrant::builder(ISSUER, common::clients(), world.users.clone(), tokens);
    let grant = builder.environment(&Environment::new().observer(Panics)).build().unwrap();
    let wrong = GOOD.replace("wonderland", "wrong");
    for (form, status) in
        [(GOOD, 200), (&*wrong, 400), ("%zz", 400), ("grant_type=password&scope=admin", 400)]
    {
        let form = format!("{form}&client_id=mobile");
        let headers = [("content-type", FORM.as_bytes())];
        let request = HttpRequest::new("POST", None, headers, form.as_bytes());
        assert_eq!(grant.token(request).await.status(), status, "{form}");
    }
}
