//! The format of refresh tokens (RFC 6749 section 1.5), and the keys that make them.

use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::BoxError;
use crate::jose::KeyError;
use crate::session::epoch::SubjectDigest;
use crate::session::rotation::SecretDigest;
use crate::state::key::without_line_end;
use crate::types::digest::sha256;
use crate::types::identifier::SessionId;
use crate::types::limits::RequestLimits;
use crate::types::secret::Secret;

/// The secret keys with which refresh tokens ([RFC 6749 section 1.5]) are made and recognized.
///
/// The first key makes tokens. To rotate keys without a gap, first add the next key on every
/// instance with [`with_previous`](Self::with_previous). Once all instances have it, put it first,
/// one instance after the other, and keep the former key behind it for as long as the longest
/// session may last
/// ([`RefreshTokens::absolute_lifetime`](crate::RefreshTokens::absolute_lifetime)). A token of the
/// former key yields one of the new key at its next use.
///
/// ```
/// use password_grant::RefreshKeys;
///
/// # let (secret, former_secret) = ([1; 32], [2; 32]);
/// let keys = RefreshKeys::new(secret)?.with_previous(former_secret)?;
/// # Ok::<(), password_grant::jose::KeyError>(())
/// ```
///
/// [RFC 6749 section 1.5]: https://www.rfc-editor.org/rfc/rfc6749#section-1.5
#[derive(Clone)]
pub struct RefreshKeys(Vec<Key>);

#[derive(Clone)]
struct Key {
    kid: [u8; KID],
    tag: hmac::Key,
    successors: hmac::Key,
}

const PREFIX: &str = "rt1.";
const KID: usize = 4;
const SESSION_ID: usize = 16;
/// Characters of a session identifier in base64url without padding.
const SESSION_ID_TEXT: usize = 22;
const GENERATION: usize = 8;
pub(crate) const SECRET: usize = 32;
const TAG: usize = 16;
/// The bytes that the tag covers, besides the prefix.
const TAGGED: usize = KID + SESSION_ID + GENERATION + SECRET;
const LENGTH: usize = TAGGED + TAG;

/// A refresh token whose tag has been verified, so one of our keys made it. The session's row
/// decides whether it is good for anything.
pub(crate) struct RefreshToken {
    pub(crate) session: RawSessionId,
    pub(crate) generation: u64,
    pub(crate) secret: TokenSecret,
}

/// The secret of a refresh token, 256 bits. Overwritten when dropped.
pub(crate) struct TokenSecret(Zeroizing<[u8; SECRET]>);

impl TokenSecret {
    pub(crate) fn new(bytes: [u8; SECRET]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The digest that is stored instead of the secret.
    pub(crate) fn digest(&self) -> SecretDigest {
        sha256(&*self.0)
    }
}

/// The identifier of a session: a digest of its subject, and random bytes. It also stands in its
/// access tokens (`sid`), and is no secret.
///
/// The digest tells which row holds the subject's last log-out, so that a refresh reads it together
/// with the session's row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawSessionId(pub(crate) [u8; SESSION_ID]);

impl RawSessionId {
    /// The random bytes distinguish the sessions of one subject, of which there are at most a few
    /// hundred for each client. If two were the same, the second would not be created.
    pub(crate) const RANDOM: usize = SESSION_ID - SubjectDigest::LENGTH;

    pub(crate) fn new(subject: SubjectDigest, random: [u8; Self::RANDOM]) -> Self {
        let mut id = [0; SESSION_ID];
        for (to, from) in id.iter_mut().zip(subject.as_bytes().iter().chain(&random)) {
            *to = *from;
        }
        Self(id)
    }

    /// The subject's digest. In an identifier of an earlier version, random bytes stand there.
    pub(crate) fn subject(&self) -> SubjectDigest {
        let [digest @ .., _, _, _, _, _, _, _, _] = self.0;
        SubjectDigest::from_bytes(digest)
    }

    /// The session's identifier in access tokens: base64url.
    pub(crate) fn to_session_id(self) -> Result<SessionId, BoxError> {
        let mut text = [0; SESSION_ID_TEXT];
        // 16 bytes are 22 characters of ASCII, so neither of these fails.
        URL_SAFE_NO_PAD.encode_slice(self.0, &mut text)?;
        Ok(std::str::from_utf8(&text)?.into())
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        Some(Self(URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?))
    }
}

impl RefreshKeys {
    /// Keys from one secret: 32 bytes or more from a random generator. All instances have the same
    /// one. The line end behind a secret that is text (printable ASCII) does not belong to it, so
    /// that the content of a file can be passed as it is.
    ///
    /// # Errors
    ///
    /// [`KeyError::ShortSecret`] if the secret is shorter.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Ok(Self(vec![Key::new(secret.as_ref())?]))
    }

