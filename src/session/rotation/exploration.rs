//! Tests of refresh token rotation against a reference that remembers everything, over all short
//! histories and many long ones: honest clients in several tabs, lost answers, thieves with a token
//! of any generation, log-outs, revocations, keys that are rotated inside the retry window, and
//! clocks that step back.

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::state::codec::{from_bytes, to_bytes};
use crate::state::test_support::hex;
use crate::types::digest::sha256;

const ABSOLUTE: u64 = 60;

fn holder() -> Holder {
    Holder { tenant: "t".into(), client: "c".into(), binding: Vec::new() }
}

fn session(idle: Option<u64>) -> Session {
    let audiences = vec!["https://api.example.com".to_owned()];
    let scope = "a b".parse().unwrap();
    let mut session = Session::new(holder(), "user-1".into(), 5, scope, audiences, [7; 32]);
    let ends = (Duration::from_millis(ABSOLUTE), idle.map(Duration::from_millis));
    session.begin(1_000, ends.0, ends.1);
    session
}

#[derive(Debug, Clone, Copy)]
enum Happens {
    /// Uses the token this many generations before the newest one.
    Use(u64),
    /// Uses a token of that generation with a wrong secret.
    Forge(u64),
    /// Uses a token that was never issued.
    UseOfLater,
    OtherClient,
    Passes(u64),
    SetBack(u64),
    Revoke,
    LogOut,
    /// The next step of a key rotation: the new key is published, then signs, then is alone.
    NextKeys,
}

/// The reference, which forgets nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Reference {
    /// The digest of the token of each generation.
    chain: Vec<SecretDigest>,
    /// When each generation was succeeded.
    followed: Vec<u64>,
    /// How many of them have been out of the retry window once: a clock that is set back does not
    /// bring them in again.
    over: usize,
    repeats: u32,
    revoked: bool,
    logged_out: u64,
    idle_expiry: Option<u64>,
}

#[derive(Debug, Clone)]
struct Both {
    rule: SessionRule,
    machine: Session,
    reference: Reference,
    now: u64,
    keys: usize,
}

/// The possible successors of a token, under the keys at this step of their rotation.
fn successors(keys: usize, of: &SecretDigest) -> Vec<SecretDigest> {
    let keys: &[u8] = [&[1][..], &[1, 2], &[2, 1], &[2]][keys.min(3)];
    keys.iter().map(|key| sha256(&[&[*key], &of[..]].concat())).collect()
}

impl Both {
    fn new(rule: SessionRule) -> Self {
        let machine = session(rule.idle);
        let reference = Reference {
            chain: vec![machine.current],
            followed: Vec::new(),
            over: 0,
            repeats: 0,
            revoked: false,
            logged_out: 0,
            idle_expiry: machine.idle_expiry,
        };
        Self { rule, machine, reference, now: 1_000, keys: 0 }
    }

    fn go(&mut self, happens: Happens) {
        match happens {
            Happens::Use(behind) => {
                let newest = self.reference.chain.len() as u64 - 1;
                self.present(newest.saturating_sub(behind));
            }
            Happens::Forge(behind) => self.forge(behind),
            Happens::UseOfLater => {
                let generation = self.reference.chain.len() as u64;
                self.unchanged(generation, [1; 32], &holder(), TokenFault::Ahead);
            }
            Happens::OtherClient => {
                let other = Holder { client: "d".into(), ..holder() };
                let current = (self.machine.generation, self.machine.current);
                let before = self.machine.clone();
                let step = self.step(current.0, current.1, &other);
                assert_eq!(step, Step::Refused(TokenFault::OtherClient));
                assert_eq!(self.machine, before);
            }
            Happens::Passes(span) => self.now += span,
            Happens::SetBack(span) => self.now -= span,
            Happens::Revoke => {
                self.machine.revoke(self.now);
                self.reference.revoked = true;
            }
            Happens::LogOut => self.reference.logged_out = 6,
            Happens::NextKeys => self.keys += 1,
        }
        self.what_never_changes();
    }

