//! The strict parse of a request: from bytes, or from a form that the host has parsed, to its parameters.

use std::borrow::Cow;
use std::fmt;

use crate::http::{Header, HttpRequest};
use crate::vocabulary::context::RequestContext;
use crate::vocabulary::error::{RequestFault, TokenError};
use crate::vocabulary::form;
use crate::vocabulary::limits::Limits;
use crate::vocabulary::scope;
use crate::vocabulary::secret::Secret;

/// A token request ([RFC 6749 section 4.3.2]), parsed strictly.
///
/// A value of this type has no repeated parameter, and every parameter it holds is within its length and made of the
/// characters its grammar allows (RFC 6749 appendix A). Tokens and assertions are not checked here: one that is malformed is
/// answered later, as one that is unknown. A parameter without a value is as if it were not there.
/// Unknown parameters are ignored, but counted and checked for repetition. What is not judged yet: whether what is
/// needed is there, whether it is registered, whether it is right.
///
/// It borrows from the request wherever nothing had to be decoded.
///
/// [RFC 6749 section 4.3.2]: https://www.rfc-editor.org/rfc/rfc6749#section-4.3.2
pub struct TokenRequest<'a> {
    pub(crate) authorization: Header<'a>,
    pub(crate) grant_type: Option<Cow<'a, str>>,
    pub(crate) client_id: Option<Cow<'a, str>>,
    pub(crate) client_secret: Option<Secret<'a>>,
    pub(crate) client_assertion: Option<Secret<'a>>,
    pub(crate) client_assertion_type: Option<Cow<'a, str>>,
    pub(crate) username: Option<Cow<'a, str>>,
    pub(crate) password: Option<Secret<'a>>,
    pub(crate) scope: Option<Cow<'a, str>>,
    pub(crate) refresh_token: Option<Secret<'a>>,
    /// What is to be revoked or introspected. At the token endpoint it is a parameter that nobody knows.
    pub(crate) token: Option<Secret<'a>>,
    /// The values of `resource` (RFC 8707) and `audience`, in order.
    pub(crate) targets: Vec<Cow<'a, str>>,
    pub(crate) context: RequestContext,
}

impl<'a> TokenRequest<'a> {
    /// Parses an HTTP request, for hosts that want to see it before they
    /// [`handle`](crate::PasswordGrant::handle) it. [`PasswordGrant::token`](crate::PasswordGrant::token) does both.
    ///
    /// The body may have the 65,536 bytes of the default [`Limits`]. The engine's own limit for passwords is applied
    /// when it handles the request, and the engine's observer is not told of what fails here.
    ///
    /// # Errors
    ///
    /// `invalid_request` with the status that HTTP has for it (405 for a method other than POST, 413 for a body that
    /// is too large, else 400), or `invalid_scope` for a malformed scope.
    pub fn from_http(request: &HttpRequest<'a>) -> Result<Self, TokenError> {
        let mut parsed = Self::empty();
        parsed.parse(request, Endpoint::Token, &Limits::widest_password()).map_err(TokenError::of_request)?;
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
    pub fn from_pairs(pairs: impl IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Result<Self, TokenError> {
        let pairs = pairs.into_iter().map(|(name, value)| {
            let (name, value) = (name, Secret::new(value));
            let decoded = ![&name, value.expose()].iter().any(|text| text.contains(char::REPLACEMENT_CHARACTER));
            if decoded { Ok((name, value)) } else { Err(RequestFault::Encoding) }
        });
        let mut parsed = Self::empty();
        parsed.collect(pairs, Endpoint::Token, &Limits::widest_password()).map_err(TokenError::of_request)?;
        Ok(parsed)
    }

    /// The `grant_type`. Within its length and grammar; otherwise as it came.
    #[must_use]
    pub fn grant_type(&self) -> Option<&str> {
        self.grant_type.as_deref()
    }

    /// The `client_id` in the body. Within its length and grammar; nobody has authenticated yet.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// The `username`. Within its length and grammar; nobody has logged in yet.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
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
        limits: &Limits,
    ) -> Result<(), RequestFault> {
        if request.body_too_large || request.body.len() > limits.body {
            return Err(RequestFault::BodyTooLarge);
        }
        if request.method != "POST" {
            return Err(RequestFault::Method);
        }
        if [request.content_type, request.authorization, request.dpop].into_iter().any(Header::is_repeated) {
            return Err(RequestFault::RepeatedHeader);
        }
        if request.query.is_some_and(|query| holds_credential(query, endpoint)) {
            return Err(RequestFault::CredentialsInQuery);
        }
        let charset = charset_of(request.content_type).ok_or(RequestFault::ContentType)?;
        let pairs = form::pairs(request.body).map(|(name, value)| {
            let value = Secret::new(form::decode(value).map_err(|_| RequestFault::Encoding)?);
            let name = form::decode(name).map_err(|_| RequestFault::Encoding)?;
            let as_labelled = charset == Charset::Utf8 || name.is_ascii() && value.expose().is_ascii();
            if as_labelled { Ok((name, value)) } else { Err(RequestFault::ContentType) }
        });
        self.authorization = request.authorization;
        self.context = request.context.clone();
        self.collect(pairs, endpoint, limits)
    }
}

impl fmt::Debug for TokenRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest")
            .field("grant_type", &self.grant_type)
            .field("client_id", &self.client_id)
            .field("scope", &self.scope)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

/// How a form says that its text is encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Charset {
    Utf8,
    /// Some other way, in which ASCII text is the same as in UTF-8.
    AsciiSuperset,
}

