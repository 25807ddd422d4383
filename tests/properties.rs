//! Properties that hold for every input, tried with many (proptest).

mod common;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use common::{AUDIENCE, FORM, ISSUER, Users, World, basic, noon};
use password_grant::jose::{Jwk, JwkSet};
use password_grant::resource::BearerRequest;
use password_grant::testing::ManualClock;
use password_grant::{
    AccessTokenVerifier, Algorithm, Client, ClientSecret, Environment, Grant, HttpRequest, Login,
    Scope, SigningKeys, TokenRequest,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Runs a future that never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing here waits"),
    }
}

/// Texts that RFC 6749 appendix A allows for both user names and passwords, and that are short
/// enough for both.
fn typed() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::char::any(), 1..80).prop_filter_map("not empty", |characters| {
        let allowed =
            |c: &char| matches!(*c, '\t' | ' '..='~' | '\u{80}'..='\u{fffd}' | '\u{10000}'..);
        let text: String = characters.into_iter().filter(allowed).collect();
        (!text.is_empty()).then_some(text)
    })
}

fn vschar(length: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = String> {
    prop::collection::vec(0x20..=0x7eu8, length).prop_map(|bytes| String::from_utf8(bytes).unwrap())
}

/// Any spelling of a text that form encoding allows.
fn encoded(text: &str, choices: &[u8]) -> String {
    let mut spelt = String::new();
    for (index, byte) in text.bytes().enumerate() {
        let choice = choices.get(index % choices.len().max(1)).copied().unwrap_or_default();
        match (byte, choice % 3) {
            (b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9', 0) => spelt.push(char::from(byte)),
            (b' ', 0) => spelt.push('+'),
            (_, 1) => spelt.push_str(&format!("%{byte:02x}")),
            _ => spelt.push_str(&format!("%{byte:02X}")),
        }
    }
    spelt
}

proptest! {
    /// A text arrives as it was typed, however it was encoded, and as `serde_urlencoded` encodes
    /// it.
    #[test]
    fn form_encoding_makes_the_round_trip(
        username in typed(), password in typed(), choices: Vec<u8>,
    ) {
        let (name, secret) = (username.clone(), password.clone());
        let world = World::of(Users::who(move |attempt| {
            assert_eq!(attempt.username(), name);
            assert_eq!(attempt.password().expose(), secret);
            Ok(Login::accepted("user-1"))
        }));
        let ours = format!(
            "grant_type=password&username={}&password={}",
            encoded(&username, &choices),
            encoded(&password, &choices),
        );
        let oracle = serde_urlencoded::to_string(
            [("grant_type", "password"), ("username", &username), ("password", &password)]
        ).unwrap();
        for form in [ours, oracle] {
            prop_assert_eq!(now(world.post(&form)).status, 200);
        }
    }

    /// If the strict parser accepts a body, `serde_urlencoded` reads the same pairs from it. If
    /// the latter has to replace a character, the strict parser refuses.
    #[test]
    fn arbitrary_bytes_are_refused_or_read_as_the_oracle_reads_them(
        start in prop_oneof![Just(""), Just("username=")],
        body in prop::collection::vec(
            prop_oneof![
                Just(b'&'), Just(b'='), Just(b'%'), Just(b'+'), Just(b'a'), Just(b'F'), Just(b'0'),
                any::<u8>(),
            ],
            0..60,
        ),
    ) {
        let body = [start.as_bytes(), &*body].concat();
        let headers = [("content-type", FORM.as_bytes())];
        let http = HttpRequest::new("POST", None, headers, &body);
        let request = TokenRequest::from_http(&http);
        let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(&body).unwrap();
        let names: BTreeSet<_> = pairs.iter().map(|(name, _)| name).collect();
        if let Ok(request) = request {
            let value = |wanted: &str| {
                pairs.iter().find(|(name, value)| name == wanted && !value.is_empty())
            };
            prop_assert_eq!(request.username(), value("username").map(|(_, value)| &**value));
            prop_assert_eq!(names.len(), pairs.len(), "a repeated name was accepted: {:?}", pairs);
            let was_replaced = |text: &str| text.contains('\u{fffd}');
            let replaced =
                pairs.iter().any(|(name, value)| was_replaced(name) || was_replaced(value));
            prop_assert!(
                !replaced || holds_the_replacement_character(&body),
                "something was replaced"
            );
        }
    }

    /// Two parameters with the same name are refused, wherever they stand and however they are
    /// spelt.
    #[test]
    fn a_repeated_name_is_never_accepted(
        name in "[a-z_]{1,20}",
        before in "([a-z]{1,5}=[a-z]{0,5}&){0,5}",
        between in "(&[a-z]{1,5}=[a-z]{0,5}){0,5}",
        choices: Vec<u8>,
    ) {
        prop_assume!(!["resource", "audience"].contains(&&*name));
        let body = format!("{before}{name}=1{between}&{}=2", encoded(&name, &choices));
        let headers = [("content-type", FORM.as_bytes())];
        let request = HttpRequest::new("POST", None, headers, body.as_bytes());
        prop_assert!(TokenRequest::from_http(&request).is_err());
    }

    /// Incident C28: credentials are read as the client meant them, encoded or not.
    #[test]
    fn basic_credentials_make_the_round_trip(
        id in vschar(1..64), secret in vschar(1..64), choices: Vec<u8>,
    ) {
        let world = World::default();
        let client = Client::confidential(&*id, ClientSecret::digest_of(&secret));
        world.clients.insert(client.grants([Grant::Password]).scope("profile".parse().unwrap()));
        let id = encoded(&id, &choices);
        for spelt in [encoded(&secret, &choices), secret.clone()] {
            let header = basic(&id, &spelt);
            let form = "grant_type=password&username=alice&password=wonderland&scope=profile";
            prop_assert_eq!(now(world.send(&[("authorization", &header)], form)).status, 200);
        }
    }

    #[test]
    fn arbitrary_authorization_headers_never_authenticate(header in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|tail| [b"Basic ", &*tail].concat()),
        "[A-Za-z0-9+/=]{0,80}".prop_map(|tail| format!("Basic {tail}").into_bytes()),
    ]) {
        let world = World::default();
        let headers = [("content-type", FORM.as_bytes()), ("authorization", &header)];
        let request = HttpRequest::new("POST", None, headers, common::GOOD.as_bytes());
        let answer = now(world.grant.token(request));
        prop_assert_eq!(answer.status(), 401);
    }

    /// Compares with the definition of a scope: a set of tokens.
    #[test]
    fn scopes_behave_as_sets(
        a in "([a-d!#\\[\\]~]{1,2} ){0,40}[a-d]", b in "([a-d!]{1,2} ){0,6}[a-d]",
    ) {
        let set = |text: &str| text.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
        let (left, right): (Scope, Scope) = (a.parse().unwrap(), b.parse().unwrap());
        let tokens = |scope: &Scope| scope.iter().map(str::to_owned).collect::<BTreeSet<_>>();
        prop_assert_eq!(tokens(&left), set(&a));
        prop_assert_eq!(left.iter().count(), set(&a).len(), "no token twice");
        prop_assert_eq!(left.includes(&right), set(&a).is_superset(&set(&b)));
        prop_assert_eq!(left == right, set(&a) == set(&b));
        let both: BTreeSet<_> = set(&a).intersection(&set(&b)).cloned().collect();
        prop_assert_eq!(tokens(&left.intersection(&right)), both);
        let again: Scope = left.as_str().parse().unwrap();
        prop_assert_eq!(again.as_str(), left.as_str());
    }

    #[test]
    fn a_text_is_a_scope_exactly_if_the_grammar_says_so(text in "[ a\"\\\\!~\u{7f}\té]{0,6}") {
        let token = |token: &str| {
            !token.is_empty() && token.chars().all(|c| matches!(c, '!' | '#'..='[' | ']'..='~'))
        };
        let is_scope = text.is_empty() || text.split(' ').all(token);
        prop_assert_eq!(text.parse::<Scope>().is_ok(), is_scope);
    }

    /// Requirement 23: for any realm and scope, the header is valid and contains one challenge.
    #[test]
    fn a_challenge_is_always_one_valid_header(scope in any::<String>(), realm in "(?s).{1,64}") {
        let keys = SigningKeys::from_hs256_secret(&[7; 32]).unwrap().verification_keys().unwrap();
        let verifier = AccessTokenVerifier::new(realm.clone(), AUDIENCE, [Algorithm::Hs256], keys);
        let verifier = verifier.unwrap().environment(&Environment::new().observer(()));
        let refusal = now(verifier.authorize(BearerRequest::new([], None), &scope)).unwrap_err();
        check_challenge(refusal.header("www-authenticate").unwrap())?;
        let headers = [("authorization", &b"Bearer x"[..])];
        let request = BearerRequest::new(headers, None);
        let refusal = now(verifier.authorize(request, &scope)).unwrap_err();
        check_challenge(refusal.header("www-authenticate").unwrap())?;

        let world = World::with(Users::default(), |builder| builder.realm(realm));
        check_challenge(now(world.send(&[], common::GOOD)).header("www-authenticate").unwrap())?;
    }

    /// No mutation of a token is accepted, whether a byte is changed, removed or added.
    #[test]
    fn no_mutation_of_a_token_is_accepted(
        position in any::<prop::sample::Index>(), byte in 0x21..0x7fu8, kind in 0..3u8,
    ) {
        let (verifier, token) = issued();
        let mut mutated = token.clone().into_bytes();
        let index = position.index(mutated.len());
        match kind {
            0 => mutated[index] = byte,
            1 => drop(mutated.remove(index)),
            _ => mutated.insert(index, byte),
        }
        let mutated = String::from_utf8(mutated).unwrap();
        prop_assert_eq!(now(verifier.verify(&mutated)).is_ok(), mutated == token);
    }

    #[test]
    fn arbitrary_tokens_and_keys_are_refused_without_a_panic(
        text in any::<String>(), bytes: Vec<u8>, json in json_text(),
    ) {
        let (verifier, _) = issued();
        prop_assert!(now(verifier.verify(&text)).is_err());
        let (header, signature) = (common::encode(&json), common::encode(&bytes));
        let built = format!("{header}.{header}.{signature}");
        prop_assert!(now(verifier.verify(&built)).is_err());
        prop_assert!(Jwk::from_json(&bytes).is_err());
        prop_assert!(JwkSet::from_json(&bytes).is_err());
        let _ = Jwk::from_json(json.as_bytes());
        let _ = JwkSet::from_json(format!(r#"{{"keys":[{json}]}}"#).as_bytes());
        let _ = SigningKeys::from_pem(&bytes);
    }
}

/// Whether the body contains U+FFFD, raw or percent-encoded.
fn holds_the_replacement_character(body: &[u8]) -> bool {
    let mut unescaped = Vec::new();
    let mut rest = body;
    while let Some((first, tail)) = rest.split_first() {
        let escape = tail
            .get(..2)
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, escape) {
            (b'%', Some(byte)) => (unescaped.push(byte), rest = &tail[2..]).0,
            _ => (unescaped.push(*first), rest = tail).0,
        }
    }
    unescaped.windows(3).any(|window| window == "\u{fffd}".as_bytes())
}

/// `scheme name="quoted", name="quoted"` in visible ASCII.
fn check_challenge(header: &str) -> Result<(), TestCaseError> {
    prop_assert!(header.bytes().all(|byte| matches!(byte, 0x20..=0x7e)), "{header:?}");
    prop_assert!(http::HeaderValue::from_str(header).is_ok());
    let (mut quoted, mut escaped) = (false, false);
    for character in header.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            outside if !quoted => {
                prop_assert!(
                    outside.is_ascii_alphabetic() || "_=, ".contains(outside),
                    "{header:?}"
                );
            }
            _ => {}
        }
    }
    prop_assert!(!quoted && !escaped, "{header:?}");
    Ok(())
}

