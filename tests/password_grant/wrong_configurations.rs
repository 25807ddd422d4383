//! Configurations that can never work. Each is an error where it is written, and the error says what
//! is wrong.

use std::time::Duration;

use password_grant::assertion::AssertionKey;
use password_grant::event::EventKind;
use password_grant::jose::{Jwk, JwkSet};
use password_grant::resource::VerifierError;
use password_grant::state::{InMemoryState, StateSecret};
use password_grant::testing::{InMemoryClients, InMemoryTokens};
use password_grant::token::OpaqueIssuer;
use password_grant::{
    AccessTokenVerifier, Algorithm, AttemptLimits, AuthenticationMethod, BoxError, Client,
    ClientAuthentication, ClientBuilder, ClientSecret, Environment, Event, Grant, JwtIssuer,
    Observer, PasswordGrant, PasswordGrantBuilder, RefreshKeys, RefreshTokens, Scope, SigningKeys,
    TrustedProxies,
};

use crate::common::sessions::{Gate, keys};
use crate::common::{AUDIENCE, GOOD, ISSUER, Users, World};

fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

fn refresh() -> RefreshTokens {
    RefreshTokens::new(keys(), Gate::default())
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

type Configure = fn(PasswordGrantBuilder) -> PasswordGrantBuilder;

fn engine(
    issuer: &str,
    clients: impl IntoIterator<Item = ClientBuilder>,
    configure: Configure,
) -> Result<PasswordGrant, BoxError> {
    let tokens = JwtIssuer::new(SigningKeys::generate()?, AUDIENCE);
    let clients = InMemoryClients::new(clients);
    let builder = PasswordGrant::builder(issuer, clients, Users::default(), tokens)
        .environment(&Environment::new().observer(()));
    Ok(configure(builder).build()?)
}

#[track_caller]
fn assert_says<T>(built: Result<T, impl Into<BoxError>>, parts: &[&str]) {
    let error = match built {
        Ok(_) => panic!("{parts:?} is no error"),
        Err(error) => error.into().to_string(),
    };
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
    assert!(!error.contains('\n'), "{error:?}");
}

#[test]
fn an_engine_that_can_never_work_is_not_built() {
    let table: &[(&[&str], Configure)] = &[
        (&["token_endpoint: ", "does not begin with https"], |engine| {
            engine.token_endpoint("/token")
        }),
        (&["revocation_endpoint: ", "has a query"], |engine| {
            engine.revocation_endpoint("https://id.example.com/revoke?a=b")
        }),
        (&["introspection_endpoint: ", "has a fragment"], |engine| {
            engine.introspection_endpoint("https://id.example.com/introspect#a")
        }),
        (&["jwks_uri: ", "use https"], |engine| engine.jwks_uri("http://id.example.com/keys")),
        (&["access_token_lifetime: 0ns"], |engine| engine.access_token_lifetime(Duration::ZERO)),
        (&["access_token_lifetime: "], |engine| {
            engine.access_token_lifetime(seconds(367 * 86_400))
        }),
        (&["authentication_methods: none"], |engine| engine.authentication_methods([])),
        (&["assertion_algorithms: none", "private_key_jwt"], |engine| {
            engine.assertion_algorithms([])
        }),
        (&["assertion_algorithms: none", "client_secret_jwt"], |engine| {
            let engine = engine.authentication_methods([AuthenticationMethod::ClientSecretJwt]);
            engine.assertion_algorithms([Algorithm::Es256])
        }),
        (&["max_assertion_lifetime: it is zero"], |engine| {
            engine.max_assertion_lifetime(Duration::ZERO)
        }),
        (&["max_assertions_per_client: it is zero"], |engine| engine.max_assertions_per_client(0)),
        (&["\"issuer\" is set by the engine"], |engine| engine.metadata_member("issuer", "x")),
        (&["attempt limits: "], |engine| engine.attempt_limits(AttemptLimits::default().burst(0))),
        (&["idle lifetime must not be longer"], |engine| {
            engine
                .refresh_tokens(refresh().absolute_lifetime(seconds(60)).idle_lifetime(seconds(61)))
        }),
        (&["idle lifetime must be a minute"], |engine| {
            engine.refresh_tokens(refresh().idle_lifetime(Duration::ZERO))
        }),
        (&["absolute lifetime must be"], |engine| {
            engine.refresh_tokens(refresh().absolute_lifetime(Duration::ZERO))
        }),
        (&["retry window must be"], |engine| {
            engine.refresh_tokens(refresh().retry_window(seconds(3_600)))
        }),
        (&["from 1 to 500 sessions"], |engine| engine.refresh_tokens(refresh().sessions(0))),
        (&["required scope", "server's scopes"], |engine| {
            engine.scopes(scope("profile")).refresh_tokens(refresh())
        }),
    ];
    for (parts, configure) in table {
        assert_says(engine(ISSUER, [], *configure), parts);
    }
    for (issuer, problem) in [
        ("", "issuer: \"\" is empty"),
        ("id.example.com", "does not begin with https"),
        ("http://id.example.com", "use https"),
        ("https://id.example.com/?tenant=a", "has a query"),
        ("https://user:secret@id.example.com", "\"…\" has user information"),
        ("https://id.example.com:99999", "no valid host and port"),
    ] {
        assert_says(engine(issuer, [], |engine| engine), &["issuer: ", problem]);
    }
    assert!(engine(ISSUER, [], |engine| engine.refresh_tokens(refresh())).is_ok());
}

#[test]
fn an_issuer_without_audience_is_not_taken() {
    let built = PasswordGrant::builder(
        ISSUER,
        InMemoryClients::default(),
        Users::default(),
        JwtIssuer::new(SigningKeys::generate().unwrap(), ""),
    );
    assert_says(built.build(), &["its audience is empty"]);
    let tokens = OpaqueIssuer::new(InMemoryTokens::new(), "");
    let built =
        PasswordGrant::builder(ISSUER, InMemoryClients::default(), Users::default(), tokens);
    assert_says(built.build(), &["its audience is empty"]);
}

#[cfg(feature = "argon2")]
fn with_a_slow_hash() -> Option<(Vec<ClientBuilder>, &'static str, Configure)> {
    let slow = ClientAuthentication::basic_by_slow_hash("$argon2id$…");
    Some((vec![Client::confidential("web", slow)], "authentication: a slow hash", |engine| engine))
}

#[cfg(not(feature = "argon2"))]
fn with_a_slow_hash() -> Option<(Vec<ClientBuilder>, &'static str, Configure)> {
    None
}

#[test]
fn a_registration_that_can_never_work_is_named_when_the_engine_is_built() {
    let web = || Client::confidential("web", ClientSecret::digest_of("web-secret"));
    let mut table: Vec<(Vec<ClientBuilder>, &str, Configure)> = vec![
        (vec![web(), web()], "id: another client has the same one", |engine| engine),
        (vec![Client::public("")], "id: it has to be", |engine| engine),
        (vec![Client::public("café")], "id: it has to be", |engine| engine),
        (vec![Client::public("a".repeat(257))], "id: it has to be", |engine| engine),
        (
            vec![web().scope(scope("profile")).default_scope(scope("profile admin"))],
            "default_scope: \"admin\" is not in the client's scope",
            |engine| engine,
        ),
        (
            vec![web().scope(scope("profile admin")).default_scope(scope("admin"))],
            "default_scope: \"admin\" is not in the server's scopes",
            |engine| engine.scopes(scope("profile")),
        ),
        (
            vec![web().access_token_lifetime(Duration::ZERO)],
            "access_token_lifetime: 0ns",
            |engine| engine,
        ),
        (vec![web().audiences(["https://a.example", ""])], "audiences: ", |engine| engine),
        (
            vec![web().grants([Grant::Password, Grant::RefreshToken])],
            "grants: refresh_token, and refresh tokens are off",
            |engine| engine,
        ),
        (
            vec![Client::confidential(
                "web",
                ClientAuthentication::private_key_jwt_uri("https://a.example/keys"),
            )],
            "authentication: keys at a URI",
            |engine| engine,
        ),
        (
            vec![Client::public("app").resource_server()],
            "resource_server: a public client",
            |engine| engine,
        ),
    ];
    table.extend(with_a_slow_hash());
    for (clients, problem, configure) in table {
        let id = format!("client {:?}: ", clients[0].clone().build().id());
        assert_says(engine(ISSUER, clients, configure), &[&id, problem]);
    }
    // Once the one of them is replaced, nothing is repeated.
    let clients = InMemoryClients::new([web(), web()]);
    clients.insert(web());
    let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE);
    assert!(PasswordGrant::builder(ISSUER, clients, Users::default(), tokens).build().is_ok());
    #[cfg(feature = "argon2")]
    {
        // The other secret works without slow hashes.
        let both = ClientAuthentication::basic(ClientSecret::digest_of("web-secret"));
        let both = Client::confidential("web", both.or_slow_hash("$argon2id$…"));
        assert!(engine(ISSUER, [both], |engine| engine).is_ok());
    }
    // A method that is off shuts its clients out on purpose.
    let without_secrets: Configure =
        |engine| engine.authentication_methods([AuthenticationMethod::None]);
    assert!(engine(ISSUER, [web()], without_secrets).is_ok());
}

