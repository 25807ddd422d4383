use serde::Serialize;
use serde_json::{Map, Value};

use crate::client::{AuthenticationMethod, Grant};
use crate::jose::Algorithm;
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
    /// RFC 8414 wants it where one of the methods is by a JWT, and not elsewhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    token_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    #[serde(flatten)]
    further: Map<String, Value>,
}

impl Metadata {
    pub(crate) fn new(
        issuer: &str,
        token_endpoint: &str,
        jwks_uri: Option<String>,
        scopes: Option<&Scope>,
        methods: &[AuthenticationMethod],
        algorithms: &[Algorithm],
        further: Map<String, Value>,
    ) -> Self {
        let jwt = |method: &AuthenticationMethod, symmetric: bool| match method {
            AuthenticationMethod::PrivateKeyJwt => !symmetric,
            AuthenticationMethod::ClientSecretJwt => symmetric,
            _ => false,
        };
        let is_on = |algorithm: &&Algorithm| methods.iter().any(|method| jwt(method, algorithm.is_symmetric()));
        Self {
            issuer: issuer.to_owned(),
            token_endpoint: token_endpoint.to_owned(),
            jwks_uri,
            scopes_supported: scopes.map(|scopes| scopes.iter().map(str::to_owned).collect()),
            response_types_supported: [],
            grant_types_supported: [Grant::Password.as_str()],
            token_endpoint_auth_methods_supported: methods.iter().map(|method| method.as_str()).collect(),
            token_endpoint_auth_signing_alg_values_supported: algorithms
                .iter()
                .filter(is_on)
                .map(|algorithm| algorithm.as_str())
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
