use std::net::{IpAddr, SocketAddr};

use axum::http::request::Parts;
use axum::{Extension, Router, extract::ConnectInfo, routing::get};
use password_grant::testing::InMemoryClients;
use password_grant::tower::{GrantService, RequireTokenLayer};
use password_grant::{
    BoxError, Client, ClientSecret, Grant, HashedPasswords, JwtIssuer, PasswordGrant,
    RequestContext, SigningKeys, User, UserStore, VerifiedToken, async_trait,
};

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

fn peer(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.ip())
}

async fn hello(Extension(token): Extension<VerifiedToken>) -> String {
    format!("hello, {}\n", token.subject)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (issuer, api) = ("http://127.0.0.1:8080", "https://api.example.com");
    let secret = ClientSecret::digest_of("web-secret"); // store what ClientSecret::generate() gives instead
    let web = Client::confidential("web", secret).grants([Grant::Password]);
    let web = web.scope("profile".parse()?).default_scope("profile".parse()?);
    let keys = SigningKeys::generate()?; // SigningKeys::from_pem in production
    let (clients, users) = (InMemoryClients::new([web]), HashedPasswords::new(Users)?);
    let grant =
        PasswordGrant::builder(issuer, clients, users, JwtIssuer::new(keys, api)).build()?;

    let guard = RequireTokenLayer::new(grant.verifier(api)?).peer(peer).scope("profile");
    let oauth = GrantService::new(grant, peer);
    let app = Router::new().route("/hello", get(hello)).route_layer(guard).fallback_service(oauth);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}
