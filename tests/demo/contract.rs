//! One table of requests, and the bytes that every host answers: status, headers and body, but for the time of day,
//! what is said about the connection, and the tokens. The answers stand in `contract.txt`, which is written anew with
//! `UPDATE_CONTRACT=1`; a host that differs from it differs from all others.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::{env, fs};

use super::http::{FORM, Request, Response, basic};
use super::server::Server;
use super::{ALICE, Program, alice, token_with};

const CONTRACT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/demo/contract.txt");

const PATHS: [&str; 9] = [
    "/",
    "/oauth/token",
    "/oauth/revoke",
    "/oauth/introspect",
    "/.well-known/oauth-authorization-server",
    "/.well-known/jwks.json",
    "/api/me",
    "/api/orders",
    "/nowhere",
];

const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"];

/// The requests, each with a name.
fn table(server: &Server) -> Vec<(String, Request)> {
    let mut table = Vec::new();
    for path in PATHS {
        for method in METHODS {
            table.push((format!("{method} {path}"), Request::new(method, path)));
        }
    }
    let mut add = |name: &str, request: Request| table.push((name.to_owned(), request));
    let typed = |value: &str| alice().without("Content-Type").header("Content-Type", value);
    let body = |more: &str| alice().body(format!("{ALICE}{more}"));
    let padded = |length: usize| {
        let start = format!("{ALICE}&padding=");
        format!("{start}{}", "x".repeat(length - start.len()))
    };

    add("token", alice());
    add("token with refresh token", body("&scope=profile+offline_access"));
    add("token for a public client", Request::token(format!("{ALICE}&client_id=mobile")));
    add("token with another case of the scheme", {
        let credentials = basic("web:web-secret").replace("Basic", "bAsIc");
        Request::token(ALICE).header("Authorization", credentials)
    });
    add("wrong password", alice().body("grant_type=password&username=alice&password=canary"));
    add("disabled user", alice().body("grant_type=password&username=bob&password=builder"));
    add("unknown user", alice().body("grant_type=password&username=canary&password=canary"));
    add("wrong secret", Request::token(ALICE).basic("web", "canary"));
    add("no client", Request::token(ALICE));
    add("unknown grant", alice().body("grant_type=canary"));
    add("scope of another", body("&scope=canary"));
    add("malformed scope", body("&scope=%22"));
    add("audience of another", body("&audience=canary"));
    add("unknown refresh token", alice().body("grant_type=refresh_token&refresh_token=canary"));
    add("another tenant", alice().header("X-USER-IDENTITY-DOMAIN-NAME", "other"));
    add("two tenants", {
        let named = alice().header("X-USER-IDENTITY-DOMAIN-NAME", "demo");
        named.header("x-user-identity-domain-name", "demo")
    });
    add(TENANT_NO_TEXT, alice().header("X-USER-IDENTITY-DOMAIN-NAME", b"demo\xff"));

    for parameter in
        ["grant_type=password", "username=alice", "password=wonderland", "canary=1&canary=2"]
    {
        add(&format!("repeated: {parameter}"), body(&format!("&{parameter}")));
    }
    add("content type twice", alice().header("content-type", FORM));
    add("authorization twice", alice().basic("web", "web-secret"));
    add("two kinds of authorization", alice().bearer("canary"));
    for value in [
        "application/x-www-form-urlencoded; charset=utf-8",
        "application/x-www-form-urlencoded;charset=ISO-8859-1",
        "application/x-www-form-urlencoded; charset=utf-16",
        "application/json",
        "text/plain",
        "multipart/form-data; boundary=b",
        "application/x-www-form-urlencoded, application/json",
        "canary",
        "",
    ] {
        add(&format!("content type {value:?}"), typed(value));
    }
    add("no content type", alice().without("Content-Type"));
    add("no body", alice().body(""));
    for escape in ["%", "%4", "%zz", "%ff", "%c3%28", "%00", "\u{fffd}", "%ef%bf%bd"] {
        add(&format!("escape {escape:?}"), body(&format!("&canary={escape}")));
    }
    add("invalid UTF-8", alice().body([ALICE.as_bytes(), b"&canary=\xff"].concat()));
    add("a body of the limit", alice().body(padded(65_536)));
    add("a body over the limit", alice().body(padded(65_537)));
    add("chunked", chunked(ALICE.as_bytes()));
    add("chunked over the limit", chunked(padded(65_537).as_bytes()));
    let gzip = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b, 0x2f, 0x4a, 0xcc, 0x2b, 0x89, 0x2f, 0xa9, 0x2c,
        0x48, 0xb5, 0x2d, 0x48, 0x2c, 0x2e, 0x2e, 0xcf, 0x2f, 0x4a, 1, 0, 0xf6, 0xa4, 0x2f, 0x9b,
        0x13, 0, 0, 0,
    ];
    add("gzip", alice().header("Content-Encoding", "gzip").body(gzip));
    for method in ["get", "head", "post", "put", "PUT", "delete", "options", "canary"] {
        add(&format!("_method={method}"), alice().body(format!("_method={method}&{ALICE}")));
    }
    add("_method after empty pairs", alice().body(format!("&&_method=put&{ALICE}")));
    add("_method=put alone", alice().body("_method=put"));
    add("PUT with a body", alice().method("PUT"));
    add("credentials in the query", alice().target("/oauth/token?password=canary"));
    add("a query", alice().target("/oauth/token?trace=1"));
    add("an empty query", alice().target("/oauth/token?"));
    add("an odd query", alice().target("/oauth/token?%zz=%ff&&=&a=b=c"));
    add("forwarding headers", {
        let named = alice().header("X-Forwarded-For", "192.0.2.1").header("X-Real-IP", "192.0.2.2");
        named.header("Forwarded", "for=192.0.2.3;proto=https").header("X-Forwarded-Host", "canary")
    });
    add("a cookie", alice().header("Cookie", "access_token=canary"));
    add("an origin", alice().header("Origin", "https://canary.example"));
    add(
        "another Accept",
        alice().header("Accept", "text/html").header("Accept-Encoding", "gzip, br"),
    );
    add("introspection by nobody", Request::token("token=canary").target("/oauth/introspect"));
    add("introspection of an unknown token", {
        let request = Request::token("token=canary").target("/oauth/introspect");
        request.basic("reports", "reports-secret")
    });
    add("introspection of no token", {
        Request::token("").target("/oauth/introspect").basic("reports", "reports-secret")
    });
    add("revocation of an unknown token", {
        Request::token("token=canary").target("/oauth/revoke").basic("web", "web-secret")
    });
    add("revocation by a public client", {
        Request::token("token=canary&client_id=mobile").target("/oauth/revoke")
    });
    add("a query at the metadata", Request::get("/.well-known/oauth-authorization-server?a=%zz"));
    add("a conditional request", {
        let request = Request::get("/.well-known/jwks.json").header("If-None-Match", "*");
        request.header("If-Modified-Since", "Fri, 27 Nov 2026 00:00:00 GMT")
    });
    add("a range", Request::get("/.well-known/jwks.json").header("Range", "bytes=0-1"));

    let (both, profile) =
        (token_with("profile orders:read", server), token_with("profile", server));
    add("me", Request::get("/api/me").bearer(&both));
    add("orders", Request::get("/api/orders").bearer(&both));
    add("HEAD of me", Request::new("HEAD", "/api/me").bearer(&both));
    add("too little scope", Request::get("/api/orders").bearer(&profile));
    add("an unknown token", Request::get("/api/orders").bearer("canary"));
    add("no b64token", Request::get("/api/orders").header("Authorization", "Bearer a b"));
    add("two tokens", Request::get("/api/orders").bearer(&both).bearer(&both));
    add("Basic at a resource", Request::get("/api/orders").basic("web", "web-secret"));
    add("a token in the query", Request::get("/api/me?access_token=canary").bearer(&both));
    add("POST of a token", Request::new("POST", "/api/me").bearer(&both));
    table
}

