//! Client authentication at the token endpoint: RFC 6749 sections 2.3 and 3.2.1.

use super::http::{Request, Response, basic, encode};
use super::server::Server;
use super::{ALICE, Program, alice, text};

/// An identity domain whose name is not UTF-8.
const NO_TEXT: &str = "a name that is no text";
const ODD_SECRET: &str = "s3cr:t +%&=/?~";

pub(crate) fn every_client_gets_a_token_by_each_method_it_is_registered_for(program: &Program) {
    let server = program.start();
    let odd_encoded = "s3cr%3At+%2B%25%26%3D%2F%3F~";
    for (case, request, client_id) in [
        ("Basic", alice(), "web"),
        // RFC 6749 section 2.3.1: both halves are form-encoded, and some clients encode more than they need to.
        ("Basic, encoded", Request::token(ALICE).basic("web", "web%2Dsecret"), "web"),
        // RFC 9110 section 11.1: the scheme's case does not matter.
        (
            "basic",
            Request::token(ALICE)
                .header("Authorization", basic("web:web-secret").replace("Basic", "basic")),
            "web",
        ),
        (
            "BASIC",
            Request::token(ALICE)
                .header("Authorization", basic("web:web-secret").replace("Basic", "BASIC")),
            "web",
        ),
        // RFC 9110 section 11.4: one space or more.
        (
            "several spaces",
            Request::token(ALICE)
                .header("Authorization", basic("web:web-secret").replace(' ', "   ")),
            "web",
        ),
        // Dart's `oauth2` escapes by percent, and keeps `+` as it is.
        (
            "escaped, but for plus",
            Request::token(ALICE).basic("odd%3Aclient", "s3cr%3At%20+%25%26%3D%2F%3F~"),
            "odd:client",
        ),
        ("Basic and the same client_id", alice().body(format!("{ALICE}&client_id=web")), "web"),
        ("post", post("web", "web-secret"), "web"),
        (
            "an id and a secret that must be encoded",
            Request::token(ALICE).basic("odd%3Aclient", odd_encoded),
            "odd:client",
        ),
        (
            "%20 for a space",
            Request::token(ALICE).basic("odd%3Aclient", &encode(ODD_SECRET)),
            "odd:client",
        ),
        // As many clients do not encode; without a colon in the identifier this can be told.
        (
            "the secret as it is",
            Request::token(ALICE).basic("odd%3Aclient", ODD_SECRET),
            "odd:client",
        ),
        ("public", Request::token(format!("{ALICE}&client_id=mobile")), "mobile"),
        // RFC 6749 section 3.2: a parameter without a value is as if it were not there.
        ("public, without a value for the secret", post("mobile", ""), "mobile"),
        (
            "public, as two widely used programs send it",
            Request::token(ALICE).basic("mobile", ""),
            "mobile",
        ),
        (
            "of the one identity domain",
            alice().header("X-USER-IDENTITY-DOMAIN-NAME", "demo"),
            "web",
        ),
    ] {
        let answer = server.send(&request);
        assert_eq!(answer.status, 200, "{case}: {answer:?}");
        let claims = super::token::verified(&text(&answer.json()["access_token"]), &server);
        assert_eq!(claims["client_id"], client_id, "{case}");
    }
}

/// Which clients exist, and how they authenticate, is nobody's business.
pub(crate) fn every_failed_client_authentication_is_answered_with_the_same_bytes(
    program: &Program,
) {
    let server = program.start();
    let refusal = unknown_client(&server);
    refusal.assert_error(401, "invalid_client", &"an unknown client");
    refusal.assert_headers(&[
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("pragma", "no-cache"),
        ("www-authenticate", &format!("Basic realm=\"{}\"", server.url)),
    ]);
    for (case, request) in [
        ("nobody at all", Request::token(ALICE)),
        ("a secret without an id", Request::token(format!("{ALICE}&client_secret=web-secret"))),
        ("unknown, by post", post("nobody", "web-secret")),
        ("unknown, public", Request::token(format!("{ALICE}&client_id=nobody"))),
        ("wrong secret", Request::token(ALICE).basic("web", "wrong")),
        ("wrong secret by post", post("web", "wrong")),
        ("another client's secret", Request::token(ALICE).basic("web", "reports-secret")),
        ("a secret cut short", Request::token(ALICE).basic("web", "web-secre")),
        ("a secret with more behind it", Request::token(ALICE).basic("web", "web-secret2")),
        ("a secret in upper case", Request::token(ALICE).basic("web", "WEB-SECRET")),
        ("an id in upper case", Request::token(ALICE).basic("WEB", "web-secret")),
        ("an id with a space behind it", Request::token(ALICE).basic("web ", "web-secret")),
        // A client that keeps a secret must prove it (RFC 6749 section 3.2.1).
        ("no secret", Request::token(format!("{ALICE}&client_id=web"))),
        ("an empty secret", Request::token(ALICE).basic("web", "")),
        ("an empty secret by post", post("web", "")),
        // The method must be the one that is registered.
        ("post for a Basic client", post("odd:client", ODD_SECRET)),
        ("post for another Basic client", post("reports", "reports-secret")),
        ("a public client with a secret", Request::token(ALICE).basic("mobile", "secret")),
        ("a public client with a secret by post", post("mobile", "secret")),
        // Split at the first colon, this names the client `odd`.
        (
            "an id that should have been encoded",
            Request::token(ALICE).basic("odd:client", ODD_SECRET),
        ),
        ("a secret decoded twice", Request::token(ALICE).basic("web", "web%252Dsecret")),
        ("another identity domain", alice().header("X-USER-IDENTITY-DOMAIN-NAME", "other")),
        ("no identity domain's name", alice().header("X-USER-IDENTITY-DOMAIN-NAME", "")),
        (NO_TEXT, alice().header("X-USER-IDENTITY-DOMAIN-NAME", b"demo\xff")),
        ("an identity domain in upper case", alice().header("X-USER-IDENTITY-DOMAIN-NAME", "DEMO")),
        // Nothing is taken from the query, where a client's identifier is no secret either.
        ("an id in the query", Request::token(ALICE).target("/oauth/token?client_id=mobile")),
    ] {
        if program.is_rocket && case == NO_TEXT {
            continue;
        }
        assert_eq!(server.send(&request).visible(), refusal.visible(), "{case}: {request:?}");
    }
}

