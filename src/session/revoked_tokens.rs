//! Access tokens that were revoked one by one ([RFC 7009]): state machines without I/O. They answer
//! for all tokens in bounded room, however many are revoked.
//!
//! Tokens of a session are remembered in the session's row ([`RevokedInSession`]), and those
//! without a session in one row for each client and subject ([`RevokedAlone`]). A token is no
//! longer remembered once no verifier accepts it any more.
//!
//! [RFC 7009]: https://www.rfc-editor.org/rfc/rfc7009

use crate::state::codec::{Reader, Stored, write_number, write_optional};
use crate::types::digest::sha256;

/// The first half of the SHA-256 digest of a `jti`, which may itself be of any length. Half of it
/// suffices: identifiers are chosen by the issuer and not by an attacker, so only chance could make
/// two of the few that are compared the same, and a token would then be refused, never accepted.
type TokenDigest = [u8; 16];

/// An access token, as it is revoked and asked about. Times are in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    digest: TokenDigest,
    /// `iat`, rounded down; 0 if the issuer does not tell it.
    issued_at: u64,
    /// When no verifier accepts the token any more.
    end: u64,
}

impl Token {
    pub(crate) fn new(token_id: &str, issued_at: u64, end: u64) -> Self {
        let [digest @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            sha256(token_id.as_bytes());
        Self { digest, issued_at, end }
    }
}

/// The revoked access tokens of a session: a few of them by their identifiers, and all that were
/// issued in a certain second or before.
///
/// That second is the watermark. It moves up when there are too many tokens to remember: to the
/// time of issue of the one that was issued first, which is then forgotten. So a token that was
/// revoked stays revoked until it expires. A token that was not revoked is taken for a revoked one
/// if more than eight unexpired tokens were revoked that were issued in its second or later, by the
/// clocks of the instances that issued them. A client that gets and revokes more than eight tokens
/// within a second may therefore get one that is revoked from the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RevokedInSession {
    /// All tokens that were issued in this second or before are revoked.
    watermark: Option<u64>,
    /// Revoked tokens that were issued after the watermark.
    newest: Vec<Token>,
}

impl RevokedInSession {
    /// The most tokens that are remembered by their identifiers.
    const MOST: usize = 8;

    pub(crate) fn contains(&self, token: &Token) -> bool {
        self.is_below_watermark(token) || self.newest.iter().any(|own| own.digest == token.digest)
    }

    /// Revokes a token. Returns whether there was anything to change.
    pub(crate) fn revoke(&mut self, token: Token, now: u64) -> bool {
        if self.contains(&token) || token.end <= now {
            return false;
        }
        self.newest.retain(|own| now < own.end);
        self.newest.push(token);
        if self.newest.len() > Self::MOST
            && let Some(first) = self.newest.iter().map(|own| own.issued_at).min()
        {
            self.watermark = Some(first);
            self.newest.retain(|own| first < own.issued_at);
        }
        true
    }

    fn is_below_watermark(&self, token: &Token) -> bool {
        self.watermark.is_some_and(|watermark| token.issued_at <= watermark)
    }

    /// Writes it as a part of the session's row.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        write_optional(bytes, self.watermark);
        write_number(bytes, self.newest.len() as u64);
        for token in &self.newest {
            bytes.extend_from_slice(&token.digest);
            write_number(bytes, token.issued_at);
            write_number(bytes, token.end);
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let watermark = reader.optional()?;
        let count = reader.number()?;
        let mut token = || {
            let (digest, issued_at) = (reader.array()?, reader.number()?);
            Some(Token { digest, issued_at, end: reader.number()? })
        };
        let newest = (0..count).map(|_| token()).collect::<Option<_>>()?;
        Some(Self { watermark, newest })
    }
}

/// The revoked access tokens of a subject through a client that have no session. There is no
/// watermark, which would revoke the tokens of other devices: the row is the quota.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RevokedAlone(Vec<(TokenDigest, u64)>);

