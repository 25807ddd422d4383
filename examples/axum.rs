//! The demo server: an existing web application with its own user table, to which the password grant was added.
//!
//! `cargo run --example axum`, then
//!
//! ```text
//! curl -u web:web-secret -d grant_type=password -d username=alice -d password=wonderland \
//!      http://127.0.0.1:8080/oauth/token
//! ```
//!
//! Everything it knows is demo data. What of it a real server would do differently is said where it stands.

use std::env::VarError;
use std::fmt::Display;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use axum::routing::{any, get};
use axum::{Json, Router};
use password_grant::assertion::{AssertionCompatibility, AssertionKey};
use password_grant::jose::JwkSet;
use password_grant::password::{AccountState, Argon2Parameters};
use password_grant::{
    AccessTokenVerifier, AccountGate, Admission, Algorithm, AttemptLimits, AuthenticatedClient,
    BoxError, BuildError, Client, ClientAuthentication, ClientSecret, ClientStore, Grant,
    HashedPasswords, HttpRequest, JwtIssuer, PasswordGrant, RefreshKeys, RefreshTokens, Rejection,
    RequestContext, SigningKeys, Subject, User, UserStore, async_trait,
};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const AUDIENCE: &str = "https://api.example.com";

/// Every scope there is; the metadata lists them.
const SCOPES: &str = "profile orders:read offline_access";

/// The one identity domain.
const DOMAIN: &str = "demo";

/// How long requests in flight may take once the server is asked to stop.
const GRACE: Duration = Duration::from_secs(10);

// ---------------------------------------------------------------------------------------------------------------------
// The application's database, and the two traits over it
// ---------------------------------------------------------------------------------------------------------------------

#[derive(Clone)]
struct Shop {
    db: SqlitePool,
}

#[derive(sqlx::FromRow)]
struct ClientRow {
    id: String,
    method: String,
    /// The digest of a secret; or for those that sign, a secret or a JWK set.
    credential: Option<Vec<u8>>,
    /// The names of grants, with a space between two of them.
    grants: String,
    /// Whether introspection tells it of other clients' tokens.
    resource_server: bool,
    scope: String,
    default_scope: String,
}

#[derive(sqlx::FromRow)]
struct UserRow {
    id: String,
    password_hash: Option<String>,
    active: bool,
}

#[async_trait]
impl ClientStore for Shop {
    async fn find(
        &self,
        client_id: &str,
        context: &RequestContext,
    ) -> Result<Option<Client>, BoxError> {
        if context.tenant() != Some(DOMAIN) {
            return Ok(None);
        }
        let row: Option<ClientRow> = sqlx::query_as("SELECT * FROM clients WHERE id = $1")
            .bind(client_id)
            .fetch_optional(&self.db)
            .await?;
        row.map(Client::try_from).transpose()
    }
}

impl TryFrom<ClientRow> for Client {
    type Error = BoxError;

    fn try_from(row: ClientRow) -> Result<Self, BoxError> {
        let credential = row.credential.unwrap_or_default();
        let secret = || ClientSecret::from_sha256_slice(&credential);
        // What these two would rather not have to do, but fielded programs cannot be changed.
        let compatible = [AssertionCompatibility::EndpointAudience];
        let client = match row.method.as_str() {
            "none" => Client::public(row.id),
            "client_secret_basic" => {
                Client::confidential(row.id, ClientAuthentication::basic(secret()?))
            }
            "client_secret_basic_or_post" => {
                Client::confidential(row.id, ClientAuthentication::basic_or_post(secret()?))
            }
            "private_key_jwt" => {
                let keys = ClientAuthentication::private_key_jwt(&JwkSet::from_json(&credential)?)?;
                Client::confidential(row.id, keys.compatibility(compatible))
            }
            "client_secret_jwt" => {
                let secret = ClientAuthentication::client_secret_jwt(&credential)?;
                Client::confidential(
                    row.id,
                    secret.algorithms([Algorithm::Hs256])?.compatibility(compatible),
                )
            }
            other => {
                return Err(format!("client {:?} has the unknown method {other:?}", row.id).into());
            }
        };
        let client = if row.resource_server { client.resource_server() } else { client };
        let known = [Grant::Password, Grant::RefreshToken];
        let grants = known
            .into_iter()
            .filter(|grant| row.grants.split(' ').any(|name| name == grant.as_str()));
        Ok(client
            .grants(grants)
            .scope(row.scope.parse()?)
            .default_scope(row.default_scope.parse()?)
            .build())
    }
}