/// RFC 7617 section 2, read strictly; the answer still says no more than that authentication failed.
pub(crate) fn an_unreadable_basic_header_is_answered_as_a_wrong_secret_is(program: &Program) {
    let server = program.start();
    let refusal = unknown_client(&server);
    let cases: [(&str, Vec<u8>); 21] = [
        ("empty", "".into()),
        ("no credentials", "Basic".into()),
        ("a space and a tab", "Basic \td2ViOndlYi1zZWNyZXQ=".into()),
        ("a tab", "Basic\td2ViOndlYi1zZWNyZXQ=".into()),
        ("no space", "Basicd2ViOndlYi1zZWNyZXQ=".into()),
        ("no base64", "Basic web:web-secret".into()),
        ("padding left out", "Basic d2ViOndlYi1zZWNyZXQ".into()),
        ("too much padding", "Basic d2ViOndlYi1zZWNyZXQ==".into()),
        ("not the canonical last character", "Basic d2ViOndlYi1zZWNyZXR=".into()),
        ("a space inside", "Basic d2Vi OndlYi1zZWNyZXQ=".into()),
        ("two of them in one", "Basic d2ViOndlYi1zZWNyZXQ=, Basic d2ViOndlYi1zZWNyZXQ=".into()),
        ("parameters", "Basic credentials=\"d2ViOndlYi1zZWNyZXQ=\"".into()),
        ("no colon", basic("web").into()),
        ("no id", basic(":web-secret").into()),
        ("a control character", basic("web:web-secret\n").into()),
        ("a zero byte", basic("web\0:web-secret").into()),
        ("not UTF-8", basic(b"w\xe9b:web-secret").into()),
        ("not ASCII", basic("wéb:web-secret").into()),
        ("a bad escape in the id", basic("web%2:web-secret").into()),
        ("too long", basic(format!("web:{}", "x".repeat(4000))).into()),
        ("bytes that are no text", b"Basic \xff\xfe".to_vec()),
    ];
    for (case, header) in cases {
        let answer = server.send(&Request::token(ALICE).header("Authorization", header));
        assert_eq!(answer.visible(), refusal.visible(), "{case}");
    }
    for scheme in
        ["Bearer d2ViOndlYi1zZWNyZXQ=", "Digest username=\"web\"", "Negotiate d2ViOndlYi1zZWNyZXQ="]
    {
        let answer = server.send(&Request::token(ALICE).header("Authorization", scheme));
        assert_eq!(answer.visible(), refusal.visible(), "{scheme}");
    }
    // A public client's identifier beside it does not help.
    let request =
        Request::token(format!("{ALICE}&client_id=mobile")).header("Authorization", "Basic !");
    assert_eq!(server.send(&request).visible(), refusal.visible());
}

/// RFC 6749 section 5.2, `unauthorized_client`: only who has authenticated learns it, before the password is tried.
pub(crate) fn a_client_without_the_grant_is_refused_after_it_has_authenticated(program: &Program) {
    let server = program.start();
    for body in [ALICE, "grant_type=password&username=alice&password=wrong", "grant_type=password"]
    {
        let request = Request::token(body).basic("reports", "reports-secret");
        server.send(&request).assert_error(400, "unauthorized_client", &request);
        let request = Request::token(body).basic("reports", "wrong");
        server.send(&request).assert_error(401, "invalid_client", &request);
    }
}

/// An unauthenticated caller that leaves something out learns no more than that it is not authenticated.
pub(crate) fn nothing_is_said_about_the_request_before_the_client_is_known(program: &Program) {
    let server = program.start();
    let refusal = unknown_client(&server);
    for body in [
        "",
        "username=alice&password=wonderland",
        "grant_type=unknown&username=alice&password=wonderland",
        "grant_type=password&password=wonderland",
        "grant_type=password&username=alice",
        "grant_type=password&username=alice&password=wonderland&scope=unknown",
        "grant_type=password&username=alice&password=wonderland&resource=https%3A%2F%2Funknown.example",
        "grant_type=password&username=alice&password=wrong",
    ] {
        for request in [Request::token(body), Request::token(body).basic("web", "wrong")] {
            assert_eq!(server.send(&request).visible(), refusal.visible(), "{request:?}");
        }
    }
}

fn unknown_client(server: &Server) -> Response {
    server.send(&Request::token(ALICE).basic("nobody", "web-secret"))
}

fn post(id: &str, secret: &str) -> Request {
    Request::token(format!("{ALICE}&client_id={}&client_secret={}", encode(id), encode(secret)))
}
