//! Identifiers of clients, subjects and sessions. Each has its own type. They are text, cheap to
//! clone, and not secret.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl From<Arc<str>> for $name {
            fn from(text: Arc<str>) -> Self {
                Self(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::from)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

identifier! {
    /// The identifier that a client is registered under ([RFC 6749 section 2.2]).
    ///
    /// It is not a secret. It is compared byte for byte and is cheap to clone.
    ///
    /// [RFC 6749 section 2.2]: https://www.rfc-editor.org/rfc/rfc6749#section-2.2
    ClientId
}

identifier! {
    /// The subject of a token: the `sub` claim of the access token.
    ///
    /// It must be an identifier that never changes and is never given to somebody else, such as the
    /// primary key of the user table. Do not use the name that the user typed, which can be renamed
    /// or taken over. Cheap to clone.
    Subject
}

identifier! {
    /// The identifier of a session: the `sid` that all access tokens and refresh tokens of one
    /// login share.
    ///
    /// It is not a secret. The engine makes it from 128 random bits, in base64url.
    SessionId
}

/// The decimal number, for user tables whose primary key is one.
impl From<i64> for Subject {
    fn from(id: i64) -> Self {
        Self::from(id.to_string())
    }
}
