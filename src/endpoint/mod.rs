//! The documents beside the token endpoint.

mod metadata;

pub(crate) use metadata::{Metadata, is_reserved_metadata};
