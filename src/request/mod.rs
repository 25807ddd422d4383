//! The strict parser of requests. It takes bytes, or a form that the host has parsed, and yields
//! the parameters.

mod charset;
mod parameter;
mod parsed;

use std::borrow::Cow;
use std::fmt;

use crate::error::{RequestFault, TokenError};
use crate::http::form;
use crate::http::{Body, Header, HttpRequest};
use crate::request::charset::{Charset, charset_of};
pub(crate) use crate::request::parameter::Parameter;
use crate::request::parameter::holds_credential;
use crate::types::context::RequestContext;
use crate::types::endpoint::Endpoint;
use crate::types::limits::RequestLimits;
use crate::types::secret::Secret;

/// A token request ([RFC 6749 section 4.3.2]), parsed strictly.
///
/// No parameter is repeated, and each is within its length and has only the characters that its
/// grammar allows (RFC 6749 appendix A). Tokens and assertions are not checked here: a malformed
/// one is answered later, in the same way as an unknown one. A parameter without a value counts as
/// absent. Unknown parameters are counted, refused if they are repeated, and otherwise ignored; a
/// host can read them ([`LoginAttempt::parameter`](crate::LoginAttempt::parameter)). Whether all
/// required parameters are present, registered and correct is checked later.
///
/// The request is borrowed wherever nothing had to be decoded.
///
/// # From a framework's form
///
/// It can be deserialised from a form: `axum::Form<TokenRequest>`, `actix_web::web::Form` and
/// `serde_urlencoded::from_bytes` yield one. Deserialisation does not fail for mistakes that OAuth
/// has an answer for: a malformed request is kept as such, and
/// [`handle`](crate::PasswordGrant::handle) answers it. A framework's extractor still checks the
/// method, the content type and the size in its own way and answers violations itself. Its decoder
/// is lenient: bytes that are not UTF-8 become U+FFFD, for which the request is refused, and a bad
/// percent escape stays unchanged. Where the same bytes must get the same answer everywhere, call
/// [`PasswordGrant::token`](crate::PasswordGrant::token).
///
/// ```
/// use password_grant::{RequestContext, TokenRequest};
///
/// let body = b"grant_type=password&username=alice&password=wonderland&client_id=mobile";
/// let request: TokenRequest<'_> = serde_urlencoded::from_bytes(body)?;
/// let request = request.authorization(b"Basic bW9iaWxlOg==").context(RequestContext::new());
/// assert_eq!(request.username(), Some("alice"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [RFC 6749 section 4.3.2]: https://www.rfc-editor.org/rfc/rfc6749#section-4.3.2
pub struct TokenRequest<'a> {
    pub(crate) context: RequestContext,
    pub(crate) authorization: Header<'a>,
    /// The values, indexed by [`Parameter`]. All of them are kept as secrets, because many are.
    values: [Option<Secret<'a>>; Parameter::ALL.len()],
    /// The values of `resource` (RFC 8707) and `audience`, in order.
    pub(crate) targets: Vec<Cow<'a, str>>,
    /// The unknown parameters, with their values. Each name occurs once.
    pub(crate) others: Vec<(Cow<'a, str>, Secret<'a>)>,
    /// The fault of the request. Set only in a request that was deserialised.
    fault: Option<RequestFault>,
}

impl<'a> TokenRequest<'a> {
    /// Parses an HTTP request, for hosts that need the parameters before they call
    /// [`handle`](crate::PasswordGrant::handle).
    /// [`PasswordGrant::token`](crate::PasswordGrant::token) does both.
    ///
    /// The body may have up to the 65,536 bytes of the default [`RequestLimits`]. The engine
    /// applies its own limit for passwords when it handles the request. Its observer does not learn
    /// of requests that fail here.
    ///
    /// # Errors
    ///
    /// `invalid_request` with the status that HTTP defines for the fault (405 for a method other
    /// than POST, 413 for a body that is too large, otherwise 400), or `invalid_scope` for a
    /// malformed scope.
    pub fn from_http(request: &HttpRequest<'a>) -> Result<Self, TokenError> {
        let mut parsed = Self::empty();
        parsed
            .parse(request, Endpoint::Token, &RequestLimits::widest_password())
            .map_err(TokenError::of_request)?;
        Ok(parsed)
    }

