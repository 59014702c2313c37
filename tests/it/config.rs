//! The configuration through its door: files and variables in, a `Config` or every fault with its place out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use auditbell::config::{self, Report};

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn examine(path: &Path) -> Report {
    config::examine(path, &BTreeMap::new())
}

#[test]
fn every_good_configuration_loads() {
    for entry in fs::read_dir(shipped("tests/configs/good")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            assert_eq!(examine(&path).faults, [], "{}", path.display());
        }
    }
}
