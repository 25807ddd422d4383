//! The strict parse of a request: from bytes, or from a form that the host has parsed, to its
//! parameters.

mod charset;
mod parameter;
mod parsed;

use std::borrow::Cow;
use std::fmt;

use crate::error::{RequestFault, TokenError};
use crate::http::form;
use crate::http::{Header, HttpRequest};
use crate::request::charset::{Charset, charset_of};
use crate::request::parameter::holds_credential;
pub(crate) use crate::request::parameter::{Endpoint, Parameter};
use crate::types::context::RequestContext;
use crate::types::limits::RequestLimits;
use crate::types::secret::Secret;

/// A token request ([RFC 6749 section 4.3.2]), parsed strictly.
///
/// No parameter is repeated, and every one is within its length and of the characters that its
/// grammar allows (RFC 6749 appendix A). Tokens and assertions are not checked here: one that is
/// malformed is answered later, like one that is unknown. A parameter without a value counts as
/// absent. Unknown parameters are ignored, but counted, and refused if they are repeated. Whether
/// what is needed is there, registered and right is decided later.
///
/// It borrows from the request wherever nothing had to be decoded.
///
/// # From a framework's form
///
/// It can be deserialised from a form: `axum::Form<TokenRequest>`, `actix_web::web::Form` and
/// `serde_urlencoded::from_bytes` yield one. That does not fail for what OAuth has an answer for: a
/// request that is malformed is kept as such, and [`handle`](crate::PasswordGrant::handle) answers
/// it. A framework's extractor still checks the method, the content type and the size in its own
/// way and answers these itself, and its decoder is lenient: bytes that are no UTF-8 become U+FFFD,
/// for which the request is refused, and a bad percent escape stays as it is. Where the same bytes
/// must be answered everywhere, call [`PasswordGrant::token`](crate::PasswordGrant::token).
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
    /// The values, by [`Parameter`]. All of them are kept as secrets, since many are.
    values: [Option<Secret<'a>>; Parameter::ALL.len()],
    /// The values of `resource` (RFC 8707) and `audience`, in order.
    pub(crate) targets: Vec<Cow<'a, str>>,
    /// What is wrong with the request. Only in one that was deserialised.
    fault: Option<RequestFault>,
}

impl<'a> TokenRequest<'a> {
    /// Parses an HTTP request, for hosts that want to see it before they
    /// [`handle`](crate::PasswordGrant::handle) it. [`PasswordGrant::token`](crate::PasswordGrant::token) does both.
    ///
    /// The body may have the 65,536 bytes of the default [`RequestLimits`]. The engine's own limit for passwords is applied
    /// when it handles the request, and the engine's observer is not told of what fails here.
    ///
    /// # Errors
    ///
    /// `invalid_request` with the status that HTTP has for it (405 for a method other than POST, 413 for a body that
    /// is too large, else 400), or `invalid_scope` for a malformed scope.
    pub fn from_http(request: &HttpRequest<'a>) -> Result<Self, TokenError> {
        let mut parsed = Self::empty();
        parsed
            .parse(request, Endpoint::Token, &RequestLimits::widest_password())
            .map_err(TokenError::of_request)?;
        Ok(parsed)
    }

    /// Takes the parameters from a host that has already parsed the form.
    ///
    /// The pairs must be *all* pairs of the body in their order, repeated ones included: a map would hide a repeated
    /// parameter, which must be refused. Names and values are decoded already. The host answers for what
    /// [`from_http`](Self::from_http) would have checked before: the method, the content type, strict decoding, and
    /// that nothing was taken from the query. A name or value that holds U+FFFD is refused, since that is what a lenient
    /// decoder makes of bytes that are no text, and two passwords could become the same.
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

    /// The `grant_type`. Within its length and grammar; otherwise as it came.
    #[must_use]
    pub fn grant_type(&self) -> Option<&str> {
        self.get(Parameter::GrantType)
    }

    /// The `client_id` in the body. Within its length and grammar; nobody has authenticated yet.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.get(Parameter::ClientId)
    }

    /// The `username`. Within its length and grammar; nobody has logged in yet.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.get(Parameter::Username)
    }

    /// The value of the `Authorization` header, for a request made [`from_pairs`](Self::from_pairs). Call it once for
    /// each such header in the request: a second one makes the request malformed.
    #[must_use]
    pub fn authorization(mut self, value: &'a [u8]) -> Self {
        self.authorization = self.authorization.and(value);
        self
    }

    /// What surrounds the request.
    #[must_use]
    pub fn context(mut self, context: RequestContext) -> Self {
        self.context = context;
        self
    }

    /// In the order that decides which of several faults is the one answered: size, method, headers, query, type,
    /// then the body.
    ///
    /// Into a value that is there already, because it is large, and copied wherever it is returned.
    pub(crate) fn parse(
        &mut self,
        request: &HttpRequest<'a>,
        endpoint: Endpoint,
        limits: &RequestLimits,
    ) -> Result<(), RequestFault> {
        if request.body_too_large || request.body.len() > limits.body {
            return Err(RequestFault::BodyTooLarge);
        }
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
        let pairs = form::pairs(request.body).map(|(name, value)| {
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
            fault: None,
        }
    }

    /// The value of a parameter. Within its length and grammar.
    pub(crate) fn get(&self, parameter: Parameter) -> Option<&str> {
        self.values.get(parameter as usize)?.as_ref().map(Secret::expose)
    }

    /// The value of a parameter, taken out of the request.
    pub(crate) fn take(&mut self, parameter: Parameter) -> Option<Secret<'a>> {
        self.values.get_mut(parameter as usize)?.take()
    }

    /// What is wrong with a request that was deserialised.
    pub(crate) fn fault(&self) -> Option<RequestFault> {
        self.fault
    }

    /// Takes in all pairs, then checks every value against its grammar: a repeated parameter is
    /// found first.
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

    /// Takes in one pair. Without a value it counts as absent; one that is unknown is ignored.
    fn put(
        &mut self,
        name: Cow<'a, str>,
        value: Secret<'a>,
        endpoint: Endpoint,
        seen: &mut Seen<'a>,
    ) -> Result<(), RequestFault> {
        let parameter = Parameter::named(&name, endpoint);
        seen.once(parameter, name)?;
        match parameter {
            _ if value.expose().is_empty() => {}
            None => {}
            Some(Parameter::Target) => self.targets.push(value.into_text()),
            Some(parameter) => {
                if let Some(slot) = self.values.get_mut(parameter as usize) {
                    *slot = Some(value);
                }
            }
        }
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

/// A pair that somebody else has decoded. U+FFFD is what a lenient decoder makes of bytes that are
/// no text, and two passwords could become the same.
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

/// The names that have occurred, with or without a value.
#[derive(Default)]
struct Seen<'a> {
    pairs: usize,
    /// A bit for each parameter that is known.
    known: u32,
    unknown: Vec<Cow<'a, str>>,
}

impl<'a> Seen<'a> {
    fn once(
        &mut self,
        parameter: Option<Parameter>,
        name: Cow<'a, str>,
    ) -> Result<(), RequestFault> {
        self.pairs += 1;
        if self.pairs > RequestLimits::PARAMETERS {
            return Err(RequestFault::TooManyParameters);
        }
        let is_repeated = match parameter {
            Some(Parameter::Target) => false,
            Some(parameter) => {
                let before = self.known;
                self.known |= 1 << parameter as u32;
                self.known == before
            }
            None if name.len() > RequestLimits::NAME => return Err(RequestFault::TooLong),
            None if self.unknown.contains(&name) => true,
            None => {
                self.unknown.push(name);
                false
            }
        };
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
