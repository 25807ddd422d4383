//! The endpoints of the authorization server that the engine answers.

/// An endpoint that [`PasswordGrant::answer`](crate::PasswordGrant::answer) answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// The token endpoint ([RFC 6749 section 3.2](https://www.rfc-editor.org/rfc/rfc6749#section-3.2)).
    Token,
    /// The revocation endpoint ([RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)).
    Revocation,
    /// The introspection endpoint ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)).
    Introspection,
    /// The metadata document ([RFC 8414](https://www.rfc-editor.org/rfc/rfc8414)).
    Metadata,
    /// The public keys ([RFC 7517 section 5](https://www.rfc-editor.org/rfc/rfc7517#section-5)).
    Jwks,
}
