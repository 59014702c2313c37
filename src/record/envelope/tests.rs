//! Framings, recovery between broken neighbours, and bytes made to hurt.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::record::ProblemCode;

/// A record as short as one can be recognised.
fn good(n: usize) -> String {
    format!(r#"{{"time":"2026-01-22T18:15:02Z","n":{n},"targets":[{{"id":"x"}},{{"id":"y"}}]}}"#)
}

/// What came out, in a word each: `n` of a good record, `+` if it was mended, else the reason.
fn summary(message: &[u8]) -> Vec<String> {
    decode(Some(message)).iter().map(word).collect()
}

fn word(item: &Item<'_>) -> String {
    match item {
        Item::Record(raw) => {
            let tree: serde_json::Value = serde_json::from_str(&raw.json).expect("a record is JSON");
            let mended = if raw.problems.is_empty() { "" } else { "+" };
            format!("{}{mended}", tree["n"])
        }
        Item::Dead(dead) => dead.reason.as_str().to_owned(),
    }
}

#[test]
fn every_framing_gives_its_records_in_order() {
    let (a, b, c) = (good(1), good(2), good(3));
    let nested = serde_json::to_string(&format!("{{\"records\":[{a},{b}]}}")).unwrap();
    for (what, message, expected) in [
        ("an envelope, compact", format!("{{\"records\":[{a},{b}]}}"), vec!["1", "2"]),
        (
            "pretty, a line break after the bracket",
            format!("{{\n \"records\" : [\n{a}\n ,\r\n{b} ]\n}}\n"),
            vec!["1", "2"],
        ),
        ("`Records`", format!("{{\"Records\":[{a}]}}"), vec!["1"]),
        ("further keys before and after", format!("{{\"x\":{{\"y\":1}},\"records\":[{a}],\"z\":[2]}}"), vec!["1"]),
        ("the key twice: both lists count", format!("{{\"records\":[{a}],\"records\":[{b}]}}"), vec!["1", "2"]),
        ("a bare record", a.clone(), vec!["1"]),
        ("a list", format!("[{a},{b}]"), vec!["1", "2"]),
        ("a list of envelopes and records", format!("[{{\"records\":[{a},{b}]}},{c}]"), vec!["1", "2", "3"]),
        ("a record per line", format!("{a}\n{b}\n"), vec!["1", "2"]),
        ("an envelope per line, CR LF", format!("{{\"records\":[{a}]}}\r\n{{\"records\":[{b}]}}\r\n"), vec!["1", "2"]),
        ("documents without anything between", format!("{a}{{\"records\":[{b}]}}[{c}]"), vec!["1", "2", "3"]),
        ("a byte order mark", format!("\u{feff}{{\"records\":[{a}]}}"), vec!["1"]),
        ("JSON in a JSON string", nested, vec!["1", "2"]),
        ("a list of texts", serde_json::to_string(&[&a, &format!("[{b},{c}]")]).unwrap(), vec!["1", "2", "3"]),
        ("texts for records", format!("{{\"records\":{}}}", serde_json::to_string(&[&a]).unwrap()), vec!["1"]),
        (
            "a page of Graph's",
            format!("{{\"@odata.context\":\"x\",\"@odata.nextLink\":\"y\",\"value\":[{a},{b}]}}"),
            vec!["1", "2"],
        ),
        (
            "pages of Resource Manager's",
            format!("[{{\"value\":[{a}],\"nextLink\":\"y\"}},{{\"value\":[{b}]}}]"),
            vec!["1", "2"],
        ),
        ("the last page", "{\"value\":[]}".into(), vec![]),
        ("a record with values of its own", format!("{{\"n\":7,\"value\":[{a}]}}"), vec!["7"]),
        ("values that are no records", "{\"value\":[1,2]}".into(), vec!["null"]),
        ("one value", format!("{{\"value\":{a}}}"), vec!["null"]),
        ("no records", "{\"records\":[]}".into(), vec![]),
        ("null for records", "{\"records\":null}".into(), vec![]),
        ("an empty list", "[]".into(), vec![]),
        ("an empty object is a record", "{}".into(), vec!["null"]),
        ("`records` that is no list belongs to a record", "{\"n\":1,\"records\":5}".into(), vec!["1"]),
        (
            "elements that are no records",
            format!("{{\"records\":[null,{a},7,\"x\",[1]]}}"),
            vec!["not-a-record", "1", "not-a-record", "not-a-record", "not-a-record"],
        ),
        ("JSON null", "null".into(), vec!["not-a-record"]),
        ("a string with no JSON inside", "\"hello\"".into(), vec!["not-a-record"]),
        ("a number", "12".into(), vec!["not-a-record"]),
        ("nothing", String::new(), vec!["empty"]),
        ("white space", " \r\n".into(), vec!["empty"]),
    ] {
        assert_eq!(summary(message.as_bytes()), expected, "{what}: {message}");
    }
    assert_eq!(decode(None).iter().map(word).collect::<Vec<_>>(), ["empty"], "a tombstone");
}

#[test]
fn records_in_texts_are_unpacked_and_a_record_with_such_a_field_stays_one() {
    let (a, b, c) = (good(1), good(2), good(3));
    let text = |json: &str| serde_json::to_string(json).unwrap();
    for (what, message, expected) in [
        (
            "records in a text",
            format!("[{{\"x\":1,\"records\":{}}}]", serde_json::to_string(&format!("[{a},{b}]")).unwrap()),
            vec!["1", "2"],
        ),
        (
            "records in two texts",
            format!("{{\"records\":{0},\"Records\":{1}}}", text(&format!("[{a}]")), text(&format!("[{b}]"))),
            vec!["1", "2"],
        ),
        (
            "records in a list and in a text",
            format!("{{\"records\":{},\"Records\":[{a}]}}", text(&format!("[{b}]"))),
            vec!["1", "2"],
        ),
        (
            "a broken one in a text",
            format!("{{\"records\":{}}}", text(&format!("[{a},{{2 B]}},{c}]"))),
            vec!["1", "not-json", "3"],
        ),
        (
            "a record with a text of this name",
            "{\"n\":7,\"operationName\":\"Export\",\"records\":\"{\\\"a\\\":1}\"}".into(),
            vec!["7"],
        ),
        ("such a text that is no JSON", "{\"n\":7,\"records\":\"[redacted]\"}".into(), vec!["7"]),
    ] {
        assert_eq!(summary(message.as_bytes()), expected, "{what}: {message}");
    }
}

#[test]
fn a_broken_record_costs_no_neighbour() {
    let (a, c) = (good(1), good(3));
    for (what, broken, expected) in [
        ("binary put in by a database", r#"{"n":2,"properties":[227 B blob data]}"#, vec!["1", "not-json", "3"]),
        ("single quotes", r#"{"n":2,"properties":{'a':'it's "x"'}}"#, vec!["1", "2+", "3"]),
        ("raw line breaks in a string", "{\"n\":2,\"a\":\"x\r\n\ty\"}", vec!["1", "2+", "3"]),
        ("a brace too few", r#"{"n":2,"a":{"b":[{"id":"z"},{"id":"q"}]}"#, vec!["1", "not-json", "3"]),
        ("a brace too many", r#"{"n":2}}"#, vec!["1", "2", "3"]),
        ("a quote too few", r#"{"n":2,"a":"b,"c":{"d":"e"}}"#, vec!["1", "not-json", "3"]),
        (
            "a brace too few, after an object with a record's fields",
            r#"{"n":2,"properties":{"time":"x"}"#,
            vec!["1", "not-json", "3"],
        ),
        (
            "such an object in something broken",
            r#"{"n":2,"properties":{"time":"x"},"a":[2 B]}"#,
            vec!["1", "not-json", "3"],
        ),
        ("closed crosswise", r#"{"n":2,"a":[1,2}"#, vec!["1", "not-json", "3"]),
        ("no JSON at all", "garbage it's", vec!["1", "not-json", "3"]),
        ("scalars", "null,[1],12", vec!["1", "not-a-record", "not-a-record", "not-a-record", "3"]),
        ("the end of the envelope, too early", "]}", vec!["1", "3"]),
    ] {
        let message = format!("{{\"records\":[{a},{broken},{c}],\"PartitionId\":1}}");
        if serde_json::from_str::<serde_json::Value>(&message).is_err() {
            assert_eq!(summary(message.as_bytes()), expected, "{what}, in an envelope");
        }
        let lines = format!("{a}\n{broken}\n{c}\n");
        if what != "scalars" {
            assert_eq!(summary(lines.as_bytes()), expected, "{what}, among lines");
        }
    }
}

#[test]
fn a_dead_item_has_its_own_bytes_and_no_others() {
    let broken = r#"{"n":2,"properties":[227 B blob data]}"#;
    let message = format!("{{\"records\":[{}, {broken} ,{}]}}", good(1), good(3));
    let Item::Dead(dead) = &decode(Some(message.as_bytes()))[1] else { panic!("the broken one is dead") };
    assert_eq!(*dead.bytes, *broken.as_bytes());

    let cut = format!("{{\"records\":[{},{}", good(1), &good(2)[..30]);
    let items = decode(Some(cut.as_bytes()));
    assert_eq!(items.len(), 2);
    let Item::Dead(dead) = &items[1] else { panic!("what was cut off is dead") };
    assert_eq!(*dead.bytes, good(2).as_bytes()[..30]);
}

#[test]
fn bytes_that_are_no_text_are_replaced_inside_strings_and_dead_elsewhere() {
    let mut message = format!("{{\"records\":[{},", good(1)).into_bytes();
    message.extend(b"{\"n\":2,\"name\":\"caf\xE9\"},\xFF\xFE,");
    message.extend(format!("{}]}}", good(3)).bytes());
    assert_eq!(summary(&message), ["1", "2+", "not-utf8", "3"]);
    let Item::Record(raw) = &decode(Some(&message))[1] else { panic!("a record") };
    assert_eq!(raw.json, "{\"n\":2,\"name\":\"caf\u{FFFD}\"}");
    assert_eq!(raw.problems, [Problem::new(ProblemCode::TextCleaned)]);
}

#[test]
fn envelopes_in_order_beside_a_broken_line_are_unpacked() {
    let (a, b) = (good(1), good(2));
    for broken in [&b"garbage"[..], b"\xFF", b"{\"records\":[{\"n\":3,"] {
        let mut message = format!("{{\"records\":[{a},{b}]}}\n[{{\"records\":[{a}]}}]\n").into_bytes();
        message.extend(broken);
        message.extend(format!("\n{{\"records\":[{b},null]}}\n").bytes());
        let words = summary(&message);
        assert_eq!(words[..3], ["1", "2", "1"], "{}", String::from_utf8_lossy(broken));
        assert_eq!(words[4..], ["2", "not-a-record"], "{}", String::from_utf8_lossy(broken));
    }
}

#[test]
fn what_is_good_json_beside_a_broken_line_is_not_lost() {
    let nested = |open: &str, close: &str| format!("{}1{}", open.repeat(200), close.repeat(200));
    for (what, line, expected) in [
        ("a deep page", nested("{\"value\":", "}"), "too-large"),
        ("deep records", nested("{\"records\":", "}"), "too-large"),
        ("half a pair in a name", "{\"n\":2,\"\\ud800\":1}".to_owned(), "null"),
    ] {
        let message = format!("{}\n{line}\n{{\"n\":2 B}}\n{}\n", good(1), good(3));
        let words: Vec<_> = decode(Some(message.as_bytes())).iter().map(lenient_word).collect();
        assert_eq!(words, ["1", expected, "not-json", "3"], "{what}");
    }
}

/// [`word`], of a record with half a pair too.
fn lenient_word(item: &Item<'_>) -> String {
    match item {
        Item::Record(raw) if raw.json.contains("\\ud800") => "null".into(),
        item => word(item),
    }
}

#[test]
fn many_texts_made_to_hurt_have_one_budget() {
    let (hurts, few) = ("{".repeat(11_500), 40);
    let texts = vec![hurts.as_str(); few];
    let lines = format!("\"{hurts}\"\n").repeat(few);
    for message in [serde_json::to_string(&texts).unwrap(), lines] {
        let began = instant();
        assert_eq!(summary(message.as_bytes()), vec!["not-json"; few]);
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}, unoptimised", began.elapsed());
    }
}

#[test]
fn a_message_in_order_is_not_copied() {
    let message = format!("{{\"records\":[{},{}]}}", good(1), good(2));
    for item in decode(Some(message.as_bytes())) {
        let Item::Record(Raw { json: Cow::Borrowed(json), .. }) = item else { panic!("borrowed") };
        assert!(message.as_bytes().as_ptr_range().contains(&json.as_ptr()));
    }
}

#[test]
fn limits_have_their_edges_where_they_say() {
    let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    for (what, message, expected) in [
        ("as deep as may be", nested(MAX_DEPTH), vec!["null".to_owned()]),
        ("one deeper", nested(MAX_DEPTH + 1), vec!["too-large".into()]),
        ("deep in a string only", format!("{{\"n\":1,\"a\":\"{}\"}}", "[".repeat(500)), vec!["1".into()]),
        ("as many as may be", format!("[{}{{}}]", "{},".repeat(MAX_RECORDS - 1)), vec!["null".into(); MAX_RECORDS]),
        ("one more", format!("[{}{{}}]", "{},".repeat(MAX_RECORDS)), vec!["too-large".into()]),
        ("one more, broken", format!("[{}{{]", "{},".repeat(MAX_RECORDS)), vec!["too-large".into()]),
    ] {
        assert!(summary(message.as_bytes()) == expected, "{what}");
    }
    assert_eq!(summary(&[b' '; 10]), ["empty"]);
    let mut large = vec![b' '; MAX_MESSAGE];
    large[0] = b'7';
    assert_eq!(summary(&large), ["not-a-record"]);
    large.push(b' ');
    assert_eq!(summary(&large), ["too-large"]);
}

#[test]
fn poison_is_one_dead_item_or_read_and_is_done_with_soon() {
    let gzip = [&[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3][..], &[0xAB, b'{', 0x56, b'"', 0x2A, b'[', b'}', 0]].concat();
    for (what, message, expected) in [
        ("0xFF, a mebibyte", vec![0xFF; 1 << 20], "not-utf8"),
        ("gzip", gzip, "not-utf8"),
        ("NUL", vec![0; 1000], "not-json"),
        ("UTF-16", "{\"n\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect(), "not-json"),
        ("10,000 deep", format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)).into_bytes(), "not-a-record"),
        (
            "10,000 deep and a record",
            format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000)).into(),
            "too-large",
        ),
        ("10,000 deep and never closed", "[".repeat(10_000).into_bytes(), "not-json"),
        ("1,000 times one key", format!("{{{}\"n\":7}}", "\"n\":1,".repeat(1_000)).into_bytes(), "7"),
        ("a lone surrogate", br#"{"n":"\ud800"}"#.to_vec(), ""),
        // Made to be read again from every place where a record could begin.
        ("opened over and over", r#"{"a":[1,"#.repeat(100_000).into_bytes(), "not-json"),
        ("envelopes in envelopes", r#"{"records":["#.repeat(100_000).into_bytes(), "not-json"),
        ("ends of envelopes", r#"],"a":["b""#.repeat(100_000).into_bytes(), "not-json"),
        ("quotes", "'\"".repeat(500_000).into_bytes(), "not-json"),
    ] {
        let began = instant();
        let items = decode(Some(&message));
        assert_eq!(items.len(), 1, "{what}");
        if !expected.is_empty() {
            assert_eq!(word(&items[0]), expected, "{what}");
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{what}: {:?}, unoptimised", began.elapsed());
    }
}

/// For a bound on a test's own duration only.
fn instant() -> Instant {
    Instant::now()
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[{}\\[\\]:,'\"\\\\ \nn1re]{0,80}") {
        decode(Some(&bytes));
        decode(Some(text.as_bytes()));
    }

    #[test]
    fn good_records_survive_any_garbage_between_them(
        garbage in prop::collection::vec(prop_oneof![
            "[^{\\[\"'\n]{0,20}".prop_map(String::into_bytes),
            "[{}\\[\\]:,\"'a1 ]{0,12}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..20),
        ], 1..4),
        lines in any::<bool>(),
    ) {
        let (open, separator, close) = if lines { ("", "\n", "\n") } else { ("{\"records\":[", ",", "]}") };
        let mut message = format!("{open}{}", good(0)).into_bytes();
        for (n, garbage) in garbage.iter().enumerate() {
            message.extend(separator.bytes());
            message.extend(garbage);
            message.extend(format!("{separator}{}", good(n + 1)).bytes());
        }
        message.extend(close.bytes());
        // `{"a":[` makes a record out of the one after it; nobody can tell it from one that was meant.
        prop_assume!(!garbage.iter().any(|garbage| garbage.windows(2).any(|pair| pair == b"\":")));
        let words = summary(&message);
        for n in 0..=garbage.len() {
            let n = n.to_string();
            prop_assert!(words.iter().any(|word| word.trim_end_matches('+') == n), "{n} of {words:?} in {}", String::from_utf8_lossy(&message));
        }
    }
}

#[test]
fn a_lone_quotation_mark_after_an_early_end_costs_no_record() {
    // It opens a text that reaches to the first name of the next record. Found by the property above.
    for garbage in ["1]}\"", "\"\"]}\"", " 1]}\"}", "{}]}\""] {
        let message = format!("{{\"records\":[{},{garbage},{}]}}", good(0), good(1));
        let words = summary(message.as_bytes());
        assert!(["0", "1"].iter().all(|n| words.iter().any(|word| word == n)), "{garbage}: {words:?}");
    }
}

/// Both ways give the same records with the same heads, or the quick one leaves the message alone. Whether it took it.
fn agree(message: &str) -> bool {
    let Some(quick) = quick::items(message) else { return false };
    let exact = decode_exactly(Some(message.as_bytes()));
    let heads = |items: &[Item<'_>]| {
        let head = |item: &Item<'_>| match item {
            Item::Record(raw) => {
                Ok((raw.json.to_string(), raw.problems.clone(), format!("{:?}", raw.glance(&Dialects::shipped()))))
            }
            Item::Dead(dead) => Err(dead.reason),
        };
        items.iter().map(head).collect::<Vec<_>>()
    };
    assert_eq!(heads(&quick), heads(&exact), "{message}");
    true
}

#[test]
fn the_quick_way_takes_what_is_in_order_and_leaves_the_rest() {
    let (a, b) = (good(1), good(2));
    for (what, message, taken) in [
        ("an envelope", format!("{{\"records\":[{a},{b}]}}"), true),
        (
            "`Records`, pretty, further keys behind",
            format!("{{ \"Records\" :\n[ {a} ,\r\n {b}\n] , \"x\": [1] }}\n"),
            true,
        ),
        ("no records", "{\"records\":[]}".into(), true),
        ("a bare record", a.clone(), true),
        ("a list of records and envelopes", format!("[{a},{{\"records\":[{b}]}}]"), true),
        ("a record per line", format!("{a}\n{b}\n"), true),
        ("further keys before", format!("{{\"x\":1,\"records\":[{a}]}}"), false),
        ("the key twice", format!("{{\"records\":[{a}],\"RECORDS\":[{b}]}}"), false),
        ("the key escaped", "{\"recor\\u0064s\":[{}]}".into(), false),
        ("the key twice, once escaped", format!("{{\"records\":[{a}],\"recor\\u0064s\":[{b}]}}"), false),
        ("null for records", "{\"records\":null}".into(), false),
        ("a page", format!("{{\"value\":[{a}]}}"), false),
        ("a list of texts", "[\"{}\"]".into(), false),
        ("an element that is no record", format!("{{\"records\":[{a},null]}}"), false),
        ("an element that is a list", format!("[[{a}]]"), false),
        ("a comma too many", format!("{{\"records\":[{a},]}}"), false),
        ("two commas", format!("{{\"records\":[{a},,{b}]}}"), false),
        ("a comma too few", format!("{{\"records\":[{a}{b}]}}"), false),
        ("a comma before the end of a record", "{\"a\":1,}".into(), false),
        ("a comma before the end of what is passed over", "{\"a\":{\"b\":[1,]}}".into(), false),
        ("a key without a value", "{\"a\"}".into(), false),
        ("a key that is no text", "{\"a\":{1:2}}".into(), false),
        ("closed crosswise", "{\"a\":[{\"b\":1]}}".into(), false),
        ("a control character in a text", "{\"a\":\"x\ty\"}".into(), false),
        ("a control character in a key", "{\"a\":{\"x\ny\":1}}".into(), false),
        ("no escape", "{\"a\":\"\\x\"}".into(), false),
        ("half an escape", "{\"a\":\"\\u12\"}".into(), false),
        ("half a pair where nobody looks", "{\"a\":\"\\ud800\"}".into(), true),
        ("half a pair in a name", "{\"operationName\":\"\\ud800\"}".into(), false),
        ("escapes in a name", "{\"operationName\":\"a \\u2013 \\\"b\\\"\"}".into(), true),
        ("numbers", "{\"a\":[0,-0,1.5e+3,1e999],\"category\":7}".into(), true),
        ("a number without end in a name's place", "{\"category\":1e999}".into(), false),
        ("a leading zero", "{\"a\":[01]}".into(), false),
        ("a point without digits", "{\"a\":[1.]}".into(), false),
        ("a word cut short", "{\"a\":nul}".into(), false),
        ("a word too long", "{\"a\":nullx}".into(), false),
        ("cut off", a[..a.len() - 1].to_owned(), false),
        ("cut off in a text", "{\"a\":\"x".into(), false),
        ("cut off in an escape", "{\"a\":\"x\\".into(), false),
        ("something behind", format!("{a} x"), false),
        ("nothing", String::new(), false),
        ("white space", " \n".into(), false),
        ("deep", format!("{}1{}", "{\"a\":".repeat(120), "}".repeat(120)), true),
        ("deeper", format!("{}1{}", "{\"a\":".repeat(121), "}".repeat(121)), false),
        ("deeper in a list", format!("{{\"a\":{}{}}}", "[".repeat(127), "]".repeat(127)), false),
        ("as many as may be", format!("[{}{{}}]", "{},".repeat(MAX_RECORDS - 1)), true),
        ("one more", format!("[{}{{}}]", "{},".repeat(MAX_RECORDS)), false),
    ] {
        assert_eq!(agree(&message), taken, "{what}: {message:.200}");
    }
}

/// JSON with every token, names that the head asks for among the keys, and sometimes a slip.
fn json_like() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        "[a-z é{}\\[\\],:]{0,70}",
        r#"(\\\\|\\"|\\u00e9|\\ud83d\\ude00|\\ud800|\\x|x){0,6}"#,
        Just("AuditLogs".to_owned()),
        Just("/tenants/x/providers/Microsoft.aadiam".to_owned()),
        Just("Microsoft.Security/assessments".to_owned()),
        Just("{\\\"riskEventType\\\":\\\"x\\\"}".to_owned()),
    ];
    let text = text.prop_map(|text| format!("\"{text}\""));
    let scalar =
        prop_oneof![text, "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,2})?([eE][+-]?[0-9]{1,3})?", "null|true|false|01|nul|-|"];
    let key = prop_oneof![
        "[a-z]{0,3}",
        prop::sample::select(vec![
            "records",
            "Records",
            "properties",
            "operationName",
            "OPERATIONNAME",
            "activityDisplayName",
            "category",
            "resourceId",
            "loggedByService",
            "type",
            "riskEventType",
            "message",
            "_source",
            "value",
            "time",
        ])
        .prop_map(str::to_owned),
    ];
    let gap = prop_oneof![8 => Just(""), 1 => Just(" "), 1 => Just("\n\t")];
    scalar.prop_recursive(4, 40, 5, move |inner| {
        let pair = (key.clone(), gap.clone(), inner.clone()).prop_map(|(key, gap, value)| format!("\"{key}\"{gap}:{gap}{value}"));
        prop_oneof![
            3 => (prop::collection::vec(pair, 0..5), gap.clone()).prop_map(|(pairs, gap)| format!("{{{gap}{}}}", pairs.join(&format!("{gap},{gap}")))),
            1 => prop::collection::vec(inner, 0..4).prop_map(|values| format!("[{}]", values.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn the_quick_way_gives_what_the_exact_one_gives(
        records in prop::collection::vec(json_like(), 0..4),
        lines in any::<bool>(),
        slip in prop::option::of((any::<prop::sample::Index>(), "[{}\\[\\]:,\"\\\\ \n0a]?")),
    ) {
        let mut message = if lines { records.join("\n") } else { format!("{{\"records\":[{}]}}", records.join(",")) };
        if let Some((place, instead)) = slip && !message.is_empty() {
            let (start, char) = message.char_indices().nth(place.index(message.chars().count())).unwrap();
            message.replace_range(start..start + char.len_utf8(), &instead);
        }
        agree(&message);
    }
}
