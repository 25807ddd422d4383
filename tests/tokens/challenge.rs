//! A protected route: the challenge of RFC 6750, and the clock skew.

use std::time::Duration;

use password_grant::event::AccessFault;
use password_grant::resource::BearerRequest;
use password_grant::{Algorithm, SigningKeys};
use serde_json::{Value, json};

use crate::common::noon;
use crate::support::{Forge, changed, engine, issue, verifier};

/// RFC 6750 section 3: challenges, by table.
#[tokio::test]
async fn a_protected_route_answers_with_the_challenge_of_rfc_6750() {
    let keys = SigningKeys::generate().unwrap();
    let (verifier, token) = (verifier(&keys, Algorithm::Es256), issue(&engine(&keys)).await);
    let good = format!("Bearer {token}");
    let realm = r#"Bearer realm="https://id.example.com""#;
    for (headers, query, scope, status, challenge) in [
        (vec![], None, "", 401, Some(realm.to_owned())),
        (vec!["Basic abc"], None, "", 401, Some(realm.to_owned())),
        (vec![""], None, "", 401, Some(realm.to_owned())),
        (vec!["Bearerx"], None, "", 401, Some(realm.to_owned())),
        (vec!["Bearer-Token abc"], None, "", 401, Some(realm.to_owned())),
        (vec!["Bearer"], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer "], None, "", 400, Some("invalid_request".to_owned())),
        // RFC 6750 section 2.1: 1*SP.
        (vec!["Bearer  abc"], None, "", 401, Some("invalid_token".to_owned())),
        (vec!["Bearer \tabc"], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer\t abc"], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer   "], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer\tabc"], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer abc "], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer a b"], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer a=b"], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer ="], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer ä"], None, "", 400, Some("invalid_request".to_owned())),
        (vec![&good, &good], None, "", 400, Some("invalid_request".to_owned())),
        (vec![&good], Some("access_token=x"), "", 400, Some("invalid_request".to_owned())),
        (vec![&good], Some("a=1&access%5Ftoken=x"), "", 400, Some("invalid_request".to_owned())),
        (vec![], Some("access_token=x"), "", 401, Some(realm.to_owned())), // never read
        (vec!["Bearer abc"], None, "", 401, Some("invalid_token".to_owned())),
        (vec!["Bearer abc=="], None, "", 401, Some("invalid_token".to_owned())),
        (vec![&good], None, "admin", 403, Some("insufficient_scope".to_owned())),
        (vec![&good], None, "profile admin", 403, Some("insufficient_scope".to_owned())),
        (vec![&good], None, "profil", 403, Some("insufficient_scope".to_owned())),
        (vec![&good], None, " ", 403, Some("insufficient_scope".to_owned())),
        (vec![&good], None, "profile ", 403, Some("insufficient_scope".to_owned())),
        (vec![&good], None, "profile", 200, None),
        (vec![&good], None, "", 200, None),
        (vec![&good.replace("Bearer", "bEaReR")], None, "profile", 200, None),
        (vec![&good.replace("Bearer ", "Bearer   ")], None, "profile", 200, None),
        (vec![&good], Some("q=access_token"), "profile", 200, None),
    ] {
        let lines = headers.iter().map(|value| ("Authorization", value.as_bytes()));
        let request = BearerRequest::new(lines, query);
        let judged = if scope.is_empty() {
            verifier.authenticate(request).await
        } else {
            verifier.authorize(request, scope).await
        };
        let Err(refusal) = judged else {
            assert_eq!((status, &challenge), (200, &None), "{headers:?} {query:?}");
            continue;
        };
        assert_eq!(refusal.status(), status, "{headers:?} {query:?}");
        assert_eq!(refusal.header("cache-control"), Some("no-store"));
        let sent = refusal.header("www-authenticate").unwrap();
        let expected = challenge.unwrap();
        if expected == realm {
            assert_eq!(sent, realm, "no error code where there was no token");
            assert!(refusal.body().is_empty());
        } else {
            assert!(sent.starts_with(&format!(r#"{realm}, error="{expected}""#)), "{sent}");
            let body: Value = serde_json::from_slice(refusal.body()).unwrap();
            assert_eq!(body["error"], expected);
        }
        assert_eq!(sent.contains(&format!(r#"scope="{scope}""#)), status == 403, "{sent}");
    }
}

#[cfg(feature = "http")]
#[tokio::test]
async fn a_route_is_protected_with_what_the_framework_has() {
    let keys = SigningKeys::generate().unwrap();
    let (verifier, token) = (verifier(&keys, Algorithm::Es256), issue(&engine(&keys)).await);
    let request = |uri: &str| {
        let builder = http::Request::get(uri).header("authorization", format!("Bearer {token}"));
        builder.body(()).unwrap().into_parts().0
    };
    let parts = request("/api/me");
    assert_eq!(verifier.authorize(&parts.headers, "profile").await.unwrap().subject, "user-1");
    assert_eq!(verifier.authorize(&parts, "profile").await.unwrap().subject, "user-1");
    let http = password_grant::HttpRequest::from_parts(&parts, b"");
    assert_eq!(verifier.authenticate(&http).await.unwrap().client_id, "mobile");
    let parts = request("/api/me?access_token=x");
    assert_eq!(verifier.authenticate(&parts).await.unwrap_err().status(), 400);
}

#[tokio::test]
async fn the_skew_is_bounded() {
    let forge = Forge::new();
    let token = |exp: u64| {
        forge.sign(
            &forge.header().to_string(),
            &changed(Forge::claims(), "exp", json!(exp)).to_string(),
        )
    };
    let now = noon().unix_seconds();
    let none = forge.verifier().skew(Duration::ZERO);
    assert_eq!(none.verify(&token(now)).await.unwrap_err(), AccessFault::Expired);
    none.verify(&token(now + 1)).await.unwrap();
    let most = forge.verifier().skew(Duration::from_secs(3600));
    most.verify(&token(now - 59)).await.unwrap();
    assert_eq!(most.verify(&token(now - 60)).await.unwrap_err(), AccessFault::Expired);
}
