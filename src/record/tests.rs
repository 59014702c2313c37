//! The view of a record, and what its identity hangs on.

use serde_json::{Value, json};

use super::*;

mod activity;
mod checklist;
mod defender;
mod elastic;
mod entities;
mod forms;
mod identity;
mod news;
mod ours;
mod people;
mod quick;
mod revisions;
mod schemas;
mod view;

fn position() -> Position {
    Position { source: "-".into(), topic: None, partition: None, offset: None, index: 0 }
}

fn read(record: &Value) -> Record {
    Record::read(&record.to_string(), position(), None)
}

/// What the rule index is told of a record before its tree is built.
fn glance(raw: &str) -> Glance<'_> {
    head::glance(&Dialects::shipped(), head::first(raw), raw)
}

/// Whether all that `glance` says of `record` is so.
pub(super) fn agrees(glance: &Glance<'_>, record: &Record) -> bool {
    let names = |head: &Head<'_>| {
        (head.operation.as_deref(), head.activity.as_deref())
            == (record.operation.as_deref(), record.activity.as_deref())
    };
    glance.dialect().is_none_or(|dialect| dialect == record.dialect)
        && !matches!(glance, Glance::Head(head) if !names(head))
}

/// A reset as Core Directory writes it.
fn reset() -> Value {
    json!({
        "time": "2026-01-22T18:15:02.9Z", "resourceId": "/tenants/ABC/providers/Microsoft.aadiam", "tenantId": "ABC",
        "operationName": "Reset user password", "category": "AuditLogs", "callerIpAddress": "192.0.2.7",
        "correlationId": "outer", "identity": "Help", "Level": 4,
        "properties": {
            "id": "Directory_1", "category": "UserManagement", "correlationId": "c-1", "result": "success",
            "activityDisplayName": "Reset user password", "activityDateTime": "2026-01-22T18:15:02.3875429+00:00",
            "loggedByService": "Core Directory",
            "initiatedBy": {"user": {"id": "h-1", "userPrincipalName": "help@example.com", "displayName": null}},
            "targetResources": [{"id": "a-1", "type": "User", "userPrincipalName": "alice@example.com"}],
            "additionalDetails": [{"key": "User-Agent", "value": "Edge"}],
        },
    })
}

/// [`reset`] with `value` at `pointer`.
fn with(pointer: &str, value: Value) -> Value {
    let mut record = reset();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    record.pointer_mut(parent).unwrap()[key] = value;
    record
}

fn without(pointer: &str) -> Value {
    let mut record = reset();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    record.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    record
}

/// The printed view's value at `pointer`.
fn seen(record: &Value, pointer: &str) -> Value {
    let view = serde_json::to_value(read(record)).unwrap();
    // A detail that is not there has no key; every other has one.
    assert!(view.pointer(pointer).is_some() || pointer.starts_with("/details/"), "{pointer}");
    view.pointer(pointer).cloned().unwrap_or_default()
}

/// One inner field replaced.
fn properties(name: &str, value: Value) -> Value {
    with(&format!("/properties/{name}"), value)
}

/// The user who did it replaced.
fn user(value: &Value) -> Value {
    properties("initiatedBy", json!({ "user": value }))
}

/// Each: a sentence, a record, a place in its view, what stands there.
fn holds<const N: usize>(cases: [(&str, Value, &str, Value); N]) {
    for (what, record, pointer, expected) in cases {
        assert_eq!(seen(&record, pointer), expected, "{what}");
    }
}
