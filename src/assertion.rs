//! Client assertions ([RFC 7523](https://www.rfc-editor.org/rfc/rfc7523)): making them, for
//! programs that are clients, and what a server registers for a client that signs.

pub use crate::client::{
    AssertionCompatibility, AssertionError, AssertionKey, ClientAssertion, JwksSource,
};
