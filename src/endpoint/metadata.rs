use serde::Serialize;
use serde_json::{Map, Value};

use crate::client::{AuthenticationMethod, Grant};
use crate::vocabulary::scope::Scope;

/// The authorization server metadata (RFC 8414 section 2). Says only what is on.
#[derive(Serialize)]
pub(crate) struct Metadata {
    issuer: String,
    token_endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes_supported: Option<Vec<String>>,
    /// There is no authorization endpoint, but RFC 8414 requires the member.
    response_types_supported: [&'static str; 0],
    grant_types_supported: [&'static str; 1],
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    #[serde(flatten)]
    further: Map<String, Value>,
}

impl Metadata {
    pub(crate) fn new(
        issuer: &str,
        token_endpoint: String,
        jwks_uri: Option<String>,
        scopes: Option<&Scope>,
        authentication_methods: &[AuthenticationMethod],
        further: Map<String, Value>,
    ) -> Self {
        Self {
            issuer: issuer.to_owned(),
            token_endpoint,
            jwks_uri,
            scopes_supported: scopes.map(|scopes| scopes.iter().map(str::to_owned).collect()),
            response_types_supported: [],
            grant_types_supported: [Grant::Password.as_str()],
            token_endpoint_auth_methods_supported: authentication_methods
                .iter()
                .map(|method| method.as_str())
                .collect(),
            further,
        }
    }
}

/// Members that say what the engine does; only the engine knows that.
pub(crate) fn is_reserved_metadata(name: &str) -> bool {
    const ENDPOINTS: [&str; 3] = ["token_endpoint", "revocation_endpoint", "introspection_endpoint"];
    const OTHERS: [&str; 6] = [
        "issuer",
        "jwks_uri",
        "scopes_supported",
        "response_types_supported",
        "grant_types_supported",
        "dpop_signing_alg_values_supported",
    ];
    ENDPOINTS.iter().any(|endpoint| name.starts_with(endpoint)) || OTHERS.contains(&name)
}
