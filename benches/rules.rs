//! What the number of rules costs: messages to decisions by 5 rules and by 500, of which the same records match.

use std::hint::black_box;

use auditbell::clock::Timestamp;
use auditbell::lookup::Lookups;
use auditbell::record::envelope::{Item, decode};
use auditbell::record::{Dialect, Dialects, Position};
use auditbell::rules::{Known, Rule, Rules, catalogue, parse};
use toml::de::DeTable;

use crate::kafka::{envelope, padded};
use crate::{Run, compare};

const PER_ENVELOPE: usize = 10;
/// Operations that the stream has.
const STREAM: usize = 100;

pub fn run(run: &Run) {
    let audits = catalogue::all().iter().filter(|operation| operation.dialect == Dialect::EntraAudit);
    let names: Vec<&str> = audits.map(|operation| operation.name).collect();
    let records = run.size(5_000, 200);
    let record = |n: usize| padded(n, names[n % STREAM], 2_000);
    let messages: Vec<String> = (0..records / PER_ENVELOPE)
        .map(|n| envelope(&(0..PER_ENVELOPE).map(|k| record(n * PER_ENVELOPE + k)).collect::<Vec<_>>()))
        .collect();
    let bytes = messages.iter().map(String::len).sum();
    let rounds = run.size(15, 1);

    let five: Vec<Rule> = (0..5).map(|n| rule(n, names[n], "success")).collect();
    // Others about the same operations, which do not match, and about operations that do not come.
    let same = (5..50).map(|n| rule(n, names[n % 5], "failure"));
    let rest = (50..500).map(|n| rule(n, names[STREAM + n - 50], "success"));
    let many = five.iter().cloned().chain(same).chain(rest).collect();
    // Nothing is as bad: every record is asked for by five of them, and fulfils one.
    let worst = (0..500).map(|n| rule(n, names[n % STREAM], if n < STREAM { "success" } else { "failure" })).collect();

    let [five, many, worst] = [five, many, worst].map(Rules::new);
    assert_eq!((five.iter().count(), many.iter().count(), worst.iter().count()), (5, 500, 500));
    let matches = [&five, &many, &worst].map(|rules| decide(rules, &messages));
    assert_eq!(matches, [records / 20, records / 20, records]);
    println!("{records} records of 2 KB, {STREAM} operations");
    let by = |rules: &Rules| {
        let (rules, messages) = (rules.clone(), &messages);
        move || {
            black_box(decide(&rules, messages));
        }
    };
    compare("5 rules", &by(&five), "500 rules", &by(&many), bytes, rounds);
    compare("5 rules", &by(&five), "500, every record is asked for and told", &by(&worst), bytes, rounds);
    println!("(wanted: 500 rules cost at most 2 times as much)");
}

fn rule(n: usize, operation: &str, result: &str) -> Rule {
    let operation = toml::Value::from(operation);
    let text = format!(
        "id = \"rule-{n}\"\ndescription = \"d\"\non = \"entra.audit\"\nto = [\"target\"]\nchannels = [\"email\"]\n\
         template = \"t\"\nwhen = {{ operation = {operation}, result = \"{result}\" }}\n"
    );
    let scope = parse::Scope { channels: vec!["email".into()], ..parse::Scope::default() };
    let table = DeTable::parse(&text).unwrap();
    parse::rule(table.get_ref(), 0..text.len(), &scope, &mut |_, key, fault| panic!("{key}: {fault}")).unwrap()
}

/// As intake does it; how many matches.
fn decide(rules: &Rules, messages: &[String]) -> usize {
    let (dialects, lookups) = (Dialects::shipped(), Lookups::default());
    let known = Known { now: Timestamp::from_millis(1_769_105_762_387), lookups: &lookups };
    let position = Position { source: "-".into(), topic: None, partition: None, offset: None, index: 0 };
    let mut matches = 0;
    for item in messages.iter().flat_map(|message| decode(Some(message.as_bytes()))) {
        let Item::Record(raw) = item else { panic!("only records") };
        if rules.may_want(&raw.glance(&dialects)) {
            matches += rules.matching(&raw.read(&dialects, position.clone(), None), known).len();
        }
    }
    matches
}
