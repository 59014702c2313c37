//! Owns trying a source out: can the brokers be reached, do they let us in, are the topics there?

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;

use super::{Settings, client};

/// How long the client may take to hand over its errors.
const POLL: Duration = Duration::from_millis(100);

/// Keeps the client's last error off the log: it is the answer. Without it a wrong password reads "timed out".
#[derive(Default)]
struct Listener(Mutex<Option<String>>);

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, _facility: &str, message: &str) {
        if level as i32 <= RDKafkaLogLevel::Error as i32 {
            self.hear(message);
        }
    }

    fn error(&self, _error: KafkaError, reason: &str) {
        self.hear(reason);
    }
}

impl Listener {
    fn hear(&self, message: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(message.to_owned());
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
        let metadata = consumer.fetch_metadata(Some(topic), left).map_err(|error| {
            // The errors wait in the client's queue until somebody polls.
            drop(consumer.poll(POLL));
            let heard = consumer.context().0.lock().unwrap_or_else(PoisonError::into_inner).take();
            heard.map_or_else(|| anyhow!(error), |heard| anyhow!(heard))
        });
        let metadata = metadata.context("the brokers do not tell of its topics")?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        if found.is_none_or(|found| found.error().is_some() || found.partitions().is_empty()) {
            bail!("topic `{topic}` does not exist, or this user may not describe it");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::source::{OnLostStore, Start};

    fn settings(brokers: String, topic: &str) -> Settings {
        Settings {
            name: "entra".into(),
            brokers,
            topics: vec![topic.to_owned()],
            group_id: "auditbell".into(),
            start: Start::Earliest,
            auth: None,
            tls: None,
            on_lost_store: OnLostStore::Refuse,
            kafka: BTreeMap::new(),
        }
    }

    #[test]
    fn a_source_can_be_used_if_its_brokers_answer_and_its_topics_exist() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("audit", 1, 1).unwrap();
        probe(&settings(cluster.bootstrap_servers(), "audit"), Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn a_topic_that_is_missing_is_named() {
        let cluster = MockCluster::new(1).unwrap();
        let error = probe(&settings(cluster.bootstrap_servers(), "audti"), Duration::from_secs(10)).unwrap_err();
        assert!(format!("{error:#}").contains("`audti` does not exist"), "{error:#}");
    }

    #[test]
    fn a_broker_that_is_away_is_said_within_the_limit() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = probe(&settings(format!("127.0.0.1:{port}"), "audit"), Duration::from_secs(2)).unwrap_err();
        assert!(format!("{error:#}").contains("refused"), "{error:#}");
    }
}
