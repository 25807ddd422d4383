//! Clients to authenticate, and a request of one.

use password_grant::{Client, ClientBuilder, ClientSecret, Grant};

use crate::common::{Answer, GOOD, World};

/// A world with one more client, which may use the password grant.
pub fn world_with(client: ClientBuilder) -> World {
    let world = World::default();
    world.clients.insert(client.grants([Grant::Password]).scope("profile".parse().unwrap()));
    world
}

pub fn digest(secret: &str) -> ClientSecret {
    ClientSecret::digest_of(secret)
}

pub async fn with_header(world: &World, authorization: &str) -> Answer {
    world.send(&[("authorization", authorization)], GOOD).await
}

pub fn anybody(id: &str) -> ClientBuilder {
    Client::public(id).grants([Grant::Password]).scope("profile".parse().unwrap())
}
