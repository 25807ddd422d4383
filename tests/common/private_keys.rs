//! Private keys that are generated for a test, as PEM.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub fn pem(kind: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n")
}

pub fn ed25519() -> String {
    pem("PRIVATE KEY", Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap().as_ref())
}

pub fn ec(curve: &'static EcdsaSigningAlgorithm) -> String {
    pem("PRIVATE KEY", EcdsaKeyPair::generate(curve).unwrap().to_pkcs8v1().unwrap().as_ref())
}

pub fn rsa() -> String {
    pem("PRIVATE KEY", &pkcs8_of_rsa(&rsa_pair()))
}

pub fn rsa_pair() -> RsaKeyPair {
    RsaKeyPair::generate(KeySize::Rsa2048).unwrap()
}

pub fn pkcs8_of_rsa(pair: &RsaKeyPair) -> Vec<u8> {
    AsDer::<Pkcs8V1Der<'_>>::as_der(pair).unwrap().as_ref().to_vec()
}
