//! The crate oauth2 5 against a running demo server: the grant by each method that the crate has,
//! refresh, revocation, introspection, and its own types for our errors.
//! `cargo run -p foreign-client -- <issuer>`

use oauth2::basic::{BasicClient, BasicErrorResponseType};
use oauth2::{
    AccessToken, AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse, IntrospectionUrl,
    RefreshToken, RequestTokenError, ResourceOwnerPassword, ResourceOwnerUsername, RevocationUrl,
    Scope, StandardRevocableToken, TokenIntrospectionResponse, TokenResponse, TokenUrl,
};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let issuer = std::env::args().nth(1).ok_or("the issuer is missing")?;
    // A client that follows redirects could be made to send elsewhere, as the crate says.
    let agent: ureq::Agent =
        ureq::Agent::config_builder().max_redirects(0).http_status_as_error(false).build().into();
    let http = move |request: HttpRequest| -> Result<HttpResponse, ureq::Error> {
        let (head, mut body) = agent.run(request)?.into_parts();
        Ok(HttpResponse::from_parts(head, body.read_to_vec()?))
    };
    let (username, password) = (
        ResourceOwnerUsername::new("alice".into()),
        ResourceOwnerPassword::new("wonderland".into()),
    );
    let guess = ResourceOwnerPassword::new("guess".into());
    for (id, secret, method) in [
        ("web", Some("web-secret"), AuthType::BasicAuth),
        ("web", Some("web-secret"), AuthType::RequestBody),
        ("mobile", None, AuthType::RequestBody),
    ] {
        let client = BasicClient::new(ClientId::new(id.into()))
            .set_auth_type(method)
            .set_token_uri(TokenUrl::new(format!("{issuer}/oauth/token"))?)
            .set_revocation_url(RevocationUrl::new(format!("{issuer}/oauth/revoke"))?);
        let client = match secret {
            Some(secret) => client.set_client_secret(ClientSecret::new(secret.into())),
            None => client,
        };
        let scopes = ["profile", "offline_access"].map(|scope| Scope::new(scope.into()));
        let login = client
            .exchange_password(&username, &password)
            .add_scopes(scopes.clone())
            .request(&http)?;
        assert_eq!(login.scopes(), Some(&scopes.to_vec()));
        assert_eq!(login.expires_in().map(|life| life.as_secs()), Some(600));
        let old: &RefreshToken = login.refresh_token().ok_or("no refresh token")?;
        let refreshed = client.exchange_refresh_token(old).request(&http)?;
        let new = refreshed.refresh_token().ok_or("not rotated")?;
        assert_ne!(new.secret(), old.secret());

        let refused = client.exchange_password(&username, &guess).request(&http);
        assert_error(refused, &BasicErrorResponseType::InvalidGrant);
        let canary = Scope::new("canary".into());
        let refused =
            client.exchange_password(&username, &password).add_scope(canary).request(&http);
        assert_error(refused, &BasicErrorResponseType::InvalidScope);

        // The crate refuses to revoke over plain http, so the request is only made.
        let token = StandardRevocableToken::RefreshToken(new.clone());
        assert!(client.revoke_token(token).is_err(), "revocation needs https");
        println!("oauth2 as {id}: ok");
    }

    let stranger = BasicClient::new(ClientId::new("web".into()))
        .set_client_secret(ClientSecret::new("wrong".into()))
        .set_token_uri(TokenUrl::new(format!("{issuer}/oauth/token"))?);
    let refused = stranger.exchange_password(&username, &password).request(&http);
    assert_error(refused, &BasicErrorResponseType::InvalidClient);

    let reports = BasicClient::new(ClientId::new("reports".into()))
        .set_client_secret(ClientSecret::new("reports-secret".into()))
        .set_introspection_url(IntrospectionUrl::new(format!("{issuer}/oauth/introspect"))?);
    let unknown = AccessToken::new("unknown".into());
    assert!(!reports.introspect(&unknown).request(&http)?.active());
    Ok(())
}

#[track_caller]
fn assert_error<T, E: std::error::Error>(
    answer: Result<T, RequestTokenError<E, oauth2::basic::BasicErrorResponse>>,
    expected: &BasicErrorResponseType,
) {
    match answer {
        Err(RequestTokenError::ServerResponse(refused)) => assert_eq!(refused.error(), expected),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("not refused"),
    }
}
