//! The endpoints beside the token endpoint: their answers, and the document that lists them.

mod introspection;
mod metadata;

pub(crate) use introspection::{Introspection, Revoked};
pub(crate) use metadata::{Endpoints, Metadata, is_reserved_metadata};
