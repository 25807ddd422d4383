//! What the library's source does not name, and what the tests are named.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The names of outside sources, with the only file that may read each.
const SOURCES: [(&str, Option<&str>); 11] = [
    ("std::env", None),
    ("std::fs", None),
    ("std::process", None),
    ("TcpStream", None),
    ("TcpListener", None),
    ("UdpSocket", None),
    ("UnixStream", None),
    ("ToSocketAddrs", None),
    ("SystemTime::now", Some("time/system.rs")),
    ("Instant::now", Some("time/system.rs")),
    ("aws_lc_rs::rand::fill", Some("environment/random.rs")),
];

/// Requirement 137: time and randomness come from the injected sources, everything else from the
/// host's calls.
#[test]
fn the_library_reads_no_environment_no_file_no_network_and_no_clock_of_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = files_in(&root);
    for (name, owner) in SOURCES {
        let readers: Vec<_> = files
            .iter()
            .filter(|file| code_of(file).any(|line| line.contains(name)))
            .map(|file| file.strip_prefix(&root).unwrap().display().to_string())
            .collect();
        assert_eq!(readers, Vec::from_iter(owner), "{name}");
    }
}

/// `tests/requirements.md` names the tests of each requirement in the last cell of its row.
#[test]
fn every_test_that_a_requirement_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests: HashSet<String> = ["src", "tests", "examples"]
        .iter()
        .flat_map(|folder| files_in(&root.join(folder)))
        .flat_map(|file| code_of(&file).collect::<Vec<_>>())
        .filter_map(|line| Some(line.split_once("fn ")?.1.split_once(['(', '<'])?.0.to_owned()))
        .collect();
    let table = fs::read_to_string(root.join("tests/requirements.md")).unwrap();
    let cells = table.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit(" | ").next());
    let named: Vec<_> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(named.len() > 500, "{}", named.len());
    // A few rows name another check, such as `.ci/run`.
    let is_test =
        |name: &&&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let missing: Vec<_> =
        named.iter().filter(is_test).filter(|name| !tests.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Every Rust file below this folder.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files_in(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The lines of a file that are not comments.
fn code_of(file: &Path) -> impl Iterator<Item = String> {
    let text = fs::read_to_string(file).unwrap();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.map(str::to_owned).collect::<Vec<_>>().into_iter()
}
