//! Tenants, token issuers of the host, opaque tokens, and the metadata.

use password_grant::event::AccessFault;
use password_grant::testing::{InMemoryTokens, ManualClock};
use password_grant::time::Timestamp;
use password_grant::token::{OpaqueIssuer, TokenDetails};
use password_grant::{
    AccessToken, AccessTokenVerifier, Authorization, BoxError, Environment, HttpRequest, Login,
    PasswordGrant, RequestContext, TokenIssuer, async_trait,
};
use serde_json::json;

use crate::common::sessions::{OFFLINE, Pair, Sessions, about};
use crate::common::{
    AUDIENCE, Answer, Events, FORM, GOOD, ISSUER, Users, World, basic, clients, noon,
};
use crate::support::{INACTIVE, is_revoked};

/// A client or a resource server of one tenant learns nothing about tokens of another one. A
/// resource server without a tenant may introspect all of them.
#[tokio::test]
async fn tenants_are_told_apart_where_a_token_has_a_family() {
    let users = Users::who(|_| Ok(Login::accepted("user-1")));
    let sessions = Sessions::over(users, |refresh| refresh, |builder| builder);
    let ask = async |client: &str, form: &str, tenant: Option<&str>, endpoint: &str| -> Answer {
        let headers = [
            ("content-type", FORM.to_owned()),
            ("authorization", basic(client, &format!("{client}-secret"))),
        ];
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        let context = tenant
            .map_or_else(RequestContext::new, |tenant| RequestContext::new().with_tenant(tenant));
        let request = HttpRequest::new("POST", None, headers, form.as_bytes()).context(context);
        match endpoint {
            "token" => sessions.world.grant.token(request).await.into(),
            "revoke" => sessions.world.grant.revoke(request).await.into(),
            _ => sessions.world.grant.introspect(request).await.into(),
        }
    };
    let pair = Pair::of(&ask("app", OFFLINE, Some("a"), "token").await);
    let form = format!("token={}", pair.access);
    for (client, tenant, active) in [
        ("app", Some("a"), true),
        ("app", Some("b"), false),
        ("app", None, false),
        ("reports", Some("a"), true),
        ("reports", Some("b"), false),
        ("reports", None, true),
    ] {
        let answer = ask(client, &form, tenant, "introspect").await;
        assert_eq!(answer.json()["active"], active, "{client} of {tenant:?}");
    }
    // The account gate is asked in the tenant of the login, whoever introspects.
    assert_eq!(sessions.gate.asked_in().as_deref(), Some("a"));
    let nowhere = Pair::of(&ask("app", OFFLINE, None, "token").await);
    ask("reports", &format!("token={}", nowhere.access), None, "introspect").await.is_granted();
    assert_eq!(sessions.gate.asked_in(), None);
    for token in [&pair.access, &pair.refresh] {
        ask("app", &format!("token={token}"), Some("b"), "revoke").await.is(400, "invalid_grant");
    }
    assert_eq!(ask("app", &form, Some("a"), "introspect").await.json()["active"], true);
    is_revoked(&ask("app", &form, Some("a"), "revoke").await);
}

/// An issuer of the host may accept more than it should. Only tokens of this server count, and only
/// until they expire.
#[tokio::test]
async fn what_an_issuer_says_of_a_token_is_checked() {
    struct Generous;

    #[async_trait]
    impl TokenIssuer for Generous {
        async fn issue(&self, _: &Authorization<'_>) -> Result<AccessToken, BoxError> {
            Ok(AccessToken::new("good")?)
        }

        async fn inspect(
            &self,
            token: &str,
            now: Timestamp,
        ) -> Result<Option<TokenDetails>, BoxError> {
            let issuer = if token == "others" { "https://other.example.com" } else { ISSUER };
            let end = if token == "expired" { now.unix_seconds() } else { now.unix_seconds() + 60 };
            let mut details = TokenDetails::new(issuer, "user-1", "web", AUDIENCE, end);
            details.token_id = token.to_owned();
            if token == "broken" { Err("no connection".into()) } else { Ok(Some(details)) }
        }
    }

    let builder = PasswordGrant::builder(ISSUER, clients(), Users::default(), Generous);
    let grant = builder
        .environment(&Environment::new().clock(ManualClock::at(noon())).observer(()))
        .build()
        .unwrap();
    let world = World { grant, ..World::default() };
    let web = basic("web", "web-secret");
    let introspect = async |token: &str| {
        about(&world, &[("authorization", &web)], &format!("token={token}"), "introspect").await
    };
    assert_eq!(introspect("good").await.json()["active"], true);
    for token in ["others", "expired"] {
        assert_eq!(introspect(token).await.body, INACTIVE, "{token}");
    }
    introspect("broken").await.is(503, "temporarily_unavailable");
}

