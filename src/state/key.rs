//! Keys of rows, and the secret under which the keys of a shared store are digests.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use aws_lc_rs::hmac;
use siphasher::sip128::{Hasher128, SipHasher13};
use zeroize::Zeroizing;

use crate::environment::{RandomnessError, SecureRandom};

/// The key of a row: one byte for its purpose, and a keyed digest of what the row is about. Without
/// the secret, a reader of the table cannot tell what a row is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateKey([u8; Self::LENGTH]);

impl StateKey {
    /// Length of a key in bytes.
    pub const LENGTH: usize = 32;

    /// The key as a store writes it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// The purpose stands before the digest, so keys of different purposes differ whatever their
    /// digests are.
    fn new(purpose: Purpose, digest: &[u8]) -> Self {
        let mut key = [0; Self::LENGTH];
        let [first, rest @ ..] = &mut key;
        *first = purpose as u8;
        rest.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
        Self(key)
    }

    /// A key of the conformance suite, whose purpose no row of the engine has.
    #[cfg(feature = "conformance")]
    pub(crate) fn of_the_suite(digest: &[u8; Self::LENGTH - 1]) -> Self {
        let mut key = [0x7f; Self::LENGTH];
        key.iter_mut().skip(1).zip(digest).for_each(|(to, from)| *to = *from);
        Self(key)
    }

    /// The purpose of the row; `None` for an overflow row, and for rows of the conformance suite.
    pub(crate) fn purpose(&self) -> Option<Purpose> {
        let [purpose, ..] = self.0;
        Purpose::of_number(purpose)
    }

    /// The key of the overflow row that counts for this key if there is no room for a row of its
    /// own: one of `rows`. `None` for all but counts of attempts on a user name. Other rows record
    /// a fact, such as a used assertion, or must not be counted for anybody else.
    pub(crate) fn overflow_row(&self, rows: u16) -> Option<Self> {
        let [purpose, high, low, ..] = self.0;
        if purpose != Purpose::Account as u8 {
            return None;
        }
        let [high, low] = (u16::from_be_bytes([high, low]) % rows.max(1)).to_be_bytes();
        let mut key = [0; Self::LENGTH];
        for (to, from) in key.iter_mut().zip([purpose | Self::OVERFLOW, high, low]) {
            *to = from;
        }
        Some(Self(key))
    }

    /// Eight bytes of the digest, for a row that names what it is about by them.
    pub(crate) fn short_digest(&self) -> [u8; 8] {
        let [_, a, b, c, d, e, f, g, h, ..] = self.0;
        [a, b, c, d, e, f, g, h]
    }

    /// Whether this is the key of an overflow row.
    pub(crate) fn is_overflow_row(&self) -> bool {
        let [purpose, ..] = self.0;
        purpose & Self::OVERFLOW != 0
    }

    /// The bit of the first byte that distinguishes overflow rows. No purpose has it.
    const OVERFLOW: u8 = 0x80;

    /// One of 256 groups, by a byte of the digest that is not part of the hash.
    pub(crate) fn group(&self) -> u8 {
        let [_, _, _, _, _, _, _, _, _, group, ..] = self.0;
        group
    }
}

/// Uses eight bytes of the digest. An attacker cannot choose them without the secret, and they are
/// spread as evenly as a hash of them would be.
impl Hash for StateKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [_, a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

impl fmt::Debug for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The purpose of a row. The numbers are part of stored keys: never change or reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Purpose {
    /// Attempts on a user name.
    Account = 1,
    /// Attempts from an address.
    Source = 2,
    /// Attempts from a network that is likely to belong to one party.
    Network = 3,
    /// A known origin. No row: the digest by which an account's row names it. (It was once a row.)
    Origin = 4,
    /// Failed authentications of a client from an address.
    ClientAtSource = 5,
    /// A used client assertion.
    Assertion = 6,
    /// The number of a client's used assertions that are remembered, in one of several parts.
    AssertionCount = 7,
    /// A session.
    Session = 8,
    /// The epoch of a subject: its last log-out everywhere.
    SubjectEpoch = 9,
    /// The last log-out everywhere of any subject.
    LastEpoch = 10,
    // 11 was a revoked access token, with a row of its own.
    /// The session index: a subject's sessions through a client.
    SessionIndex = 12,
    /// Failed authentications of a client from a network.
    ClientAtNetwork = 13,
    /// The access tokens without a session that a subject has revoked through a client.
    RevokedTokens = 14,
    /// A subject. No row: the digest of a subject that other rows name.
    Subject = 15,
}

impl Purpose {
    fn of_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Account,
            2 => Self::Source,
            3 => Self::Network,
            4 => Self::Origin,
            5 => Self::ClientAtSource,
            6 => Self::Assertion,
            7 => Self::AssertionCount,
            8 => Self::Session,
            9 => Self::SubjectEpoch,
            10 => Self::LastEpoch,
            12 => Self::SessionIndex,
            13 => Self::ClientAtNetwork,
            14 => Self::RevokedTokens,
            15 => Self::Subject,
            _ => return None,
        })
    }
}