#[async_trait]
impl UserStore for Shop {
    async fn find(&self, username: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
        let row: Option<UserRow> =
            sqlx::query_as("SELECT id, password_hash, active FROM users WHERE username = $1")
                .bind(username)
                .fetch_optional(&self.db)
                .await?;
        Ok(row.map(|row| {
            let state = if row.active { AccountState::Active } else { AccountState::Disabled };
            User::new(row.id, row.password_hash).state(state)
        }))
    }

    async fn update_hash(
        &self,
        user: &User,
        new_hash: &str,
        _: &RequestContext,
    ) -> Result<(), BoxError> {
        sqlx::query("UPDATE users SET password_hash = $1 WHERE id = $2 AND password_hash = $3")
            .bind(new_hash)
            .bind(user.subject().as_str())
            .bind(user.password_hash())
            .execute(&self.db)
            .await?;
        Ok(())
    }
}

/// Asked at every refresh, and when a token is introspected: whoever was disabled since the login gets nothing more.
#[async_trait]
impl AccountGate for Shop {
    async fn admit(
        &self,
        subject: &Subject,
        _: &AuthenticatedClient,
        _: &RequestContext,
    ) -> Result<Admission, BoxError> {
        let active: Option<bool> = sqlx::query_scalar("SELECT active FROM users WHERE id = $1")
            .bind(subject.as_str())
            .fetch_optional(&self.db)
            .await?;
        Ok(if active == Some(true) {
            Admission::admitted()
        } else {
            Admission::refused(Rejection::Disabled)
        })
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The routes
// ---------------------------------------------------------------------------------------------------------------------

#[derive(Clone)]
struct App {
    grant: PasswordGrant,
    verifier: AccessTokenVerifier,
}

fn routes(app: App) -> Router {
    Router::new()
        .route("/oauth/token", any(oauth)) // any: a wrong method gets its OAuth answer too
        .route("/oauth/revoke", any(oauth))
        .route("/oauth/introspect", any(oauth))
        .route("/.well-known/oauth-authorization-server", get(metadata))
        .route("/.well-known/jwks.json", get(jwks))
        .route("/api/me", get(me))
        .route("/api/orders", get(orders))
        .with_state(app)
}

/// The three endpoints that clients post forms to.
async fn oauth(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = read_body(body, app.grant.body_limit()).await;
    let http = match &body {
        Some(body) => HttpRequest::from_parts(&parts, body),
        None => HttpRequest::from_parts(&parts, &[]).body_too_large(),
    };
    // Behind a proxy this would be its address: take the caller's from the header that your own proxy sets.
    let http = http.peer(peer.ip()).tenant(&tenant(&parts.headers));
    let answer = match parts.uri.path() {
        "/oauth/revoke" => app.grant.revoke(http).await,
        "/oauth/introspect" => app.grant.introspect(http).await,
        _ => app.grant.token(http).await,
    };
    answer.into()
}

/// The body, if it has no more bytes than this. One whose `Content-Length` says that it has is not waited for.
async fn read_body(body: Body, limit: usize) -> Option<Bytes> {
    let declared = body.size_hint().lower();
    if declared > limit as u64 { None } else { to_bytes(body, limit).await.ok() }
}

/// The identity domain that the caller names, or means by naming none: attempts on a user are counted in one domain, so
/// there must be one name for it. Two headers are one list, which names no domain.
fn tenant(headers: &HeaderMap) -> String {
    let named: Vec<_> = headers.get_all("x-user-identity-domain-name").iter().collect();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    if named.is_empty() {
        DOMAIN.to_owned()
    } else {
        named.into_iter().map(text).collect::<Vec<_>>().join(", ")
    }
}

async fn metadata(State(app): State<App>) -> Response {
    app.grant.metadata().into()
}

async fn jwks(State(app): State<App>) -> Response {
    app.grant.jwks().into()
}

async fn me(State(app): State<App>, request: Request) -> Result<Json<Value>, Response> {
    let (parts, _) = request.into_parts();
    let token = app.verifier.authenticate(&parts).await?;
    Ok(Json(json!({ "sub": token.subject, "client_id": token.client_id, "scope": token.scope })))
}

async fn orders(State(app): State<App>, request: Request) -> Result<Json<Value>, Response> {
    let (parts, _) = request.into_parts();
    let token = app.verifier.authorize(&parts, "orders:read").await?;
    Ok(Json(json!({ "sub": token.subject, "orders": [{ "id": 1, "item": "teapot" }] })))
}

// ---------------------------------------------------------------------------------------------------------------------
// Starting and stopping
// ---------------------------------------------------------------------------------------------------------------------

#[tokio::main]
async fn main() -> ExitCode {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// One line for whoever starts the server: which setting, and what is wrong with it.
type Problem = String;

async fn serve() -> Result<(), Problem> {
    let address: SocketAddr = setting("LISTEN_ADDR", "127.0.0.1:8080")?;
    let database: Sqlite = setting("DATABASE_URL", "sqlite::memory:")?;
    let keys_dir: String = setting("KEYS_DIR", "examples/keys")?;
    let burst: u32 = setting("LOGIN_BURST", "10")?;
    let retry_window: u64 = setting("REFRESH_RETRY_WINDOW", "60")?;
    let issuer = variable("ISSUER")?;

    let listener = TcpListener::bind(address).await.map_err(|error| wrong("LISTEN_ADDR", error))?;
    let address = listener.local_addr().map_err(|error| wrong("LISTEN_ADDR", error))?;
    let issuer = match issuer {
        Some(issuer) => issuer,
        None if address.ip().is_loopback() => format!("http://{address}"),
        None => return Err(wrong("ISSUER", "required when others than this machine can connect")),
    };
    let keys = read_keys(&keys_dir).map_err(|error| wrong("KEYS_DIR", error))?;
    let backend = read_backend_key(&keys_dir).map_err(|error| wrong("KEYS_DIR", error))?;
    let shop =
        open_shop(database.0, &backend).await.map_err(|error| wrong("DATABASE_URL", error))?;
    let retry_window = Duration::from_secs(retry_window);
    let app = build(&issuer, shop, keys, burst, retry_window).map_err(|error| {
        match error.downcast_ref() {
            Some(BuildError::Url(_)) => wrong("ISSUER", error),
            Some(BuildError::AttemptLimits(_)) => wrong("LOGIN_BURST", error),
            Some(BuildError::RefreshTokens(_)) => wrong("REFRESH_RETRY_WINDOW", error),
            _ => error.to_string(),
        }
    })?;

    let (mut terminated, mut interrupted) =
        (stop_on(SignalKind::terminate())?, stop_on(SignalKind::interrupt())?);
    let (stop, mut stopping) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        tokio::select! { _ = terminated.recv() => {} _ = interrupted.recv() => {} }
        stop.send_replace(true);
    });
    let mut asked = stopping.clone();
    let asked_to_stop = async move { drop(asked.wait_for(|stop| *stop).await) };
    println!("listening on http://{address}");
    println!("WARNING: users, clients, secrets and keys are demo data that everybody knows");
    let server =
        axum::serve(listener, routes(app).into_make_service_with_connect_info::<SocketAddr>())
            .with_graceful_shutdown(asked_to_stop);
    // Requests in flight are finished, but one that never ends does not keep the process.
    let patience = async {
        drop(stopping.wait_for(|stop| *stop).await);
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = server => ended.map_err(|error| wrong("LISTEN_ADDR", error)),
        () = patience => Ok(()),
    }
}

fn build(
    issuer: &str,
    shop: Shop,
    keys: Keys,
    burst: u32,
    retry_window: Duration,
) -> Result<App, BoxError> {
    let Keys { signing, refresh } = keys;
    let verifier = AccessTokenVerifier::new(
        issuer,
        AUDIENCE,
        [Algorithm::Es256],
        signing.verification_keys()?,
    )?;
    let users = HashedPasswords::new(shop.clone())?;
    // A demo is tried out from one address, which must not have to wait for that: a real server keeps the defaults.
    let (any, minute) = (1_000_000, Duration::from_secs(60));
    let limits = AttemptLimits::default()
        .burst(burst)
        .source(any, minute)
        .network(any, minute)
        .client(any, minute);
    let refresh = RefreshTokens::new(refresh, shop.clone()).retry_window(retry_window);
    let grant = PasswordGrant::builder(issuer, shop, users, JwtIssuer::new(signing, AUDIENCE))
        .scopes(SCOPES.parse()?)
        .attempt_limits(limits)
        .refresh_tokens(refresh)
        .revocation_endpoint(format!("{issuer}/oauth/revoke"))
        .introspection_endpoint(format!("{issuer}/oauth/introspect"))
        .build()?;
    let verifier = verifier.revocations(grant.revocations());
    Ok(App { grant, verifier })
}

/// What tokens are made with.
struct Keys {
    signing: SigningKeys,
    refresh: RefreshKeys,
}

fn read_keys(folder: &str) -> Result<Keys, BoxError> {
    let signing = SigningKeys::from_pem(read(folder, "token-es256.pem")?)?;
    let refresh = RefreshKeys::new(read(folder, "refresh-token.key")?.trim_ascii())?;
    Ok(Keys { signing, refresh })
}

/// The key of the client `backend`. A real server has only its public half, which the client's owner has sent.
fn read_backend_key(folder: &str) -> Result<JwkSet, BoxError> {
    let key = AssertionKey::from_pem(read(folder, "backend-es256.pem")?)?.kid("backend-1");
    Ok(key.public_jwk().into_iter().collect())
}

fn read(folder: &str, name: &str) -> Result<Vec<u8>, BoxError> {
    let file = format!("{folder}/{name}");
    std::fs::read(&file).map_err(|error| format!("{file}: {error}").into())
}

fn setting<T: FromStr<Err: Display>>(name: &str, default: &str) -> Result<T, Problem> {
    variable(name)?.as_deref().unwrap_or(default).parse().map_err(|error| wrong(name, error))
}

fn variable(name: &str) -> Result<Option<String>, Problem> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(error) => Err(wrong(name, error)),
    }
}

