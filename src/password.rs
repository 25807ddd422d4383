//! What belongs to [`HashedPasswords`](crate::HashedPasswords): its builder, the parameters of
//! Argon2id, the state of an account, and what can go wrong.

pub use crate::user::password::{
    AccountState, Argon2Parameters, HashError, HashedPasswordsBuilder, HashingConfigError,
};