/// Opaque tokens are revoked and introspected like JWTs.
#[tokio::test]
async fn opaque_tokens_are_revoked_and_introspected_as_jwts_are() {
    let clock = ManualClock::at(noon());
    let tokens = OpaqueIssuer::new(InMemoryTokens::new(), AUDIENCE);
    let builder = PasswordGrant::builder(ISSUER, clients(), Users::default(), tokens.clone());
    let grant = builder
        .environment(&Environment::new().clock(clock.clone()).observer(Events::default()))
        .build()
        .unwrap();
    let world = World { grant, ..World::default() };
    let token = world.post(GOOD).await.access_token();
    let verifier = AccessTokenVerifier::by_lookup(ISSUER, AUDIENCE, tokens)
        .unwrap()
        .environment(&Environment::new().clock(clock.clone()));
    let verifier = verifier.revocations(world.grant.revocations());
    let web = basic("web", "web-secret");
    let form = format!("token={token}");
    let active = about(&world, &[("authorization", &web)], &form, "introspect").await.json();
    assert_eq!((active["active"].as_bool(), active["sub"].as_str()), (Some(true), Some("user-1")));
    assert!(verifier.verify(&token).await.is_ok());
    is_revoked(&about(&world, &[("authorization", &web)], &form, "revoke").await);
    assert_eq!(about(&world, &[("authorization", &web)], &form, "introspect").await.body, INACTIVE);
    assert_eq!(verifier.verify(&token).await.unwrap_err(), AccessFault::Revoked);
}

/// A verifier with the revocations of another engine cannot know what was revoked, so it accepts no
/// token.
#[tokio::test]
async fn a_verifier_with_the_revocations_of_another_issuer_takes_nothing() {
    let sessions = Sessions::new();
    let pair = sessions.login("app").await;
    let tokens = OpaqueIssuer::new(InMemoryTokens::new(), AUDIENCE);
    let other =
        PasswordGrant::builder("https://other.example.com", clients(), Users::default(), tokens);
    let verifier = sessions.verifier().revocations(
        other.environment(&Environment::new().observer(())).build().unwrap().revocations(),
    );
    assert_eq!(verifier.verify(&pair.access).await.unwrap_err(), AccessFault::Issuer);
}

/// Requirement 123: the metadata lists only the endpoints that the host has named.
#[test]
fn the_metadata_lists_the_endpoints_that_were_named() {
    let world = World::default();
    let text = String::from_utf8(world.grant.metadata().into_body()).unwrap();
    assert!(
        !text.contains("revocation")
            && !text.contains("introspection")
            && !text.contains("refresh_token")
    );
    let sessions = Sessions::over(
        Users::default(),
        |refresh| refresh,
        |builder| {
            let builder = builder.revocation_endpoint(format!("{ISSUER}/oauth/revoke"));
            builder.introspection_endpoint(format!("{ISSUER}/oauth/introspect"))
        },
    );
    let metadata: serde_json::Value =
        serde_json::from_slice(sessions.world.grant.metadata().body()).unwrap();
    assert_eq!(metadata["grant_types_supported"], json!(["password", "refresh_token"]));
    assert_eq!(metadata["revocation_endpoint"], "https://id.example.com/oauth/revoke");
    assert_eq!(metadata["introspection_endpoint"], "https://id.example.com/oauth/introspect");
    let methods =
        |endpoint: &str| metadata[format!("{endpoint}_endpoint_auth_methods_supported")].clone();
    assert_eq!(methods("revocation"), methods("token"));
    assert_eq!(
        methods("introspection"),
        json!([
            "client_secret_basic",
            "client_secret_post",
            "private_key_jwt",
            "client_secret_jwt"
        ])
    );
    let algorithms = |endpoint: &str| {
        metadata[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")].clone()
    };
    assert!(algorithms("token").is_array());
    assert_eq!(
        (algorithms("revocation"), algorithms("introspection")),
        (algorithms("token"), algorithms("token"))
    );
}
