//! The authorization server metadata document (RFC 8414), which is built once from the
//! configuration.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::client::{AuthenticationMethod, Grant};
use crate::jose::Algorithm;
use crate::types::endpoint::Endpoint;
use crate::types::scope::Scope;

/// The authorization server metadata (RFC 8414 section 2). It lists only what is switched on.
#[derive(Serialize)]
pub(crate) struct Metadata {
    issuer: String,
    token_endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes_supported: Option<Vec<String>>,
    /// Always empty, since there is no authorization endpoint; RFC 8414 requires the member.
    response_types_supported: [&'static str; 0],
    grant_types_supported: Vec<&'static str>,
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    /// RFC 8414 requires it if one of the methods uses a JWT. Otherwise it is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    token_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    revocation_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    introspection_endpoint: Option<String>,
    /// Never contains `none`: a public client may not introspect tokens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    introspection_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    #[serde(flatten)]
    further: Map<String, Value>,
}

/// Where RFC 8414 section 3 puts the metadata document of an issuer without a path.
const METADATA_PATH: &str = "/.well-known/oauth-authorization-server";

/// The path of a URL without query and fragment.
fn path_of(url: &str) -> &str {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    authority.find('/').and_then(|slash| authority.get(slash..)).unwrap_or("/")
}

/// The URLs of the endpoints, as the host has configured them.
pub(crate) struct EndpointUrls {
    pub(crate) token: String,
    pub(crate) revocation: Option<String>,
    pub(crate) introspection: Option<String>,
    pub(crate) jwks: Option<String>,
}

impl EndpointUrls {
    /// The paths at which the endpoints are served, from their URLs. RFC 8414 section 3.1 puts the
    /// path of the issuer behind the well-known path of the metadata document.
    pub(crate) fn paths(&self, issuer: &str) -> impl Iterator<Item = (Endpoint, String)> {
        let metadata = format!("{METADATA_PATH}{}", path_of(issuer).trim_end_matches('/'));
        let others = [
            (Endpoint::Token, Some(&self.token)),
            (Endpoint::Revocation, self.revocation.as_ref()),
            (Endpoint::Introspection, self.introspection.as_ref()),
            (Endpoint::Jwks, self.jwks.as_ref()),
        ];
        let others = others
            .into_iter()
            .filter_map(|(endpoint, url)| Some((endpoint, path_of(url?).to_owned())));
        [(Endpoint::Metadata, metadata)].into_iter().chain(others)
    }

    /// The URLs, with the names of their settings.
    pub(crate) fn urls(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let others = [
            ("revocation_endpoint", &self.revocation),
            ("introspection_endpoint", &self.introspection),
            ("jwks_uri", &self.jwks),
        ];
        let others = others.into_iter().filter_map(|(name, url)| Some((name, url.as_ref()?)));
        [("token_endpoint", &self.token)].into_iter().chain(others)
    }

    /// The URL of the revocation endpoint, or the token endpoint's if the host has not set it.
    pub(crate) fn revocation(&self) -> &str {
        self.revocation.as_deref().unwrap_or(&self.token)
    }

    /// The URL of the introspection endpoint, or the token endpoint's if the host has not set it.
    pub(crate) fn introspection(&self) -> &str {
        self.introspection.as_deref().unwrap_or(&self.token)
    }
}

impl Metadata {
    pub(crate) fn new(
        issuer: &str,
        endpoints: &EndpointUrls,
        grants: &[Grant],
        scopes: Option<&Scope>,
        (methods, algorithms): (&[AuthenticationMethod], &[Algorithm]),
        further: Map<String, Value>,
    ) -> Self {
        let is_on = |algorithm: &&Algorithm| {
            methods.iter().any(|method| method.symmetric() == Some(algorithm.is_symmetric()))
        };
        let names =
            |methods: &mut dyn Iterator<Item = &AuthenticationMethod>| -> Vec<&'static str> {
                methods.map(|method| method.as_str()).collect()
            };
        let algorithms: Vec<_> =
            algorithms.iter().filter(is_on).flat_map(|algorithm| algorithm.names()).collect();
        let proving = |method: &&AuthenticationMethod| **method != AuthenticationMethod::None;
        let at = |endpoint: &Option<String>, what: Vec<&'static str>| {
            if endpoint.is_some() { what } else { Vec::new() }
        };
        let EndpointUrls { token, revocation, introspection, jwks } = endpoints;
        Self {
            issuer: issuer.to_owned(),
            token_endpoint: token.clone(),
            jwks_uri: jwks.clone(),
            scopes_supported: scopes.map(|scopes| scopes.iter().map(str::to_owned).collect()),
            response_types_supported: [],
            grant_types_supported: grants.iter().map(|grant| grant.as_str()).collect(),
            token_endpoint_auth_methods_supported: names(&mut methods.iter()),
            token_endpoint_auth_signing_alg_values_supported: algorithms.clone(),
            revocation_endpoint: revocation.clone(),
            revocation_endpoint_auth_methods_supported: at(revocation, names(&mut methods.iter())),
            revocation_endpoint_auth_signing_alg_values_supported: at(
                revocation,
                algorithms.clone(),
            ),
            introspection_endpoint: introspection.clone(),
            introspection_endpoint_auth_methods_supported: at(
                introspection,
                names(&mut methods.iter().filter(proving)),
            ),
            introspection_endpoint_auth_signing_alg_values_supported: at(introspection, algorithms),
            further,
        }
    }
}

/// Whether a member describes what the engine does, so that only the engine may set it.
pub(crate) fn is_reserved_metadata(name: &str) -> bool {
    const ENDPOINTS: [&str; 3] =
        ["token_endpoint", "revocation_endpoint", "introspection_endpoint"];
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
