//! Guessing and waiting: RFC 6749 section 4.3.2.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use super::http::{Request, Response, form};
use super::{Program, alice};

fn login(username: &str, password: &str) -> Request {
    let body = form(&[("grant_type", "password"), ("username", username), ("password", password)]);
    Request::token(body).basic("web", "web-secret")
}

fn assert_waits(answer: &Response) {
    answer.assert_error(429, "temporarily_unavailable", &"too many attempts");
    let seconds = answer.header("retry-after").and_then(|value| value.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=900).contains(&seconds)), "{answer:?}");
}

/// All of them at once, each on a connection and a thread of its own; and how long the last one took.
fn at_once(requests: Vec<Request>, address: SocketAddr) -> (Vec<Response>, Duration) {
    let barrier = Barrier::new(requests.len());
    let begun = Instant::now();
    let answers = thread::scope(|scope| {
        let send = |request: Request| {
            let barrier = &barrier;
            let ask = move || {
                barrier.wait();
                request.send(address)
            };
            thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn_scoped(scope, ask)
                .expect("a thread")
        };
        let asking: Vec<_> = requests.into_iter().map(send).collect();
        asking.into_iter().map(|asked| asked.join().expect("an answer")).collect()
    });
    (answers, begun.elapsed())
}

/// Who waits is told the same whatever the name is and whatever the password would have been (OWASP ASVS 6.3.8).
pub(crate) fn after_the_burst_every_name_waits_alike(program: &Program) {
    let server = program.start_with(&[("LOGIN_BURST", "3")]);
    let mut refusals = Vec::new();
    for (name, right) in [
        ("alice", "wonderland"),
        ("bob", "builder"),
        ("nobody", "nothing"),
        ("zoë", "pässwörd +&=%"),
    ] {
        for _ in 0..3 {
            server.send(&login(name, "wrong")).assert_error(400, "invalid_grant", &name);
        }
        for password in ["wrong", right] {
            let refusal = server.send(&login(name, password));
            assert_waits(&refusal);
            assert_eq!(refusal.header("retry-after"), Some("1"), "{name}");
            refusals.push(refusal.visible());
        }
    }
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
}

/// Whoever comes back when told gets in, and that clears the count.
pub(crate) fn after_the_wait_the_right_password_gets_in(program: &Program) {
    let server = program.start_with(&[("LOGIN_BURST", "2")]);
    for _ in 0..2 {
        server.send(&login("alice", "wrong")).assert_error(
            400,
            "invalid_grant",
            &"within the burst",
        );
    }
    let begun = Instant::now();
    let granted = loop {
        let answer = server.send(&alice());
        if answer.status == 200 {
            break begun.elapsed();
        }
        assert_waits(&answer);
        assert!(begun.elapsed() < Duration::from_secs(20), "{answer:?}");
        thread::sleep(Duration::from_millis(20));
    };
    assert!(
        granted >= Duration::from_millis(500),
        "the wait is a second from the last attempt on: {granted:?}"
    );
    for _ in 0..2 {
        server.send(&login("alice", "wrong")).assert_error(
            400,
            "invalid_grant",
            &"the count has begun anew",
        );
    }
    assert_waits(&server.send(&login("alice", "wrong")));
}

/// Counted before the password is verified, and not after (CVE-2024-4629, CVE-2023-47111).
pub(crate) fn a_thousand_guesses_at_once_verify_only_the_burst(program: &Program) {
    let server = program.start_with(&[("RUST_LOG", "password_grant=debug")]);
    let guesses = (0..1000).map(|number| login("alice", &format!("guess {number}"))).collect();
    let (answers, took) = at_once(guesses, server.address);
    let of = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    let judged = of(400);
    assert_eq!(judged + of(429), 1000);
    // One more for each wait that has passed meanwhile: a second, then two, four, …
    let waits = (1..).take_while(|wait| Duration::from_secs((1 << wait) - 1) < took).count();
    assert!((10..=10 + waits).contains(&judged), "{judged} in {took:?}");
    let verified = server.into_log().matches("password verified with").count();
    assert_eq!(verified, judged);
}

/// Whoever guesses from elsewhere does not keep the owner out of where they log in from.
pub(crate) fn guessing_from_elsewhere_does_not_keep_the_owner_waiting_at_home(program: &Program) {
    let server = program.start_with(&[("LOGIN_BURST", "3")]);
    assert_eq!(server.send(&alice()).status, 200);
    let elsewhere = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    for _ in 0..5 {
        login("alice", "guess").send_from(elsewhere, server.address);
    }
    assert_waits(&alice().send_from(elsewhere, server.address));
    assert_eq!(server.send(&alice()).status, 200);
}

/// The spellings of a name are no further guesses, nor is naming the domain that is meant anyway.
pub(crate) fn spellings_of_a_name_are_counted_as_one(program: &Program) {
    let server = program.start_with(&[("LOGIN_BURST", "4")]);
    for name in ["alice", "ALICE", " alice", "ａｌｉｃｅ"] {
        server.send(&login(name, "wrong")).assert_error(400, "invalid_grant", &name);
    }
    assert_waits(&server.send(&login("Alice", "wrong")));
    assert_waits(
        &server.send(&login("alice", "wrong").header("X-USER-IDENTITY-DOMAIN-NAME", "demo")),
    );
}
