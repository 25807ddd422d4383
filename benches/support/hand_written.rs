//! A whole password grant in one function, written for speed alone: the floor that the engine is
//! compared with.
//!
//! Do not use this code. It knows one client and one user, gives the caller no reason for a
//! failure, reports nothing to anybody else, wipes no secret, and has no place for a check of the
//! host.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::keys::{BareSignature, KeyPair, SIGNATURE};
use super::{
    AUDIENCE, CLIENT_ID, CLIENT_SECRET, ISSUER, LIFETIME, PASSWORD, SCOPE, SUBJECT, USERNAME,
};

pub struct HandWritten {
    key: BareSignature,
    client_secret_sha256: [u8; 32],
    /// `{"access_token":"`, the encoded header of the token, and a dot.
    answer_head: String,
    /// The position in `answer_head` at which the token begins.
    token_start: usize,
    /// The claims up to the value of `sub`.
    claims_head: String,
}

pub struct Answer {
    pub status: u16,
    pub headers: [(&'static str, &'static str); 3],
    pub body: Vec<u8>,
}

#[derive(Default)]
struct Form<'a> {
    grant_type: Option<Cow<'a, str>>,
    username: Option<Cow<'a, str>>,
    password: Option<Cow<'a, str>>,
    scope: Option<Cow<'a, str>>,
}