    fn step(&mut self, generation: u64, digest: SecretDigest, holder: &Holder) -> Step {
        let successors = successors(self.keys, &digest);
        let presented = Presented { generation, digest, successors: &successors };
        self.machine.use_token(presented, holder, self.reference.logged_out, &self.rule, self.now)
    }

    fn dead(&self) -> Option<TokenFault> {
        let idle = self.reference.idle_expiry.is_some_and(|end| end <= self.now);
        if self.reference.revoked {
            Some(TokenFault::Revoked)
        } else if self.reference.logged_out > 5 {
            Some(TokenFault::LoggedOut)
        } else {
            let absolute = 1_000 + ABSOLUTE.min(self.rule.absolute);
            (self.now >= absolute || idle).then_some(TokenFault::Expired)
        }
    }

    /// Presents a token that must be refused, and checks that nothing changed.
    fn unchanged(
        &mut self,
        generation: u64,
        digest: SecretDigest,
        holder: &Holder,
        fault: TokenFault,
    ) {
        let before = self.machine.clone();
        let expected = self.dead().unwrap_or(fault);
        assert_eq!(self.step(generation, digest, holder), Step::Refused(expected));
        assert_eq!(self.machine, before);
    }

    /// Presents a token with a wrong secret. The current generation is compared with its stored
    /// digest. An older one counts like the real token, since its tag is right.
    fn forge(&mut self, behind: u64) {
        if behind == 0 {
            self.unchanged(self.machine.generation, [0xfe; 32], &holder(), TokenFault::Forged);
        } else if self.dead().is_none() && behind <= self.machine.generation {
            let generation = self.machine.generation - behind;
            let is_recent = self.expected(usize::try_from(generation).unwrap()) != Step::Reused;
            let step = self.step(generation, [0xfe; 32], &holder());
            // The digest of the previous generation is stored, and this is not it.
            let expected = if behind > 1 && is_recent {
                Step::Busy(Contention::Straggler)
            } else {
                Step::Reused
            };
            assert_eq!(step, expected);
            self.reference.revoked |= step == Step::Reused;
        }
    }

    fn present(&mut self, generation: u64) {
        let before = self.machine.clone();
        let at = usize::try_from(generation).unwrap();
        let digest = self.reference.chain[at];
        let expected = self.expected(at);
        let step = self.step(generation, digest, &holder());
        assert_eq!(step, expected, "{generation} of {self:?}");
        match step {
            Step::Rotated => {
                // A token has one successor, which its first key makes.
                self.reference.chain.push(successors(self.keys, &digest)[0]);
                let over = |time: &u64| time.abs_diff(self.now) >= self.rule.window;
                let last = self.reference.followed.iter().rposition(over);
                self.reference.over = self.reference.over.max(last.map_or(0, |last| last + 1));
                self.reference.followed.push(self.now);
                self.reference.repeats = 0;
                self.touch();
            }
            Step::Kept => self.touch(),
            Step::Repeated(index) => {
                assert_eq!(
                    successors(self.keys, &digest)[index],
                    self.reference.chain[at + 1],
                    "never a fork"
                );
                self.reference.repeats += 1;
            }
            Step::Reused => self.reference.revoked = true,
            Step::Busy(_) | Step::Refused(_) => assert_eq!(self.machine, before),
        }
        assert_eq!(self.machine.generation, self.reference.chain.len() as u64 - 1);
        assert_eq!(Some(&self.machine.current), self.reference.chain.last());
    }

    fn touch(&mut self) {
        self.reference.idle_expiry = self.rule.idle.map(|idle| self.now + idle);
    }

