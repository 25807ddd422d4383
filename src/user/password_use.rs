//! Whether the password of a login attempt has been looked at. If a request is dropped before that,
//! nobody can have learned anything from it, and the attempt need not be counted.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

/// Whether the password of one attempt has been looked at, or may still be.
///
/// The engine makes one for each attempt and lends it to the
/// [`LoginAttempt`](crate::LoginAttempt). A password counts as looked at, unless whoever is going
/// to look at it has promised to ask before ([`wait_for_turn`](Self::wait_for_turn)).
pub(crate) struct PasswordUse {
    /// Whether the password was handed out to code that does not ask.
    is_handed_out: AtomicBool,
    /// Allocated only if somebody waits.
    turn: OnceLock<PasswordTurn>,
}

/// The turn of a password to be looked at. Either it begins or the engine withdraws it, never both.
#[derive(Clone)]
pub(crate) struct PasswordTurn(Arc<AtomicU8>);

const WAITING: u8 = 0;
#[cfg(feature = "argon2")]
const BEGUN: u8 = 1;
const WITHDRAWN: u8 = 2;

impl PasswordUse {
    pub(crate) const fn new() -> Self {
        Self { is_handed_out: AtomicBool::new(false), turn: OnceLock::new() }
    }

    /// Notes that the password is given to code that does not ask before it looks.
    pub(super) fn hand_out(&self) {
        self.is_handed_out.store(true, Ordering::SeqCst);
    }

    /// Promises that from now on the password is looked at only after
    /// [`begin`](PasswordTurn::begin) has returned true. All who wait for one password share the
    /// turn.
    #[cfg(feature = "argon2")]
    pub(super) fn wait_for_turn(&self) -> PasswordTurn {
        self.turn.get_or_init(|| PasswordTurn(Arc::new(AtomicU8::new(WAITING)))).clone()
    }

    /// Withdraws the password when its request is dropped. Returns true only if it has certainly
    /// not been looked at and never will be.
    pub(crate) fn withdraw(&self) -> bool {
        !self.is_handed_out.load(Ordering::SeqCst)
            && self.turn.get().is_some_and(|turn| turn.becomes(WITHDRAWN))
    }
}

impl PasswordTurn {
    /// Asks whether the password may be looked at. From the first time that this is true, it
    /// counts as looked at.
    #[cfg(feature = "argon2")]
    pub(super) fn begin(&self) -> bool {
        self.becomes(BEGUN)
    }

    /// Whether the turn is in this state now. It leaves the state of waiting once.
    fn becomes(&self, state: u8) -> bool {
        let before = self.0.compare_exchange(WAITING, state, Ordering::SeqCst, Ordering::SeqCst);
        before.map_or_else(|found| found == state, |_| true)
    }
}

#[cfg(all(test, feature = "argon2"))]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn a_password_that_waits_can_be_withdrawn_until_its_turn_begins() {
        let withdrawn = PasswordUse::new();
        let turn = withdrawn.wait_for_turn();
        assert!(withdrawn.withdraw());
        assert!(withdrawn.withdraw(), "it stays withdrawn");
        assert!(!turn.begin());

        let begun = PasswordUse::new();
        assert!(begun.wait_for_turn().begin());
        assert!(!begun.withdraw());
    }

    #[test]
    fn a_password_that_a_host_looks_at_in_its_own_way_cannot_be_withdrawn() {
        assert!(!PasswordUse::new().withdraw(), "nobody has promised to ask");

        let handed_out = PasswordUse::new();
        handed_out.hand_out();
        let turn = handed_out.wait_for_turn();
        assert!(!handed_out.withdraw());
        assert!(turn.begin());
    }

    /// A host may have one attempt verified twice.
    #[test]
    fn a_second_verification_shares_the_turn_of_the_first() {
        let twice = PasswordUse::new();
        let (first, second) = (twice.wait_for_turn(), twice.wait_for_turn());
        assert!(first.begin());
        assert!(second.begin());
        assert!(!twice.withdraw(), "the first has looked at it");

        let none = PasswordUse::new();
        let (first, second) = (none.wait_for_turn(), none.wait_for_turn());
        assert!(none.withdraw());
        assert!(!first.begin() && !second.begin());
    }

    #[test]
    fn of_a_turn_and_a_withdrawal_at_the_same_moment_one_is_too_late() {
        for _ in 0..200 {
            let (password, barrier) = (PasswordUse::new(), Barrier::new(2));
            let turn = password.wait_for_turn();
            let (begun, withdrawn) = std::thread::scope(|scope| {
                let begins = scope.spawn(|| {
                    barrier.wait();
                    turn.begin()
                });
                barrier.wait();
                let withdrawn = password.withdraw();
                (begins.join().unwrap(), withdrawn)
            });
            assert_ne!(begun, withdrawn);
        }
    }
}