impl HandWritten {
    pub fn new(key: &KeyPair) -> Self {
        let kid = key.kid().expect("a key identifier");
        let header = format!(r#"{{"typ":"at+jwt","alg":"{}","kid":"{kid}"}}"#, key.algorithm());
        let before = r#"{"access_token":""#;
        let mut client_secret_sha256 = [0; 32];
        client_secret_sha256.copy_from_slice(digest(&SHA256, CLIENT_SECRET.as_bytes()).as_ref());
        Self {
            key: key.bare_signature(),
            client_secret_sha256,
            answer_head: format!("{before}{}.", URL_SAFE_NO_PAD.encode(header)),
            token_start: before.len(),
            claims_head: format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":""#),
        }
    }

    pub fn answer(&self, method: &str, headers: &[(&str, &[u8])], body: &[u8]) -> Answer {
        let answer = |status, body| Answer {
            status,
            headers: [
                ("content-type", "application/json"),
                ("cache-control", "no-store"),
                ("pragma", "no-cache"),
            ],
            body,
        };
        match self.granted(method, headers, body) {
            Ok(body) => answer(200, body),
            Err((status, error)) => {
                answer(status, format!(r#"{{"error":"{error}"}}"#).into_bytes())
            }
        }
    }

    fn granted(
        &self,
        method: &str,
        headers: &[(&str, &[u8])],
        body: &[u8],
    ) -> Result<Vec<u8>, (u16, &'static str)> {
        const MALFORMED: (u16, &str) = (400, "invalid_request");
        const CLIENT: (u16, &str) = (401, "invalid_client");

        // The request.
        if method != "POST" || body.len() > 65_536 {
            return Err(MALFORMED);
        }
        let (mut content_type, mut authorization) = (None, None);
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("content-type") && content_type.replace(*value).is_some()
                || name.eq_ignore_ascii_case("authorization")
                    && authorization.replace(*value).is_some()
            {
                return Err(MALFORMED);
            }
        }
        if !content_type
            .is_some_and(|value| value.eq_ignore_ascii_case(b"application/x-www-form-urlencoded"))
        {
            return Err(MALFORMED);
        }
        let form = parse(body).ok_or(MALFORMED)?;

        // The client.
        let (scheme, encoded) =
            authorization.and_then(|header| header.split_at_checked(6)).ok_or(CLIENT)?;
        let mut credentials = [0; 128];
        let length = STANDARD.decode_slice(encoded, &mut credentials).map_err(|_| CLIENT)?;
        let credentials = &credentials[..length];
        let colon = credentials.iter().position(|byte| *byte == b':').ok_or(CLIENT)?;
        let (client_id, secret) = (&credentials[..colon], &credentials[colon + 1..]);
        let presented = digest(&SHA256, secret);
        let proved =
            verify_slices_are_equal(presented.as_ref(), &self.client_secret_sha256).is_ok();
        if !scheme.eq_ignore_ascii_case(b"basic ") || client_id != CLIENT_ID.as_bytes() || !proved {
            return Err(CLIENT);
        }

        // The grant, the scope and the user.
        if form.grant_type.as_deref() != Some("password") {
            return Err((400, "unsupported_grant_type"));
        }
        let scope = form.scope.as_deref().unwrap_or(SCOPE);
        if !scope.split(' ').all(|token| SCOPE.split(' ').any(|registered| registered == token)) {
            return Err((400, "invalid_scope"));
        }
        let (username, password) = form.username.zip(form.password).ok_or(MALFORMED)?;
        if username != USERNAME || password != PASSWORD {
            return Err((400, "invalid_grant"));
        }

        // The token is written straight into the response.
        let now = unix_seconds();
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| (500, "server_error"))?;
        let mut claims = Claims { bytes: [0; 1024], length: 0 };
        claims.push(self.claims_head.as_bytes());
        claims.push(SUBJECT.as_bytes());
        claims.push(br#"","client_id":""#);
        claims.push(client_id);
        claims.push(br#"","scope":""#);
        claims.push(scope.as_bytes());
        claims.push(br#"","iat":"#);
        claims.push_number(now);
        claims.push(br#","exp":"#);
        claims.push_number(now + LIFETIME);
        claims.push(br#","jti":""#);
        claims.push_base64url(&random);
        claims.push(br#""}"#);

        let mut answer =
            Vec::with_capacity(self.answer_head.len() + claims.length.div_ceil(3) * 4 + 512);
        answer.extend_from_slice(self.answer_head.as_bytes());
        append_base64url(&mut answer, claims.written());
        let mut signature = [0; SIGNATURE];
        let length = self.key.sign(&answer[self.token_start..], &mut signature);
        answer.push(b'.');
        append_base64url(&mut answer, &signature[..length]);
        answer.extend_from_slice(br#"","token_type":"Bearer","expires_in":600,"scope":""#);
        answer.extend_from_slice(scope.as_bytes());
        answer.extend_from_slice(br#""}"#);
        Ok(answer)
    }
}

struct Claims {
    bytes: [u8; 1024],
    length: usize,
}

impl Claims {
    fn push(&mut self, text: &[u8]) {
        self.bytes[self.length..][..text.len()].copy_from_slice(text);
        self.length += text.len();
    }

    fn push_number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.push(&digits[start..]);
    }

    fn push_base64url(&mut self, bytes: &[u8]) {
        self.length +=
            URL_SAFE_NO_PAD.encode_slice(bytes, &mut self.bytes[self.length..]).expect("room");
    }

    fn written(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn append_base64url(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, &mut out[start..]).expect("room");
    out.truncate(start + written);
}

/// Parses the known parameters, each at most once, and ignores others.
fn parse(body: &[u8]) -> Option<Form<'_>> {
    let mut form = Form::default();
    for piece in body.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty()) {
        let equals = piece.iter().position(|byte| *byte == b'=').unwrap_or(piece.len());
        let (name, value) = (&piece[..equals], piece.get(equals + 1..).unwrap_or_default());
        let slot = match &*decode(name)? {
            "grant_type" => &mut form.grant_type,
            "username" => &mut form.username,
            "password" => &mut form.password,
            "scope" => &mut form.scope,
            _ => continue,
        };
        let value = decode(value)?;
        if value.len() > 1024
            || value.bytes().any(|byte| byte < b' ')
            || slot.replace(value).is_some()
        {
            return None;
        }
    }
    Some(form)
}

fn decode(encoded: &[u8]) -> Option<Cow<'_, str>> {
    if !encoded.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return std::str::from_utf8(encoded).ok().map(Cow::Borrowed);
    }
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.iter();
    while let Some(&byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(*bytes.next()?).to_digit(16)?;
                let low = char::from(*bytes.next()?).to_digit(16)?;
                u8::try_from(high << 4 | low).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
