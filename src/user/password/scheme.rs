//! What a stored hash looks like that cannot be used, so that its event can say so.

/// Why a stored hash cannot be used, as far as its form tells. It holds nothing of the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it looks like {0}")]
pub(super) struct LooksLike(&'static str);

/// What this stored hash looks like.
pub(super) fn looks_like(stored: &str) -> LooksLike {
    const PREFIXES: [(&str, &str); 18] = [
        (
            "$argon2id$",
            "Argon2id with parameters out of bounds (see HashedPasswordsBuilder::strongest_stored), \
             or a malformed one",
        ),
        ("$argon2i$", "Argon2i"),
        ("$argon2d$", "Argon2d"),
        ("$2a$", "bcrypt"),
        ("$2b$", "bcrypt"),
        ("$2y$", "bcrypt"),
        ("$scrypt$", "scrypt"),
        ("scrypt", "scrypt of Django or Werkzeug"),
        ("$pbkdf2", "PBKDF2"),
        ("pbkdf2", "PBKDF2 of Django or Werkzeug"),
        ("argon2$", "Argon2 of Django"),
        ("bcrypt", "bcrypt of Django"),
        ("$P$", "phpass of WordPress"),
        ("$H$", "phpass of phpBB"),
        ("$1$", "MD5-crypt"),
        ("$5$", "SHA-256-crypt"),
        ("$6$", "SHA-512-crypt"),
        ("{", "a hash with a scheme in braces, as LDAP and Spring write it"),
    ];
    let is_hex = !stored.is_empty() && stored.bytes().all(|byte| byte.is_ascii_hexdigit());
    let prefixed = PREFIXES.iter().find(|(prefix, _)| stored.starts_with(prefix));
    LooksLike(match (prefixed, is_hex, stored.len()) {
        (Some((_, scheme)), ..) => scheme,
        (None, true, 32) => "MD5 in hex",
        (None, true, 40) => "SHA-1 in hex",
        (None, true, 64) => "SHA-256 in hex",
        (None, true, 128) => "SHA-512 in hex",
        (None, _, 0) => "nothing: the text is empty",
        _ => "no scheme that is known, and perhaps a password in clear",
    })
}
