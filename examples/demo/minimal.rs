use std::time::Duration;

use password_grant::testing::InMemoryClients;
use password_grant::{
    AccessTokenVerifier, AccountGate, Admission, AuthenticatedClient, BoxError, Client,
    ClientSecret, Grant, HashedPasswords, JwtIssuer, PasswordGrant, RefreshKeys, RefreshTokens,
    RequestContext, SigningKeys, Subject, User, UserStore, async_trait,
};

#[derive(Clone)]
pub struct App {
    pub grant: PasswordGrant,
    pub verifier: AccessTokenVerifier,
}

struct Users; // your user table

#[async_trait]
impl UserStore for Users {
    async fn find(&self, username: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
        // SELECT id, password_hash FROM users WHERE name = $1
        let phc = "$argon2id$v=19$m=19456,t=2,p=1$edwmptBJ1ZfDOEsdgFvW/Q$EioZPaC20z+pPX5xAZTKntsTtZk4GK0RA10L9C7Eo9o";
        Ok((username == "alice").then(|| User::new("user-1", Some(phc.into()))))
    }

    async fn update_hash(&self, _: &User, _: &str, _: &RequestContext) -> Result<(), BoxError> {
        Ok(()) // UPDATE users SET password_hash = $1 WHERE id = $2 AND password_hash = $3
    }
}

#[async_trait]
impl AccountGate for Users {
    async fn admit(
        &self,
        _: &Subject,
        _: &AuthenticatedClient,
        _: &RequestContext,
    ) -> Result<Admission, BoxError> {
        Ok(Admission::admitted()) // refused(Rejection::Disabled), if the account was disabled since
    }
}

/// The engine, and the verifier for protected routes.
pub fn app(issuer: &str) -> Result<App, BoxError> {
    let api = "https://api.example.com"; // what the tokens are for
    let secret = ClientSecret::digest_of("web-secret"); // store what ClientSecret::generate() gives instead
    let web = Client::confidential("web", secret)
        .grants([Grant::Password, Grant::RefreshToken])
        .scope("profile orders:read offline_access".parse()?)
        .default_scope("profile".parse()?);
    let keys = SigningKeys::generate()?; // SigningKeys::from_pem in production
    let refresh = RefreshKeys::new(ClientSecret::generate()?.0.expose())?; // a file in production
    let refresh = RefreshTokens::new(refresh, Users).absolute_lifetime(Duration::from_secs(86_400));
    let (clients, users) = (InMemoryClients::new([web]), HashedPasswords::new(Users)?);
    let grant = PasswordGrant::builder(issuer, clients, users, JwtIssuer::new(keys, api))
        .refresh_tokens(refresh)
        .revocation_endpoint(format!("{issuer}/oauth/revoke"))
        .build()?;
    Ok(App { verifier: grant.verifier(api)?, grant })
}