/// The error of a row that has no room for another revoked token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl RevokedAlone {
    /// The most unexpired tokens that a client can have revoked for a subject.
    pub(crate) const MOST: usize = 64;

    pub(crate) fn contains(&self, token: &Token) -> bool {
        self.0.iter().any(|(digest, _)| *digest == token.digest)
    }

    /// Revokes a token. Returns whether there was anything to change. A token that is revoked
    /// already is not [`Full`], even if there is no room for another one.
    pub(crate) fn revoke(&mut self, token: Token, now: u64) -> Result<bool, Full> {
        if self.contains(&token) || token.end <= now {
            return Ok(false);
        }
        self.0.retain(|(_, end)| now < *end);
        if self.0.len() >= Self::MOST {
            return Err(Full);
        }
        self.0.push((token.digest, token.end));
        Ok(true)
    }

    /// When the last token is forgotten, in seconds since 1970.
    pub(crate) fn end(&self) -> u64 {
        self.0.iter().map(|(_, end)| *end).max().unwrap_or(0)
    }
}

impl Stored for RevokedAlone {
    const NAME: &'static str = "a user's revoked tokens";

    fn size_hint(&self) -> usize {
        2 + 21 * self.0.len()
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        write_number(bytes, self.0.len() as u64);
        for (digest, end) in &self.0 {
            bytes.extend_from_slice(digest);
            write_number(bytes, *end);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let count = reader.number()?;
        let tokens = (0..count).map(|_| Some((reader.array()?, reader.number()?)));
        tokens.collect::<Option<_>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::state::codec::{from_bytes, to_bytes};
    use crate::state::test_support::hex;

    /// A session's part of a row, as a row of its own.
    #[derive(Debug, PartialEq)]
    struct Part(RevokedInSession);

    impl Stored for Part {
        const NAME: &'static str = "a test";

        fn encode(&self, bytes: &mut Vec<u8>) {
            self.0.encode(bytes);
        }

        fn decode(reader: &mut Reader<'_>) -> Option<Self> {
            RevokedInSession::decode(reader).map(Self)
        }
    }

    fn token(id: u64, issued_at: u64, end: u64) -> Token {
        Token::new(&id.to_string(), issued_at, end)
    }

    /// Seconds from one step to the next: mostly none, so that many tokens are alive at once.
    fn spans() -> impl Strategy<Value = u64> {
        prop_oneof![8 => Just(0), 2 => 1_u64..5]
    }

    /// The reference, which forgets nothing.
    #[derive(Default)]
    struct Reference {
        revoked: HashMap<u64, Token>,
        /// All tokens that were issued then or before are taken for revoked.
        watermark: Option<u64>,
    }

    impl Reference {
        fn revoke(&mut self, id: u64, token: Token, now: u64) {
            self.revoked.insert(id, token);
            let mut issued: Vec<u64> = self
                .revoked
                .values()
                .filter(|own| now < own.end)
                .map(|own| own.issued_at)
                .collect();
            issued.sort_unstable_by(|one, other| other.cmp(one));
            // The ninth youngest of all that are revoked and have not expired.
            self.watermark = self.watermark.max(issued.get(RevokedInSession::MOST).copied());
        }

        fn contains(&self, id: u64, token: &Token) -> bool {
            self.revoked.contains_key(&id)
                || self.watermark.is_some_and(|watermark| token.issued_at <= watermark)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// For any order in which tokens are issued and revoked, the few that are remembered answer
        /// like a memory of all, for as long as a token is accepted.
        #[test]
        fn what_is_remembered_of_a_session_answers_like_a_memory_of_all(
            issued in vec((0_u64..12, 3_u64..30), 1..60),
            steps in vec((0_usize..60, spans()), 1..80),
        ) {
            let tokens: Vec<Token> = (0_u64..)
                .zip(&issued)
                .map(|(id, (at, life))| token(id, *at, at + life))
                .collect();
            let (mut machine, mut reference) = (RevokedInSession::default(), Reference::default());
            let mut now = 0;
            for (index, span) in steps {
                now += span;
                let index = index % tokens.len();
                if now < tokens[index].end {
                    let before = machine.clone();
                    let changed = machine.revoke(tokens[index], now);
                    prop_assert_eq!(changed, machine != before);
                    reference.revoke(index as u64, tokens[index], now);
                }
                prop_assert!(machine.newest.len() <= RevokedInSession::MOST);
                for (id, token) in (0_u64..).zip(&tokens).filter(|(_, token)| now < token.end) {
                    let expected = reference.contains(id, token);
                    prop_assert_eq!(machine.contains(token), expected, "{} at {}", id, now);
                }
                let part = Part(machine.clone());
                prop_assert_eq!(from_bytes(&to_bytes(&part)), Ok(part));
            }
        }

        #[test]
        fn what_is_remembered_without_a_session_is_what_was_revoked_and_has_not_expired(
            lives in vec(1_u64..200, 1..200),
            steps in vec((0_usize..200, spans()), 1..300),
        ) {
            let tokens: Vec<Token> =
                (0_u64..).zip(&lives).map(|(id, life)| token(id, 0, *life)).collect();
            let (mut machine, mut revoked, mut now) = (RevokedAlone::default(), HashMap::new(), 0);
            for (index, span) in steps {
                now += span;
                let (index, before) = (index % tokens.len(), machine.clone());
                let alive = revoked.values().filter(|token: &&Token| now < token.end).count();
                let is_new = now < tokens[index].end && !revoked.contains_key(&index);
                let expected = match is_new {
                    true if alive >= RevokedAlone::MOST => Err(Full),
                    is_new => Ok(is_new),
                };
                prop_assert_eq!(machine.revoke(tokens[index], now), expected);
                if expected == Ok(true) {
                    revoked.insert(index, tokens[index]);
                    prop_assert!(machine.end() >= tokens[index].end);
                } else if expected == Ok(false) {
                    prop_assert_eq!(&machine, &before);
                }
                prop_assert!(machine.0.len() <= RevokedAlone::MOST);
                for (id, token) in tokens.iter().enumerate().filter(|(_, token)| now < token.end) {
                    prop_assert_eq!(machine.contains(token), revoked.contains_key(&id));
                }
                prop_assert_eq!(from_bytes(&to_bytes(&machine)), Ok(machine.clone()));
            }
        }
    }

    /// A client that revokes each access token which it has replaced never takes more room.
    #[test]
    fn a_session_whose_tokens_are_all_revoked_stays_small_and_keeps_the_newest_alive() {
        let mut revoked = RevokedInSession::default();
        for at in 0..1_000 {
            let (old, new) = (token(at, at, at + 600), token(at + 1, at + 1, at + 601));
            assert!(revoked.revoke(old, at));
            assert!(revoked.contains(&old) && !revoked.contains(&new), "{at}");
        }
        assert!(to_bytes(&Part(revoked)).len() < 256);
    }

    #[test]
    fn of_more_tokens_than_fit_those_of_one_second_are_revoked_together() {
        let mut revoked = RevokedInSession::default();
        (0..8).for_each(|id| assert!(revoked.revoke(token(id, 5, 600), 5)));
        let (sibling, later) = (token(8, 5, 600), token(9, 6, 600));
        assert!(!revoked.contains(&sibling));
        assert!(revoked.revoke(later, 6));
        assert!(revoked.contains(&sibling), "it is of the second of those that are forgotten");
        assert!(!revoked.contains(&token(10, 6, 600)));
        assert_eq!(revoked, RevokedInSession { watermark: Some(5), newest: vec![later] });
    }

    #[test]
    fn the_stored_bytes_stay_the_same_from_version_to_version() {
        let (first, second) = (token(1, 300, 1_000), token(2, 301, 1_001));
        // The digests are those of "1" and "2".
        let digests = ["6b86b273ff34fce19d6b804eff5a3f57", "d4735e3a265e16eee03f59718b9b5d03"];
        let part = RevokedInSession { watermark: Some(299), newest: vec![first, second] };
        assert_eq!(hex(&Part(RevokedInSession::default())), "010000");
        let expected = format!("01ac0202{}ac02e807{}ad02e907", digests[0], digests[1]);
        assert_eq!(hex(&Part(part)), expected);
        let alone = RevokedAlone(vec![(first.digest, first.end), (second.digest, second.end)]);
        assert_eq!(hex(&alone), format!("0102{}e807{}e907", digests[0], digests[1]));
    }

    #[test]
    fn a_row_that_was_cut_or_prolonged_is_not_readable() {
        let mut alone = RevokedAlone::default();
        (0..3).for_each(|id| assert_eq!(alone.revoke(token(id, 0, 1_000), 0), Ok(true)));
        let mut bytes = to_bytes(&alone);
        for cut in 0..bytes.len() {
            assert!(from_bytes::<RevokedAlone>(&bytes[..cut]).is_err(), "{cut}");
        }
        bytes.push(0);
        assert!(from_bytes::<RevokedAlone>(&bytes).is_err());
        // Neither is a count that no row could have.
        let endless = [&[1][..], &[0xff; 9], &[1]].concat();
        assert!(from_bytes::<RevokedAlone>(&endless).is_err());
        assert!(from_bytes::<Part>(&[&[1, 0][..], &[0xff; 9], &[1]].concat()).is_err());
    }
}