/// Those that every request runs into, from a table that is read when a request comes.
#[tokio::test]
async fn a_registration_that_can_never_work_is_a_503_whose_event_names_the_setting() {
    let both = || [Grant::Password, Grant::RefreshToken];
    let odd = || Client::public("odd").grants([Grant::Password]);
    for (client, setting) in [
        (odd().grants(both()), "grants: refresh_token"),
        (odd().access_token_lifetime(Duration::ZERO), "access_token_lifetime: 0ns"),
        (odd().audiences([""]), "audiences: one of them is empty"),
        (odd().default_scope(scope("admin")), "default_scope: "),
    ] {
        let world = World::default();
        world.clients.insert(client.scope(scope("profile")));
        let form = format!("{}&client_id=odd", GOOD.replace("&scope=profile", ""));
        world.send(&[], &form).await.is(503, "temporarily_unavailable");
        let told = world.events.last();
        assert!(told.starts_with("server fault: ClientRegistration"), "{told}");
        assert!(told.contains(setting), "{told}");
        assert_eq!(world.users.asked(), 0);
    }
}

/// A key without its frame, with slashes and without padding.
const TOKEN_KEY_IN_ONE_LINE: &str = concat!(
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgW+XUWTQNpovba7A/YPrxPZzEI/azd539wGD2vsfEGpih",
    "RANCAASmTNeQIFOoBxjaM6cb7svNxS2a2br6/gQXPKZim1qRHD/NhJblCxkpC8isGf1V6/I0r58OZcS9jsXTSKXlXq+6",
);