    /// Adds a key whose tokens are recognized: one that made tokens before, or one that will make
    /// them next.
    ///
    /// # Errors
    ///
    /// [`KeyError::ShortSecret`] if the secret is shorter than 32 bytes, [`KeyError::RepeatedKid`] if
    /// the key is there already.
    pub fn with_previous(mut self, secret: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let key = Key::new(secret.as_ref())?;
        if self.0.iter().any(|own| own.kid == key.kid) {
            return Err(KeyError::RepeatedKid);
        }
        self.0.push(key);
        Ok(self)
    }

    /// Parses a token that one of these keys has made; `None` for any other text.
    pub(crate) fn read(&self, text: &str) -> Option<RefreshToken> {
        if text.len() > RequestLimits::REFRESH_TOKEN {
            return None;
        }
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?);
        if bytes.len() != LENGTH {
            return None;
        }
        let (tagged, tag) = bytes.split_last_chunk::<TAG>()?;
        let (kid, rest) = tagged.split_first_chunk::<KID>()?;
        let key = self.0.iter().find(|key| key.kid == *kid)?;
        if !bool::from(key.tag(tagged).ct_eq(tag)) {
            return None;
        }
        let (session, rest) = rest.split_first_chunk()?;
        let (generation, rest) = rest.split_first_chunk()?;
        Some(RefreshToken {
            session: RawSessionId(*session),
            generation: u64::from_be_bytes(*generation),
            secret: TokenSecret::new(rest.try_into().ok()?),
        })
    }

    /// Whether a text has the prefix of a refresh token. Nothing is verified.
    pub(crate) fn is_refresh_token(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// The possible successors of a token, one by each of the keys. They are the same whenever the
    /// token is shown, so that a lost answer can be given again.
    pub(crate) fn successors(&self, token: &RefreshToken) -> Vec<TokenSecret> {
        self.0.iter().map(|key| key.successor(token)).collect()
    }

    /// Writes a token under the key of this index. The first key is for new tokens.
    pub(crate) fn write(
        &self,
        key: usize,
        session: RawSessionId,
        generation: u64,
        secret: &TokenSecret,
    ) -> Option<Secret<'static>> {
        let key = self.0.get(key)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(LENGTH));
        bytes.extend_from_slice(&key.kid);
        bytes.extend_from_slice(&session.0);
        bytes.extend_from_slice(&generation.to_be_bytes());
        bytes.extend_from_slice(&*secret.0);
        let tag = key.tag(&bytes);
        bytes.extend_from_slice(&tag);
        let mut text = String::with_capacity(PREFIX.len() + LENGTH.div_ceil(3) * 4);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(&*bytes, &mut text);
        Some(Secret::new(text))
    }
}

impl Key {
    /// Derives a key for each use from one secret, with HKDF (RFC 5869).
    fn new(secret: &[u8]) -> Result<Self, KeyError> {
        let secret = without_line_end(secret);
        if secret.len() < 32 {
            return Err(KeyError::ShortSecret { found: secret.len(), needed: 32 });
        }
        let root = Salt::new(HKDF_SHA256, b"password-grant refresh tokens").extract(secret);
        let kid: [u8; 32] = *expand(&root, &[b"kid"])?;
        Ok(Self {
            kid: *kid.first_chunk().ok_or(KeyError::Generation)?,
            tag: hmac::Key::new(hmac::HMAC_SHA256, &*expand(&root, &[b"tag"])?),
            successors: hmac::Key::new(hmac::HMAC_SHA256, &*expand(&root, &[b"successor"])?),
        })
    }

    /// The tag also covers the prefix, so that a token of another version is never taken for one of
    /// this version.
    fn tag(&self, tagged: &[u8]) -> [u8; TAG] {
        let mut context = hmac::Context::with_key(&self.tag);
        context.update(PREFIX.as_bytes());
        context.update(tagged);
        first(context.sign())
    }

