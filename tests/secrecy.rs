//! Secrets stay secret: in `Debug`, in events, in logs and in answers (requirements 30, 138;
//! incident I28).

mod common;

#[cfg(feature = "tracing")]
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::sessions::{Gate, Pair, keys, refreshing};
use common::{AUDIENCE, Answer, FORM, ISSUER, Users, basic};
use password_grant::resource::{BearerRequest, TokenLookup};
use password_grant::testing::{InMemoryClients, InMemoryTokens};
use password_grant::time::SystemClock;
use password_grant::token::OpaqueIssuer;
use password_grant::{
    AccessToken, AccessTokenVerifier, Admission, Algorithm, Client, ClientAuthentication,
    ClientSecret, Environment, Event, Grant, HttpRequest, JwtIssuer, Login, Observer,
    PasswordGrant, RefreshKeys, RefreshTokens, Rejection, Secret, SigningKeys, TokenRequest,
};

const PASSWORD: &str = "correct-horse-battery";
const CLIENT_SECRET: &str = "s3cr3t-of-the-client";
const HMAC_SECRET: &str = "hmac-secret-hmac-secret-hmac-secret";

fn debug(value: impl std::fmt::Debug) -> String {
    format!("{value:?} {value:#?}")
}

#[track_caller]
fn clean(text: &str, secrets: &[&str]) {
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn no_public_type_shows_a_secret() {
    let stored = ClientSecret::digest_of(CLIENT_SECRET);
    let digest_bytes = debug(stored.sha256());
    let digest_bytes =
        digest_bytes.trim_matches(['[', ']']).split(", ").take(6).collect::<Vec<_>>().join(", ");
    let client = Client::confidential(
        "web",
        ClientAuthentication::basic(stored.clone()).or_secret(stored.clone()),
    );
    let keys = SigningKeys::from_hs256_secret(HMAC_SECRET.as_bytes()).unwrap();
    let authorization = basic("web", CLIENT_SECRET);
    let form = format!(
        "grant_type=password&username=alice&password={PASSWORD}&client_secret={CLIENT_SECRET}"
    );
    let headers = [("content-type", FORM.as_bytes()), ("authorization", authorization.as_bytes())];
    let query = format!("password={PASSWORD}");
    let http = HttpRequest::new("POST", Some(&query), headers, form.as_bytes());
    let without_query = HttpRequest::new("POST", None, headers, form.as_bytes());
    let clients = InMemoryClients::new([client.clone()]);
    let grant = PasswordGrant::builder(
        ISSUER,
        clients.clone(),
        Users::default(),
        JwtIssuer::new(keys.clone(), AUDIENCE),
    );
    let verifier = AccessTokenVerifier::new(
        ISSUER,
        AUDIENCE,
        [Algorithm::Hs256],
        keys.verification_keys().unwrap(),
    );
    let members =
        Login::accepted("user-1").member("refresh_hint", PASSWORD).claim("note", PASSWORD);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (log, tokens) = (seen.clone(), OpaqueIssuer::new(InMemoryTokens::new(), AUDIENCE));
    let users = Users::who(move |attempt| {
        log.lock().unwrap().extend([
            debug(attempt),
            debug(attempt.password()),
            debug(attempt.client()),
        ]);
        Ok(Login::accepted("user-1").member("note", PASSWORD).claim("note", PASSWORD))
    });
    let engine = PasswordGrant::builder(ISSUER, clients.clone(), users, tokens.clone())
        .environment(&Environment::new().observer(()))
        .build()
        .unwrap();
    let granting = client.clone().grants([Grant::Password]);
    clients.insert(granting);
    let form_alone = format!("grant_type=password&username=alice&password={PASSWORD}");
    let request =
        TokenRequest::from_http(&HttpRequest::new("POST", None, headers, form_alone.as_bytes()))
            .unwrap();
    let granted = engine.handle(request).await.unwrap();
    let details = tokens.look_up(granted.access_token().expose()).await.unwrap().unwrap();
    seen.lock().unwrap().extend([debug(&granted), debug(&details)]);
    clean(&debug(&granted), &[granted.access_token().expose()]);
    let shown = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(shown.len(), 5);
    shown.iter().for_each(|text| clean(text, &[PASSWORD, CLIENT_SECRET, "note"]));

    for text in [
        debug(&stored),
        debug(&client),
        debug(&clients),
        debug(ClientAuthentication::post(stored)),
        debug(ClientSecret::generate().unwrap()),
        debug(Secret::new(PASSWORD)),
        debug(AccessToken::new(PASSWORD).unwrap()),
        debug(&http),
        debug(TokenRequest::from_http(&without_query).unwrap()),
        debug(BearerRequest::new(headers, Some(&query))),
        debug(members),
        debug(Login::more_needed("mfa_required").member("mfa_token", PASSWORD)),
        debug(Login::rejected(Rejection::WrongPassword)),
        debug(&keys),
        debug(keys.verification_keys().unwrap()),
        debug(JwtIssuer::new(keys, AUDIENCE)),
        debug(OpaqueIssuer::new(InMemoryTokens::new(), AUDIENCE)),
        debug(&grant),
        debug(grant.build().unwrap()),
        debug(verifier),
        debug(SystemClock::new()),
        debug(RefreshTokens::new(RefreshKeys::new(HMAC_SECRET).unwrap(), Gate::default())),
        debug(Admission::admitted().claim("note", PASSWORD)),
    ] {
        clean(&text, &[PASSWORD, CLIENT_SECRET, HMAC_SECRET, &digest_bytes, "refresh_hint"]);
    }
}

#[cfg(feature = "argon2")]
#[test]
fn a_user_does_not_show_its_hash() {
    use password_grant::User;
    use password_grant::password::Argon2Parameters;
    let hash = Argon2Parameters::default().hash(PASSWORD).unwrap();
    let user = User::new("user-1", Some(hash.clone()));
    clean(&debug(user), &[&hash, "$argon2id", hash.rsplit('$').next().unwrap()]);
}

/// Keeps everything that can be printed of an event.
#[derive(Clone, Default)]
struct Everything(Arc<Mutex<String>>);

impl Observer for Everything {
    fn observe(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push_str(&format!("{event} {event:?} {event:#?}\n"));
    }
}

#[cfg(feature = "tracing")]
impl io::Write for Everything {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Requests tokens in every way that succeeds or fails, and uses one. Returns the answers that are
/// not grants, and the tokens.
async fn full_run(observer: impl Observer + Clone) -> (Vec<Answer>, Vec<String>) {
    let clients = InMemoryClients::new([Client::confidential(
        "web",
        ClientAuthentication::basic_or_post(ClientSecret::digest_of(CLIENT_SECRET)),
    )
    .grants([Grant::Password, Grant::RefreshToken])
    .scope("profile offline_access".parse().unwrap())
    .default_scope("profile".parse().unwrap())]);
    let users = Users::who(|attempt| match (attempt.username(), attempt.password().expose()) {
        ("alice", PASSWORD) => Ok(Login::accepted("user-1")),
        ("mfa", PASSWORD) => Ok(Login::more_needed("mfa_required")),
        ("down", _) => Err("connection refused".into()),
        _ => Ok(Login::rejected(Rejection::WrongPassword)),
    });
    let signing = SigningKeys::generate().unwrap();
    let verification = signing.verification_keys().unwrap();
    let verifier = AccessTokenVerifier::new(ISSUER, AUDIENCE, [Algorithm::Es256], verification);
    let verifier = verifier.unwrap().environment(&Environment::new().observer(observer.clone()));
    let tokens = JwtIssuer::new(signing, AUDIENCE);
    // Each refresh token is good for one use, so a second use is a theft.
    let refresh = RefreshTokens::new(keys(), Gate::default()).retry_window(Duration::ZERO);
    let builder = PasswordGrant::builder(ISSUER, clients, users, tokens)
        .environment(&Environment::new().observer(observer));
    let grant = builder.refresh_tokens(refresh).build().unwrap();

    let (right, wrong) = (basic("web", CLIENT_SECRET), basic("web", &format!("{CLIENT_SECRET}x")));
    let (mut refused, mut issued) = (Vec::new(), Vec::new());
    for (authorization, query, form) in [
        (Some(&right), None, format!("username=alice&password={PASSWORD}")),
        (Some(&right), None, format!("username=alice&password={PASSWORD}x")),
        (Some(&right), None, format!("username=mfa&password={PASSWORD}")),
        (Some(&right), None, format!("username=down&password={PASSWORD}")),
        (Some(&right), None, format!("username=alice&password={PASSWORD}&scope=admin")),
        (Some(&right), None, format!("username=alice&password={PASSWORD}%00")),
        (Some(&right), None, format!("username=alice&password={PASSWORD}&password={PASSWORD}")),
        (Some(&right), Some(format!("password={PASSWORD}")), String::new()),
        (Some(&right), None, format!("client_secret={CLIENT_SECRET}")),
        (Some(&wrong), None, format!("username=alice&password={PASSWORD}")),
        (None, None, format!("client_id=web&client_secret={CLIENT_SECRET}x")),
        (
            None,
            None,
            format!(
                "client_id=web&client_secret={CLIENT_SECRET}&username=alice&password={PASSWORD}"
            ),
        ),
    ] {
        let form = format!("grant_type=password&{form}");
        let headers = authorization.map(|value| ("authorization", value.as_bytes()));
        let headers = headers.into_iter().chain([("content-type", FORM.as_bytes())]);
        let answer =
            grant.token(HttpRequest::new("POST", query.as_deref(), headers, form.as_bytes())).await;
        let answer = Answer::from(answer);
        if answer.status == 200 { issued.push(answer.access_token()) } else { refused.push(answer) }
    }
    assert_eq!((issued.len(), refused.len()), (2, 10));
    verifier.verify(&issued[0]).await.unwrap();
    let tampered = format!("Bearer {}A", issued[0]);
    let request = BearerRequest::new([("authorization", tampered.as_bytes())], None);
    refused.push(verifier.authenticate(request).await.unwrap_err().into());

    // What happens to a token after its login.
    let send = async |endpoint: &str, form: String| -> Answer {
        let headers = [("authorization", right.as_bytes()), ("content-type", FORM.as_bytes())];
        let request = HttpRequest::new("POST", None, headers, form.as_bytes());
        match endpoint {
            "token" => grant.token(request).await.into(),
            "revoke" => grant.revoke(request).await.into(),
            _ => grant.introspect(request).await.into(),
        }
    };
    let login = format!(
        "grant_type=password&username=alice&password={PASSWORD}&scope=profile+offline_access"
    );
    let first = Pair::of(&send("token", login).await);
    let second = Pair::of(&send("token", refreshing(&first.refresh)).await);
    for (endpoint, form, status) in [
        ("introspect", format!("token={}", second.access), 200),
        ("introspect", format!("token={}", second.refresh), 200),
        ("token", format!("{}&scope=admin", refreshing(&second.refresh)), 400),
        ("token", format!("{}x", refreshing(&second.refresh)), 400),
        ("revoke", format!("token={}", first.access), 200),
        ("token", refreshing(&first.refresh), 400), // a theft
        ("revoke", format!("token={}", second.refresh), 200),
        ("introspect", format!("token={}", second.access), 200),
    ] {
        let answer = send(endpoint, form).await;
        assert_eq!(answer.status, status, "{endpoint}: {}", answer.body);
        refused.push(answer);
    }
    for Pair { access, refresh } in [first, second] {
        let secret = refresh.strip_prefix("rt1.").unwrap().to_owned();
        issued.extend([
            access.rsplit('.').next().unwrap().to_owned(),
            secret[40..].to_owned(),
            access,
            refresh,
        ]);
    }
    (refused, issued)
}

fn check_run(log: &str, refused: &[Answer], issued: &[String]) {
    let signature = issued[0].rsplit('.').next().unwrap();
    let mut secrets = vec![PASSWORD, CLIENT_SECRET, signature];
    secrets.extend(issued.iter().map(String::as_str));
    clean(log, &secrets);
    for answer in refused {
        clean(&format!("{answer:?}"), &secrets);
    }
}

#[tokio::test]
async fn no_event_of_a_full_run_holds_a_secret() {
    let events = Everything::default();
    let (refused, issued) = full_run(events.clone()).await;
    let log = events.0.lock().unwrap().clone();
    assert!(
        log.contains("issued") && log.contains("WrongPassword") && log.contains("AccessRefused"),
        "{log}"
    );
    assert!(
        log.contains("Reused") && log.contains("TokenRevoked") && log.contains("TokenRefreshed"),
        "{log}"
    );
    check_run(&log, &refused, &issued);
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn no_line_logged_in_a_full_run_holds_a_secret() {
    use password_grant::event::TracingObserver;
    let captured = Everything::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let (refused, issued) = full_run(TracingObserver::new()).await;
    drop(guard);
    let log = captured.0.lock().unwrap().clone();
    assert!(
        log.contains("INFO password_grant: token")
            && log.contains("ERROR password_grant: server fault"),
        "{log}"
    );
    check_run(&log, &refused, &issued);
}

/// Incident C26: `==` on a secret leaks where it differs, so these types do not have it.
#[test]
fn secret_types_have_no_equality_and_are_not_serialisable() {
    trait Absent {
        const EQUALITY: bool = false;
        const SERIALISATION: bool = false;
    }
    impl<T> Absent for T {}
    struct Probe<T>(std::marker::PhantomData<T>);
    impl<T: PartialEq> Probe<T> {
        #[allow(dead_code)]
        const EQUALITY: bool = true;
    }
    impl<T: serde::Serialize> Probe<T> {
        #[allow(dead_code)]
        const SERIALISATION: bool = true;
    }
    const { assert!(Probe::<String>::EQUALITY, "the probe works") };
    const { assert!(Probe::<String>::SERIALISATION, "the probe works") };
    const { assert!(!Probe::<Secret<'static>>::EQUALITY) };
    const { assert!(!Probe::<Secret<'static>>::SERIALISATION) };
    const { assert!(!Probe::<ClientSecret>::EQUALITY && !Probe::<ClientSecret>::SERIALISATION) };
    const { assert!(!Probe::<AccessToken>::EQUALITY && !Probe::<AccessToken>::SERIALISATION) };
    const { assert!(!Probe::<Client>::EQUALITY && !Probe::<Client>::SERIALISATION) };
}
