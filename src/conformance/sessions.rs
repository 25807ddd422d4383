//! Checks of the engine over the store: refresh token rotation, the limit on sessions, log-out, and
//! revocation.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::conformance::Fixture;
use crate::conformance::engine::{App, Host, INSTANCES, form, name};
use crate::conformance::harness::{Outcome, at_once, ensure};
use crate::types::context::RequestContext;

pub(super) fn refresh_rotation(fixture: &impl Fixture) -> Outcome {
    let host = Host::new()?;
    let apps = App::several(&host, fixture, INSTANCES)?;
    let [app, ..] = &*apps else { return Ok(()) };
    for _ in 0..5 {
        let (_, token) = app.log_in(&name()?)?;
        let answers = at_once(&apps, |_, app| app.refresh(&token))?;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        let granted: Vec<_> = answers.into_iter().filter_map(|answer| answer.refresh).collect();
        let [next] = &*granted else {
            return Err(format!("one use of a refresh token is good: {statuses:?}"));
        };
        // The other uses have shown that the token was stolen, so its session has ended.
        let status = app.refresh(next)?.status;
        ensure(
            status == 400,
            format!("a token of a family that was stolen was answered with {status}"),
        )?;
    }
    let (_, used) = app.log_in(&name()?)?;
    let next = app.refresh(&used)?.refresh;
    let next = next.ok_or("a refresh token that was good yields no other")?;
    if fixture.restart() {
        let app = App::new(&host, fixture)?;
        for (token, what) in
            [(used, "a token that was used"), (next, "what followed a token that was used twice")]
        {
            let status = app.refresh(&token)?.status;
            ensure(status == 400, format!("after a restart {what} was answered with {status}"))?;
        }
    }
    Ok(())
}

pub(super) fn session_limit(fixture: &impl Fixture) -> Outcome {
    const MOST: usize = 5;
    const EACH: usize = 2;
    let apps = App::several(&Host::new()?.sessions(MOST), fixture, INSTANCES)?;
    let [app, ..] = &*apps else { return Ok(()) };
    for _ in 0..3 {
        let name = name()?;
        let sessions = at_once(&apps, |_, app| {
            (0..EACH).map(|_| log_in_at_last(app, &name)).collect::<Outcome<Vec<_>>>()
        })?;
        let mut alive = Vec::new();
        for (access, refresh) in sessions.into_iter().flatten() {
            let answer = app.refresh(&refresh)?;
            ensure(
                [200, 400].contains(&answer.status),
                format!("a session of many was answered with {}", answer.status),
            )?;
            let continues = answer.status == 200;
            ensure(
                app.is_good(&access)? == continues,
                format!(
                    "of a session that continues ({continues}) an access token says the opposite"
                ),
            )?;
            alive.extend(answer.refresh);
        }
        ensure(
            alive.len() == MOST,
            format!(
                "{MOST} sessions of {} logins may be left, and {} are",
                INSTANCES * EACH,
                alive.len()
            ),
        )?;
        // One more login ends one more session, whichever instance knows of it.
        for app in &apps {
            app.log_in(&name)?;
        }
        for refresh in alive {
            let status = app.refresh(&refresh)?.status;
            ensure(status == 400, format!("a session over the limit was answered with {status}"))?;
        }
    }
    Ok(())
}

/// Logs in, and tries again if the engine answers 503, because others have always come first.
fn log_in_at_last(app: &App<'_, impl Fixture>, name: &str) -> Outcome<Tokens> {
    for _ in 0..20 {
        let answer = app.answer(&form(name, "right"))?;
        match answer.access.zip(answer.refresh) {
            Some(tokens) => return Ok(tokens),
            None if answer.status == 503 => {}
            None => return Err(format!("a login of many was answered with {}", answer.status)),
        }
    }
    Err("of many logins at once, one was answered with 503 again and again".into())
}

pub(super) fn log_outs(fixture: &impl Fixture) -> Outcome {
    for _ in 0..5 {
        log_out_against_logins(fixture)?;
        log_out_against_refreshes(fixture)?;
    }
    Ok(())
}

/// An access and a refresh token of one session, the newest that its owner has.
type Tokens = (String, String);

