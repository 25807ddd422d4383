use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroize;

/// A secret in plain text: a password or client secret that arrived with a request, or one just generated.
///
/// It prints as a placeholder, has no `==` and is not serialisable; what it owns is overwritten when it is dropped
/// (what it borrows belongs to the host's buffer).
pub struct Secret<'a>(Cow<'a, str>);

impl<'a> Secret<'a> {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: impl Into<Cow<'a, str>>) -> Self {
        Self(text.into())
    }

    /// The secret itself. The only way to it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The same, in memory of its own.
    pub(crate) fn into_owned(mut self) -> Secret<'static> {
        Secret(Cow::Owned(std::mem::replace(&mut self.0, Cow::Borrowed("")).into_owned()))
    }

    /// For a value that turned out not to be a secret.
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
