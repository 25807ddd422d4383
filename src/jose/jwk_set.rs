//! Sets of public keys (RFC 7517 section 5): the one that this server publishes, and those of
//! others.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::http::strict_json::strict_object;
use crate::jose::{Jwk, KeyError};

/// A set of public keys: the JWKS document.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct JwkSet {
    /// The keys.
    pub keys: Vec<Jwk>,
    #[serde(skip)]
    unusable: Vec<UnusableKey>,
}

/// An entry of a key set that was passed over, with the reason. It displays as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableKey {
    position: usize,
    kid: Option<String>,
    reason: KeyError,
}

/// The most entries of a set that is read.
const ENTRIES: usize = 20;

impl JwkSet {
    /// Reads a JWKS document, for example one that another server publishes.
    ///
    /// An entry that cannot be used is passed over, as [RFC 7517 section 5] asks for;
    /// [`unusable`](Self::unusable) lists each with the reason. An entry with private members makes
    /// the whole set fail: its publisher has disclosed the key. A member that is `null` counts as
    /// absent.
    ///
    /// # Errors
    ///
    /// [`KeyError::Set`] if it is not a key set or has more than 20 entries; [`KeyError::Private`]
    /// for private or symmetric members; [`KeyError::RepeatedKid`] if two different keys have the
    /// same `kid` and algorithm; [`KeyError::Empty`] if there is no entry at all;
    /// [`KeyError::Unusable`], which lists the entries, if none can be used.
    ///
    /// [RFC 7517 section 5]: https://www.rfc-editor.org/rfc/rfc7517#section-5
    pub fn from_json(json: &[u8]) -> Result<Self, KeyError> {
        let object = strict_object(json).ok_or(KeyError::Set)?;
        let entries = object.get("keys").and_then(Value::as_array).ok_or(KeyError::Set)?;
        if entries.len() > ENTRIES {
            return Err(KeyError::Set);
        }
        let entries = entries.iter().enumerate().filter(|(_, entry)| !entry.is_null()).map(
            |(position, entry)| {
                let key = entry.as_object().ok_or(KeyError::NotAnObject).and_then(Jwk::from_object);
                (position, (entry.get("kid").and_then(Value::as_str), key))
            },
        );
        Self::of_entries(entries)
    }

    /// Builds the set from entries, each with its position, its raw `kid`, and the result of
    /// reading it.
    pub(crate) fn of_entries<'k>(
        entries: impl IntoIterator<Item = (usize, (Option<&'k str>, Result<Jwk, KeyError>))>,
    ) -> Result<Self, KeyError> {
        let mut set = Self::default();
        for (position, (kid, key)) in entries {
            match key {
                Ok(key) => set.keys.push(key),
                Err(KeyError::Private) => return Err(KeyError::Private),
                Err(reason) => {
                    let kid = kid.filter(|kid| kid.len() <= Jwk::KID).map(str::to_owned);
                    set.unusable.push(UnusableKey { position, kid, reason });
                }
            }
        }
        set.check_names()?;
        match (set.keys.is_empty(), set.unusable.is_empty()) {
            (true, true) => Err(KeyError::Empty),
            (true, false) => Err(KeyError::Unusable(set.unusable)),
            (false, _) => Ok(set),
        }
    }

    /// The entries that [`from_json`](Self::from_json) has passed over.
    #[must_use]
    pub fn unusable(&self) -> &[UnusableKey] {
        &self.unusable
    }

    /// Checks that no two different keys have the same `kid` and algorithm. One `kid` may stand for
    /// a key of each kind, or for one key under several algorithms. A repeated key counts once.
    pub(crate) fn check_names(&self) -> Result<(), KeyError> {
        let ambiguous = |(index, key): (usize, &Jwk)| {
            self.keys.iter().take(index).any(|other| key.is_confused_with(other))
        };
        if self.keys.iter().enumerate().any(ambiguous) {
            Err(KeyError::RepeatedKid)
        } else {
            Ok(())
        }
    }
}

/// Two sets are equal if their keys are. Unusable entries belong to the document, not to the set.
impl PartialEq for JwkSet {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys
    }
}

impl Eq for JwkSet {}

impl FromIterator<Jwk> for JwkSet {
    /// Keeps the first of different keys with the same `kid` and a common algorithm.
    fn from_iter<I: IntoIterator<Item = Jwk>>(keys: I) -> Self {
        let mut set = Self::default();
        for key in keys {
            if !set.keys.iter().any(|own| own.is_confused_with(&key)) {
                set.keys.push(key);
            }
        }
        set
    }
}

impl UnusableKey {
    /// The position of the entry in the set, counted from zero.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// The `kid` of the entry, if it is a string of at most 256 bytes. Raw.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Why the entry cannot be used.
    #[must_use]
    pub fn reason(&self) -> &KeyError {
        &self.reason
    }
}

impl fmt::Display for UnusableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} of the key set, counted from 0", self.position)?;
        if let Some(kid) = &self.kid {
            write!(f, ", kid {kid:?}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for UnusableKey {}
