//! What an administrator makes by hand: a client's secret, a user's password hash, keys.
//!
//! ```text
//! cargo run --example admin -- secret
//! printf 'wonderland' | cargo run --example admin -- user
//! cargo run --example admin -- signing-key > token-es256.pem
//! cargo run --example admin -- refresh-key > refresh-token.key
//! ```

use std::io::Read;
use std::process::ExitCode;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use password_grant::password::Argon2Parameters;
use password_grant::{BoxError, ClientSecret};

const USAGE: &str =
    "one of: secret, user (its password on standard input), signing-key, refresh-key";

fn main() -> ExitCode {
    match run(std::env::args().nth(1).as_deref()) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: Option<&str>) -> Result<String, BoxError> {
    match what {
        Some("secret") => {
            let (secret, stored) = ClientSecret::generate()?;
            Ok(format!(
                "for the client, once: {}\nto be stored:         {}",
                secret.expose(),
                stored.to_hex()
            ))
        }
        Some("user") => {
            let mut password = String::new();
            std::io::stdin().read_to_string(&mut password)?;
            Ok(Argon2Parameters::default().hash(password.trim_end_matches(['\r', '\n']))?)
        }
        Some("signing-key") => {
            let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
            let der = key.to_pkcs8v1()?;
            let lines: Vec<_> = STANDARD.encode(der.as_ref()).into_bytes();
            let lines: Vec<_> = lines.chunks(64).map(String::from_utf8_lossy).collect();
            Ok(format!(
                "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
                lines.join("\n")
            ))
        }
        Some("refresh-key") => {
            let mut key = [0; 48];
            aws_lc_rs::rand::fill(&mut key)?;
            Ok(STANDARD.encode(key))
        }
        _ => Err(USAGE.into()),
    }
}
