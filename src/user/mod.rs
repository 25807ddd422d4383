//! The resource owner (RFC 6749 section 4.3): authentication at the token endpoint, and the
//! account's state after the login.

mod authenticator;
mod gate;
mod login;
mod password_use;

#[cfg(feature = "argon2")]
pub(crate) mod password;

pub use authenticator::{LoginAttempt, UserAuthenticator};
pub use gate::{AccountGate, Admission};
pub use login::Login;
pub(crate) use login::{Accepted, Outcome};
pub(crate) use password_use::PasswordUse;