/// The secret under which the keys of a shared store are digests. All instances need the same one.
///
/// With another secret, everything that was remembered is lost: attempts are counted from zero,
/// every session ends, revoked access tokens without a session are valid again, and client
/// assertions can be used once more. So keep the secret for as long as the store.
#[derive(Clone)]
pub struct StateSecret(Arc<hmac::Key>);

/// The error of a state secret that is too short. It must have 32 bytes or more, from a random
/// generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a state secret must have 32 bytes or more, and this one has {found}: `openssl rand -base64 48` \
     makes one"
)]
#[non_exhaustive]
pub struct InvalidStateSecret {
    /// Its length in bytes.
    pub found: usize,
}

impl StateSecret {
    /// Makes a secret from 32 bytes or more, which must come from a random generator. The
    /// line end behind a secret that is text (printable ASCII) does not belong to it, so that the
    /// content of a file can be passed as it is.
    ///
    /// # Errors
    ///
    /// [`InvalidStateSecret`] if there are fewer bytes.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, InvalidStateSecret> {
        let bytes = without_line_end(bytes.as_ref());
        if bytes.len() < 32 {
            Err(InvalidStateSecret { found: bytes.len() })
        } else {
            Ok(Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, bytes))))
        }
    }
}

/// A secret that is text, without the line end that editors and commands put at the end of a file.
/// Bytes that are no text stay as they are: random ones may end with that of a line end.
pub(crate) fn without_line_end(secret: &[u8]) -> &[u8] {
    let text = secret.strip_suffix(b"\n").unwrap_or(secret);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.iter().all(u8::is_ascii_graphic) { text } else { secret }
}

impl fmt::Debug for StateSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateSecret")
    }
}

/// Makes keys: a digest under a secret of what a row is about.
#[derive(Clone)]
pub(crate) enum Keys {
    /// A keyed hash, which is faster, for rows that never leave the process.
    Local(SipHasher13),
    Shared(StateSecret),
}

impl Keys {
    pub(crate) fn local(randomness: &dyn SecureRandom) -> Result<Self, RandomnessError> {
        let mut secret = Zeroizing::new([0; 16]);
        randomness.fill(&mut *secret)?;
        Ok(Self::Local(SipHasher13::new_with_key(&secret)))
    }

    /// The key for these parts. The length of each part is hashed before it, so that no two lists
    /// of parts hash the same bytes.
    pub(crate) fn key(&self, purpose: Purpose, parts: &[&[u8]]) -> StateKey {
        /// Version of what is hashed. Another version loses all that is stored.
        const VERSION: u8 = 1;
        fn hash(purpose: Purpose, parts: &[&[u8]], update: impl FnMut(&[u8])) {
            let mut pieces = Pieces { update, waiting: [0; 128], length: 0 };
            pieces.add(&[VERSION, purpose as u8]);
            for part in parts {
                pieces.add(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
                pieces.add(part);
            }
            pieces.flush();
        }
        match self {
            Self::Local(hasher) => {
                let mut hasher = *hasher;
                hash(purpose, parts, |bytes| hasher.write(bytes));
                StateKey::new(purpose, &hasher.finish128().as_bytes())
            }
            Self::Shared(secret) => {
                let mut context = hmac::Context::with_key(&secret.0);
                hash(purpose, parts, |bytes| context.update(bytes));
                StateKey::new(purpose, context.sign().as_ref())
            }
        }
    }
}

/// Joins short pieces, because hashing many of them is slower than hashing one long one.
struct Pieces<F> {
    update: F,
    waiting: [u8; 128],
    length: usize,
}

impl<F: FnMut(&[u8])> Pieces<F> {
    fn add(&mut self, piece: &[u8]) {
        if self.waiting.len() - self.length < piece.len() {
            self.flush();
        }
        match self.waiting.get_mut(self.length..self.length + piece.len()) {
            Some(place) => {
                place.copy_from_slice(piece);
                self.length += piece.len();
            }
            None => (self.update)(piece),
        }
    }

