//! What an observer is told, and what the default log shows of it.
#![cfg(feature = "tracing")]

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};

use common::{FORM, GOOD, Users, World, basic};
use password_grant::error::{LimitKind, RequestFault, ServerFault};
use password_grant::event::{AccessFault, EventKind, EventLevel, TracingObserver};
use password_grant::resource::BearerRequest;
use password_grant::{
    AccessTokenVerifier, Algorithm, Environment, Event, HttpRequest, Login, Observer, Rejection,
};

/// Collects the text that `tracing` writes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Passes events on to `tracing`, and remembers their user names.
#[derive(Clone, Default)]
struct Both(Arc<Mutex<Vec<Told>>>);

type Told = (EventKind, Option<String>);

impl Observer for Both {
    fn observe(&self, event: &Event<'_>) {
        TracingObserver::new().observe(event);
        self.0.lock().unwrap().push((event.kind, event.username.map(str::to_owned)));
    }
}

/// Only `alice` exists.
fn only_alice() -> Users {
    Users::who(|attempt| {
        Ok(match (attempt.username(), attempt.password().expose()) {
            ("alice", "wonderland") => Login::accepted("user-1"),
            ("alice", _) => Login::rejected(Rejection::WrongPassword),
            _ => Login::rejected(Rejection::UnknownUser),
        })
    })
}

async fn logged(forms: &[&str]) -> (Vec<String>, Both) {
    let (log, both) = (Log::default(), Both::default());
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let observer = both.clone();
    let world =
        World::in_environment(only_alice(), |own| own.observer(observer), |builder, _| builder);
    let authorization = basic("web", "web-secret");
    for form in forms {
        let headers =
            [("content-type", FORM.as_bytes()), ("authorization", authorization.as_bytes())];
        let request = HttpRequest::new("POST", None, headers, form.as_bytes());
        world.grant.token(request.peer([192, 0, 2, 7].into()).tenant("acme")).await;
    }
    drop(guard);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (log.lines().map(|line| line.trim().to_owned()).collect(), both)
}

