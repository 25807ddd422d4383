//! Checks of the engine over the store: the limiter, client assertions, refresh token rotation and
//! log-out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use crate::client::{
    AssertionKey, AuthenticatedClient, Client, ClientAssertion, ClientAuthentication,
    ClientBuilder, Grant, InMemoryClients,
};
use crate::conformance::Fixture;
use crate::conformance::harness::{ANSWER, Instance, LONG, Outcome, at_once, ensure};
use crate::environment::{Environment, SecureRandom, SystemRandom};
use crate::error::{BoxError, Rejection};
use crate::grant::PasswordGrant;
use crate::http::HttpRequest;
use crate::limiter::{AttemptLimits, LimitKey};
use crate::session::{RefreshKeys, RefreshTokens};
use crate::state::{Change, Commit, Loaded, Row, StateKey, StateSecret, StateStore, Version};
use crate::testing::InMemoryTokens;
use crate::token::OpaqueIssuer;
use crate::types::context::RequestContext;
use crate::types::identifier::Subject;
use crate::types::scope::Scope;
use crate::user::{AccountGate, Admission, Login, LoginAttempt, UserAuthenticator};

const ISSUER: &str = "https://conformance.example";
const SECRET: &str = "a secret of thirty-two bytes or more";
/// The default burst of [`AttemptLimits`](crate::AttemptLimits).
const BURST: usize = 10;
const INSTANCES: usize = 8;
/// How long correct logins may wait for each other, and each change for the store.
const LONG_ENOUGH: Duration = Duration::from_secs(30);

/// Accepts the password `right` for every user until the passwords are changed, and counts how
/// often it is asked.
#[derive(Clone, Default)]
struct Users {
    asked: Arc<AtomicUsize>,
    changed: Arc<AtomicBool>,
}

impl Users {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn change_passwords(&self) {
        self.changed.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl UserAuthenticator for Users {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let right = attempt.password().expose() == "right" && !self.changed.load(Ordering::SeqCst);
        std::thread::yield_now();
        Ok(if right {
            Login::accepted(attempt.username())
        } else {
            Login::rejected(Rejection::WrongPassword)
        })
    }
}

#[async_trait]
impl AccountGate for Users {
    async fn admit(
        &self,
        _: &Subject,
        _: &AuthenticatedClient,
        _: &RequestContext,
    ) -> Result<Admission, BoxError> {
        Ok(Admission::admitted())
    }
}

/// Builds one engine over the store, as each instance of an application has one.
fn engine(store: Arc<dyn StateStore>, users: &Users, timeout: Duration) -> Outcome<PasswordGrant> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    // With a slow store more than the first wait may pass in the meantime, which would rightly
    // admit one more guess. So the waits are long.
    let limits = AttemptLimits::default().timeout(timeout).waits(LONG, LONG);
    let scope = Scope::offline_access();
    let any = |client: ClientBuilder| {
        client
            .grants([Grant::Password, Grant::RefreshToken])
            .scope(scope.clone())
            .default_scope(scope.clone())
    };
    let keys = RefreshKeys::new([0x3c; 32]).map_err(|error| text(&error))?;
    // Without a retry window each token can be used once, however close together two uses are.
    let refresh = RefreshTokens::new(keys, users.clone()).retry_window(Duration::ZERO);
    let signs = ClientAuthentication::client_secret_jwt(SECRET).map_err(|error| text(&error))?;
    let clients = [Client::public("public"), Client::confidential("signs", signs)].map(any);
    let tokens = OpaqueIssuer::new(InMemoryTokens::new(), ISSUER);
    let secret = StateSecret::new([0x5a; 32]).map_err(|error| text(&error))?;
    let builder =
        PasswordGrant::builder(ISSUER, InMemoryClients::new(clients), users.clone(), tokens);
    let builder = builder
        .environment(&Environment::new().observer(()))
        .attempt_limits(limits)
        .refresh_tokens(refresh);
    builder.shared_state(store, secret).build().map_err(|error| text(&error))
}

fn engines<F: Fixture>(
    instances: &[Instance<'_, F>],
    users: &Users,
    timeout: Duration,
) -> Outcome<Vec<PasswordGrant>> {
    instances.iter().map(|instance| engine(instance.store.clone(), users, timeout)).collect()
}

/// A user name that no earlier run has used.
fn name() -> Outcome<String> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(format!("user{}", u64::from_le_bytes(bytes)))
}

fn form(name: &str, password: &str) -> String {
    format!("grant_type=password&client_id=public&username={name}&password={password}")
}

/// Sends a request and returns the status of the response. The engine answers after a few timeouts
/// at most, whatever the store does.
fn post(store: &Instance<'_, impl Fixture>, grant: &PasswordGrant, form: &str) -> Outcome<u16> {
    Ok(answer(store, grant, form)?.0)
}

