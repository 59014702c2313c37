//! How old a record is to whoever counts its age.

use super::*;

#[test]
fn a_thing_is_as_young_as_what_was_last_written_of_it_and_an_event_as_what_happened() {
    let (old, new) = ("2026-01-02T00:00:00Z", "2026-01-22T18:15:02Z");
    let risk = |inner: Value| json!({"category": "UserRiskEvents", "properties": inner});
    let activity = json!({"operationName": "Microsoft.Security/locations/alerts/resolve/action", "category": "Security", "resourceId": "/subscriptions/a", "time": new, "properties": {"eventName": "x"}});
    for (what, record, expected) in [
        ("an alert that was closed", json!({"SystemAlertId": "a", "StartTimeUtc": old, "EndTimeUtc": new}), new),
        (
            "one that was raised late",
            json!({"SystemAlertId": "a", "StartTimeUtc": old, "EndTimeUtc": old, "TimeGenerated": new}),
            new,
        ),
        ("one about which nothing else is said", json!({"SystemAlertId": "a", "StartTimeUtc": old}), old),
        (
            "one without an end",
            json!({"SystemAlertId": "a", "StartTimeUtc": old, "EndTimeUtc": "0001-01-01T00:00:00Z"}),
            old,
        ),
        (
            "one of Resource Manager's",
            json!({"type": "Microsoft.Security/locations/alerts", "properties": {"systemAlertId": "a", "startTimeUtc": old, "timeGeneratedUtc": new}}),
            new,
        ),
        (
            "an incident of Graph's",
            json!({"id": "i", "incidentWebUrl": "x", "createdDateTime": old, "lastUpdateDateTime": new}),
            new,
        ),
        ("what the Activity log says of one", activity, new),
        (
            "a risk that was dismissed",
            risk(json!({"id": "r", "activityDateTime": old, "lastUpdatedDateTime": new})),
            new,
        ),
        (
            "an alert of Elastic's that is over",
            json!({"kibana.alert.uuid": "e", "kibana.alert.start": old, "kibana": {"alert": {"end": new}}}),
            new,
        ),
        (
            "one that still stands, however often it is written",
            json!({"kibana.alert.uuid": "e", "kibana.alert.start": old, "@timestamp": new, "kibana.alert.last_detected": new, "kibana.alert.updated_at": new}),
            old,
        ),
        (
            "one of a detection rule that was late",
            json!({"kibana.alert.uuid": "e", "kibana.alert.original_time": old, "@timestamp": new}),
            new,
        ),
        (
            "an assessment, by since when",
            json!({"type": "Microsoft.Security/assessments", "id": "a", "properties": {"status": {"code": "Healthy", "statusChangeDate": old}}, "time": new}),
            old,
        ),
        ("an event, whenever it was written", with("/time", json!("2026-02-22T00:00:00Z")), "2026-01-22T18:15:02.387Z"),
    ] {
        let news = read(&record).news().map(|at| at.to_string());
        assert_eq!(news, Some(time::parse(expected).unwrap().to_string()), "{what}");
    }
    let timeless = json!({"SystemAlertId": "a"}).to_string();
    assert_eq!(Record::read(&timeless, position(), Some(Timestamp::from_millis(1))).news(), None, "not the broker's");
}
