//! To copy: the engine, the verifier of its tokens, and what the protected routes answer.

use password_grant::{
    AccessTokenVerifier, AttemptLimits, BoxError, HashedPasswords, JwtIssuer, PasswordGrant,
    RefreshTokens, SigningKeys, VerifiedToken,
};
use serde::Serialize;

use super::shop::{DOMAIN, Shop};

/// The resource server that access tokens are for: this application.
const AUDIENCE: &str = "https://api.example.com";

/// All scopes. The metadata document lists them.
const SCOPES: &str = "profile orders:read offline_access";

#[derive(Clone)]
pub struct App {
    pub grant: PasswordGrant,
    pub verifier: AccessTokenVerifier,
}

impl App {
    /// `limits` are [`AttemptLimits::default`] in a real server.
    pub fn new(
        issuer: &str,
        shop: Shop,
        signing: SigningKeys,
        refresh: RefreshTokens,
        limits: AttemptLimits,
    ) -> Result<Self, BoxError> {
        let users = HashedPasswords::new(shop.clone())?;
        let grant = PasswordGrant::builder(issuer, shop, users, JwtIssuer::new(signing, AUDIENCE))
            .scopes(SCOPES.parse()?)
            .attempt_limits(limits)
            .refresh_tokens(refresh)
            .revocation_endpoint(format!("{issuer}/oauth/revoke"))
            .introspection_endpoint(format!("{issuer}/oauth/introspect"))
            .build()?;
        let verifier = grant.verifier(AUDIENCE)?;
        Ok(Self { grant, verifier })
    }
}

/// The header that names the identity domain (tenant) of a request.
pub const TENANT_HEADER: &str = "x-user-identity-domain-name";

/// The identity domain (tenant) that a request names by its [`TENANT_HEADER`] lines, or else the
/// only one there is. Attempts are counted within a domain, so each domain must have one name. Several
/// lines are joined with commas, as HTTP has it, and so name no domain.
pub fn tenant<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> String {
    let named: Vec<_> = lines.into_iter().map(String::from_utf8_lossy).collect();
    if named.is_empty() { DOMAIN.to_owned() } else { named.join(", ") }
}

/// What `GET /api/me` answers.
#[derive(Serialize)]
pub struct Me {
    client_id: String,
    scope: String,
    sub: String,
}

impl From<VerifiedToken> for Me {
    fn from(token: VerifiedToken) -> Self {
        Self {
            client_id: token.client_id.as_str().to_owned(),
            scope: token.scope.as_str().to_owned(),
            sub: token.subject.as_str().to_owned(),
        }
    }
}

/// What `GET /api/orders` answers.
#[derive(Serialize)]
pub struct Orders {
    orders: [Order; 1],
    sub: String,
}

#[derive(Serialize)]
struct Order {
    id: u32,
    item: &'static str,
}

impl From<VerifiedToken> for Orders {
    fn from(token: VerifiedToken) -> Self {
        let orders = [Order { id: 1, item: "teapot" }];
        Self { orders, sub: token.subject.as_str().to_owned() }
    }
}