const TENANT_NO_TEXT: &str = "a tenant that is no text";

/// A form that is sent in two chunks.
fn chunked(body: &[u8]) -> Request {
    let (front, back) = body.split_at(body.len() / 2);
    let mut chunks = Vec::new();
    for chunk in [front, back, b""] {
        chunks.extend(format!("{:x}\r\n", chunk.len()).bytes());
        chunks.extend([chunk, b"\r\n"].concat());
    }
    alice().header("Transfer-Encoding", "chunked").body(chunks)
}

pub(crate) fn the_same_requests_get_the_same_bytes_from_every_host(program: &Program) {
    let issuer = ("ISSUER", "https://id.example.com");
    let server = program.start_with(&[issuer]);
    let mut answers = String::new();
    let table = table(&server);
    let names: BTreeSet<_> = table.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), table.len(), "a name is repeated");
    for (name, request) in &table {
        if program.is_rocket && name == TENANT_NO_TEXT {
            // It drops the header, so the request is one for the default tenant.
            assert_eq!(server.send(request).status, 200);
            write!(answers, "{}", expected(name)).expect("text");
            continue;
        }
        write!(answers, "{}", entry(name, &server.send(request))).expect("text");
    }
    if env::var_os("UPDATE_CONTRACT").is_some() {
        fs::write(CONTRACT, &answers).expect("write the contract");
    }
    let contract = fs::read_to_string(CONTRACT).expect("the contract");
    let both = answers.split("\n\n").zip(contract.split("\n\n"));
    let different: Vec<_> = both.filter(|(ours, contract)| ours != contract).collect();
    for (ours, contract) in &different {
        println!("{ours}\n\n  instead of\n\n{contract}\n");
    }
    assert!(different.is_empty(), "{program:?} answers {} requests differently", different.len());
    assert_eq!(answers.len(), contract.len());
}

