//! Bytes per second from messages to our view of their records, beside a bare `serde_json::Value` of the same bytes: the
//! glance that intake has for every record, and the whole view, which only those need that a rule asks for.

use std::hint::black_box;
use std::path::Path;

use auditbell::record::envelope::{Item, Raw, decode, decode_exactly};
use auditbell::record::{Dialects, Position};
use serde_json::Value;

use crate::kafka::{envelope, padded};
use crate::{Run, compare};

/// What one round reads at least.
const BYTES: usize = 4_000_000;

pub fn run(run: &Run) {
    let bytes = run.size(BYTES, BYTES / 20);
    let (all, fixtures) = (Dialects::shipped(), fixtures());
    let position = Position { source: "-".into(), topic: None, partition: None, offset: None, index: 0 };
    let of_filter = vec![envelope(&(0..10).map(|n| padded(n, "Update user", 2_000)).collect::<Vec<_>>())];
    let of_nobody = vec![envelope(&(0..10).map(of_nobody).collect::<Vec<_>>())];
    for (what, messages) in [
        ("fixtures of every dialect", fixtures),
        ("records of `filter`", of_filter),
        ("records of no dialect", of_nobody),
    ] {
        let once: usize = messages.iter().map(String::len).sum();
        let messages: Vec<String> = std::iter::repeat_n(messages, bytes.div_ceil(once)).flatten().collect();
        let total: usize = messages.iter().map(String::len).sum();
        let rounds = run.size(15, 1);
        let values = || messages.iter().for_each(|message| drop(black_box(trees(message))));
        let glance = |raw: Raw<'_>| drop(black_box(raw.glance(&all)));
        let glances = || each(&messages, decode, glance);
        let exact = || each(&messages, decode_exactly, glance);
        let views = || each(&messages, decode, |raw| drop(black_box(raw.read(&all, position.clone(), None))));
        println!("{what}, {} MB", total / 1_000_000);
        compare("glance", &glances, "Value", &values, total, rounds);
        compare("glance without the quick way", &exact, "Value", &values, total, rounds);
        compare("whole view", &views, "Value", &values, total, rounds);
    }
    println!("(wanted: 1.5)");
}

/// A record of 2 KB that nobody knows: of a service of Azure that logs requests.
fn of_nobody(n: usize) -> Value {
    let mut record = padded(n, "VaultGet", 2_000);
    let mut properties = std::mem::take(&mut record["properties"]);
    for name in ["activityDisplayName", "loggedByService", "targetResources", "initiatedBy"] {
        properties[format!("my{name}")] = std::mem::take(&mut properties[name]);
        properties.as_object_mut().unwrap().remove(name);
    }
    record["category"] = "AuditEvent".into();
    record["resourceId"] = "/SUBSCRIPTIONS/0F1E/PROVIDERS/MICROSOFT.KEYVAULT/VAULTS/V".into();
    record["properties"] = properties;
    record
}

/// What a message decodes to.
type Decode = for<'a> fn(Option<&'a [u8]>) -> Vec<Item<'a>>;

fn each(messages: &[String], decode: Decode, read: impl Fn(Raw<'_>)) {
    for item in messages.iter().flat_map(|message| decode(Some(message.as_bytes()))) {
        if let Item::Record(raw) = item {
            read(raw);
        }
    }
}

fn trees(message: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(message).into_iter().map(Result::unwrap).collect()
}

/// Those that a bare parser can read.
fn fixtures() -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records");
    let mut paths: Vec<_> = directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let is_json =
        |text: &String| serde_json::Deserializer::from_str(text).into_iter::<Value>().all(|value| value.is_ok());
    paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()).filter(is_json).collect()
}
