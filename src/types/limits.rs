//! Limits on the size of a request and of each parameter.

/// How large a request body and a password may be; a larger one is refused.
///
/// The defaults suit all known clients. Only the limits for the body and the password can be
/// changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestLimits {
    /// The longest request body, in bytes. Default 65,536.
    pub body: usize,
    /// The longest password after form decoding, in bytes. Default 1,024; kept between 64 and
    /// 4,096.
    pub password: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { body: 64 * 1024, password: 1024 }
    }
}

impl RequestLimits {
    /// Sets the limit for the body, in bytes.
    #[must_use]
    pub fn with_body(self, body: usize) -> Self {
        Self { body, ..self }
    }

    /// Sets the limit for passwords, in bytes.
    #[must_use]
    pub fn with_password(self, password: usize) -> Self {
        Self { password, ..self }
    }

    /// The most parameters in a body, known or unknown.
    pub(crate) const PARAMETERS: usize = 32;
    /// The longest name of a parameter, in bytes.
    pub(crate) const NAME: usize = 64;
    pub(crate) const USERNAME: usize = 320;
    pub(crate) const SCOPE: usize = 2048;
    pub(crate) const SCOPE_TOKENS: usize = 64;
    pub(crate) const CLIENT_ID: usize = 256;
    pub(crate) const CLIENT_SECRET: usize = 512;
    pub(crate) const ASSERTION: usize = 8192;
    pub(crate) const REFRESH_TOKEN: usize = 2048;
    /// The longest value of any other known parameter, in bytes: `grant_type`, `resource`,
    /// `audience`, `client_assertion_type`.
    pub(crate) const SHORT: usize = 1024;
    /// The longest decoded Basic credentials: identifier and secret, every byte percent-encoded,
    /// and the colon.
    pub(crate) const BASIC: usize = 3 * (Self::CLIENT_ID + Self::CLIENT_SECRET) + 1;
    /// The longest access token that a client may present.
    pub(crate) const ACCESS_TOKEN: usize = 8192;

    /// Limits for requests that are parsed before the engine sees them. The engine applies its own
    /// limit for passwords later.
    pub(crate) fn widest_password() -> Self {
        Self { password: usize::MAX, ..Self::default() }.within_bounds()
    }

    /// The same limits, with the password limit moved into the range that is allowed.
    pub(crate) fn within_bounds(self) -> Self {
        Self { password: self.password.clamp(64, 4096), ..self }
    }
}