    /// One block of HKDF-Expand (RFC 5869 section 2.3) under this key, so that a token's secret
    /// alone does not reveal its successor.
    fn successor(&self, token: &RefreshToken) -> TokenSecret {
        let mut context = hmac::Context::with_key(&self.successors);
        context.update(&token.session.0);
        context.update(&token.generation.saturating_add(1).to_be_bytes());
        context.update(&*token.secret.0);
        context.update(&[1]);
        TokenSecret::new(first(context.sign()))
    }
}

/// The first bytes of a tag. A SHA-256 tag has 32, and no more are asked for.
fn first<const N: usize>(tag: hmac::Tag) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

struct Block;

impl KeyType for Block {
    fn len(&self) -> usize {
        32
    }
}

fn expand(root: &Prk, info: &[&[u8]]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let mut block = Zeroizing::new([0; 32]);
    let expanded = root.expand(info, Block).and_then(|key| key.fill(&mut *block));
    expanded.map(|()| block).map_err(|_| KeyError::Generation)
}

impl fmt::Debug for RefreshKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshKeys").field("keys", &self.0.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(keys: &RefreshKeys, generation: u64) -> String {
        let secret = TokenSecret::new([9; SECRET]);
        keys.write(0, RawSessionId([5; SESSION_ID]), generation, &secret)
            .unwrap()
            .expose()
            .to_owned()
    }

    #[test]
    fn a_token_is_read_as_it_was_written_and_only_by_its_key() {
        let (keys, other) =
            (RefreshKeys::new([1; 32]).unwrap(), RefreshKeys::new([2; 32]).unwrap());
        let text = token(&keys, 7);
        let read = keys.read(&text).unwrap();
        assert_eq!(
            (read.session.0, read.generation, *read.secret.0),
            ([5; SESSION_ID], 7, [9; SECRET])
        );
        assert!(other.read(&text).is_none());
        assert!(other.with_previous([1; 32]).unwrap().read(&text).is_some());
        assert_eq!(text.len(), 106);
    }

    /// No bit of a token can be changed, and nothing of its text can be left out or added.
    #[test]
    fn whatever_was_changed_is_not_ours() {
        let keys = RefreshKeys::new([1; 32]).unwrap();
        let text = token(&keys, 7);
        for (index, byte) in text.bytes().enumerate() {
            for other in "Aa9-_.".bytes().filter(|other| *other != byte) {
                let mut changed = text.clone().into_bytes();
                changed[index] = other;
                assert!(keys.read(std::str::from_utf8(&changed).unwrap()).is_none(), "{index}");
            }
            assert!(keys.read(&text[..index]).is_none());
        }
        for longer in
            [format!("{text}A"), format!("{text}="), format!(" {text}"), format!("{text}.")]
        {
            assert!(keys.read(&longer).is_none());
        }
    }

    /// A leaked token does not reveal its successor, and the successor is the same whenever the
    /// token is shown.
    #[test]
    fn a_successor_follows_from_token_and_key() {
        let keys = RefreshKeys::new([1; 32]).unwrap().with_previous([2; 32]).unwrap();
        let read = |generation| keys.read(&token(&keys, generation)).unwrap();
        let digests = |generation| {
            keys.successors(&read(generation)).iter().map(TokenSecret::digest).collect::<Vec<_>>()
        };
        assert_eq!(digests(7), digests(7));
        assert_ne!(digests(7)[0], digests(7)[1], "another key");
        assert_ne!(digests(7)[0], digests(8)[0], "another generation");
        assert_ne!(digests(7)[0], read(7).secret.digest());
    }

    #[test]
    fn keys_that_cannot_be_told_apart_or_guessed_are_refused() {
        assert_eq!(
            RefreshKeys::new([1; 31]).unwrap_err(),
            KeyError::ShortSecret { found: 31, needed: 32 }
        );
        assert_eq!(
            RefreshKeys::new([1; 32]).unwrap().with_previous([1; 32]).unwrap_err(),
            KeyError::RepeatedKid
        );
    }

    /// If this fails, the format has changed, and every token that was issued is refused. The
    /// expected text was made by another implementation of RFC 5869 and of the format.
    #[test]
    fn the_format_stays_the_same_from_version_to_version() {
        let keys = RefreshKeys::new([1; 32]).unwrap();
        assert_eq!(token(&keys, 7), TOKEN);
    }

    const TOKEN: &str = "rt1.REkh-QUFBQUFBQUFBQUFBQUFBQUAAAAAAAAABwkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJkZKqlJz3dS2HZ5qxiNzCKA";
}
