//! The shape of the house, as tests: floors, pure modules, sizes and words.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// (crate folder, internal crates it may use). Lower floors first.
const FLOORS: &[(&str, &[&str])] = &[
    ("pathtree", &[]),
    ("blobs", &["pathtree"]),
    ("fs", &["blobs", "pathtree"]),
    ("cli", &["blobs", "fs", "pathtree"]),
];
/// Above all floors: drives the command, links nothing of the product.
const TESTS: &str = "tests";

/// Modules that compute only: no runtime, no files, no sockets, no clock of their own. A path ends
/// where the names of its files begin to differ.
const SANS_IO: &[&str] = &[
    "pathtree/src/conflict_name.rs",
    "pathtree/src/converge",
    "pathtree/src/id.rs",
    "pathtree/src/moment.rs",
    "pathtree/src/name.rs",
    "pathtree/src/pattern.rs",
    "pathtree/src/period.rs",
    "pathtree/src/retention.rs",
    "pathtree/src/schedule.rs",
    "blobs/src/hash.rs",
    "blobs/src/range_map.rs",
];
const IO: &[&str] =
    &["tokio::", "rusqlite::Connection", "std::net", "std::fs", "rustix::fs", "::now()"];

/// Only the top floor prints, reads the environment or knows a home.
const TOP_ONLY: &[&str] =
    &["println!", "eprintln!", "print!(", "env::var", "env::args", "ProjectDirs", "BaseDirs"];

const LINES_MAX: usize = 600;
const WORDS: &[&str] = &["fn get_", "SELECT *", "todo!(", "unimplemented!(", "FIXME", "XXX"];
const NAME_ENDINGS: &[&str] = &["Manager", "Helper", "Service", "Util", "Utils", "Impl"];
const FILE_NAMES: &[&str] =
    &["utils.rs", "util.rs", "helpers.rs", "helper.rs", "common.rs", "misc.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the workspace").into()
}

fn crates() -> impl Iterator<Item = &'static str> {
    FLOORS.iter().map(|(name, _)| *name).chain([TESTS])
}

fn manifest(krate: &str) -> String {
    fs::read_to_string(root().join(krate).join("Cargo.toml")).expect(krate)
}

/// Every Rust file of `krate`: path relative to the workspace, and text.
fn sources(krate: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(krate)];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).expect("a listable directory") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() && !path.ends_with("target") {
                waiting.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(root()).expect("below the workspace");
                let text = fs::read_to_string(&path).expect("a Rust file is UTF-8");
                found.push((name.display().to_string(), text));
            }
        }
    }
    found.sort();
    found
}

/// The lines of a file that are neither comments nor tests at its end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line))
}

/// Lines of `krate` that contain one of `words`, as `file:line: word`.
fn uses(krate: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in sources(krate) {
        for (number, line) in code(&text) {
            let hits = words.iter().filter(|word| line.contains(**word));
            found.extend(hits.map(|word| format!("{name}:{number}: {word}")));
        }
    }
    found
}

#[test]
fn crates_depend_downwards_only() {
    for (krate, allowed) in FLOORS {
        let manifest = manifest(krate);
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        let used: BTreeSet<&str> = dependencies
            .lines()
            .filter_map(|line| line.strip_prefix("tesfs-")?.split([' ', '.', '=']).next())
            .collect();
        let allowed = BTreeSet::from_iter(allowed.iter().copied());
        assert!(used.is_subset(&allowed), "{krate} uses {used:?}, may use {allowed:?}");
    }
}

#[test]
fn the_rig_links_nothing_of_the_product() {
    let manifest = manifest(TESTS);
    let dependencies = manifest.split("[dev-dependencies]").next().unwrap_or_default();
    let linked: Vec<&str> =
        dependencies.lines().filter(|line| line.starts_with("tesfs-")).collect();
    assert!(linked.is_empty(), "tests link {linked:?}");
}

#[test]
fn every_member_is_known_here_and_shares_the_lints() {
    let workspace = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace");
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = "));
    let members: BTreeSet<&str> =
        members.expect("a line of members").split('"').skip(1).step_by(2).collect();
    assert_eq!(members, crates().collect::<BTreeSet<_>>(), "FLOORS names every crate");
    for krate in crates() {
        assert!(manifest(krate).contains("[lints]\nworkspace = true"), "{krate} has own lints");
    }
}

#[test]
fn pure_modules_do_no_io() {
    let sources: Vec<_> = crates().flat_map(sources).collect();
    for path in SANS_IO {
        assert!(sources.iter().any(|(name, _)| name.starts_with(path)), "{path} is gone");
        for (name, text) in sources.iter().filter(|(name, _)| name.starts_with(path)) {
            for (number, line) in code(text) {
                let found = IO.iter().find(|word| line.contains(**word));
                assert!(found.is_none(), "{name}:{number} uses {found:?}");
            }
        }
    }
}

#[test]
fn only_the_top_floor_prints_and_reads_the_environment() {
    for (krate, _) in FLOORS.iter().filter(|(krate, _)| *krate != "cli") {
        let mut found = uses(&format!("{krate}/src"), TOP_ONLY);
        found.retain(|hit| !hit.contains("/tests/") && !hit.contains("/tests.rs"));
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn a_file_stays_readable() {
    for (name, text) in crates().flat_map(sources) {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{name} has {lines} lines, more than {LINES_MAX}");
    }
}

#[test]
fn the_house_words_are_kept() {
    for krate in crates() {
        let found: Vec<String> =
            uses(krate, WORDS).into_iter().filter(|hit| !hit.contains("architecture.rs")).collect();
        assert!(found.is_empty(), "{found:#?}");
        for (name, text) in sources(krate) {
            let file = name.rsplit('/').next().unwrap_or_default();
            assert!(!FILE_NAMES.contains(&file), "{name} is no noun");
            for (number, line) in code(&text) {
                let named =
                    declared(line).is_some_and(|n| NAME_ENDINGS.iter().any(|e| n.ends_with(e)));
                assert!(!named, "{name}:{number}: {line}");
            }
        }
    }
}

/// The type that a line declares, if it declares one.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub ")).unwrap_or(line);
    let rest = ["struct ", "enum ", "trait "].iter().find_map(|word| line.strip_prefix(word))?;
    rest.split(|letter: char| !letter.is_alphanumeric()).next()
}