/// Returns a verifier and a token that it accepts.
fn issued() -> (AccessTokenVerifier, String) {
    static ISSUED: std::sync::OnceLock<(AccessTokenVerifier, String)> = std::sync::OnceLock::new();
    ISSUED
        .get_or_init(|| {
            let world = World::default();
            let token = now(world.post(common::GOOD)).access_token();
            let keys = world.keys.verification_keys().unwrap();
            let verifier =
                AccessTokenVerifier::new(ISSUER, AUDIENCE, [Algorithm::Es256], keys).unwrap();
            (
                verifier
                    .environment(&Environment::new().clock(ManualClock::at(noon())).observer(())),
                token,
            )
        })
        .clone()
}

/// JSON made of the members of headers, claims and keys.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![
            "EdDSA", "ES256", "RS256", "at+jwt", "OKP", "EC", "RSA", "Ed25519", "P-256", "AQAB",
            "sig"
        ])
        .prop_map(Value::from),
        vschar(0..20).prop_map(Value::from),
    ];
    let name = prop::sample::select(vec![
        "alg", "typ", "kid", "crit", "kty", "crv", "x", "y", "n", "e", "use", "iss", "sub", "aud",
        "exp", "iat", "jti",
    ]);
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        prop::collection::vec(inner, 0..4).prop_map(|list| json!(list))
    });
    prop::collection::vec((name, value), 0..8).prop_map(|members| {
        Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            .to_string()
    })
}
