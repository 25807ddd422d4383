//! Scopes (RFC 6749 section 3.3): sets of scope tokens, parsed strictly.

use crate::error::InvalidScope;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A set of scope tokens ([RFC 6749 section 3.3]), such as `profile orders:read`.
///
/// Parsing is strict: tokens consist of the characters that the RFC allows (printable ASCII without
/// space, `"` and `\`), with exactly one space between two tokens and none before the first or
/// after the last. A repeated token counts once. Order and case are kept, and case matters. Cheap
/// to clone.
///
/// ```
/// use password_grant::Scope;
///
/// let registered: Scope = "profile orders:read".parse()?;
/// assert!(registered.contains("profile"));
/// assert!(registered.includes(&"orders:read".parse()?));
/// assert!("profile  orders:read".parse::<Scope>().is_err()); // two spaces
/// # Ok::<(), password_grant::error::InvalidScope>(())
/// ```
///
/// [RFC 6749 section 3.3]: https://www.rfc-editor.org/rfc/rfc6749#section-3.3
#[derive(Clone, Default)]
pub struct Scope(Option<Arc<str>>);

impl Scope {
    /// The scope without tokens.
    #[must_use]
    pub const fn empty() -> Self {
        Self(None)
    }

    /// `offline_access`, the scope by which a client asks for a refresh token.
    pub(crate) fn offline_access() -> Self {
        Self(Some("offline_access".into()))
    }

    /// Whether the scope has no tokens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the scope contains this token.
    #[must_use]
    pub fn contains(&self, token: &str) -> bool {
        self.iter().any(|own| own == token)
    }

    /// Whether the scope contains every token of `other`.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        other.iter().all(|token| self.contains(token))
    }

    /// The tokens that both scopes contain, in the order of `self`.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        if other.includes(self) {
            return self.clone();
        }
        join(self.iter().filter(|token| other.contains(token)))
    }

    /// The tokens, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.as_deref().into_iter().flat_map(|text| text.split(' '))
    }

    /// The tokens separated by single spaces, as in requests, responses and tokens.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    /// Parses a scope. The empty text, such as that of an empty database column, is the scope
    /// without tokens.
    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        if text.is_empty() {
            return Ok(Self::empty());
        }
        if !is_scope(text) {
            return Err(InvalidScope);
        }
        if has_repeats(text) {
            let mut seen = HashSet::new();
            return Ok(join(text.split(' ').filter(|token| seen.insert(*token))));
        }
        Ok(Self(Some(text.into())))
    }
}

/// Two scopes are equal if they contain the same tokens, in any order.
impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        self.includes(other) && other.includes(self)
    }
}

impl Eq for Scope {}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({:?})", self.as_str())
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Whether the text is `scope-token *( SP scope-token )`, where a token is one or more NQCHAR.
pub(crate) fn is_scope(text: &str) -> bool {
    let mut before = b' ';
    for byte in text.bytes() {
        match byte {
            0x21 | 0x23..=0x5b | 0x5d..=0x7e => {}
            b' ' if before != b' ' => {}
            _ => return false,
        }
        before = byte;
    }
    before != b' '
}

fn has_repeats(text: &str) -> bool {
    // Comparing each token with every other is fastest for the few tokens that occur in practice.
    // For many tokens it would take quadratic time.
    const FEW: usize = 16;
    if text.split(' ').nth(FEW).is_none() {
        let mut rest = text.split(' ');
        while let Some(token) = rest.next() {
            if rest.clone().any(|later| later == token) {
                return true;
            }
        }
        return false;
    }
    let mut seen = HashSet::new();
    !text.split(' ').all(|token| seen.insert(token))
}

/// Joins tokens that are already valid and distinct.
fn join<'a>(tokens: impl Iterator<Item = &'a str>) -> Scope {
    let mut text = String::new();
    for token in tokens {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(token);
    }
    Scope(if text.is_empty() { None } else { Some(text.into()) })
}
