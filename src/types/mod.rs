//! The types that every other module uses: identifiers, secrets, scopes, tokens, and the context of
//! a request with its address.

pub(crate) mod address;
pub(crate) mod context;
pub(crate) mod digest;
pub(crate) mod endpoint;
pub(crate) mod identifier;
pub(crate) mod limits;
pub(crate) mod scope;
pub(crate) mod secret;
pub(crate) mod token;
