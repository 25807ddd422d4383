//! To copy: the application's database, and the traits over it.

use password_grant::assertion::AssertionCompatibility;
use password_grant::jose::JwkSet;
use password_grant::password::AccountState;
use password_grant::{
    AccountGate, Admission, Algorithm, AuthenticatedClient, BoxError, Client, ClientAuthentication,
    ClientSecret, ClientStore, Grant, Rejection, RequestContext, Subject, User, UserStore,
    async_trait,
};
use sqlx::sqlite::SqlitePool;

/// The one identity domain (tenant).
pub const DOMAIN: &str = "demo";

#[derive(Clone)]
pub struct Shop {
    pub db: SqlitePool,
}

#[derive(sqlx::FromRow)]
struct ClientRow {
    id: String,
    method: String,
    /// The digest of a secret. For clients that sign: the secret itself, or a JWK set.
    credential: Option<Vec<u8>>,
    /// The names of grants, separated by spaces.
    grants: String,
    /// Whether it may introspect the tokens of other clients.
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
        // Programs in the field name the token endpoint as the audience, and cannot be changed.
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

/// The engine asks this at every refresh and when a token is introspected, so that a user who was
/// disabled since the login gets nothing more.
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