/// HTTP/2 in cleartext, as a proxy on the same machine may speak it.
pub(crate) fn http_2_in_cleartext_gets_the_same_answers(program: &Program) {
    let server = program.start();
    let token = token_with("profile orders:read", &server);
    for (name, request) in [
        ("token", alice()),
        ("wrong secret", Request::token(ALICE).basic("web", "canary")),
        ("repeated", alice().body(format!("{ALICE}&username=alice"))),
        ("wrong method", alice().method("PUT")),
        ("method of a form", alice().body(format!("_method=put&{ALICE}"))),
        ("over the limit", alice().body(vec![b'a'; 65_537])),
        ("metadata", Request::get("/.well-known/oauth-authorization-server")),
        ("orders", Request::get("/api/orders").bearer(&token)),
        ("no token", Request::get("/api/orders")),
        ("nowhere", Request::get("/nowhere")),
    ] {
        let (one, two) = (server.send(&request), request.send_over_http_2(server.address));
        assert_eq!(entry(name, &two), entry(name, &one), "{program:?}");
    }
}

fn expected(name: &str) -> String {
    let contract = fs::read_to_string(CONTRACT).unwrap_or_default();
    let entry = contract.split("\n\n").find(|entry| entry.starts_with(&format!("# {name}\n")));
    format!("{}\n\n", entry.unwrap_or_default())
}

/// The answer as the contract has it.
fn entry(name: &str, answer: &Response) -> String {
    let mut entry = format!("# {name}\n{}\n", answer.status);
    let mut headers: Vec<_> = answer.headers.clone();
    headers.retain(|(name, _)| !["date", "connection"].contains(&&**name));
    headers.sort_unstable();
    for (name, value) in headers {
        writeln!(entry, "{name}: {value}").expect("text");
    }
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    let body = ["access_token", "refresh_token"].into_iter().fold(body, masked);
    if body.starts_with("<!doctype html>") {
        // The page has empty lines, and a file of its own.
        return entry + "(the page)\n\n";
    }
    if body.is_empty() { entry + "\n" } else { format!("{entry}{body}\n\n") }
}

/// The body with the value of this member replaced by its length.
fn masked(body: String, member: &str) -> String {
    let start = format!("\"{member}\":\"");
    let Some((before, rest)) = body.split_once(&start) else { return body };
    let (token, after) = rest.split_once('"').expect("the end of a string");
    format!("{before}{start}({} characters)\"{after}", token.len())
}
