//! One table of the parameters of all endpoints: where each is known, what its value may be, and
//! whether it is a credential.

use crate::error::RequestFault;
use crate::http::form;
use crate::types::endpoint::Endpoint;
use crate::types::limits::RequestLimits;
use crate::types::scope;

/// The endpoints at which a parameter is known.
#[derive(Clone, Copy)]
enum At {
    Every,
    Token,
    /// Revocation (RFC 7009) and introspection (RFC 7662).
    AboutToken,
}

impl At {
    fn includes(self, endpoint: Endpoint) -> bool {
        match self {
            Self::Every => true,
            Self::Token => endpoint == Endpoint::Token,
            Self::AboutToken => {
                matches!(endpoint, Endpoint::Revocation | Endpoint::Introspection)
            }
        }
    }
}

/// What the value of a parameter may be (RFC 6749 appendix A). Lengths are in bytes after decoding.
#[derive(Clone, Copy)]
enum Grammar {
    Vschar {
        longest: usize,
    },
    Text {
        longest: usize,
    },
    /// Text up to the configured limit.
    Password,
    /// A scope. A malformed one is answered with `invalid_scope`.
    Scope,
    /// A token or an assertion. A malformed one is answered later, in the same way as an unknown
    /// one.
    Opaque,
}

struct ParameterRule {
    at: At,
    grammar: Grammar,
    /// Whether it is a credential, which must not be in the URI, where logs and histories keep it
    /// (RFC 6749 section 2.3.1).
    is_credential: bool,
}

macro_rules! parameters {
    ($($(#[$doc:meta])* $variant:ident = $($name:literal)|+, $at:expr, $grammar:expr, $credential:expr;)+) => {
        /// The known parameters. Values are checked in this order.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Parameter {
            $($(#[$doc])* $variant,)+
        }

        impl Parameter {
            pub(super) const ALL: &[Self] = &[$(Self::$variant),+];

            fn of_name(name: &str) -> Option<Self> {
                match name {
                    $($($name)|+ => Some(Self::$variant),)+
                    _ => None,
                }
            }

            fn rule(self) -> ParameterRule {
                let (at, grammar, is_credential) = match self {
                    $(Self::$variant => ($at, $grammar, $credential),)+
                };
                ParameterRule { at, grammar, is_credential }
            }
        }
    };
}

/// Most parameters are known at the token endpoint only.
const TOKEN: At = At::Token;
/// `token_type_hint` is not known, because the token itself shows its type.
const ABOUT_TOKEN: At = At::AboutToken;
const SHORT: Grammar = Grammar::Vschar { longest: RequestLimits::SHORT };
const CLIENT_ID: Grammar = Grammar::Vschar { longest: RequestLimits::CLIENT_ID };
const CLIENT_SECRET: Grammar = Grammar::Vschar { longest: RequestLimits::CLIENT_SECRET };
const USERNAME: Grammar = Grammar::Text { longest: RequestLimits::USERNAME };

parameters! {
    // parameter        = name(s)                   known at     grammar            credential
    GrantType           = "grant_type",             TOKEN,       SHORT,             false;
    ClientId            = "client_id",              At::Every,   CLIENT_ID,         false;
    ClientAssertionType = "client_assertion_type",  At::Every,   SHORT,             false;
    Username            = "username",               TOKEN,       USERNAME,          true;
    Scope               = "scope",                  TOKEN,       Grammar::Scope,    false;
    ClientSecret        = "client_secret",          At::Every,   CLIENT_SECRET,     true;
    Password            = "password",               TOKEN,       Grammar::Password, true;
    ClientAssertion     = "client_assertion",       At::Every,   Grammar::Opaque,   true;
    RefreshToken        = "refresh_token",          TOKEN,       Grammar::Opaque,   true;
    Token               = "token",                  ABOUT_TOKEN, Grammar::Opaque,   true;
    /// The only parameter that may be repeated (RFC 8707).
    Target              = "resource" | "audience",  TOKEN,       SHORT,             false;
}

impl Parameter {
    /// The parameter with this name, if it is known at the endpoint.
    pub(super) fn named(name: &str, endpoint: Endpoint) -> Option<Self> {
        Self::of_name(name).filter(|parameter| parameter.rule().at.includes(endpoint))
    }

    /// Checks the length and grammar of a value that is not empty.
    pub(super) fn check(self, value: &str, limits: &RequestLimits) -> Result<(), RequestFault> {
        let within = |longest: usize, allows: fn(&str) -> bool| match value {
            _ if value.len() > longest => Err(RequestFault::TooLong),
            _ if !allows(value) => Err(RequestFault::Character),
            _ => Ok(()),
        };
        match self.rule().grammar {
            Grammar::Vschar { longest } => within(longest, form::is_vschar),
            Grammar::Text { longest } => within(longest, form::is_unicode_no_crlf),
            Grammar::Password => within(limits.password, form::is_unicode_no_crlf),
            Grammar::Scope if is_short_scope(value) => Ok(()),
            Grammar::Scope => Err(RequestFault::Scope),
            Grammar::Opaque => Ok(()),
        }
    }
}

fn is_short_scope(value: &str) -> bool {
    let spaces: usize = value.bytes().map(|byte| usize::from(byte == b' ')).sum();
    value.len() <= RequestLimits::SCOPE
        && spaces < RequestLimits::SCOPE_TOKENS
        && scope::is_scope(value)
}

/// Whether the query contains a credential of any endpoint. `token` counts only at the endpoints
/// where it is known.
pub(super) fn holds_credential(query: &str, endpoint: Endpoint) -> bool {
    let is_credential = |name: &str| match Parameter::of_name(name) {
        Some(Parameter::Token) => ABOUT_TOKEN.includes(endpoint),
        Some(parameter) => parameter.rule().is_credential,
        None => name == "access_token", // at a protected resource (RFC 6750 section 2.3)
    };
    form::pairs(query.as_bytes())
        .filter_map(|(name, _)| form::decode(name).ok())
        .any(|name| is_credential(&name))
}
