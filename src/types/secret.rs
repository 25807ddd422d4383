//! Secrets in plain text, kept out of logs and overwritten when they are dropped.

use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroize;

/// A secret in plain text: a password or client secret that arrived with a request, or one that was
/// just generated.
///
/// Its `Debug` output is a placeholder, it has no `==`, and it is not serialisable. Memory that it
/// owns is overwritten when it is dropped; memory that it borrows belongs to the host's buffer and
/// is not.
pub struct Secret<'a>(Cow<'a, str>);

impl<'a> Secret<'a> {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: impl Into<Cow<'a, str>>) -> Self {
        Self(text.into())
    }

    /// The secret itself. There is no other way to read it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The same secret in memory of its own.
    pub(crate) fn into_owned(mut self) -> Secret<'static> {
        Secret(Cow::Owned(std::mem::replace(&mut self.0, Cow::Borrowed("")).into_owned()))
    }

    /// The text of a value that is not a secret after all.
    pub(crate) fn into_text(mut self) -> Cow<'a, str> {
        std::mem::replace(&mut self.0, Cow::Borrowed(""))
    }
}

impl Drop for Secret<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(text) = &mut self.0 {
            text.zeroize();
        }
    }
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
