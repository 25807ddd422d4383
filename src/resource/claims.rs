//! The claims of a JWT access token (RFC 9068 section 2.2), parsed strictly.

use serde_json::{Map, Value};

use crate::event::AccessFault;
use crate::jose::compact::Compact;
use crate::jose::{Algorithm, NumericDate, VerificationKeys};
use crate::types::limits::RequestLimits;
use crate::types::scope::Scope;
use crate::types::token::TokenDetails;

/// The `typ` of a JWT access token. Nothing else that this crate signs or accepts has it, so no
/// other JWT can be used as an access token.
pub(crate) const JWT_TYPE: &str = "at+jwt";

/// The details of a token whose form, type, algorithm and signature are valid. Its issuer,
/// audience, times and `cnf` are not checked yet.
pub(crate) fn read_jwt(
    token: &str,
    algorithms: &[Algorithm],
    keys: &VerificationKeys,
) -> Result<TokenDetails, AccessFault> {
    if token.len() > RequestLimits::ACCESS_TOKEN {
        return Err(AccessFault::NotOurs);
    }
    let jws = Compact::parse(token).ok_or(AccessFault::NotOurs)?;
    if !algorithms.contains(&jws.algorithm) || !jws.typ.as_deref().is_some_and(is_access_token) {
        return Err(AccessFault::NotOurs);
    }
    let claims = jws.verify(keys).ok_or(AccessFault::NotOurs)?;
    details(claims).ok_or(AccessFault::NotOurs)
}

fn is_access_token(typ: &str) -> bool {
    typ.eq_ignore_ascii_case(JWT_TYPE) || typ.eq_ignore_ascii_case("application/at+jwt")
}

/// `None` if a claim that RFC 9068 requires is missing, or a claim has another type. Nothing is
/// coerced.
fn details(mut claims: Map<String, Value>) -> Option<TokenDetails> {
    let issued_at = NumericDate::read(&claims.remove("iat")?)?;
    Some(TokenDetails {
        issuer: string(claims.remove("iss")?)?,
        subject: string(claims.remove("sub")?)?.into(),
        client_id: string(claims.remove("client_id")?)?.into(),
        audiences: strings(claims.remove("aud")?)?,
        scope: match claims.remove("scope") {
            None => Scope::empty(),
            Some(scope) => string(scope)?.parse().ok()?, // some issuers write "" for no scope
        },
        token_id: string(claims.remove("jti")?)?,
        session_id: match claims.remove("sid") {
            None => None,
            Some(session_id) => Some(string(session_id)?.into()),
        },
        login_epoch: match claims.remove("login_epoch") {
            None => None,
            Some(login_epoch) => Some(login_epoch.as_u64()?),
        },
        issued_at: issued_at.rounded_down(),
        valid_from: issued_at.rounded_up(),
        expires_at: NumericDate::read(&claims.remove("exp")?)?.rounded_down(),
        claims,
    })
}

fn string(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// One string, or an array of strings.
pub(crate) fn strings(value: Value) -> Option<Vec<String>> {
    match value {
        Value::Array(entries) => entries.into_iter().map(string).collect(),
        one => Some(vec![string(one)?]),
    }
}
