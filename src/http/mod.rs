//! HTTP as plain data, without the types of any framework. This is the only place that writes
//! headers, but for the `Content-Length` of the module `tower`.

pub(crate) mod form;
pub(crate) mod forwarded;
pub(crate) mod json_writer;
pub(crate) mod strict_json;

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::http::forwarded::TrustedProxies;
use crate::types::context::RequestContext;

/// A request as the host received it: method, query, headers, and the whole body.
///
/// Nothing in it is validated yet. Framing (`Content-Length`, `Transfer-Encoding`, early end of
/// input) is the responsibility of the HTTP server, and the body is the result. Header values are
/// bytes, and a header that was repeated must be repeated here.
///
/// ```
/// use password_grant::HttpRequest;
///
/// let headers = [("content-type", &b"application/x-www-form-urlencoded"[..])];
/// let request =
///     HttpRequest::new("POST", None, headers, b"grant_type=password").peer([127, 0, 0, 1].into());
/// ```
pub struct HttpRequest<'a> {
    pub(crate) method: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) content_type: Header<'a>,
    pub(crate) authorization: Header<'a>,
    pub(crate) dpop: Header<'a>,
    pub(crate) body: Body<'a>,
    pub(crate) context: RequestContext,
}

impl<'a> HttpRequest<'a> {
    /// A request from its parts. `query` is the part of the URI after `?`, if there is one. Header
    /// names are compared without regard to case. Only `Content-Type`, `Authorization` and `DPoP`
    /// are kept.
    pub fn new(
        method: &'a str,
        query: Option<&'a str>,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        body: &'a [u8],
    ) -> Self {
        let (mut content_type, mut authorization, mut dpop) =
            (Header::Absent, Header::Absent, Header::Absent);
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("content-type") {
                content_type = content_type.and(value);
            } else if name.eq_ignore_ascii_case("authorization") {
                authorization = authorization.and(value);
            } else if name.eq_ignore_ascii_case("dpop") {
                dpop = dpop.and(value);
            }
        }
        let context = RequestContext::new();
        Self { method, query, content_type, authorization, dpop, body: Body::Whole(body), context }
    }

    /// A POST of this form, as a test of a host sends it; it has no other headers than its content
    /// type, so name the client in the form.
    ///
    /// ```
    /// use password_grant::HttpRequest;
    ///
    /// let form = "grant_type=password&client_id=mobile&username=alice&password=wonderland";
    /// let request = HttpRequest::form(form);
    /// ```
    #[must_use]
    pub fn form(form: &'a str) -> Self {
        let headers = [("content-type", &b"application/x-www-form-urlencoded"[..])];
        Self::new("POST", None, headers, form.as_bytes())
    }

    /// A request from the parts and the body of an `http::Request`.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn from_parts(parts: &'a http::request::Parts, body: &'a [u8]) -> Self {
        let headers = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        Self::new(parts.method.as_str(), parts.uri.query(), headers, body)
    }

    /// Says that the host stopped reading because the body was larger than
    /// [`PasswordGrant::body_limit`](crate::PasswordGrant::body_limit). The answer is 413.
    #[must_use]
    pub fn body_too_large(mut self) -> Self {
        self.body = Body::TooLarge;
        self
    }

    /// Says that the body could not be read to its end: the caller went away, or its framing is
    /// broken. The answer is 400.
    #[must_use]
    pub fn body_incomplete(mut self) -> Self {
        self.body = Body::Incomplete;
        self
    }

    /// The address that the request came from. Attempts are counted by address: without one there
    /// is no limit by address, and with a proxy's address all callers share one limit.
    ///
    /// Behind a proxy, see [`forwarded`](Self::forwarded).
    #[must_use]
    pub fn peer(mut self, peer: IpAddr) -> Self {
        self.context = self.context.with_peer(peer);
        self
    }

    /// The address that the request came from, where it may have come through a proxy. `headers`
    /// are all headers of the request, and `socket` is the address of the connection, which is used
    /// if it is no trusted proxy's.
    ///
    /// ```
    /// # use password_grant::{HttpRequest, TrustedProxies};
    /// # use std::net::SocketAddr;
    /// # fn example<'a>(
    /// #     parts: &'a http::request::Parts, body: &'a [u8], connection: SocketAddr,
    /// #     proxies: &TrustedProxies,
    /// # ) -> HttpRequest<'a> {
    /// HttpRequest::from_parts(parts, body).forwarded(&parts.headers, connection.ip(), proxies)
    /// # }
    /// ```
    #[must_use]
    pub fn forwarded<N: AsRef<str>, V: AsRef<[u8]>>(
        self,
        headers: impl IntoIterator<Item = (N, V)>,
        socket: IpAddr,
        proxies: &TrustedProxies,
    ) -> Self {
        self.peer(proxies.peer(socket, headers))
    }

    /// The identity domain (tenant) in which client and user are looked up, and within which
    /// attempts are counted. It is passed to the host's stores unchanged; see
    /// [`RequestContext::with_tenant`].
    #[must_use]
    pub fn tenant(mut self, tenant: &str) -> Self {
        self.context = self.context.with_tenant(tenant);
        self
    }

    /// An identifier of the caller's device that the host has verified; see
    /// [`RequestContext::with_device`].
    #[must_use]
    pub fn device(mut self, device: &str) -> Self {
        self.context = self.context.with_device(device);
        self
    }

    /// Everything that the host knows about the request. It replaces what [`peer`](Self::peer),
    /// [`tenant`](Self::tenant), [`device`](Self::device) and [`extension`](Self::extension) have
    /// set: if it has no peer, the request has none.
    #[must_use]
    pub fn context(mut self, context: RequestContext) -> Self {
        self.context = context;
        self
    }

    /// Any value that the host's stores should receive with this request. There is only one: a
    /// second call replaces it.
    #[must_use]
    pub fn extension<T: Any + Send + Sync>(mut self, value: Arc<T>) -> Self {
        self.context = self.context.with_extension(value);
        self
    }
}

