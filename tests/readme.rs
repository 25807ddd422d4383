//! The README shows what is there.

const README: &str = include_str!("../README.md");

#[test]
fn the_host_in_the_readme_is_the_example() {
    let example = include_str!("../examples/minimal.rs").trim_end();
    assert!(
        README.contains(&format!("```rust\n{example}\n```")),
        "README.md shows another text than examples/minimal.rs"
    );
}

/// The host is the only Rust in the README. All other code is in the guides, which are compiled as
/// documentation tests.
#[test]
fn no_code_in_the_readme_is_untried() {
    let fences = README.lines().filter_map(|line| line.strip_prefix("```"));
    let languages: Vec<_> = fences.step_by(2).filter(|language| *language != "text").collect();
    assert_eq!(languages, ["rust"], "README.md shows code besides the host and transcripts");
}

#[test]
fn every_feature_is_in_the_readme() {
    let manifest = include_str!("../Cargo.toml");
    let (_, features) = manifest.split_once("[features]").unwrap();
    let (features, _) = features.split_once("\n[").unwrap();
    let names = features.lines().filter_map(|line| Some(line.split_once(" = ")?.0));
    let names: Vec<_> = names.filter(|name| *name != "default").collect();
    assert!(names.contains(&"argon2"));
    for name in names {
        assert!(README.contains(&format!("| `{name}` |")), "{name}");
    }
}

/// Every file that the README links to exists.
#[test]
fn no_link_of_the_readme_leads_nowhere() {
    let targets = README
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target);
    let files: Vec<_> = targets
        .filter(|target| !target.starts_with("https://") && !target.starts_with('#'))
        .collect();
    assert!(files.contains(&"SECURITY.md"));
    for file in files {
        assert!(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists(), "{file}");
    }
}