    fn expected(&self, at: usize) -> Step {
        if let Some(fault) = self.dead() {
            return Step::Refused(fault);
        }
        let Some(followed) = self.reference.followed.get(at) else {
            return if self.rule.rotates { Step::Rotated } else { Step::Kept };
        };
        if at < self.reference.over || followed.abs_diff(self.now) >= self.rule.window {
            return Step::Reused;
        }
        let successor = self.reference.chain[at + 1];
        let known = successors(self.keys, &self.reference.chain[at])
            .iter()
            .position(|own| *own == successor);
        match known {
            _ if at + 2 < self.reference.chain.len() => Step::Busy(Contention::Straggler),
            Some(index) if self.reference.repeats < self.rule.repeats => Step::Repeated(index),
            Some(_) => Step::Busy(Contention::Repeats),
            None => Step::Busy(Contention::ForeignSuccessor),
        }
    }

    fn what_never_changes(&self) {
        assert_eq!(self.machine.absolute_expiry, 1_000 + ABSOLUTE);
        assert_eq!(self.machine.scope.as_str(), "a b");
        assert_eq!(self.machine.revoked_at.is_some(), self.reference.revoked);
        assert_eq!(from_bytes(&to_bytes(&self.machine)), Ok(self.machine.clone()));
    }
}

fn explore(rule: SessionRule, depth: usize) -> usize {
    let choices = [
        Happens::Use(0),
        Happens::Use(1),
        Happens::Use(2),
        Happens::Use(3),
        Happens::Forge(0),
        Happens::Forge(1),
        Happens::Forge(2),
        Happens::UseOfLater,
        Happens::OtherClient,
        Happens::Passes(2),
        Happens::Passes(3),
        Happens::SetBack(2),
        Happens::Revoke,
        Happens::LogOut,
        Happens::NextKeys,
    ];
    let mut seen = HashSet::new();
    let mut frontier = vec![Both::new(rule)];
    for _ in 0..depth {
        let mut next = Vec::new();
        for state in &frontier {
            for happens in choices {
                let mut state = state.clone();
                state.go(happens);
                if seen.insert((
                    state.now,
                    state.keys,
                    to_bytes(&state.machine),
                    state.reference.clone(),
                )) {
                    next.push(state);
                }
            }
        }
        frontier = next;
    }
    seen.len()
}

fn rule() -> SessionRule {
    SessionRule { window: 4, repeats: 1, absolute: ABSOLUTE, idle: None, rotates: true }
}

#[test]
fn every_short_history_goes_as_promised() {
    let explored = [
        explore(rule(), 7),
        explore(SessionRule { idle: Some(5), ..rule() }, 6),
        explore(SessionRule { window: 0, ..rule() }, 6),
        explore(SessionRule { rotates: false, idle: Some(5), ..rule() }, 6),
        explore(SessionRule { absolute: 5, ..rule() }, 6),
    ];
    assert!(
        explored
            .iter()
            .zip([20_000, 6_000, 5_000, 1_500, 3_000])
            .all(|(states, least)| *states > least),
        "{explored:?}"
    );
}