#[test]
fn a_key_that_cannot_sign_says_what_it_is_and_what_to_do() {
    for (pem, parts) in [
        (include_str!("../common/refused_keys/rsa1024.pem"), &["1024 bits", "openssl"][..]),
        (include_str!("../common/refused_keys/rsa1024_in_pkcs8.pem"), &["1024 bits", "openssl"]),
        (include_str!("../common/refused_keys/x25519.pem"), &["X25519"]),
        (include_str!("../common/refused_keys/ed448.pem"), &["Ed448"]),
        (include_str!("../common/refused_keys/secp256k1.pem"), &["secp256k1"]),
        (include_str!("../common/refused_keys/p224.pem"), &["P-224"]),
        (include_str!("../common/refused_keys/pss.pem"), &["PSS"]),
        (include_str!("../common/refused_keys/encrypted.pem"), &["encrypted", "openssl pkey"]),
        (include_str!("../common/refused_keys/encrypted_in_the_old_form.pem"), &["encrypted"]),
        (include_str!("../common/refused_keys/public.pem"), &["public key"]),
        ("examples/keys/token-es256.pem", &["path of a file"]),
        ("/etc/keys/token", &["path of a file"]),
        ("", &["no private key"]),
        ("MC4CAQAwBQYDK2VwBCIEIA==", &["no private key"]),
        (TOKEN_KEY_IN_ONE_LINE, &["no private key"]),
    ] {
        assert_says(SigningKeys::from_pem(pem), parts);
        assert_says(AssertionKey::from_pem(pem), parts);
    }
}

