//! Who logs in: the resource owner.

mod authenticator;
mod gate;
mod login;

#[cfg(feature = "argon2")]
pub(crate) mod password;

pub use authenticator::{LoginAttempt, UserAuthenticator};
pub use gate::{AccountGate, Admission};
pub use login::Login;
pub(crate) use login::{Accepted, Outcome};
