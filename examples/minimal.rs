use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::{
    Router, body::HttpBody, body::to_bytes, response::Response, routing::any, routing::get,
};
use password_grant::testing::InMemoryClients;
use password_grant::{
    AccessTokenVerifier, Algorithm, BoxError, Client, ClientSecret, Grant, HashedPasswords,
    HttpRequest, JwtIssuer, PasswordGrant, RequestContext, SigningKeys, User, UserStore,
    async_trait,
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

type App = (PasswordGrant, AccessTokenVerifier);
type Peer = ConnectInfo<SocketAddr>;

async fn token(State((grant, _)): State<App>, peer: Peer, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let fits = body.size_hint().lower() <= grant.body_limit() as u64; // by its Content-Length
    let body = if fits { to_bytes(body, grant.body_limit()).await.ok() } else { None };
    let http = match &body {
        Some(body) => HttpRequest::from_parts(&parts, body),
        None => HttpRequest::from_parts(&parts, &[]).body_too_large(),
    };
    grant.token(http.peer(peer.ip())).await.into()
}

async fn hello(State((_, verifier)): State<App>, request: Request) -> Result<String, Response> {
    let token = verifier.authorize(&request.into_parts().0, "profile").await?;
    Ok(format!("hello, {}\n", token.subject))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (issuer, api) = ("http://127.0.0.1:8080", "https://api.example.com");
    let secret = ClientSecret::digest_of("web-secret"); // store what ClientSecret::generate() gives instead
    let web = Client::confidential("web", secret).grants([Grant::Password]);
    let web = web.scope("profile".parse()?).default_scope("profile".parse()?);
    let keys = SigningKeys::generate()?; // SigningKeys::from_pem in production
    let verifier =
        AccessTokenVerifier::new(issuer, api, [Algorithm::Es256], keys.verification_keys()?)?;
    let (clients, users) = (InMemoryClients::new([web]), HashedPasswords::new(Users)?);
    let grant =
        PasswordGrant::builder(issuer, clients, users, JwtIssuer::new(keys, api)).build()?;

    let app = Router::new().route("/oauth/token", any(token)).route("/hello", get(hello));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    let app = app.with_state((grant, verifier)).into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}
