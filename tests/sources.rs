//! What the library's source does not name.

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