    /// Takes the parameters from a host that has already parsed the form.
    ///
    /// The pairs must be *all* pairs of the body in their order, including repeated ones: a map
    /// would hide a repeated parameter, which must be refused. Names and values are already
    /// decoded. The host is responsible for what [`from_http`](Self::from_http) would have checked:
    /// the method, the content type, strict decoding, and that nothing comes from the query. A name
    /// or value that contains U+FFFD is refused, because a lenient decoder produces it from bytes
    /// that are not text, and two passwords could become the same.
    ///
    /// ```
    /// use password_grant::TokenRequest;
    ///
    /// let form = [("grant_type", "password"), ("username", "alice"), ("username", "bob")];
    /// let pairs = form.map(|(name, value)| (name.into(), value.into()));
    /// assert!(TokenRequest::from_pairs(pairs).is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// 400 `invalid_request`, or `invalid_scope` for a malformed scope.
    pub fn from_pairs(
        pairs: impl IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    ) -> Result<Self, TokenError> {
        let pairs =
            pairs.into_iter().map(|(name, value)| decoded_elsewhere(name, Secret::new(value)));
        let mut parsed = Self::empty();
        parsed
            .collect(pairs, Endpoint::Token, &RequestLimits::widest_password())
            .map_err(TokenError::of_request)?;
        Ok(parsed)
    }

    /// The `grant_type`. Its length and grammar are checked; otherwise it is raw.
    #[must_use]
    pub fn grant_type(&self) -> Option<&str> {
        self.get(Parameter::GrantType)
    }

    /// The `client_id` in the body. Its length and grammar are checked; the client has not
    /// authenticated yet.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.get(Parameter::ClientId)
    }

    /// The `username`. Its length and grammar are checked; the user has not logged in yet.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.get(Parameter::Username)
    }

    /// Sets the value of the `Authorization` header, for a request from
    /// [`from_pairs`](Self::from_pairs) or a form. Call it once for each such header of the HTTP
    /// request: a second one makes the request malformed.
    #[must_use]
    pub fn authorization(mut self, value: &'a [u8]) -> Self {
        self.authorization = self.authorization.and(value);
        self
    }

    /// Sets the context of the request.
    #[must_use]
    pub fn context(mut self, context: RequestContext) -> Self {
        self.context = context;
        self
    }

    /// Parses and checks an HTTP request. If it has several faults, the first in this order is
    /// answered: size, method, headers, query, content type, body.
    ///
    /// The result is written into `self`, because the value is large and returning it would copy it
    /// each time.
    pub(crate) fn parse(
        &mut self,
        request: &HttpRequest<'a>,
        endpoint: Endpoint,
        limits: &RequestLimits,
    ) -> Result<(), RequestFault> {
        let body = match request.body {
            Body::Whole(body) if body.len() <= limits.body => body,
            Body::Whole(_) | Body::TooLarge => return Err(RequestFault::BodyTooLarge),
            Body::Incomplete => return Err(RequestFault::BodyIncomplete),
        };
        if request.method != "POST" {
            return Err(RequestFault::Method);
        }
        if [request.content_type, request.authorization, request.dpop]
            .into_iter()
            .any(Header::is_repeated)
        {
            return Err(RequestFault::RepeatedHeader);
        }
        if request.query.is_some_and(|query| holds_credential(query, endpoint)) {
            return Err(RequestFault::CredentialsInQuery);
        }
        let charset = charset_of(request.content_type).ok_or(RequestFault::ContentType)?;
        let pairs = form::pairs(body).map(|(name, value)| {
            let value = Secret::new(form::decode(value).map_err(|_| RequestFault::Encoding)?);
            let name = form::decode(name).map_err(|_| RequestFault::Encoding)?;
            let as_labelled =
                charset == Charset::Utf8 || name.is_ascii() && value.expose().is_ascii();
            if as_labelled { Ok((name, value)) } else { Err(RequestFault::ContentType) }
        });
        self.authorization = request.authorization;
        self.context = request.context.clone();
        self.collect(pairs, endpoint, limits)
    }
}

impl<'a> TokenRequest<'a> {
    pub(crate) fn empty() -> Self {
        Self {
            context: RequestContext::new(),
            authorization: Header::Absent,
            values: [const { None }; Parameter::ALL.len()],
            targets: Vec::new(),
            others: Vec::new(),
            fault: None,
        }
    }

