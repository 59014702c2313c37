//! Owns every metric: name, labels, unit and help, in one table. Each row is a function that gives the handle, so a label
//! can be neither forgotten nor misspelt. `docs/metrics.md` is held equal to the table by a test.
//!
//! Labels come only from the configuration (rule, channel, source, topic, partition) or from closed sets (verdict, reason,
//! dialect): never an address, a user or text of a record.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::metrics::{SharedString, Unit};
use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// With the prefix `auditbell_`.
    pub name: &'static str,
    /// Label names, in the order of the function's arguments.
    pub labels: &'static [&'static str],
    /// What a value counts.
    pub unit: Unit,
    /// One line for people.
    pub help: &'static str,
}

macro_rules! handle {
    (counter) => {
        ::metrics::Counter
    };
    (gauge) => {
        ::metrics::Gauge
    };
    (histogram) => {
        ::metrics::Histogram
    };
}

macro_rules! table {
    ($($kind:ident $function:ident = $name:literal ($($label:ident),*) $unit:ident $help:literal;)*) => {
        /// The table.
        pub const ALL: &[Metric] = &[$(Metric {
            kind: stringify!($kind),
            name: concat!("auditbell_", $name),
            labels: &[$(stringify!($label)),*],
            unit: Unit::$unit,
            help: $help,
        }),*];
        $(
            #[doc = $help]
            pub fn $function($($label: impl Into<SharedString>),*) -> handle!($kind) {
                ::metrics::$kind!(concat!("auditbell_", $name) $(, stringify!($label) => $label.into())*)
            }
        )*
    };
}

table! {
    gauge build_info = "build_info" (version) Count "1, labelled with the version that runs.";
    gauge config_hash = "config_hash" () Count "First 48 bits of the hash of the configuration that runs.";
    gauge config_last_reload_successful = "config_last_reload_successful" () Count "1 if the last start or reload of the configuration was taken over, 0 if it was refused and the old one stays.";
    gauge config_last_reload_success = "config_last_reload_success_timestamp_seconds" () Seconds "When a configuration was last taken over.";
    counter envelopes = "envelopes_total" (source) Count "Kafka messages accepted.";
    counter records = "records_total" (source, dialect) Count "Records read, by dialect.";
    counter records_refused = "records_refused_total" (source, reason) Count "Records refused before planning; `too_old`: older than the ledger remembers.";
    histogram record_age = "record_age_seconds" (source) Seconds "From a matching record's own time to its acceptance in the store.";
    counter dead_letters = "dead_letters_total" (source, reason) Count "Messages and records that could not be read.";
    counter rule_matches = "rule_matches_total" (rule) Count "Records that a rule matched.";
    gauge rule_last_match = "rule_last_match_timestamp_seconds" (rule) Seconds "When a rule last matched; 0: never.";
    counter notifications = "notifications_total" (rule, channel, verdict, reason) Count "Notifications by their verdict.";
    counter recipient_resolutions = "recipient_resolutions_total" (result) Count "Directory answers: found, unknown, or the reason of a refusal.";
    gauge messages = "messages" (channel, state) Count "Messages in the store: `free`, `claimed`, `suspect` (in hand at a crash), `held` (by the brake), `orphaned` (their channel is gone).";
    counter messages_held = "messages_held_total" (rule, channel) Count "New messages that the brake held instead of sending.";
    gauge oldest_pending = "oldest_pending_timestamp_seconds" (channel) Seconds "When the oldest pending message was created; 0 when none is pending.";
    counter attempts = "attempts_total" (channel, verdict, reason) Count "Delivery attempts by verdict.";
    histogram attempt_duration = "attempt_duration_seconds" (channel) Seconds "How long one delivery attempt took.";
    histogram end_to_end = "end_to_end_seconds" (channel) Seconds "From a record's own time to the server's acceptance of its message.";
    gauge channel_connections = "channel_connections" (channel) Count "Open connections to the relays; of SMTP channels only.";
    gauge channel_open = "channel_open" (channel, reason) Count "1 while no way out of the channel works, for this reason (the breaker is open, and a probe is tried now and then; or all the few that wait are put off again and again).";
    counter channel_hold = "channel_hold_total" (channel, reason) Count "Attempts that ended without a fault of the message and cost it nothing; of `rate` also how often it was used up.";
    gauge channel_paused_until = "channel_paused_until_timestamp_seconds" (channel, reason) Seconds "Until when the channel begins nothing (of `rate`: nothing that is not urgent), for this reason; 0 when that is over.";
    gauge kafka_lag = "kafka_lag" (source, topic, partition) Count "Messages between our position and the end of the partition.";
    gauge kafka_position = "kafka_position" (source, topic, partition) Count "The next offset to accept.";
    counter kafka_lost_records = "kafka_lost_records_total" (source, topic, partition) Count "Messages that the broker deleted before we could read them.";
    gauge kafka_assigned_partitions = "kafka_assigned_partitions" (source) Count "Partitions assigned to this process.";
    counter kafka_rebalances = "kafka_rebalances_total" (source) Count "Rebalances of the consumer group seen.";
    gauge kafka_last_poll = "kafka_last_poll_timestamp_seconds" (source) Seconds "When the Kafka thread last polled.";
    gauge source_held = "source_held" (source, reason) Count "1 while reading is held for this reason.";
    gauge store_bytes = "store_bytes" () Bytes "Size of the store on disk.";
    gauge store_free_bytes = "store_free_bytes" () Bytes "Free space on the store's disk.";
    histogram store_commit = "store_commit_seconds" () Seconds "How long one commit took, fsync included.";
    histogram store_batch_rows = "store_batch_rows" () Count "Commands grouped into one commit.";
    counter template_errors = "template_errors_total" (template) Count "Messages whose template failed to render.";
    gauge credential_expiry = "credential_expiry_timestamp_seconds" (name) Seconds "When the certificates of a file end: of `cert_file` the first one, of `ca_file` the last; 0 when the configuration does not name it any more.";
}