    fn flush(&mut self) {
        (self.update)(self.waiting.get(..self.length).unwrap_or_default());
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Keys {
        Keys::Shared(StateSecret::new([7; 32]).unwrap())
    }

    /// A changed format loses every count in a rolling upgrade. If this test fails, the format has
    /// changed.
    #[test]
    fn the_bytes_of_a_key_stay_the_same_from_version_to_version() {
        let key = shared().key(Purpose::Account, &[b"tenant", b"alice"]);
        let mut input = vec![1, 1, 0, 0, 0, 6];
        input.extend(b"tenant");
        input.extend([0, 0, 0, 5]);
        input.extend(b"alice");
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), &input);
        assert_eq!(key.as_bytes()[0], 1);
        assert_eq!(key.as_bytes()[1..], tag.as_ref()[..31]);
        assert_eq!(
            format!("{key:?}"),
            "012f5a4e6355fc0a335b0f99a20406fb9c5c3a350b43609ff75192c3eaf86226"
        );
    }

    /// The key does not depend on how the parts were joined before they were hashed.
    #[test]
    fn parts_of_any_length_are_hashed_one_after_the_other() {
        for length in (0..300).step_by(7) {
            let (long, short) = (vec![0x5a; length], [1, 2, 3]);
            let mut input = vec![1, Purpose::Session as u8];
            for part in [&short[..], &long, &short] {
                input.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
                input.extend(part);
            }
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), &input);
            let key = shared().key(Purpose::Session, &[&short, &long, &short]);
            assert_eq!(key.as_bytes()[1..], tag.as_ref()[..31], "{length}");
        }
    }

    /// No two lists of parts have the same key.
    #[test]
    fn parts_and_purposes_never_run_together() {
        let local = Keys::local(&crate::environment::SystemRandom::new()).unwrap();
        for keys in [shared(), local] {
            let key = |parts: &[&[u8]]| keys.key(Purpose::Account, parts);
            let lists: [&[&[u8]]; 7] = [
                &[b"a", b"bc"],
                &[b"ab", b"c"],
                &[b"abc"],
                &[b"", b"abc"],
                &[b"abc", b""],
                &[b"a", b"b", b"c"],
                &[],
            ];
            for (index, left) in lists.iter().enumerate() {
                assert_eq!(key(left), key(left));
                for right in &lists[index + 1..] {
                    assert_ne!(key(left), key(right));
                }
            }
            assert_ne!(keys.key(Purpose::Account, &[b"a"]), keys.key(Purpose::Source, &[b"a"]));
        }
    }

    #[test]
    fn a_key_has_the_purpose_that_it_was_made_for_and_its_overflow_row_has_none() {
        let purposes: Vec<Purpose> = (0..=u8::MAX).filter_map(Purpose::of_number).collect();
        assert_eq!(purposes.len(), 14);
        for purpose in purposes {
            let key = shared().key(purpose, &[b"alice"]);
            assert_eq!(key.as_bytes()[0], purpose as u8);
            assert_eq!((key.purpose(), key.is_overflow_row()), (Some(purpose), false));
            let overflow = key.overflow_row(32);
            assert_eq!(overflow.is_some(), purpose == Purpose::Account);
            assert!(overflow.is_none_or(|row| row.purpose().is_none() && row.is_overflow_row()));
        }
    }

    #[test]
    fn a_secret_that_is_too_short_is_none() {
        assert_eq!(StateSecret::new([0; 31]).unwrap_err(), InvalidStateSecret { found: 31 });
        assert!(StateSecret::new([0; 32]).is_ok());
    }
}
