//! The small words that every other module speaks.

pub(crate) mod clock;
pub(crate) mod context;
pub(crate) mod digest;
pub(crate) mod error;
pub(crate) mod form;
pub(crate) mod future;
pub(crate) mod identifier;
pub(crate) mod json;
pub(crate) mod limits;
pub(crate) mod scope;
pub(crate) mod secret;
pub(crate) mod token;