impl fmt::Debug for HttpRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Query, body and `Authorization` hold credentials.
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("body", &self.body)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

/// The body of a request, as far as the host has read it.
#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    Whole(&'a [u8]),
    TooLarge,
    Incomplete,
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(body) => write!(f, "{} bytes", body.len()),
            Self::TooLarge => f.write_str("too large"),
            Self::Incomplete => f.write_str("incomplete"),
        }
    }
}

/// A header that may occur at most once.
#[derive(Clone, Copy)]
pub(crate) enum Header<'a> {
    Absent,
    Once(&'a [u8]),
    Repeated,
}

impl<'a> Header<'a> {
    pub(crate) fn and(self, value: &'a [u8]) -> Self {
        match self {
            Self::Absent => Self::Once(value),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        }
    }

    pub(crate) fn is_repeated(self) -> bool {
        matches!(self, Self::Repeated)
    }
}

/// The credentials of an `Authorization` header with this scheme, which follow one or more spaces
/// (RFC 9110 section 11.4, RFC 6750 section 2.1). `scheme` is in lower case. `None` if the header
/// has another scheme, or no space after it; a tab is not a space.
pub(crate) fn credentials<'a>(header: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (own, rest) = header.split_at_checked(scheme.len())?;
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    (own.eq_ignore_ascii_case(scheme) && spaces > 0).then(|| rest.get(spaces..))?
}

/// A response that is ready to be sent: status, headers, body.
///
/// With the feature `http` it converts into `http::Response<B>` for every body that can be made
/// from bytes, which covers axum, hyper and tower. Elsewhere, copy the three parts.
#[derive(Clone)]
pub struct HttpResponse {
    status: u16,
    headers: Headers,
    body: Vec<u8>,
}

impl HttpResponse {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The headers, with names in lower case. Every value is a valid header value of visible ASCII
    /// and spaces.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.headers.0.iter().flatten().map(|(name, value)| (*name, &**value))
    }

    /// The value of one header. The name is compared without regard to case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The body: JSON, or empty.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body, by value.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// The response with a body type that axum, hyper and tower take as it is. Use it where the
    /// body type would have to be inferred, such as in a closure; elsewhere `into()` does.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn into_http(self) -> http::Response<String> {
        http::Response::<Vec<u8>>::from(self).map(|body| {
            // Every body is JSON that was serialised here, so it is UTF-8.
            String::from_utf8(body)
                .unwrap_or_else(|body| String::from_utf8_lossy(body.as_bytes()).into_owned())
        })
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Headers::default(), body: Vec::new() }
    }

    /// A response that no cache may store (RFC 6749 section 5.1).
    pub(crate) fn private_json(status: u16, body: Vec<u8>) -> Self {
        let header = |name, value| Some((name, Cow::Borrowed(value)));
        let headers = Headers([
            header("content-type", "application/json"),
            header("cache-control", "no-store"),
            header("pragma", "no-cache"),
            None,
            None,
            None,
        ]);
        Self { status, headers, body }
    }

    /// A document that caches may store for five minutes.
    pub(crate) fn public_json(body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => Self { body, ..Self::empty(200) }
                .with("content-type", "application/json")
                .with("cache-control", "public, max-age=300"),
            Err(_) => Self::empty(500),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        let free = self.headers.0.iter_mut().find(|slot| slot.is_none());
        debug_assert!(free.is_some(), "no answer of ours has more headers");
        if let Some(free) = free {
            *free = Some((name, value.into()));
        }
        self
    }

    pub(crate) fn with_retry_after(self, seconds: u64) -> Self {
        self.with("retry-after", seconds.to_string())
    }
}

/// The headers of a response, kept without an allocation. No response has more than six.
#[derive(Clone, Default)]
struct Headers([Option<(&'static str, Cow<'static, str>)>; 6]);

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body holds tokens.
        f.debug_struct("HttpResponse")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "http")]
impl<B: From<Vec<u8>>> From<HttpResponse> for http::Response<B> {
    fn from(response: HttpResponse) -> Self {
        let mut converted = Self::new(response.body.into());
        *converted.status_mut() = http::StatusCode::from_u16(response.status)
            .unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in response.headers.0.into_iter().flatten() {
            let value = match value {
                Cow::Borrowed(text) => Ok(http::HeaderValue::from_static(text)),
                Cow::Owned(text) => http::HeaderValue::try_from(text),
            };
            if let Ok(value) = value {
                converted.headers_mut().insert(http::HeaderName::from_static(name), value);
            }
        }
        converted
    }
}

/// A challenge for `WWW-Authenticate` (RFC 9110 section 11.3): the scheme, and its parameters as
/// quoted strings.
pub(crate) fn challenge(scheme: &str, parameters: &[(&str, &str)]) -> String {
    let mut header = String::from(scheme);
    for (position, (name, value)) in parameters.iter().enumerate() {
        header.push_str(if position == 0 { " " } else { ", " });
        header.push_str(name);
        header.push_str("=\"");
        for character in value.chars() {
            match character {
                '"' | '\\' => header.extend(['\\', character]),
                ' '..='~' => header.push(character),
                // Control characters could end the header and start another one. The rest is not
                // ASCII.
                _ => {}
            }
        }
        header.push('"');
    }
    header
}
