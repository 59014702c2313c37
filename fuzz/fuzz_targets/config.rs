//! Any bytes as a configuration file: no panic, and either a configuration or a fault, each with a place.
#![no_main]

use std::collections::BTreeMap;
use std::fs;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("auditbell.toml");
    fs::write(&path, bytes).expect("a temporary file");
    let report = auditbell::config::examine(&path, &BTreeMap::new());
    assert_eq!(report.config.is_some(), report.faults.is_empty());
    assert!(report.faults.iter().all(|fault| !fault.file.is_empty() && !fault.message.is_empty()));
});
