//! Sets of public keys (RFC 7517 section 5), as they are published and as others publish them.

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

/// An entry of a key set that was passed over, and why. Prints as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableKey {
    position: usize,
    kid: Option<String>,
    reason: KeyError,
}

/// Entries of a set that is read.
const ENTRIES: usize = 20;

impl JwkSet {
    /// Reads a JWKS document, such as another server publishes.
    ///
    /// An entry that cannot be used is passed over, as [RFC 7517 section 5] asks for: [`unusable`](Self::unusable)
    /// names each with the reason. One that holds private members spoils the whole set: whoever publishes it has lost
    /// the key. A member that is `null` is as if it were not there.
    ///
    /// # Errors
    ///
    /// [`KeyError::Set`] for what is not a key set, or one of more than 20 entries; [`KeyError::Private`] for private or
    /// symmetric members; [`KeyError::RepeatedKid`] where a `kid` and an algorithm name two different keys;
    /// [`KeyError::Empty`] for no entry at all, and [`KeyError::Unusable`], which names them, if none can be used.
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

    /// The set of these entries, each with its position, its raw `kid`, and what became of reading it.
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

    /// No two keys are named alike: by `kid` and algorithm together, so that one `kid` may stand for a key of each kind,
    /// or for one key under several algorithms. The same key twice is one.
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

/// Equal if their keys are: what could not be used belongs to the document, not to the set.
impl PartialEq for JwkSet {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys
    }
}

impl Eq for JwkSet {}

impl FromIterator<Jwk> for JwkSet {
    /// Of different keys with the same `kid` and a common algorithm, the first is kept.
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
    /// Which entry of the set it is, counted from zero.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Its `kid`, if it has one that is a text of at most 256 bytes. Raw.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Why it cannot be used.
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
