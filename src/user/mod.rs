//! Who logs in: the resource owner.

mod authenticator;
mod gate;
mod login;

#[cfg(feature = "argon2")]
mod argon2id;
#[cfg(feature = "argon2")]
mod hashing;
#[cfg(feature = "argon2")]
mod password;
#[cfg(feature = "argon2")]
mod store;

pub use authenticator::{LoginAttempt, UserAuthenticator};
pub use gate::{AccountGate, Admission};
pub use login::Login;
pub(crate) use login::{Accepted, Outcome};

#[cfg(feature = "argon2")]
pub use argon2id::{Argon2Parameters, HashError};
#[cfg(feature = "argon2")]
pub use hashing::HashingConfigError;
#[cfg(feature = "argon2")]
pub use password::{HashedPasswords, HashedPasswordsBuilder};
#[cfg(feature = "argon2")]
pub use store::{AccountState, User, UserStore};
