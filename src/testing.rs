//! For the tests of a host: clients and tokens in memory, and a clock that is moved by hand.

pub use crate::client::InMemoryClients;
pub use crate::time::manual::ManualClock;
pub use crate::token::opaque::InMemoryTokens;
