//! `messages show`: one message with everything that is known of it.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::print;
use crate::cli::store::with;
use crate::cli::{Options, Output, exit, out};
use crate::plan::NotificationId;
use crate::record::Dialects;
use crate::record::view::View;
use crate::store::operate::{Detail, Kept, Relative};

/// Shows the message of `key`; 1 if there is none.
pub(super) fn run(options: &Options, key: NotificationId, raw: bool) -> Result<ExitCode, ExitCode> {
    let config = options.file.load()?;
    let Some(detail) = with(&config, |store| async move { store.message(key).await })? else {
        eprintln!("{key}: no such message");
        return Ok(ExitCode::from(exit::FAILED));
    };
    match options.output {
        Output::Json => {
            let mut value = json!(detail);
            value["records"] = detail.records.iter().map(|kept| view(&config.dialects, kept, raw)).collect();
            out::json(&value);
        }
        Output::Text => {
            print_detail(&detail);
            for kept in &detail.records {
                print_record(&config.dialects, kept, raw);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_detail(Detail { message, notifications, tries, stands_for, escalations, .. }: &Detail) {
    print(message);
    let line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            outln!("  {name}: {value}");
        }
    };
    line("address", message.address.clone());
    line("due", message.due_at.map(|at| at.to_string()));
    line("expires", Some(message.expires_at.to_string()));
    line("done", message.done_at.map(|at| at.to_string()));
    line("reply", message.reply.clone());
    line("reference", message.reference.clone());
    for one in notifications {
        let (origin, reason) = (one.origin.as_deref().unwrap_or("-"), one.reason.as_deref().unwrap_or("-"));
        outln!("  notification {} {} {} {origin} reason={reason}", one.id, one.rule, one.at);
    }
    for one in tries {
        outln!("  attempt {} {} {} {}", one.n, one.at, one.verdict, one.reply.as_deref().unwrap_or_default());
    }
    line("stands for", stands_for.as_ref().map(relative));
    for one in escalations {
        line("escalated to", Some(relative(one)));
    }
}

fn relative(Relative { key, kind, state, channel, recipient }: &Relative) -> String {
    format!("{key} {kind} {state} {channel} {recipient}")
}

/// The record as it reads today; its position and dialect alone where its body is past the content retention.
fn view(dialects: &Dialects, kept: &Kept, raw: bool) -> Value {
    let Some(body) = body(kept) else {
        return json!({ "position": kept.position, "dialect": kept.dialect, "time": kept.at });
    };
    let record = dialects.read(&body, kept.position.clone(), kept.broker_time);
    let mut value = json!(View::from(&record));
    if raw {
        value["raw"] = serde_json::from_str(&body).unwrap_or(Value::String(body));
    }
    value
}

fn print_record(dialects: &Dialects, kept: &Kept, raw: bool) {
    let place = &kept.position;
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let topic = place.topic.as_deref().unwrap_or("-");
    let (partition, offset) = (number(place.partition.map(i64::from)), number(place.offset));
    let body = body(kept);
    let operation = match &body {
        Some(body) => dialects.read(body, place.clone(), kept.broker_time).operation.unwrap_or_else(|| "-".to_owned()),
        None => "(past [store] content)".to_owned(),
    };
    let source = &place.source;
    outln!("  record {source}:{topic}:{partition}:{offset}:{} {} {} {operation}", place.index, kept.dialect, kept.at);
    if let Some(body) = body.filter(|_| raw) {
        outln!("    {body}");
    }
}

fn body(kept: &Kept) -> Option<String> {
    kept.body.as_ref().map(|body| String::from_utf8_lossy(body).into_owned())
}