fn histories() -> impl Strategy<Value = Vec<Happens>> {
    let happens = prop_oneof![
        12 => (0_u64..4).prop_map(Happens::Use),
        1 => (0_u64..3).prop_map(Happens::Forge),
        1 => Just(Happens::UseOfLater),
        1 => Just(Happens::OtherClient),
        6 => (0_u64..6).prop_map(Happens::Passes),
        1 => (0_u64..4).prop_map(Happens::SetBack),
        1 => Just(Happens::NextKeys),
    ];
    let rare = prop_oneof![60 => happens, 1 => Just(Happens::Revoke), 1 => Just(Happens::LogOut)];
    vec(rare, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn every_long_history_goes_as_promised(
        window in 0_u64..6,
        repeats in 0_u32..3,
        absolute in 10_u64..2 * ABSOLUTE,
        idle in proptest::option::of(3_u64..9),
        history in histories(),
    ) {
        let mut both = Both::new(SessionRule { window, repeats, absolute, idle, rotates: true });
        for happens in history {
            // With more rotations within one window than are recorded, the oldest count as used
            // long ago, which the reference does not do. Let time pass instead.
            let recent = both.reference.followed.len() - both.reference.over;
            if recent < Session::RECENT {
                both.go(happens);
            } else {
                both.go(Happens::Passes(1));
            }
        }
    }
}

/// Each session has exactly one encoding: bytes that can be decoded encode to the same bytes.
#[test]
fn a_row_with_another_byte_is_another_family_or_none() {
    let mut session = session(Some(9));
    session.follow(&[[3; 32]], &rule(), 1_001);
    session.revoke_token(Token::new("1", 300, 1_000), 1_002);
    let bytes = to_bytes(&session);
    let mut readable = 0;
    for index in 0..bytes.len() {
        for byte in 0..=u8::MAX {
            let mut other = bytes.clone();
            other[index] = byte;
            if let Ok(session) = from_bytes::<Session>(&other) {
                assert_eq!(to_bytes(&session), other, "{index}: {byte}");
                readable += 1;
            }
        }
    }
    assert!((20_000..256 * bytes.len()).contains(&readable), "{readable}");
}

/// A session after two rotations, whose stored bytes are pinned.
fn pinned() -> Session {
    let mut session = session(Some(9));
    session.audiences.push("https://api.example.com".into());
    session.follow(&[[3; 32]], &rule(), 1_001);
    session.follow(&[[4; 32]], &rule(), 1_002);
    session.repeats = 2;
    assert!(session.revoke_token(Token::new("1", 300, 1_000), 1_002));
    session
}

/// What the second form adds to [`pinned`]: when it began, and the revoked token.
const ADDED: &str = "e90700016b86b273ff34fce19d6b804eff5a3f57ac02e807";

/// What the first form has, without the first byte and the two times at its end.
const PINNED: &str = "0174016306757365722d31000503612062021768747470733a2f2f6170692e6578616d706c652e636f6d1768747470733a2f2f6170692e6578616d706c652e636f6d020404040404040404040404040404040404040404040404040404040404040404030303030303030303030303030303030303030303030303030303030303030302e907ea0702a408";

#[test]
fn the_stored_bytes_stay_the_same_from_version_to_version() {
    let mut session = pinned();
    assert_eq!(hex(&session), format!("02{PINNED}0000{ADDED}"));
    session.revoke(1_003);
    session.idle_expiry = None;
    assert_eq!(hex(&session), format!("02{PINNED}00ec07{ADDED}"));
}

/// A session that a former version has stored does not say when it began, and lasts as long as it
/// was to last then. None of its access tokens were revoked in its row.
#[test]
fn a_row_of_the_first_form_is_still_read() {
    let hex: String = format!("01{PINNED}0000");
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    let read = from_bytes::<Session>(&bytes).unwrap();
    let revoked_tokens = RevokedInSession::default();
    assert_eq!(read, Session { began: None, revoked_tokens, ..pinned() });
    assert_eq!(from_bytes(&to_bytes(&read)), Ok(read.clone()), "also once it is written again");
    assert_eq!(read.expires_at(1), 1_000 + ABSOLUTE);
    let from_now_on = [pinned().expires_at(1), pinned().expires_at(u64::MAX)];
    assert_eq!(from_now_on, [1_001, 1_000 + ABSOLUTE]);
    for cut in 0..bytes.len() {
        assert!(from_bytes::<Session>(&bytes[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn a_row_that_was_cut_or_prolonged_is_not_readable() {
    let mut bytes = to_bytes(&pinned());
    for cut in 0..bytes.len() {
        assert!(from_bytes::<Session>(&bytes[..cut]).is_err(), "{cut}");
    }
    bytes.push(0);
    assert!(from_bytes::<Session>(&bytes).is_err());
}

/// Generations order the tokens even if the clock stands still.
#[test]
fn three_rotations_in_one_instant_and_the_first_token_shows_its_theft() {
    let mut both = Both::new(SessionRule { window: 0, ..rule() });
    (0..3).for_each(|_| both.go(Happens::Use(0)));
    both.present(1);
    assert!(both.reference.revoked);
}
