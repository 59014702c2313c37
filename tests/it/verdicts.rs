//! `docs/verdicts.md` is the closed vocabulary: every reason in it is in the code, and what the code can say is in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use auditbell::channels::outcome::Outcome;
use auditbell::channels::smtp::reply::{self, Reply};
use auditbell::channels::smtp::verdict::{End, Event, Phase};
use auditbell::channels::web::failure::{Failure, Fault};
use auditbell::channels::{Permission, graph, webhook};
use auditbell::people::Refusal;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of every file below `dir`, its tests left out.
fn sources(dir: &Path, out: &mut String) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            out.push_str(fs::read_to_string(&path).unwrap().split("#[cfg(test)]\nmod tests {").next().unwrap());
        }
    }
}

/// The words in back quotes in the second column of every table.
fn documented() -> BTreeSet<String> {
    let page = fs::read_to_string(root().join("docs/verdicts.md")).unwrap();
    let cells = page.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(2));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Every text that directly follows one of `openings`.
fn said(code: &str, openings: &[&str]) -> BTreeSet<String> {
    let follow = openings.iter().flat_map(|opening| code.match_indices(opening).map(|(at, _)| at + opening.len()));
    follow.filter_map(|at| code[at..].split('"').next()).map(str::to_owned).collect()
}

#[test]
fn every_documented_reason_is_in_the_code() {
    let mut code = String::new();
    sources(&root().join("src"), &mut code);
    let documented = documented();
    assert!(documented.len() > 20, "{documented:?}");
    let unknown: Vec<_> = documented.iter().filter(|reason| !code.contains(&format!("\"{reason}\""))).collect();
    assert!(unknown.is_empty(), "in docs/verdicts.md, and nowhere in src/: {unknown:?}");
}

#[test]
fn what_the_code_can_say_is_documented() {
    let mut code = String::new();
    for dir in ["plan", "dispatch", "channels"] {
        let dir = root().join("src").join(dir);
        if dir.exists() {
            sources(&dir, &mut code);
        }
    }
    let openings = [
        "reason: \"",
        "nobody.or(Some(\"",
        "then_some(\"",
        "Verdict::Muted, \"",
        "Verdict::Skipped, \"",
        "Never(\"",
        "never(\"",
        "Hold(\"",
        "unresolved(message, \"",
        "why: \"",
    ];
    let mut said = said(&code, &openings);
    let refusals = [
        Refusal::Guest,
        Refusal::Placeholder,
        Refusal::ForeignDomain,
        Refusal::NoAddress,
        Refusal::Undeliverable,
        Refusal::NoManager,
        Refusal::NoValue,
    ];
    said.extend(refusals.map(|refusal| refusal.as_str().to_owned()));
    for plan in ["too-old", "before-rule", "shadow", "no-user", "no-identity", "except"] {
        assert!(said.contains(plan), "{plan} is not found where plan says it: {said:?}");
    }
    let missing: Vec<_> = said.difference(&documented()).cloned().collect();
    assert!(missing.is_empty(), "said by src/, and not in docs/verdicts.md: {missing:?}");
}

/// The reason in an outcome.
fn reason(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Never(reason) | Outcome::Hold(reason) => Some(reason),
        Outcome::Sent | Outcome::Later | Outcome::Ambiguous => None,
    }
}

/// What is computed is not seen by reading the code: here every judgement is made.
#[test]
fn whatever_the_channels_judge_has_a_documented_reason() {
    let enhanced =
        ["", "5.1.1 ", "5.1.3 ", "5.1.8 ", "5.1.10 ", "5.2.2 ", "5.2.3 ", "5.3.4 ", "5.7.1 ", "5.7.23 ", "5.7.26 "];
    let reply = |code: u16, enhanced: &str| -> Reply {
        reply::parse(format!("{code} {enhanced}words\r\n").as_bytes()).unwrap().unwrap().0
    };
    let replies = (200..600).flat_map(|code| enhanced.map(|enhanced| Event::Reply(reply(code, enhanced))));
    let others = [Event::Timeout, Event::Closed, Event::Io("reset".into()), Event::Surplus, Event::Unfit("no")];
    let events: Vec<Event> = replies.chain(others).collect();
    let ends =
        Phase::ALL.iter().flat_map(|phase| events.iter().map(|event| End { phase: *phase, event: event.clone() }));
    let smtp = ends.filter_map(|end| reason(end.judge().0)).collect::<BTreeSet<_>>();
    assert!(smtp.len() > 12, "{smtp:?}");

    let words = ["", "ErrorInvalidRecipients", "ErrorMessageSizeExceeded"];
    let answers = (100..=999).flat_map(|status| {
        words.map(|word| graph::judge(status, word).0).into_iter().chain([webhook::judge(status).0])
    });
    let withdrawn = [Permission::Lost, Permission::Stopping].map(Fault::Withdrawn);
    let faults = [Fault::Forbidden, Fault::Resolve, Fault::Connect, Fault::Tls, Fault::Timeout, Fault::Broken];
    let failures = faults
        .into_iter()
        .chain(withdrawn)
        .flat_map(|fault| [true, false].map(|written| Failure { fault, written, detail: String::new() }.judge().0));
    // A session that broke in one of these pauses the channel by that word.
    let broken = Phase::ALL.map(Phase::name);
    let said = smtp.into_iter().chain(answers.chain(failures).filter_map(reason)).chain(broken);
    let documented = documented();
    let missing: BTreeSet<&str> = said.filter(|reason| !documented.contains(*reason)).collect();
    assert!(missing.is_empty(), "judged by src/channels, and not in docs/verdicts.md: {missing:?}");
}