/// The charset that the `Content-Type` of a form names, UTF-8 if it names none; `None` for any other media type or
/// parameter. A form has no `charset` by its registration, but widely used clients add one, some always `ISO-8859-1`.
fn charset_of(content_type: Header<'_>) -> Option<Charset> {
    let Header::Once(value) = content_type else { return None };
    let mut parts = std::str::from_utf8(value).ok()?.split(';').map(|part| part.trim_matches([' ', '\t']));
    if !parts.next()?.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return None;
    }
    let mut charset = None;
    // RFC 9110 section 5.6.6 allows a semicolon with nothing behind it.
    for parameter in parts.filter(|parameter| !parameter.is_empty()) {
        let (_, label) = parameter.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("charset"))?;
        let label = label.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(label);
        let named = charset_named(label)?;
        if charset.is_some_and(|former| former != named) {
            return None;
        }
        charset = Some(named);
    }
    Some(charset.unwrap_or(Charset::Utf8))
}

/// `None` for what is no label, and for encodings in which an octet below 128 need not be the ASCII character.
fn charset_named(label: &str) -> Option<Charset> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:()".contains(&byte);
    if label.is_empty() || !label.bytes().all(is_token) {
        return None;
    }
    if ["utf-8", "utf8"].iter().any(|utf_8| utf_8.eq_ignore_ascii_case(label)) {
        return Some(Charset::Utf8);
    }
    let bare = label.to_ascii_lowercase().replace(['-', '_'], "");
    // Aliases begin so, such as `csUTF16` and `x-UTF-16LE-BOM`.
    let bare = bare.strip_prefix("cs").or_else(|| bare.strip_prefix('x')).unwrap_or(&bare);
    let code_page =
        ["cp", "ibm", "ccsid", "windows", "ms", ""].iter().find_map(|of| bare.strip_prefix(of)?.parse().ok());
    let is_superset = match code_page {
        Some(number) => is_ascii_code_page(number),
        None => !NO_SUPERSETS.iter().any(|family| bare.starts_with(family)),
    };
    is_superset.then_some(Charset::AsciiSuperset)
}

/// UTF-16 and its like, UTF-7, encodings that switch between alphabets, EBCDIC; under each of their names.
const NO_SUPERSETS: [&str; 14] = [
    "utf16",
    "utf32",
    "utf7",
    "u16",
    "u32",
    "u7",
    "imap",
    "iso10646",
    "unicode",
    "ucs",
    "iso2022",
    "hz",
    "ebcdic",
    "utfebcdic",
];