/// Buckets by name. A commit is sub-millisecond on a good disk; an attempt may last as long as SMTP's ten minutes after
/// the dot; an age reaches from an instant to the `max_age` of three days and a little more.
const BUCKETS: &[(&str, &[f64])] = &[
    ("auditbell_store_commit_seconds", &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0]),
    ("auditbell_store_batch_rows", &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]),
    ("auditbell_attempt_duration_seconds", &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0]),
    ("auditbell_record_age_seconds", AGES),
    ("auditbell_end_to_end_seconds", AGES),
];
const AGES: &[f64] =
    &[0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0, 345_600.0];

/// How often idle histograms are folded; without it memory grows while nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Installs the recorder once per process, describes every metric, and returns the handle that renders them.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    // Locked over the whole of it: two that come first at once must not both install.
    static HANDLE: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut installed = HANDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in BUCKETS {
        builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)?;
    }
    let handle = builder.install_recorder().context("another metrics recorder is installed")?;
    describe_all();
    Ok(installed.insert(handle).clone())
}

/// Gives the exporter the help line and the unit of every metric.
fn describe_all() {
    for metric in ALL {
        match metric.kind {
            "counter" => ::metrics::describe_counter!(metric.name, metric.unit, metric.help),
            "gauge" => ::metrics::describe_gauge!(metric.name, metric.unit, metric.help),
            _ => ::metrics::describe_histogram!(metric.name, metric.unit, metric.help),
        }
    }
}

/// The first 48 bits of a configuration's hash, as `config_hash` shows them.
#[expect(clippy::cast_precision_loss, reason = "48 bits fit in an f64 exactly")]
#[must_use]
pub fn shortened(hash: [u8; 32]) -> f64 {
    hash[..6].iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte)) as f64
}

/// Makes `sent` and `failed` of every (rule, channel) exist at zero, so that an alert can tell "none" from "unknown".
pub fn start_at_zero(pairs: impl IntoIterator<Item = (Arc<str>, Arc<str>)>) {
    for (rule, channel) in pairs {
        for verdict in ["sent", "failed"] {
            notifications(rule.clone(), channel.clone(), verdict, "").absolute(0);
        }
    }
}

/// Runs the exporter's upkeep until `stop`.
pub async fn upkeep(handle: PrometheusHandle, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
        handle.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(metric: &Metric) -> String {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |", metric.name, metric.kind, labels.join(", "), metric.help)
    }

    #[test]
    fn the_documentation_lists_exactly_the_metrics_of_the_code() {
        let documented: Vec<&str> =
            include_str!("../docs/metrics.md").lines().filter(|line| line.starts_with("| `auditbell_")).collect();
        let expected: Vec<String> = ALL.iter().map(row).collect();
        assert_eq!(documented, expected, "docs/metrics.md should hold:\n{}", expected.join("\n"));
    }

    #[test]
    fn names_follow_the_conventions_and_every_histogram_has_buckets() {
        for metric in ALL {
            assert_eq!(metric.kind == "counter", metric.name.ends_with("_total"), "{}", metric.name);
            let seconds = metric.unit == Unit::Seconds;
            assert_eq!(seconds, metric.name.ends_with("_seconds"), "{}", metric.name);
            let has_buckets = BUCKETS.iter().any(|(name, _)| *name == metric.name);
            assert_eq!(metric.kind == "histogram", has_buckets, "{}", metric.name);
        }
    }

    #[tokio::test]
    async fn a_pair_is_rendered_at_zero_before_anything_happened() {
        let handle = install().unwrap();
        start_at_zero([("r-zero".into(), "c-zero".into())]);
        let text = handle.render();
        for verdict in ["sent", "failed"] {
            let line = format!(
                "auditbell_notifications_total{{rule=\"r-zero\",channel=\"c-zero\",verdict=\"{verdict}\",reason=\"\"}} 0"
            );
            assert!(text.contains(&line), "{text}");
        }
    }
}
