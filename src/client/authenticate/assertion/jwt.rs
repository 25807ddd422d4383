//! The JWT of a client assertion (RFC 7523 section 3): parsed strictly, then verified claim by
//! claim.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::client::{AssertionCompatibility, AssertionRegistration};
use crate::error::ClientFault;
use crate::jose::compact::Compact;
use crate::jose::{Algorithm, NumericDate, UnusableKey, VerificationKeys};
use crate::time::{CLIENT_SKEW, Timestamp};
use crate::types::limits::RequestLimits;

/// The registered `client_assertion_type` (RFC 7523 section 2.2).
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// What some deployed clients send instead.
pub(crate) const JWT_BEARER_ALIAS: &str = "jwt_bearer";
/// The `typ` of a client assertion (draft-ietf-oauth-rfc7523bis). No other token that this crate
/// signs or accepts has it.
pub(crate) const ASSERTION_TYPE: &str = "client-authentication+jwt";

/// The longest `jti`, in bytes.
const ID: usize = 256;

/// A well-formed client assertion. Nothing in it is verified.
pub(crate) struct UnverifiedAssertion<'r> {
    jws: Compact<'r>,
    claims: Map<String, Value>,
    client_id: String,
}

/// What an assertion is verified against, in addition to its client's registration.
pub(crate) struct Expectations<'a> {
    /// The audience that assertions must have. It comes from the configuration, never from the
    /// request.
    pub(crate) issuer: &'a str,
    pub(crate) token_endpoint: &'a str,
    /// The URL of the endpoint that was called.
    pub(crate) endpoint: &'a str,
    /// The algorithms that the server accepts.
    pub(crate) algorithms: &'a [Algorithm],
    /// How far ahead `exp` may lie.
    pub(crate) max_lifetime: Duration,
    pub(crate) now: Timestamp,
}

/// What is needed of a verified assertion to use it once.
pub(crate) struct VerifiedAssertion {
    pub(crate) id: String,
    /// Until when the assertion would be accepted again: its `exp` plus the clock skew.
    pub(crate) end: Timestamp,
    /// Whether its only audience is this server's issuer, as it should be.
    pub(crate) is_for_issuer_alone: bool,
}

impl<'r> UnverifiedAssertion<'r> {
    /// Parses an assertion strictly. `None` if the text is longer than 8 KiB, or is not a JWT with
    /// a subject.
    pub(crate) fn parse(text: &'r str) -> Option<Self> {
        if text.len() > RequestLimits::ASSERTION {
            return None;
        }
        let jws = Compact::parse(text)?;
        let claims = jws.unverified_claims()?;
        let client_id = claims.get("sub")?.as_str().filter(|id| !id.is_empty())?.to_owned();
        Some(Self { jws, claims, client_id })
    }

    /// The client that the assertion claims to be from (`sub`). Raw.
    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.jws.algorithm
    }

    /// Whether the assertion names a key, and none of these keys has that name.
    pub(crate) fn names_none_of(&self, keys: &VerificationKeys) -> bool {
        !keys.knows(self.jws.key_name())
    }

    /// Whether the assertion may have been signed with this key, which cannot be used: it names
    /// that key, or no key at all.
    pub(crate) fn may_mean(&self, unusable: &UnusableKey) -> bool {
        self.jws.key_name().kid.is_none_or(|said| unusable.kid() == Some(said))
    }

    /// Verifies type, algorithm and signature, and then each claim: everything except that the
    /// assertion was not used before.
    pub(crate) fn verify(
        &self,
        registered: &AssertionRegistration,
        keys: &VerificationKeys,
        expected: &Expectations<'_>,
    ) -> Result<VerifiedAssertion, ClientFault> {
        if !self.jws.typ.as_deref().is_none_or(is_assertion_type) {
            return Err(ClientFault::AssertionType);
        }
        let algorithm = self.jws.algorithm;
        if !registered.takes(algorithm) || !expected.algorithms.contains(&algorithm) {
            return Err(ClientFault::AssertionAlgorithm);
        }
        if !self.jws.is_signed_by(keys) {
            return Err(ClientFault::AssertionSignature);
        }
        if self.text("iss") != Some(&self.client_id) {
            return Err(ClientFault::AssertionIssuer);
        }
        let audiences = self.audiences().ok_or(ClientFault::AssertionAudience)?;
        let is_for_issuer_alone = audiences == [expected.issuer];
        if !is_for_issuer_alone && !is_for_an_endpoint(&audiences, registered, expected) {
            return Err(ClientFault::AssertionAudience);
        }
        let end = self.times(expected)?;
        match self.text("jti") {
            Some(id) if (1..=ID).contains(&id.len()) => {
                Ok(VerifiedAssertion { id: id.to_owned(), end, is_for_issuer_alone })
            }
            _ => Err(ClientFault::AssertionId),
        }
    }

    fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim)?.as_str()
    }

    fn audiences(&self) -> Option<Vec<&str>> {
        match self.claims.get("aud")? {
            Value::String(one) => Some(vec![one]),
            Value::Array(several) => several.iter().map(Value::as_str).collect(),
            _ => None,
        }
    }

    /// Verifies that `exp` is present and neither past nor too far ahead, and that `nbf` and `iat`,
    /// if present, are not in the future. Returns when the assertion stops being accepted.
    fn times(&self, expected: &Expectations<'_>) -> Result<Timestamp, ClientFault> {
        let date = |claim: &str| match self.claims.get(claim) {
            None => Ok(None),
            Some(value) => NumericDate::read(value).map(Some).ok_or(ClientFault::AssertionTime),
        };
        let end = date("exp")?.ok_or(ClientFault::AssertionTime)?;
        let end = Timestamp::from_unix_seconds(end.rounded_down());
        let latest = expected.now.plus(CLIENT_SKEW);
        let ahead = |date: Option<NumericDate>| {
            date.is_some_and(|date| Timestamp::from_unix_seconds(date.rounded_up()) > latest)
        };
        let expired = end.plus(CLIENT_SKEW) <= expected.now;
        let too_long = end > latest.plus(expected.max_lifetime);
        if expired || too_long || ahead(date("nbf")?) || ahead(date("iat")?) {
            return Err(ClientFault::AssertionTime);
        }
        Ok(end.plus(CLIENT_SKEW))
    }
}

/// Whether a client that is registered for [`AssertionCompatibility::EndpointAudience`] may use
/// these audiences. For all other clients the only audience must be this server's issuer, because
/// any other audience could use the assertion here (RFC 7523bis section 4). Some deployed clients
/// name an endpoint instead.
fn is_for_an_endpoint(
    audiences: &[&str],
    registered: &AssertionRegistration,
    expected: &Expectations<'_>,
) -> bool {
    let ours = [expected.issuer, expected.token_endpoint, expected.endpoint];
    registered.allows(AssertionCompatibility::EndpointAudience)
        && audiences.iter().any(|audience| ours.contains(audience))
}

/// Whether the `typ` is that of a client assertion. `JWT` is accepted too, as RFC 7523bis does; the
/// type of any other token that this crate signs never is.
fn is_assertion_type(typ: &str) -> bool {
    let short = match typ.get(..12) {
        Some(prefix) if prefix.eq_ignore_ascii_case("application/") => {
            typ.get(12..).unwrap_or_default()
        }
        _ => typ,
    };
    [ASSERTION_TYPE, "JWT"].iter().any(|own| own.eq_ignore_ascii_case(short))
}