/// Whether a code page of that number has ASCII as its first half. The others are EBCDIC (most of those below 437, some of
/// 500 to 1399) or UTF-16 and UTF-7 (1200, 12000, 65000).
fn is_ascii_code_page(number: u32) -> bool {
    matches!(number, 437 | 720 | 737 | 775 | 850..=869 | 874 | 932 | 936 | 949 | 950 | 1250..=1258 | 1361 | 10000..=10099
        | 20127 | 20866 | 21866 | 28591..=28606 | 38598 | 51932..=51949 | 54936)
}

/// Whether a credential stands in the query, where logs and histories keep it (RFC 6749 section 2.3.1).
fn holds_credential(query: &str, endpoint: Endpoint) -> bool {
    const CREDENTIALS: [&str; 6] =
        ["username", "password", "client_secret", "client_assertion", "refresh_token", "access_token"];
    form::pairs(query.as_bytes())
        .filter_map(|(name, _)| form::decode(name).ok())
        .any(|name| CREDENTIALS.contains(&name.as_ref()) || endpoint == Endpoint::AboutToken && name == "token")
}

/// Where a request was sent, which decides what parameters it has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Token,
    /// Revocation or introspection: about one token.
    AboutToken,
}

/// The parameters we know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parameter {
    GrantType,
    ClientId,
    ClientSecret,
    ClientAssertion,
    ClientAssertionType,
    Username,
    Password,
    Scope,
    RefreshToken,
    /// `resource` or `audience`: may be repeated.
    Target,
    Token,
}

impl Parameter {
    fn named(name: &str, endpoint: Endpoint) -> Option<Self> {
        Some(match (name, endpoint) {
            ("client_id", _) => Self::ClientId,
            ("client_secret", _) => Self::ClientSecret,
            ("client_assertion", _) => Self::ClientAssertion,
            ("client_assertion_type", _) => Self::ClientAssertionType,
            ("grant_type", Endpoint::Token) => Self::GrantType,
            ("username", Endpoint::Token) => Self::Username,
            ("password", Endpoint::Token) => Self::Password,
            ("scope", Endpoint::Token) => Self::Scope,
            ("refresh_token", Endpoint::Token) => Self::RefreshToken,
            ("resource" | "audience", Endpoint::Token) => Self::Target,
            // `token_type_hint` is but a hint, and a token tells better what it is.
            ("token", Endpoint::AboutToken) => Self::Token,
            _ => return None,
        })
    }

    /// What a value of it may be (RFC 6749 appendix A). `None` for a token or an assertion: one that is odd is not malformed
    /// but unknown, and is answered as any that is.
    fn grammar(self, limits: &Limits) -> Option<Grammar> {
        let grammar = |longest, allows| Some(Grammar { longest, allows });
        match self {
            Self::ClientId => grammar(Limits::CLIENT_ID, form::is_vschar),
            Self::ClientSecret => grammar(Limits::CLIENT_SECRET, form::is_vschar),
            Self::Username => grammar(Limits::USERNAME, form::is_unicode_no_crlf),
            Self::Password => grammar(limits.password, form::is_unicode_no_crlf),
            Self::Scope => grammar(Limits::SCOPE, scope::is_scope),
            Self::GrantType | Self::ClientAssertionType | Self::Target => grammar(Limits::SHORT, form::is_vschar),
            Self::ClientAssertion | Self::RefreshToken | Self::Token => None,
        }
    }

    /// Judges a value that is not empty.
    fn check(self, value: &str, limits: &Limits) -> Result<(), RequestFault> {
        let Some(Grammar { longest, allows }) = self.grammar(limits) else { return Ok(()) };
        let too_long = value.len() > longest || self == Self::Scope && spaces(value) >= Limits::SCOPE_TOKENS;
        match (too_long, self) {
            (true, Self::Scope) => Err(RequestFault::Scope),
            (true, _) => Err(RequestFault::TooLong),
            (false, _) if allows(value) => Ok(()),
            (false, Self::Scope) => Err(RequestFault::Scope),
            (false, _) => Err(RequestFault::Character),
        }
    }
}

struct Grammar {
    /// Bytes after decoding.
    longest: usize,
    allows: fn(&str) -> bool,
}

