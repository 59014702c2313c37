//! The quick ways to a tree and to a decision say what the long ones say.

use proptest::prelude::*;

use super::*;
use crate::record::envelope::{Item, decode};

/// A value as text, in order or not: every number that a parser could round, escapes, keys that come twice.
fn any_text() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "0",
        "-0",
        "-1",
        "7",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "0.1",
        "3.141592653589793238462643",
        "1e23",
        "5e-324",
        "123456789012345678901234567890.5e-40",
        "1e999",
        "-1E-999",
        "01",
        "1.",
        "-",
        "null",
        "true",
        "nul",
        "\"\"",
        "\"plain\"",
        "\"é\\u00e9\\n\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud800\"",
        "\"\\x\"",
        "\"\t\"",
        "\"a long text that goes on behind the end of a block of sixty-four bytes, and has a \\\" in it\"",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 4, |value| {
        let key = prop::sample::select(vec!["a", "b", "A", "\\u0061", "$serde_json::private::RawValue"]);
        prop_oneof![
            prop::collection::vec(value.clone(), 0..4).prop_map(|list| format!("[{}]", list.join(" , "))),
            prop::collection::vec((key, value), 0..4).prop_map(|pairs| {
                let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", pairs.join(",\n"))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn a_tree_that_was_skimmed_is_the_one_that_a_parser_makes(text in any_text(), end in prop::sample::select(vec!["", " \n", ",", "}"])) {
        let text = text + end;
        let parsed = serde_json::from_str::<Value>(&text);
        if let Some(tree) = skim::whole::<Value>(&text) {
            prop_assert_eq!(format!("{:?}", tree), format!("{:?}", parsed.unwrap()), "{}", text);
        }
    }
}

#[test]
fn what_records_hold_is_skimmed() {
    for text in ["{\"a\":[1,-2,0.5,\"\\u00e9\",null,true]} ", "\"text\"", "18446744073709551615"] {
        assert!(skim::whole::<Value>(text).is_some(), "{text}");
    }
    assert!(skim::whole::<Value>("{} {}").is_none(), "two documents");
}

#[test]
fn what_is_known_of_a_record_without_its_tree_is_what_the_tree_says() {
    let (mut heads, mut dialects, mut nothing) = (0, 0, 0);
    for file in std::fs::read_dir("tests/fixtures/records").unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for item in decode(Some(&bytes)) {
            let Item::Record(raw) = item else { continue };
            let glance = raw.glance(&Dialects::shipped());
            let record = Record::read(&raw.json, position(), None);
            assert!(glance.dialect().is_none_or(|dialect| dialect == record.dialect), "{}", raw.json);
            match glance {
                Glance::Head(head) => {
                    assert_eq!(head.operation.as_deref(), record.operation.as_deref(), "{}", raw.json);
                    heads += 1;
                }
                Glance::Dialect(_) => dialects += 1,
                Glance::Nothing => nothing += 1,
            }
        }
    }
    assert!(heads > 0 && dialects > 0 && nothing > 0, "{heads}, {dialects}, {nothing}");
}

#[test]
fn properties_of_null_hide_none() {
    let record = reset().to_string();
    let end = record.len() - 1;
    for text in [format!("{},\"Properties\":null}}", &record[..end]), format!("{{\"Properties\":null,{}", &record[1..])]
    {
        assert_eq!(glance(&text).dialect(), Some(Dialect::EntraAudit), "{text}");
        assert_eq!(Record::read(&text, position(), None).dialect, Dialect::EntraAudit);
    }
}
