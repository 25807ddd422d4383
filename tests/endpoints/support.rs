//! Answers that the tests of both endpoints compare with.

use crate::common::Answer;

pub const INACTIVE: &str = r#"{"active":false}"#;

/// RFC 7009 section 2.2, as deployed clients need it: one wants the content type, another one the
/// body.
pub fn is_revoked(answer: &Answer) {
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}