/// Like [`post`], with the refresh token of the response.
fn answer(
    store: &Instance<'_, impl Fixture>,
    grant: &PasswordGrant,
    form: &str,
) -> Outcome<(u16, Option<String>)> {
    let headers = [("content-type", b"application/x-www-form-urlencoded".as_slice())];
    let answer = grant.token(HttpRequest::new("POST", None, headers, form.as_bytes()));
    let answer = store.wait_for(4 * LONG_ENOUGH, answer)?;
    let json: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    Ok((
        answer.status(),
        json.get("refresh_token").and_then(|token| token.as_str()).map(str::to_owned),
    ))
}

pub(super) fn attempt_limiter(fixture: &impl Fixture) -> Outcome {
    let users = Users::default();
    let instances: [_; INSTANCES] = Instance::several(fixture);
    let verified = || format!("{BURST} guesses may be verified, and {} were", users.asked());
    let guessed = name()?;
    let guess = form(&guessed, "wrong");
    let engines = engines(&instances, &users, ANSWER)?;
    at_once(&instances, |own, store| {
        let Some(grant) = engines.get(own) else { return Ok(()) };
        (0..10).try_for_each(|_| {
            let status = post(store, grant, &guess)?;
            ensure(
                [400, 429].contains(&status),
                format!("a guess among many was answered with {status}"),
            )?;
            ensure(users.asked() <= BURST, verified())
        })
    })?;
    ensure(users.asked() == BURST, verified())?;
    let login = form(&name()?, "right");
    let engines = self::engines(&instances, &users, LONG_ENOUGH)?;
    at_once(&instances, |own, store| {
        let Some(grant) = engines.get(own) else { return Ok(()) };
        (0..4).try_for_each(|_| {
            let status = post(store, grant, &login)?;
            ensure(
                status == 200,
                format!("an honest login among others was answered with {status}"),
            )
        })
    })?;
    if fixture.restart() {
        let store = Instance::new(fixture);
        let grant = engine(store.store.clone(), &users, LONG_ENOUGH)?;
        let status = post(&store, &grant, &form(&guessed, "right"))?;
        ensure(
            status == 429,
            format!("after a restart a name that has to wait was answered with {status}"),
        )?;
    }
    Ok(())
}

pub(super) fn attempt_limiter_under_faults(fixture: &impl Fixture) -> Outcome {
    let store = Instance::new(fixture);
    for (what, fault) in [
        ("loads that fail", Fault::Load),
        ("commits that fail before they take effect", Fault::Before),
        ("commits that fail after they took effect", Fault::After),
        ("rows that cannot be read", Fault::Garbage),
    ] {
        let users = Users::default();
        let faulty =
            Arc::new(Faulty { store: store.store.clone(), fault, calls: AtomicUsize::new(0) });
        let grant = engine(faulty.clone(), &users, Duration::from_millis(100))?;
        let name = name()?;
        for _ in 0..3 * BURST {
            let status = post(&store, &grant, &form(&name, "wrong"))?;
            ensure(
                [400, 429, 503].contains(&status),
                format!("{what}: a guess was answered with {status}"),
            )?;
        }
        ensure(users.asked() <= BURST, format!("{what}: {} guesses were verified", users.asked()))?;
        let whole = engine(store.store.clone(), &users, LONG_ENOUGH)?;
        let count = store
            .wait(whole.attempts(LimitKey::Account { username: &name }, &RequestContext::new()))?;
        let counted = count.ok().flatten().map(|count| count.failures as usize);
        let enough = counted.is_some_and(|counted| counted >= users.asked());
        ensure(
            enough,
            format!("{what}: {} guesses were verified, and {counted:?} counted", users.asked()),
        )?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Load,
    Before,
    After,
    Garbage,
}

/// A store in which every third call of one kind fails.
struct Faulty {
    store: Arc<dyn StateStore>,
    fault: Fault,
    calls: AtomicUsize,
}

impl Faulty {
    fn strikes(&self, faults: &[Fault]) -> bool {
        faults.contains(&self.fault) && self.calls.fetch_add(1, Ordering::SeqCst) % 3 == 1
    }
}

#[async_trait]
impl StateStore for Faulty {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        let mut loaded = self.store.load(keys).await?;
        if self.strikes(&[Fault::Load, Fault::Garbage]) {
            if self.fault == Fault::Load {
                return Err("injected: the load failed".into());
            }
            for row in &mut loaded.rows {
                *row = Some(Row { version: Version::new(0), value: vec![0xee; 3] });
            }
        }
        Ok(loaded)
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        let strikes = self.strikes(&[Fault::Before, Fault::After]);
        if strikes && self.fault == Fault::Before {
            return Err("injected: the commit was not made".into());
        }
        let commit = self.store.commit(changes).await?;
        if strikes { Err("injected: the answer to the commit was lost".into()) } else { Ok(commit) }
    }
}

