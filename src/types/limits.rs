/// How much of a request is read before it is refused.
///
/// The defaults suit the clients that exist; only the body and the password are worth changing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestLimits {
    /// Bytes of a request body. Default 65,536.
    pub body: usize,
    /// Bytes of a password after form decoding. Default 1,024; kept between 64 and 4,096.
    pub password: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { body: 64 * 1024, password: 1024 }
    }
}

impl RequestLimits {
    /// With another limit for the body, in bytes.
    #[must_use]
    pub fn with_body(self, body: usize) -> Self {
        Self { body, ..self }
    }

    /// With another limit for passwords, in bytes.
    #[must_use]
    pub fn with_password(self, password: usize) -> Self {
        Self { password, ..self }
    }

    /// Parameters in a body, known or not.
    pub(crate) const PARAMETERS: usize = 32;
    /// Bytes of a parameter's name.
    pub(crate) const NAME: usize = 64;
    pub(crate) const USERNAME: usize = 320;
    pub(crate) const SCOPE: usize = 2048;
    pub(crate) const SCOPE_TOKENS: usize = 64;
    pub(crate) const CLIENT_ID: usize = 256;
    pub(crate) const CLIENT_SECRET: usize = 512;
    pub(crate) const ASSERTION: usize = 8192;
    pub(crate) const REFRESH_TOKEN: usize = 2048;
    /// Bytes of any other parameter we know: `grant_type`, `resource`, `audience`, `client_assertion_type`.
    pub(crate) const SHORT: usize = 1024;
    /// Bytes of the decoded Basic credentials: both halves, every byte percent-encoded, and the colon.
    pub(crate) const BASIC: usize = 3 * (Self::CLIENT_ID + Self::CLIENT_SECRET) + 1;
    /// Bytes of an access token presented by a client.
    pub(crate) const ACCESS_TOKEN: usize = 8192;

    /// For requests that are parsed before the engine sees them, and holds them against its own limit.
    pub(crate) fn widest_password() -> Self {
        Self { password: usize::MAX, ..Self::default() }.within_bounds()
    }

    /// What may be configured, whatever was asked for.
    pub(crate) fn within_bounds(self) -> Self {
        Self { password: self.password.clamp(64, 4096), ..self }
    }
}
