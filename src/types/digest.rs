//! SHA-256 of a byte string.

use aws_lc_rs::digest::{SHA256, digest};

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut copy = [0; 32];
    // A SHA-256 digest is 32 bytes long.
    copy.copy_from_slice(digest(&SHA256, bytes).as_ref());
    copy
}
