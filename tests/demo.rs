//! The demo server's checks, against the axum example: the real program, over a real socket. And the example client,
//! against that. `DEMO_PROGRAM` names another demo server to check, such as `target/debug/example-actix`.

#![cfg(all(unix, feature = "http", feature = "tracing", feature = "argon2"))]

#[macro_use]
#[path = "demo/checks.rs"]
mod checks;
#[path = "demo/command_line.rs"]
mod command_line;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use checks::Program;

test_every_check!(crate::demo_server);

fn demo_server() -> Program {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let find = || env::var_os("DEMO_PROGRAM").map_or_else(|| example("axum"), PathBuf::from);
    let path = PATH.get_or_init(find).clone();
    Program {
        is_rocket: path.ends_with("example-rocket"),
        path,
        keys: Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/keys"),
        scratch: env!("CARGO_TARGET_TMPDIR").into(),
    }
}

/// The client example.
fn client() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| example("client")).clone()
}

/// The example beside this test's own program. `cargo test` has built it; `cargo test --test demo` has not, and may
/// have left an old one.
fn example(name: &str) -> PathBuf {
    let own = env::current_exe().expect("the path of this program");
    let profile = own.parent().and_then(Path::parent).expect("target/<profile>/deps");
    let program = profile.join("examples").join(name);
    if !is_current(&program) {
        let target = profile.parent().expect("target");
        let profile = match profile.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let arguments = ["build", "--quiet", "--example", name, "--profile", profile];
        let built = Command::new(cargo).args(arguments).arg("--target-dir").arg(target).status();
        assert!(
            built.is_ok_and(|status| status.success()) && program.exists(),
            "there is no {}: `cargo build --example {name}` makes it",
            program.display(),
        );
    }
    program
}

/// Whether the program is there and no older than its sources, which Cargo lists in a file beside it.
fn is_current(program: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    let (Ok(built), Ok(list)) = (changed(program), fs::read_to_string(program.with_extension("d")))
    else {
        return false;
    };
    list.split_whitespace()
        .skip(1)
        .all(|source| changed(Path::new(source)).is_ok_and(|changed| changed <= built))
}
