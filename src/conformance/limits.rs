//! Checks of the engine over the store: the limits on failures, and client assertions.

use std::net::{IpAddr, Ipv6Addr};

use crate::conformance::Fixture;
use crate::conformance::engine::{
    App, BURST, FROM_SOURCE, Host, INSTANCES, OF_CLIENT, form, form_with_secret, name,
};
use crate::conformance::harness::{ANSWER, Outcome, at_once, ensure, random};

pub(super) fn attempt_limiter(fixture: &impl Fixture) -> Outcome {
    let host = Host::new()?;
    let verified = || format!("{BURST} guesses may be verified, and {} were", host.asked());
    let guessed = name()?;
    let guess = form(&guessed, "wrong");
    let apps = App::several(&host.clone().timeout(ANSWER), fixture, INSTANCES)?;
    at_once(&apps, |_, app| {
        (0..10).try_for_each(|_| {
            let status = app.post(&guess)?;
            ensure(
                [400, 429].contains(&status),
                format!("a guess among many was answered with {status}"),
            )?;
            ensure(host.asked() <= BURST, verified())
        })
    })?;
    ensure(host.asked() == BURST, verified())?;
    let login = form(&name()?, "right");
    let apps = App::several(&host, fixture, INSTANCES)?;
    at_once(&apps, |_, app| {
        (0..4).try_for_each(|_| {
            let status = app.post(&login)?;
            ensure(
                status == 200,
                format!("an honest login among others was answered with {status}"),
            )
        })
    })?;
    if fixture.restart() {
        let status = App::new(&host, fixture)?.post(&form(&guessed, "right"))?;
        ensure(
            status == 429,
            format!("after a restart a name that has to wait was answered with {status}"),
        )?;
    }
    Ok(())
}

pub(super) fn shared_limits(fixture: &impl Fixture) -> Outcome {
    let host = Host::new()?;
    let apps = App::several(&host, fixture, 3)?;
    let guessed = name()?;
    let user = || Ok(form(&guessed, "wrong"));
    fail_in_turn(&apps, BURST, None, 400, user)?;
    refused(&apps, None, "a user name", || Ok(form(&guessed, "right")))?;
    let verified = host.asked();
    ensure(verified == BURST, format!("{BURST} guesses may be verified, and {verified} were"))?;
    let source = Some(address()?);
    fail_in_turn(&apps, FROM_SOURCE, source, 400, || Ok(form(&name()?, "wrong")))?;
    refused(&apps, source, "an address", || Ok(form(&name()?, "right")))?;
    let source = Some(address()?);
    fail_in_turn(&apps, OF_CLIENT, source, 401, || Ok(form_with_secret(&name()?, "wrong")))?;
    refused(&apps, source, "a client", || Ok(form_with_secret(&name()?, Host::SECRET)))
}

/// Sends this many requests that fail with this status, to two instances in turn.
fn fail_in_turn<F: Fixture>(
    apps: &[App<'_, F>],
    failures: usize,
    source: Option<IpAddr>,
    status: u16,
    form: impl Fn() -> Outcome<String>,
) -> Outcome {
    for app in apps.iter().take(2).cycle().take(failures) {
        let answered = app.answer_from(source, &form()?)?.status;
        ensure(
            answered == status,
            format!("a failure within the limit was answered with {answered}"),
        )?;
    }
    Ok(())
}

/// Every instance refuses this request, whose credentials are right.
fn refused<F: Fixture>(
    apps: &[App<'_, F>],
    source: Option<IpAddr>,
    what: &str,
    form: impl Fn() -> Outcome<String>,
) -> Outcome {
    apps.iter().try_for_each(|app| {
        let status = app.answer_from(source, &form()?)?.status;
        ensure(
            status == 429,
            format!(
                "{what} over its limit by failures on two instances was answered with {status}"
            ),
        )
    })
}

/// An address that no earlier run has used.
fn address() -> Outcome<IpAddr> {
    let network = u32::from_le_bytes(random()?);
    Ok(Ipv6Addr::from((0x2001_0db8_u128 << 32 | u128::from(network)) << 64 | 1).into())
}

pub(super) fn assertions_used_once(fixture: &impl Fixture) -> Outcome {
    let apps = App::several(&Host::new()?, fixture, INSTANCES)?;
    let [app, ..] = &*apps else { return Ok(()) };
    for _ in 0..10 {
        let form = app.form_with_assertion()?;
        let statuses = at_once(&apps, |_, app| app.post(&form))?;
        let accepted = statuses.iter().filter(|status| **status == 200).count();
        ensure(accepted == 1, format!("an assertion was accepted {accepted} times: {statuses:?}"))?;
        ensure(
            statuses.iter().all(|status| [200, 401].contains(status)),
            format!("an assertion at once was answered with {statuses:?}"),
        )?;
    }
    Ok(())
}
