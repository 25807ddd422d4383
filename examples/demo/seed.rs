//! The rig: the demo's tables and rows.

use password_grant::assertion::AssertionKey;
use password_grant::jose::JwkSet;
use password_grant::password::Argon2Parameters;
use password_grant::{BoxError, ClientSecret};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::settings::read;
use super::shop::Shop;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS clients (
        id TEXT PRIMARY KEY, method TEXT NOT NULL, credential BLOB, grants TEXT NOT NULL,
        resource_server BOOLEAN NOT NULL, scope TEXT NOT NULL, default_scope TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS users (
        id TEXT PRIMARY KEY, username TEXT NOT NULL UNIQUE, password_hash TEXT, active BOOLEAN NOT NULL
    );
";

/// Only a demo has secrets that a person thought up: a real server stores the digest of what
/// `ClientSecret::generate` made.
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
/// The client that may introspect the tokens of others.
const RESOURCE_SERVER: &str = "reports";

const USERS: [(&str, &str, &str, bool); 3] = [
    ("user-1", "alice", "wonderland", true),
    ("user-2", "zoë", "pässwörd +&=%", true),
    ("user-3", "bob", "builder", false),
];

/// What the table holds of a client's secret or key.
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

pub async fn open_shop(options: SqliteConnectOptions, backend: &JwkSet) -> Result<Shop, BoxError> {
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

/// The public key of the client `backend`. A real server has only this half, which the client's
/// owner has sent.
pub fn read_backend_key(folder: &str) -> Result<JwkSet, BoxError> {
    let key = AssertionKey::from_pem(read(folder, "backend-es256.pem")?)?.with_kid("backend-1");
    Ok(key.public_jwk().into_iter().collect())
}
