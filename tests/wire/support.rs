//! Requests of raw bytes.

use password_grant::HttpRequest;

use crate::common::{Answer, World};

pub async fn raw(
    world: &World,
    method: &str,
    query: Option<&str>,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
    world.grant.token(HttpRequest::new(method, query, headers, body)).await.into()
}