#[tokio::test]
async fn the_log_has_a_field_for_each_fact_so_that_a_pipeline_can_filter() {
    let (lines, _) =
        logged(&[GOOD, "grant_type=password&username=alice&password=x", "grant_type=password"])
            .await;
    let line = |name: &str| {
        let field = format!(" event=\"{name}\"");
        lines
            .iter()
            .find(|line| line.contains(&field))
            .unwrap_or_else(|| panic!("no {name} in {lines:?}"))
    };
    let issued = line("token_issued");
    assert!(issued.starts_with("INFO password_grant: token issued "), "{issued}");
    for field in [
        r#"client="web""#,
        r#"username="alice""#,
        r#"subject="user-1""#,
        r#"scope="profile""#,
        r#"token=""#,
        "address=192.0.2.7",
        r#"tenant="acme""#,
        "milliseconds=0",
    ] {
        assert!(issued.contains(field), "{field}: {issued}");
    }
    assert!(!issued.contains("session=") && !issued.contains("reason="), "{issued}");
    let rejected = line("login_rejected");
    assert!(rejected.starts_with("INFO password_grant: login rejected "), "{rejected}");
    assert!(
        rejected.contains(r#"reason="wrong_password""#) && rejected.contains(r#"client="web""#),
        "{rejected}"
    );
    assert!(line("request_refused").contains(r#"reason="username_missing" client="web""#));
    assert!(line("attempt_admitted").starts_with("DEBUG "));
}

/// Users sometimes type their password into the field for the user name.
#[tokio::test]
async fn a_name_that_was_not_found_is_masked_in_the_log_and_whole_for_an_observer() {
    let typed = "grant_type=password&username=hunter2%E2%82%AC&password=";
    let forms: Vec<String> = (0..110).map(|guess| format!("{typed}{guess}")).collect();
    let not_allowed = GOOD.replace("scope=profile", "scope=admin");
    let other = [GOOD, &not_allowed, "grant_type=magic&username=alice&password=wonderland"];
    let forms: Vec<&str> = forms.iter().map(String::as_str).chain(other).collect();
    let (lines, both) = logged(&forms).await;
    let log = lines.join("\n");
    assert!(!log.contains("hunter2"), "{log}");
    assert!(log.contains(r#"username="h…(8)""#), "first character and length: {log}");
    for kind in [
        EventKind::LoginRejected(Rejection::UnknownUser),
        EventKind::AttemptDenied(LimitKind::Account),
    ] {
        let told = both.0.lock().unwrap();
        assert!(
            told.iter().any(|(own, name)| *own == kind && name.as_deref() == Some("hunter2€")),
            "{kind}"
        );
    }
    // Only the events of a login hold what was typed.
    let told = both.0.lock().unwrap();
    for (kind, _) in told.iter().filter(|(_, name)| name.is_some()) {
        let of_a_login = [
            "login_accepted",
            "login_rejected",
            "attempt_admitted",
            "attempt_denied",
            "token_issued",
            "new_origin",
        ];
        assert!(of_a_login.contains(&kind.name()), "{kind}");
    }
    for refused in ["request_refused", "not_allowed"] {
        assert!(told.iter().any(|(kind, _)| kind.name() == refused), "{refused}");
    }
    assert!(
        lines
            .iter()
            .any(|line| line.contains("login_accepted") && line.contains(r#"username="alice""#)),
        "{log}"
    );
}

#[test]
fn a_name_is_whole_in_the_log_only_where_it_is_known_to_be_that_of_an_account() {
    for (kind, user_found, expected) in [
        (EventKind::LoginAccepted, None, "alice"),
        (EventKind::LoginRejected(Rejection::WrongPassword), None, "alice"),
        (EventKind::LoginRejected(Rejection::UnknownUser), None, "a…(5)"),
        (EventKind::AttemptDenied(LimitKind::Account), None, "a…(5)"),
        (EventKind::AccountLocked(LimitKind::Account), None, "a…(5)"),
        (EventKind::AccountLocked(LimitKind::Account), Some(true), "alice"),
    ] {
        let mut event = Event::new(kind);
        event.username = Some("alice");
        event.user_found = user_found.unwrap_or(event.user_found);
        assert_eq!(event.loggable_username().as_deref(), Some(expected), "{kind:?}");
        assert!(event.to_string().contains(expected), "{event}");
    }
}

#[test]
fn the_level_says_who_has_to_act() {
    for (kind, level) in [
        (EventKind::ServerFault(ServerFault::StateStore), EventLevel::Error),
        (EventKind::NoPeerAddress, EventLevel::Error),
        (EventKind::AccessRefused(AccessFault::ServerFault), EventLevel::Error),
        (EventKind::AccessRefused(AccessFault::Scope), EventLevel::Warn),
        (EventKind::ServerFault(ServerFault::RefreshContended), EventLevel::Warn),
        (EventKind::RequestRefused(RequestFault::Method), EventLevel::Warn),
        (EventKind::TokenIssued, EventLevel::Info),
        (EventKind::AttemptAdmitted(LimitKind::Account), EventLevel::Debug),
    ] {
        assert_eq!(kind.level(), level, "{kind}");
    }
}

/// A resource server's events say whose token was refused, where the token is genuine.
#[tokio::test]
async fn a_refused_access_says_whose_token_it_was() {
    #[derive(Clone, Default)]
    struct Refused(Arc<Mutex<Vec<String>>>);
    impl Observer for Refused {
        fn observe(&self, event: &Event<'_>) {
            let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
            self.0.lock().unwrap().push(format!(
                "{:?} {} {} {}",
                event.kind,
                text(event.subject.map(AsRef::as_ref)),
                text(event.client_id.map(AsRef::as_ref)),
                text(event.scope.map(password_grant::Scope::as_str)),
            ));
        }
    }
    let (world, refused) = (World::default(), Refused::default());
    let token = world.post(GOOD).await.access_token();
    let keys = world.keys.verification_keys().unwrap();
    let verifier =
        AccessTokenVerifier::new(common::ISSUER, common::AUDIENCE, [Algorithm::Es256], keys)
            .unwrap()
            .environment(&Environment::new().clock(world.clock.clone()).observer(refused.clone()));
    for (token, expected) in [
        (&*token, "AccessRefused(Scope) user-1 web profile"),
        ("nonsense", "AccessRefused(NotOurs) - - -"),
    ] {
        let header = format!("Bearer {token}");
        let request = BearerRequest::new([("authorization", header.as_bytes())], None);
        verifier.authorize(request, "orders:read").await.unwrap_err();
        assert_eq!(refused.0.lock().unwrap().pop().as_deref(), Some(expected));
    }
}