fn log_out_against_logins(fixture: &impl Fixture) -> Outcome {
    const EACH: usize = 3;
    let (host, name) = (Host::new()?, name()?);
    let apps = App::several(&host, fixture, INSTANCES)?;
    // The same order as in a host: first the new password, then the log-out, which ends all
    // sessions that came from the old password.
    let tokens = at_once(&apps, |own, app| {
        let mut tokens: Vec<Tokens> = Vec::new();
        for _ in 0..EACH {
            if own == 0 && !tokens.is_empty() {
                host.change_passwords();
                app.log_out(&name)?;
                break;
            }
            let answer = app.answer(&form(&name, "right"))?;
            let session = answer.access.zip(answer.refresh);
            ensure(
                own > 0 || session.is_some(),
                format!("a login before any log-out was answered with {}", answer.status),
            )?;
            let Some((access, refresh)) = session else { break };
            let next = app.refresh(&refresh)?;
            tokens.push(next.access.zip(next.refresh).unwrap_or((access, refresh)));
        }
        Ok(tokens)
    })?;
    all_have_ended(&apps, tokens.iter().flatten())
}

fn log_out_against_refreshes(fixture: &impl Fixture) -> Outcome {
    /// As many refreshes as one instance makes before the log-out has come to it at the latest.
    const MOST: usize = 100;
    let name = name()?;
    let apps = App::several(&Host::new()?, fixture, INSTANCES)?;
    let sessions = apps.iter().map(|app| app.log_in(&name)).collect::<Outcome<Vec<_>>>()?;
    let is_logged_out = AtomicBool::new(false);
    let tokens = at_once(&apps, |own, app| {
        let Some((mut access, mut refresh)) = sessions.get(own).cloned() else {
            return Err("there is no session for an instance".into());
        };
        if own == 0 {
            app.log_out(&name)?;
            is_logged_out.store(true, Ordering::SeqCst);
            return Ok((access, refresh));
        }
        for _ in 0..MOST {
            let was_logged_out = is_logged_out.load(Ordering::SeqCst);
            let next = app.refresh(&refresh)?;
            let Some(next) = next.access.zip(next.refresh) else { break };
            ensure(!was_logged_out, "after a log-out a session was refreshed")?;
            (access, refresh) = next;
        }
        Ok((access, refresh))
    })?;
    all_have_ended(&apps, &tokens)
}

/// Every instance refuses these tokens. They are the newest of their sessions, because an older one
/// would end its session by itself.
fn all_have_ended<'t, F: Fixture>(
    apps: &[App<'_, F>],
    tokens: impl IntoIterator<Item = &'t Tokens>,
) -> Outcome {
    for (access, refresh) in tokens {
        for app in apps {
            let status = app.refresh(refresh)?.status;
            ensure(
                status == 400,
                format!("after a log-out a session of before was answered with {status}"),
            )?;
            ensure(!app.is_good(access)?, "after a log-out an access token of before is good")?;
        }
    }
    Ok(())
}

pub(super) fn revocations(fixture: &impl Fixture) -> Outcome {
    /// How often each instance finds a token good before it is revoked.
    const BEFORE: usize = 20;
    let apps = App::several(&Host::new()?, fixture, 3)?;
    let [one, another, ..] = &*apps else { return Ok(()) };
    for what in [What::AccessToken, What::RefreshToken, What::Session, What::Everything] {
        let name = name()?;
        let (access, refresh) = one.log_in(&name)?;
        for app in &apps {
            for _ in 0..BEFORE {
                ensure(app.is_good(&access)?, "a token that nobody revoked was refused")?;
            }
        }
        match what {
            What::AccessToken => revoke(another, &access)?,
            What::RefreshToken => revoke(another, &refresh)?,
            What::Session => end_session(another, &access)?,
            What::Everything => another.log_out(&name)?,
        }
        for app in &apps {
            ensure(
                !app.is_good(&access)?,
                format!("an access token is good on another instance after {what:?} was revoked"),
            )?;
        }
        // An access token is revoked alone, and its session continues.
        let status = one.refresh(&refresh)?.status;
        let expected = if matches!(what, What::AccessToken) { 200 } else { 400 };
        ensure(
            status == expected,
            format!("a refresh was answered with {status} after {what:?} was revoked"),
        )?;
    }
    Ok(())
}

/// What is revoked.
#[derive(Debug, Clone, Copy)]
enum What {
    AccessToken,
    RefreshToken,
    Session,
    Everything,
}

fn revoke(app: &App<'_, impl Fixture>, token: &str) -> Outcome {
    let status = app.revoke(token)?;
    ensure(status == 200, format!("a revocation was answered with {status}"))
}

fn end_session(app: &App<'_, impl Fixture>, access: &str) -> Outcome {
    let session = app.session(access)?.ok_or("an access token names no session")?;
    let ended = app.store.wait(app.grant.end_session(&session, &RequestContext::new()))?;
    ensure(ended.is_ok_and(|ended| ended), "a session could not be ended")
}
