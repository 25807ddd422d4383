//! The README shows what is there.

use std::fs;
use std::path::Path;

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
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists(), "{file}");
    }
}

/// The mounts in other frameworks are shown as far as they are not the demo's.
#[test]
fn the_guide_for_tower_shows_the_mounts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = include_str!("../src/guide/tower.md");
    for (file, functions) in [
        ("tower-poem", &["fn endpoints", "async fn with_peer"][..]),
        ("tower-salvo", &["fn endpoints", "async fn with_peer"]),
        ("tower-warp", &["fn mount"]),
    ] {
        let source = root.join(format!("examples/tower/src/bin/{file}.rs"));
        let source = fs::read_to_string(source).unwrap();
        for start in functions {
            let (_, rest) = source.split_once(&format!("\n{start}")).unwrap();
            let (body, _) = rest.split_once("\n}\n").unwrap();
            let shown = format!("{start}{body}\n}}");
            assert!(guide.contains(&shown), "{file}: {start} is shown in another way");
        }
    }
}

/// The guides show the files of the examples, which are compiled and tested there. They are not in
/// the package, so the guides cannot include them.
#[test]
fn the_guides_show_the_examples() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (guide, files) in [
        ("frameworks", &["examples/demo/minimal.rs"][..]),
        ("axum", &["examples/axum/adapter.rs", "examples/axum/token.rs"]),
        (
            "actix",
            &[
                "examples/actix/src/bin/minimal-actix.rs",
                "examples/actix/src/adapter.rs",
                "examples/actix/src/token.rs",
            ],
        ),
        (
            "rocket",
            &[
                "examples/rocket/src/bin/minimal-rocket.rs",
                "examples/rocket/src/adapter.rs",
                "examples/rocket/src/token.rs",
                "examples/rocket/src/method.rs",
            ],
        ),
        ("tower", &["examples/tower/src/bin/minimal-hyper.rs"]),
    ] {
        let text = fs::read_to_string(root.join(format!("src/guide/{guide}.md"))).unwrap();
        for file in files {
            let source = fs::read_to_string(root.join(file)).unwrap();
            // Where the files stand together, no module needs a path.
            let shown: Vec<_> = source
                .lines()
                .skip_while(|line| line.starts_with("//!") || line.is_empty())
                .filter(|line| !line.starts_with("#[path"))
                .collect();
            assert!(text.contains(&shown.join("\n")), "{guide}.md shows another text than {file}");
        }
    }
}
