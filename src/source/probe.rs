//! Owns trying a source out: can the brokers be reached, do they let us in, are the topics there?

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;

use super::{Settings, client};

/// Keeps librdkafka's words off the log: the last error is the answer.
#[derive(Default)]
struct Listener(std::sync::Mutex<Option<String>>);

impl ClientContext for Listener {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn error(&self, _error: KafkaError, reason: &str) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(reason.to_owned());
    }
}

impl ConsumerContext for Listener {}

/// Asks the brokers for each topic's partitions; joins no group and reads nothing. Blocks for `limit` at the most, and
/// for a moment more while the client closes.
pub fn probe(settings: &Settings, limit: Duration) -> anyhow::Result<()> {
    let consumer = client::create(settings, Listener::default())?;
    let end = Instant::now() + limit;
    for topic in &settings.topics {
        let left = end.saturating_duration_since(Instant::now());
        // Polling hands the broker's errors to the listener; without it a wrong password reads "timed out".
        let metadata = consumer.fetch_metadata(Some(topic), left).map_err(|error| {
            drop(consumer.poll(Duration::ZERO));
            let heard = consumer.context().0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            heard.map_or_else(|| anyhow!(error.clone()), |heard| anyhow!("{error}: {heard}"))
        });
        let metadata = metadata.with_context(|| format!("no broker answered within {} s", limit.as_secs()))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        if found.is_none_or(|found| found.error().is_some() || found.partitions().is_empty()) {
            bail!("topic `{topic}` does not exist, or this user may not describe it");
        }
    }
    Ok(())
}
