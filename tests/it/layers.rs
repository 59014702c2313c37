//! The rules of the house that a compiler does not hold: who imports whom, which crate is named where, and that every
//! file says what it owns.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// For each module at the top of `src/`: the modules of this crate it may name. A wish that is not tested is not a rule.
const MAY_USE: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("nearest", &[]),
    ("network", &[]),
    ("secret", &[]),
    ("crash", &[]),
    ("certificate", &["clock"]),
    ("memory", &[]),
    ("metrics", &[]),
    ("lookup", &[]),
    ("packs", &[]),
    ("shutdown", &[]),
    ("record", &["clock", "nearest"]),
    ("rules", &["record", "lookup", "clock", "nearest", "network"]),
    ("plan", &["record", "rules", "lookup", "clock"]),
    ("people", &["record", "plan", "clock"]),
    ("compose", &["record", "plan", "people", "lookup", "clock", "metrics", "nearest"]),
    ("channels", &["certificate", "clock", "secret", "crash", "metrics", "network"]),
    ("store", &["record", "plan", "compose", "clock", "crash", "metrics"]),
    ("source", &["store", "clock", "secret", "crash", "metrics"]),
    (
        "intake",
        &["source", "record", "rules", "plan", "people", "lookup", "store", "clock", "crash", "metrics", "shutdown"],
    ),
    (
        "dispatch",
        &[
            "store", "record", "plan", "people", "lookup", "compose", "channels", "clock", "crash", "metrics",
            "shutdown",
        ],
    ),
    ("http", &["metrics", "store", "clock", "shutdown"]),
    (
        "config",
        &[
            "channels", "compose", "lookup", "packs", "people", "record", "rules", "source", "store", "clock",
            "nearest", "network", "secret",
        ],
    ),
    ("logging", &["config"]),
];

/// These stand above all others and may name any of them; nobody below may name one of these.
const ABOVE: &[&str] = &["main", "lib", "app", "cli", "demo"];

/// A crate that talks to the world is named in one place (the demo shows the world, so it may name Kafka and SMTP).
const NAMED_IN: &[(&str, &[&str])] = &[
    ("rdkafka", &["source", "demo"]),
    ("rusqlite", &["store"]),
    ("lettre", &["channels", "compose", "people", "config"]),
    ("handlebars", &["compose", "demo"]),
    ("axum", &["http", "demo"]),
    ("tokio_rustls", &["channels"]),
    ("reqwest", &["channels"]),
    ("http_body", &["channels"]),
    ("hickory_resolver", &["channels"]),
];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, out: &mut Vec<(PathBuf, String)>) {
        let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                out.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut out = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut out);
    out
}

/// The module at the top of `src/` that a file belongs to.
fn module(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    below.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// Code without its tests and comments.
fn code(text: &str) -> String {
    text.split("#[cfg(test)]")
        .next()
        .unwrap()
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The names that follow `crate::` (also inside `use crate::{a, b::c}`), at the top level.
fn named(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => names.push(std::mem::take(&mut word)),
                    c if depth == 0 => word.push(c),
                    _ => {}
                }
            }
            names.push(word);
        } else {
            names.push(rest.to_owned());
        }
    }
    names
        .iter()
        .map(|name| name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>())
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn imports_point_one_way() {
    let table: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = module(&path);
        if ABOVE.contains(&module.as_str()) {
            continue;
        }
        let Some(allowed) = table.get(module.as_str()) else {
            wrong.push(format!("{}: {module} is in no layer", path.display()));
            continue;
        };
        let known = |name: &str| table.contains_key(name) || ABOVE.contains(&name);
        for name in named(&code(&text)) {
            if name != module && known(&name) && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{}: {module} may not name {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_crate_that_talks_to_the_world_is_named_in_one_place() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let code = code(&text);
        for (name, places) in NAMED_IN {
            if !places.contains(&module(&path).as_str()) && code.contains(&format!("{name}::")) {
                wrong.push(format!("{} names {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_at_its_top_what_it_owns() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{} does not open with //!", path.display());
    }
}

#[test]
fn there_is_no_file_that_collects_everything() {
    for (path, _) in sources() {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert!(!["utils", "util", "common", "helpers", "types", "misc"].contains(&stem), "{}", path.display());
    }
}

#[test]
fn there_are_at_most_three_traits() {
    let traits: Vec<_> = sources()
        .iter()
        .flat_map(|(path, text)| {
            code(text)
                .lines()
                .filter(|line| line.starts_with("pub trait ") || line.starts_with("pub(crate) trait "))
                .map(|line| format!("{}: {line}", path.display()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(traits.len() <= 3, "{}", traits.join("\n"));
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let tops = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root.join(name));
    let mut wrong = Vec::new();
    for path in docs.chain(tops).filter(|path| path.extension().is_some_and(|ext| ext == "md")) {
        let text = fs::read_to_string(&path).unwrap();
        for rest in text.split("](").skip(1) {
            let link = rest.split([')', '#']).next().unwrap();
            if !link.is_empty() && !link.contains("://") && !path.parent().unwrap().join(link).exists() {
                wrong.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