pub(super) fn assertions_used_once(fixture: &impl Fixture) -> Outcome {
    let users = Users::default();
    let instances: [_; INSTANCES] = Instance::several(fixture);
    let engines = engines(&instances, &users, LONG_ENOUGH)?;
    let key = AssertionKey::from_secret(SECRET).map_err(|error| error.to_string())?;
    let assertions = ClientAssertion::new("signs", ISSUER, key);
    for _ in 0..10 {
        let parameters = assertions.parameters().map_err(|error| error.to_string())?;
        let [(kind, jwt_bearer), (name_of_it, assertion)] = parameters;
        let jwt_bearer = jwt_bearer.replace(':', "%3A");
        let form = format!(
            "grant_type=password&username={}&password=right&{kind}={jwt_bearer}\
             &{name_of_it}={assertion}",
            name()?
        );
        let statuses = at_once(&instances, |own, store| {
            engines.get(own).map_or(Ok(0), |grant| post(store, grant, &form))
        })?;
        let accepted = statuses.iter().filter(|status| **status == 200).count();
        ensure(accepted == 1, format!("an assertion was accepted {accepted} times: {statuses:?}"))?;
        ensure(
            statuses.iter().all(|status| [200, 401].contains(status)),
            format!("an assertion at once was answered with {statuses:?}"),
        )?;
    }
    Ok(())
}

pub(super) fn refresh_rotation(fixture: &impl Fixture) -> Outcome {
    let users = Users::default();
    let instances: [_; INSTANCES] = Instance::several(fixture);
    let engines = engines(&instances, &users, LONG_ENOUGH)?;
    let (Some(grant), [store, ..]) = (engines.first(), &instances) else { return Ok(()) };
    let refresh =
        |token: &str| format!("grant_type=refresh_token&client_id=public&refresh_token={token}");
    let login = || {
        let (status, token) = answer(store, grant, &form(&name()?, "right"))?;
        token.ok_or_else(|| format!("a login was answered with {status}, and no refresh token"))
    };
    for _ in 0..5 {
        let form = refresh(&login()?);
        let answers = at_once(&instances, |own, store| {
            engines.get(own).map_or(Ok((0, None)), |grant| answer(store, grant, &form))
        })?;
        let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
        let granted: Vec<_> = answers.into_iter().filter_map(|(_, token)| token).collect();
        let [next] = &*granted else {
            return Err(format!("one use of a refresh token is good: {statuses:?}"));
        };
        // The other uses have shown that the token was stolen, so its session has ended.
        let status = post(store, grant, &refresh(next))?;
        ensure(
            status == 400,
            format!("a token of a family that was stolen was answered with {status}"),
        )?;
    }
    let used = login()?;
    let (_, next) = answer(store, grant, &refresh(&used))?;
    let next = next.ok_or("a refresh token that was good yields no other")?;
    if fixture.restart() {
        let store = Instance::new(fixture);
        let grant = engine(store.store.clone(), &users, LONG_ENOUGH)?;
        for (token, what) in
            [(used, "a token that was used"), (next, "what followed a token that was used twice")]
        {
            let status = post(&store, &grant, &refresh(&token))?;
            ensure(status == 400, format!("after a restart {what} was answered with {status}"))?;
        }
    }
    Ok(())
}

pub(super) fn log_outs(fixture: &impl Fixture) -> Outcome {
    const EACH: usize = 3;
    let instances: [_; INSTANCES] = Instance::several(fixture);
    let refresh =
        |token: &str| format!("grant_type=refresh_token&client_id=public&refresh_token={token}");
    for _ in 0..5 {
        let (users, name) = (Users::default(), name()?);
        let engines = engines(&instances, &users, LONG_ENOUGH)?;
        // The same order as in a host: first the new password, then the log-out, which ends all
        // sessions that came from the old password.
        let tokens = at_once(&instances, |own, store| {
            let Some(grant) = engines.get(own) else { return Ok(Vec::new()) };
            let mut tokens = Vec::new();
            for _ in 0..EACH {
                if own == 0 && !tokens.is_empty() {
                    users.change_passwords();
                    let (subject, context) = (Subject::from(name.as_str()), RequestContext::new());
                    let log_out = store
                        .wait_for(LONG_ENOUGH, grant.log_out_everywhere(&subject, &context))?;
                    return log_out
                        .map(|()| tokens)
                        .map_err(|error| format!("a log-out failed: {error}"));
                }
                let (status, token) = answer(store, grant, &form(&name, "right"))?;
                ensure(
                    own > 0 || token.is_some(),
                    format!("a login before any log-out was answered with {status}"),
                )?;
                let Some(token) = token else { break };
                let (_, next) = answer(store, grant, &refresh(&token))?;
                tokens.push(next.unwrap_or(token));
            }
            Ok(tokens)
        })?;
        for ((grant, store), tokens) in engines.iter().zip(&instances).zip(&tokens) {
            for token in tokens {
                let status = post(store, grant, &refresh(token))?;
                ensure(
                    status == 400,
                    format!("after a log-out a session of before was answered with {status}"),
                )?;
            }
        }
    }
    Ok(())
}