#[test]
fn a_secret_that_is_too_short_says_its_length() {
    let needed = &["of 5 bytes", "at least 32"][..];
    assert_says(RefreshKeys::new("short"), needed);
    assert_says(keys().with_previous("short"), needed);
    assert_says(SigningKeys::from_hs256_secret(b"short"), needed);
    assert_says(ClientAuthentication::client_secret_jwt("short"), needed);
    assert_says(StateSecret::new("short"), &["32 bytes or more", "has 5"]);
    assert_says(ClientSecret::from_sha256_slice(b"short"), &["32 bytes", "64 hexadecimal"]);
    assert_says(ClientSecret::from_sha256_hex("short"), &["32 bytes", "64 hexadecimal"]);
}

#[test]
fn a_name_or_a_network_that_is_none_is_quoted() {
    assert_says("passwort".parse::<Grant>(), &["\"passwort\"", "`password`"]);
    assert_says(TrustedProxies::x_forwarded_for(["10.0.0.0/99"]), &["10.0.0.0/99"]);
    assert_says(TrustedProxies::forwarded([] as [&str; 0]), &["no network"]);
}

#[test]
fn a_verifier_or_a_key_set_that_can_never_work_is_not_made() {
    let keys = || SigningKeys::generate().unwrap().verification_keys().unwrap();
    let verifier = |issuer: &str, audience: &str, algorithms: &[Algorithm]| {
        AccessTokenVerifier::new(issuer, audience, algorithms.iter().copied(), keys())
    };
    assert_says(verifier("", AUDIENCE, &[Algorithm::Es256]), &["issuer is empty"]);
    assert_says(verifier(ISSUER, "", &[Algorithm::Es256]), &["audience is empty"]);
    assert_says(verifier(ISSUER, AUDIENCE, &[]), &["no algorithm"]);
    assert_says(verifier(ISSUER, AUDIENCE, &[Algorithm::Rs256]), &["no key", "RS256"]);
    assert_eq!(
        engine(ISSUER, [], |engine| engine).unwrap().verifier("").unwrap_err(),
        VerifierError::EmptyAudience
    );
    assert_says(JwkSet::from_json(b"{}"), &["not a JSON Web Key set"]);
    assert_says(Jwk::from_json(b"[]"), &["not a JSON object"]);
}

/// A restart ends every session then, which a developer finds out in production otherwise.
#[test]
fn sessions_in_memory_are_reported_once_when_the_engine_is_built() {
    #[derive(Clone, Default)]
    struct Kinds(std::sync::Arc<std::sync::Mutex<Vec<EventKind>>>);

    impl Observer for Kinds {
        fn observe(&self, event: &Event<'_>) {
            self.0.lock().unwrap().push(event.kind);
        }
    }

    let told = |configure: Configure| {
        let kinds = Kinds::default();
        let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE);
        let builder =
            PasswordGrant::builder(ISSUER, InMemoryClients::default(), Users::default(), tokens)
                .environment(&Environment::new().observer(kinds.clone()));
        configure(builder).build().unwrap();
        kinds.0.lock().unwrap().clone()
    };
    assert_eq!(told(|engine| engine), []);
    assert_eq!(told(|engine| engine.refresh_tokens(refresh())), [EventKind::SessionsInMemory]);
    let shared: Configure = |engine| {
        let secret = StateSecret::new([7; 32]).unwrap();
        engine.refresh_tokens(refresh()).shared_state(InMemoryState::new(), secret)
    };
    assert_eq!(told(shared), []);
}
