//! The credentials of an `Authorization: Basic` header (RFC 7617, RFC 6749 section 2.3.1).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, Zeroizing};

use crate::client::authenticate::ClientIds;
use crate::http;
use crate::http::form;
use crate::types::limits::RequestLimits;
use crate::types::secret::Secret;

/// Well-formed Basic credentials. Nothing in them is verified.
pub(crate) struct Basic {
    text: Zeroizing<String>,
    /// The position of the first colon.
    colon: usize,
    /// The readings of the identifier, as [`readings`] gives them. Empty if it has no escapes: then
    /// its only reading is in `text`.
    ids: Vec<String>,
}

impl Basic {
    /// Parses the credentials: canonical base64 with padding of VSCHAR text (RFC 6749 appendix A),
    /// in which the identifier has at least one reading. `None` for anything else.
    pub(super) fn parse(header: &[u8]) -> Option<Self> {
        let encoded = http::credentials(header, b"basic")?;
        if encoded.len() > RequestLimits::BASIC.div_ceil(3) * 4 {
            return None;
        }
        let text = match String::from_utf8(STANDARD.decode(encoded).ok()?) {
            Ok(text) => Zeroizing::new(text),
            Err(error) => {
                error.into_bytes().zeroize();
                return None;
            }
        };
        let colon = text.bytes().position(|byte| byte == b':')?;
        if !form::is_vschar(&text) {
            return None;
        }
        let ids = Self::ids_in(text.get(..colon)?)?;
        Some(Self { text, colon, ids })
    }

    /// The readings of an identifier in the form of [`Self::ids`]; `None` if it has none.
    fn ids_in(raw: &str) -> Option<Vec<String>> {
        let ids = readings(raw, RequestLimits::CLIENT_ID);
        let mut ids = ids.iter().flatten().map(Secret::expose);
        if form::is_escaped(raw.as_bytes()) {
            Some(ids.map(str::to_owned).collect()).filter(|ids: &Vec<String>| !ids.is_empty())
        } else {
            ids.next().map(|_| Vec::new())
        }
    }

    /// The clients that the identifier may mean. Raw.
    pub(super) fn client_ids(&self) -> ClientIds<'_> {
        match &*self.ids {
            [] => [self.text.get(..self.colon), None, None],
            ids => std::array::from_fn(|index| ids.get(index).map(String::as_str)),
        }
    }

    pub(super) fn may_mean(&self, client_id: &str) -> bool {
        self.client_ids().contains(&Some(client_id))
    }

    /// Keeps only the reading that is this client; `None` if no reading is.
    pub(super) fn narrowed_to(mut self, client_id: &str) -> Option<Self> {
        if !self.may_mean(client_id) {
            return None;
        }
        self.ids.retain(|id| id == client_id);
        Some(self)
    }

    /// The secret as it was sent, not decoded.
    pub(super) fn secret(&self) -> &str {
        self.text.get(self.colon + 1..).unwrap_or_default()
    }
}

/// The readings of one half of Basic credentials, each once: form-decoded (RFC 6749 section 2.3.1);
/// unchanged, because many clients do not encode; and percent-decoded with `+` kept, because some
/// clients encode that way. A reading that is empty, too long, or not VSCHAR (RFC 6749 appendix A)
/// is left out.
///
/// `half` must be VSCHAR.
pub(super) fn readings(half: &str, limit: usize) -> [Option<Secret<'_>>; 3] {
    let fits = |text: &str| (1..=limit).contains(&text.len());
    let decoded = |decode: fn(&[u8]) -> Result<Cow<'_, str>, form::BadEncoding>| {
        Some(Secret::new(decode(half.as_bytes()).ok()?))
            .filter(|reading| fits(reading.expose()) && form::is_vschar(reading.expose()))
    };
    let raw = Some(Secret::new(half)).filter(|_| fits(half));
    if !form::is_escaped(half.as_bytes()) {
        return [raw, None, None];
    }
    let (form_decoded, percent_decoded) = (decoded(form::decode), decoded(form::percent_decode));
    let differs = |own: &Secret<'_>, other: &Option<Secret<'_>>| {
        other.as_ref().map(Secret::expose) != Some(own.expose())
    };
    let raw = raw.filter(|own| differs(own, &form_decoded));
    let percent_decoded =
        percent_decoded.filter(|own| differs(own, &form_decoded) && differs(own, &raw));
    [form_decoded, raw, percent_decoded]
}
