//! The bearer token of a request to a protected resource (RFC 6750 section 2).

use std::fmt;
use std::net::IpAddr;

use crate::event::AccessFault;
use crate::http::form;
use crate::http::{self, Header, HttpRequest};
use crate::types::context::RequestContext;
use crate::types::token::is_b64token;

/// The parts of a request that can carry a bearer token ([RFC 6750 section 2]): the `Authorization`
/// headers, and the query, where a token is not accepted.
///
/// It is made from `&http::HeaderMap`, from `&http::request::Parts` (which includes the query),
/// from `&HttpRequest`, or by [`new`](Self::new).
///
/// [RFC 6750 section 2]: https://www.rfc-editor.org/rfc/rfc6750#section-2
#[derive(Clone, Copy)]
pub struct BearerRequest<'a> {
    authorization: Header<'a>,
    query: Option<&'a str>,
    peer: Option<IpAddr>,
}

impl<'a> BearerRequest<'a> {
    /// Takes all headers of the request (repeated ones repeated), and the part of the URI after
    /// `?`. Both are raw.
    pub fn new(
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        query: Option<&'a str>,
    ) -> Self {
        let authorization = HttpRequest::new("", None, headers, &[]).authorization;
        Self { authorization, query, peer: None }
    }

    /// The address that the request came from, for the event of a refusal.
    #[must_use]
    pub fn peer(mut self, peer: IpAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// What is known about the request, for events.
    pub(crate) fn context(&self) -> RequestContext {
        self.peer.into()
    }

    /// The token: `Bearer`, one or more spaces, and the `b64token` (RFC 6750 section 2.1).
    pub(crate) fn token(&self) -> Result<&'a str, AccessFault> {
        let header = match self.authorization {
            Header::Absent => return Err(AccessFault::NoToken),
            Header::Repeated => return Err(AccessFault::Malformed),
            Header::Once(header) => header,
        };
        // Another scheme carries no bearer token, even if its name begins with `Bearer`.
        let is_bearer = header.split_at_checked(SCHEME.len()).is_some_and(|(scheme, rest)| {
            scheme.eq_ignore_ascii_case(SCHEME) && !begins_with_token(rest)
        });
        if !is_bearer {
            return Err(AccessFault::NoToken);
        }
        let token =
            http::credentials(header, SCHEME).and_then(|token| std::str::from_utf8(token).ok());
        let token = token.filter(|token| is_b64token(token)).ok_or(AccessFault::Malformed)?;
        if self.query.is_some_and(holds_token) {
            return Err(AccessFault::Malformed);
        }
        Ok(token)
    }
}

impl<'a> From<&HttpRequest<'a>> for BearerRequest<'a> {
    fn from(request: &HttpRequest<'a>) -> Self {
        let HttpRequest { authorization, query, .. } = *request;
        Self { authorization, query, peer: request.context.peer() }
    }
}

#[cfg(feature = "http")]
impl<'a> From<&'a ::http::HeaderMap> for BearerRequest<'a> {
    fn from(headers: &'a ::http::HeaderMap) -> Self {
        Self::new(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())), None)
    }
}

#[cfg(feature = "http")]
impl<'a> From<&'a ::http::request::Parts> for BearerRequest<'a> {
    fn from(parts: &'a ::http::request::Parts) -> Self {
        Self { query: parts.uri.query(), ..Self::from(&parts.headers) }
    }
}

#[cfg(feature = "http")]
impl<'a> From<&'a mut ::http::request::Parts> for BearerRequest<'a> {
    fn from(parts: &'a mut ::http::request::Parts) -> Self {
        Self::from(&*parts)
    }
}

impl fmt::Debug for BearerRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerRequest(…)")
    }
}

const SCHEME: &[u8] = b"bearer";

/// Whether the name of the scheme continues.
fn begins_with_token(rest: &[u8]) -> bool {
    rest.first()
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn holds_token(query: &str) -> bool {
    form::pairs(query.as_bytes())
        .any(|(name, _)| form::decode(name).is_ok_and(|name| name == "access_token"))
}
