//! A real client library against a real server: openid-client 6 on Node.js, with keys of Web
//! Crypto.
//!
//! `cargo test` leaves this out, because it needs Node.js and the library. To run it:
//!
//! ```text
//! mkdir -p target/foreign-clients
//! cp tests/foreign_clients/package*.json target/foreign-clients/
//! npm ci --prefix target/foreign-clients
//! cargo test --test foreign_clients
//! ```

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{any, get};
use common::sessions::{Gate, keys};
use common::{AUDIENCE, Users};
use password_grant::jose::JwkSet;
use password_grant::testing::InMemoryClients;
use password_grant::{
    Client, ClientAuthentication, ClientBuilder, ClientSecret, Grant, HttpRequest, JwtIssuer,
    PasswordGrant, RefreshTokens, SigningKeys,
};
use serde_json::{Map, Value, json};

const MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/foreign-clients/node_modules");
const PROGRAM: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign_clients/openid_client.mjs");

/// The characters at which encodings of Basic credentials differ.
const ODD: (&str, &str) = ("odd client+100%", "s3cr:t +%&=/?~%41");

fn register(clients: &InMemoryClients, client: ClientBuilder) {
    let scope = || "profile offline_access".parse().unwrap();
    let client = client.grants([Grant::Password, Grant::RefreshToken]);
    clients.insert(client.scope(scope()).default_scope(scope()));
}

async fn endpoint(State(grant): State<PasswordGrant>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, grant.body_limit()).await.unwrap();
    let http = HttpRequest::from_parts(&parts, &body).peer([127, 0, 0, 1].into());
    let answer = match parts.uri.path() {
        "/oauth/revoke" => grant.revoke(http).await,
        "/oauth/introspect" => grant.introspect(http).await,
        _ => grant.token(http).await,
    };
    answer.into()
}

async fn metadata(State(grant): State<PasswordGrant>) -> Response {
    grant.metadata().into()
}

async fn jwks(State(grant): State<PasswordGrant>) -> Response {
    grant.jwks().into()
}

fn routes(grant: PasswordGrant) -> Router {
    Router::new()
        .route("/oauth/token", any(endpoint))
        .route("/oauth/revoke", any(endpoint))
        .route("/oauth/introspect", any(endpoint))
        .route("/.well-known/oauth-authorization-server", get(metadata))
        .route("/.well-known/jwks.json", get(jwks))
        .with_state(grant)
}

#[tokio::test(flavor = "multi_thread")]
async fn openid_client_authenticates_in_every_way_that_it_has() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let clients = InMemoryClients::default();
    let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE);
    let grant = PasswordGrant::builder(&issuer, clients.clone(), Users::default(), tokens)
        .refresh_tokens(RefreshTokens::new(keys(), Gate::default()))
        .revocation_endpoint(format!("{issuer}/oauth/revoke"))
        .introspection_endpoint(format!("{issuer}/oauth/introspect"))
        .build()
        .unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, routes(grant)).await });

    let mut node = Command::new("node");
    let node = node.args([PROGRAM, &issuer, MODULES]);
    let mut node =
        node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Node.js is installed");
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    let exported: Map<String, Value> =
        serde_json::from_str(&lines.next().expect("npm install was run").unwrap()).unwrap();
    assert_eq!(exported.len(), 10);
    for (id, jwk) in &exported {
        // The key as it was exported, registered with the name that the client uses.
        let mut named = jwk.clone();
        named["kid"] = json!(id);
        let set =
            JwkSet::from_json(json!({ "keys": [named, null] }).to_string().as_bytes()).unwrap();
        assert_eq!(set.unusable(), [], "{jwk}");
        let authentication = ClientAuthentication::private_key_jwt(&set).unwrap();
        let authentication = authentication.algorithms([id.parse().unwrap()]).unwrap();
        register(&clients, Client::confidential(&**id, authentication));
    }
    let (id, secret) = ODD;
    let shared = "a secret that both know, of more than 32 bytes";
    let digest = ClientSecret::digest_of(secret);
    register(&clients, Client::confidential(id, digest.clone()));
    register(&clients, Client::confidential("post", ClientAuthentication::post(digest)));
    register(
        &clients,
        Client::confidential("jwt", ClientAuthentication::client_secret_jwt(shared).unwrap()),
    );
    register(&clients, Client::public("none"));
    let secrets = json!({
        "basic": { "id": id, "secret": secret },
        "post": { "id": "post", "secret": secret },
        "jwt": { "id": "jwt", "secret": shared },
        "none": { "id": "none" },
    });
    let mut stdin = node.stdin.take().unwrap();
    writeln!(stdin, "{secrets}").unwrap();
    drop(stdin);
    let done: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(node.wait().unwrap().success(), "after {done:?}");
    assert_eq!(done.len(), 2 * 10 + 4, "{done:?}");
    server.abort();
}
