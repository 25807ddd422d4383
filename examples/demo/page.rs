//! The page that walks the workflow in a browser. It is one file, and uses the public endpoints
//! alone.

pub const PAGE: &str = include_str!("page.html");

/// The headers of the page. Its policy allows the style and the script in it by their digests
/// (Content Security Policy 3), requests to this server, and nothing else.
pub const HEADERS: [(&str, &str); 5] = [
    ("content-type", "text/html; charset=utf-8"),
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'none'; style-src 'sha256-0T8Q33Psvb0O3JEYFTGz5s2ibho9s6fyuhpvo+zuMFU='; \
         script-src 'sha256-2SU1soAvA6EP996BJEqBJ9mgpxek7ARsrBQC/67bljk='; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
];