/// sqlx alone would take any text for the name of a file.
struct Sqlite(SqliteConnectOptions);

impl FromStr for Sqlite {
    type Err = BoxError;

    fn from_str(url: &str) -> Result<Self, BoxError> {
        if !url.starts_with("sqlite:") {
            return Err("not a sqlite: URL, the only kind that this example supports".into());
        }
        Ok(Self(url.parse()?))
    }
}

fn wrong(name: &str, problem: impl Display) -> Problem {
    format!("{name}: {problem}").replace('\n', " ")
}

fn stop_on(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Problem> {
    signal(kind).map_err(|error| format!("signals: {error}"))
}

// ---------------------------------------------------------------------------------------------------------------------
// The demo's data
// ---------------------------------------------------------------------------------------------------------------------

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS clients (
        id TEXT PRIMARY KEY, method TEXT NOT NULL, credential BLOB, grants TEXT NOT NULL,
        resource_server BOOLEAN NOT NULL, scope TEXT NOT NULL, default_scope TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS users (
        id TEXT PRIMARY KEY, username TEXT NOT NULL UNIQUE, password_hash TEXT, active BOOLEAN NOT NULL
    );
";

/// Secrets that people thought up, which only a demo has: a real server stores what `ClientSecret::generate` made.
const CLIENTS: [(&str, &str, Option<&str>, &str, &str); 6] = [
    (
        "web",
        "client_secret_basic_or_post",
        Some("web-secret"),
        BOTH,
        "profile orders:read offline_access",
    ),
    ("odd:client", "client_secret_basic", Some("s3cr:t +%&=/?~"), "password", "profile"),
    ("mobile", "none", None, BOTH, "profile offline_access"),
    ("backend", "private_key_jwt", None, BOTH, "profile orders:read offline_access"),
    (
        "partner",
        "client_secret_jwt",
        Some("partner-secret-partner-secret-0123"),
        "password",
        "profile",
    ),
    ("reports", "client_secret_basic", Some("reports-secret"), "", "profile"),
];
const BOTH: &str = "password refresh_token";
/// Of the clients, the one that introspects tokens for others.
const RESOURCE_SERVER: &str = "reports";

const USERS: [(&str, &str, &str, bool); 3] = [
    ("user-1", "alice", "wonderland", true),
    ("user-2", "zoë", "pässwörd +&=%", true),
    ("user-3", "bob", "builder", false),
];

/// What is stored of a client's secret or key.
fn credential(
    method: &str,
    secret: Option<&str>,
    backend: &JwkSet,
) -> Result<Option<Vec<u8>>, BoxError> {
    Ok(match method {
        "private_key_jwt" => Some(serde_json::to_vec(backend)?),
        "client_secret_jwt" => secret.map(|secret| secret.as_bytes().to_vec()),
        _ => secret.map(|secret| ClientSecret::digest_of(secret).sha256().to_vec()),
    })
}

async fn open_shop(options: SqliteConnectOptions, backend: &JwkSet) -> Result<Shop, BoxError> {
    // One connection that stays open: a database in memory lives as long as its connection.
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None);
    let db = pool.connect_with(options.create_if_missing(true)).await?;
    sqlx::raw_sql(SCHEMA).execute(&db).await?;
    for (id, method, secret, grants, scope) in CLIENTS {
        sqlx::query(
            "INSERT INTO clients VALUES ($1, $2, $3, $4, $5, $6, 'profile') ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(method)
        .bind(credential(method, secret, backend)?)
        .bind(grants)
        .bind(id == RESOURCE_SERVER)
        .bind(scope)
        .execute(&db)
        .await?;
    }
    for (id, username, password, active) in USERS {
        sqlx::query("INSERT INTO users VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING")
            .bind(id)
            .bind(username)
            .bind(Argon2Parameters::default().hash(password)?)
            .bind(active)
            .execute(&db)
            .await?;
    }
    Ok(Shop { db })
}