fn spaces(value: &str) -> usize {
    value.bytes().map(|byte| usize::from(byte == b' ')).sum()
}

/// The names that have occurred, with or without a value.
#[derive(Default)]
struct Seen<'a> {
    /// A bit for each that we know.
    known: u32,
    unknown: Vec<Cow<'a, str>>,
}

impl<'a> Seen<'a> {
    fn once(&mut self, parameter: Option<Parameter>, name: Cow<'a, str>) -> Result<(), RequestFault> {
        let repeated = match parameter {
            Some(Parameter::Target) => false,
            Some(parameter) => {
                let before = self.known;
                self.known |= 1 << parameter as u32;
                self.known == before
            }
            None if name.len() > Limits::NAME => return Err(RequestFault::TooLong),
            None if self.unknown.contains(&name) => true,
            None => {
                self.unknown.push(name);
                false
            }
        };
        if repeated { Err(RequestFault::Repeated) } else { Ok(()) }
    }
}

impl<'a> TokenRequest<'a> {
    /// Takes in all pairs, then holds every value against its grammar: a repeated parameter is found first.
    fn collect(
        &mut self,
        pairs: impl Iterator<Item = Result<(Cow<'a, str>, Secret<'a>), RequestFault>>,
        endpoint: Endpoint,
        limits: &Limits,
    ) -> Result<(), RequestFault> {
        let mut seen = Seen::default();
        for (count, pair) in pairs.enumerate() {
            let (name, value) = pair?;
            if count >= Limits::PARAMETERS {
                return Err(RequestFault::TooManyParameters);
            }
            let parameter = Parameter::named(&name, endpoint);
            seen.once(parameter, name)?;
            match parameter {
                Some(parameter) if !value.expose().is_empty() => self.put(parameter, value),
                _ => {} // without a value it is as if it were not there; one we do not know is ignored
            }
        }
        self.check(limits)
    }

    pub(crate) fn empty() -> Self {
        Self {
            authorization: Header::Absent,
            grant_type: None,
            client_id: None,
            client_secret: None,
            client_assertion: None,
            client_assertion_type: None,
            username: None,
            password: None,
            scope: None,
            refresh_token: None,
            token: None,
            targets: Vec::new(),
            context: RequestContext::new(),
        }
    }

    fn put(&mut self, parameter: Parameter, value: Secret<'a>) {
        match parameter {
            Parameter::GrantType => self.grant_type = Some(value.into_text()),
            Parameter::ClientId => self.client_id = Some(value.into_text()),
            Parameter::ClientSecret => self.client_secret = Some(value),
            Parameter::ClientAssertion => self.client_assertion = Some(value),
            Parameter::ClientAssertionType => self.client_assertion_type = Some(value.into_text()),
            Parameter::Username => self.username = Some(value.into_text()),
            Parameter::Password => self.password = Some(value),
            Parameter::Scope => self.scope = Some(value.into_text()),
            Parameter::RefreshToken => self.refresh_token = Some(value),
            Parameter::Target => self.targets.push(value.into_text()),
            Parameter::Token => self.token = Some(value),
        }
    }

    fn check(&self, limits: &Limits) -> Result<(), RequestFault> {
        let text = |parameter: Parameter, value: &Option<Cow<'_, str>>| match value {
            Some(value) => parameter.check(value, limits),
            None => Ok(()),
        };
        let secret = |parameter: Parameter, value: &Option<Secret<'_>>| match value {
            Some(value) => parameter.check(value.expose(), limits),
            None => Ok(()),
        };
        text(Parameter::GrantType, &self.grant_type)?;
        text(Parameter::ClientId, &self.client_id)?;
        text(Parameter::ClientAssertionType, &self.client_assertion_type)?;
        text(Parameter::Username, &self.username)?;
        text(Parameter::Scope, &self.scope)?;
        secret(Parameter::ClientSecret, &self.client_secret)?;
        secret(Parameter::Password, &self.password)?;
        self.targets.iter().try_for_each(|target| Parameter::Target.check(target, limits))
    }
}