    /// The value of a parameter. Its length and grammar are checked.
    pub(crate) fn get(&self, parameter: Parameter) -> Option<&str> {
        self.values.get(parameter as usize)?.as_ref().map(Secret::expose)
    }

    /// Takes the value of a parameter out of the request.
    pub(crate) fn take(&mut self, parameter: Parameter) -> Option<Secret<'a>> {
        self.values.get_mut(parameter as usize)?.take()
    }

    /// The fault of a request that was deserialised.
    pub(crate) fn fault(&self) -> Option<RequestFault> {
        self.fault
    }

    /// Stores all pairs, and then checks every value against its grammar, so that a repeated
    /// parameter is the first fault found.
    fn collect(
        &mut self,
        pairs: impl Iterator<Item = Result<(Cow<'a, str>, Secret<'a>), RequestFault>>,
        endpoint: Endpoint,
        limits: &RequestLimits,
    ) -> Result<(), RequestFault> {
        let mut seen = Seen::default();
        for pair in pairs {
            let (name, value) = pair?;
            self.put(name, value, endpoint, &mut seen)?;
        }
        self.check(limits)
    }

    /// Stores one pair. A parameter without a value counts as absent.
    fn put(
        &mut self,
        name: Cow<'a, str>,
        value: Secret<'a>,
        endpoint: Endpoint,
        seen: &mut Seen,
    ) -> Result<(), RequestFault> {
        seen.pair()?;
        let Some(parameter) = Parameter::named(&name, endpoint) else {
            return self.put_other(name, value);
        };
        seen.once(parameter)?;
        match parameter {
            _ if value.expose().is_empty() => {}
            Parameter::Target => self.targets.push(value.into_text()),
            parameter => {
                if let Some(slot) = self.values.get_mut(parameter as usize) {
                    *slot = Some(value);
                }
            }
        }
        Ok(())
    }

    /// Stores an unknown parameter, for the host.
    fn put_other(&mut self, name: Cow<'a, str>, value: Secret<'a>) -> Result<(), RequestFault> {
        if name.len() > RequestLimits::NAME {
            return Err(RequestFault::TooLong);
        }
        if self.others.iter().any(|(other, _)| *other == name) {
            return Err(RequestFault::Repeated);
        }
        self.others.push((name, value));
        Ok(())
    }

    fn check(&self, limits: &RequestLimits) -> Result<(), RequestFault> {
        for (parameter, value) in Parameter::ALL.iter().zip(&self.values) {
            if let Some(value) = value {
                parameter.check(value.expose(), limits)?;
            }
        }
        self.targets.iter().try_for_each(|target| Parameter::Target.check(target, limits))
    }
}

/// Checks a pair that the host's code has decoded. A lenient decoder produces U+FFFD from bytes
/// that are not text, and two passwords could become the same.
fn decoded_elsewhere<'a>(
    name: Cow<'a, str>,
    value: Secret<'a>,
) -> Result<(Cow<'a, str>, Secret<'a>), RequestFault> {
    let is_lossy = |text: &str| text.contains(char::REPLACEMENT_CHARACTER);
    if is_lossy(&name) || is_lossy(value.expose()) {
        Err(RequestFault::Encoding)
    } else {
        Ok((name, value))
    }
}

/// The pairs that have occurred, with or without a value.
#[derive(Default)]
struct Seen {
    pairs: usize,
    /// One bit for each known parameter.
    known: u32,
}

impl Seen {
    fn pair(&mut self) -> Result<(), RequestFault> {
        self.pairs += 1;
        if self.pairs > RequestLimits::PARAMETERS {
            return Err(RequestFault::TooManyParameters);
        }
        Ok(())
    }

    fn once(&mut self, parameter: Parameter) -> Result<(), RequestFault> {
        let before = self.known;
        self.known |= 1 << parameter as u32;
        let is_repeated = parameter != Parameter::Target && self.known == before;
        if is_repeated { Err(RequestFault::Repeated) } else { Ok(()) }
    }
}

impl fmt::Debug for TokenRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest")
            .field("grant_type", &self.get(Parameter::GrantType))
            .field("client_id", &self.get(Parameter::ClientId))
            .field("scope", &self.get(Parameter::Scope))
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
