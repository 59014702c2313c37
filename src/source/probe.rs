//! Owns trying a source out: can the brokers be reached, do they let us in, are the topics there?

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

use super::context::{Fault, clean};
use super::{Settings, client};

/// How long to wait for an answer before looking whether the client has given up meanwhile.
pub(super) const SLICE: Duration = Duration::from_secs(1);

/// How long the client may take to hand over its errors.
const POLL: Duration = Duration::from_millis(100);

/// Keeps the client's errors off the log: they are the answer. Without them a wrong password reads "timed out".
#[derive(Default)]
pub(super) struct Listener(Mutex<Heard>);

/// A client that only asks.
pub(super) type Asker = BaseConsumer<Listener>;

#[derive(Default)]
struct Heard {
    last: Option<String>,
    fault: Option<Fault>,
    /// No broker can be reached or lets us in: waiting on would not help.
    hopeless: bool,
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, _facility: &str, message: &str) {
        if level as i32 <= RDKafkaLogLevel::Error as i32 {
            self.heard().last = Some(message.to_owned());
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let fault = error.rdkafka_error_code().map_or(Fault::Other, Fault::of);
        let down = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        let mut heard = self.heard();
        heard.hopeless |= down || fault == Fault::Login;
        // That all are down says less than why one of them is.
        if !down {
            heard.last = Some(reason.to_owned());
        }
        if heard.fault.is_none_or(|fault| fault == Fault::Broker) {
            heard.fault = Some(fault);
        }
    }
}

impl Listener {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConsumerContext for Listener {}

/// Asks the brokers for each topic's partitions; joins no group and reads nothing. Blocks for `limit` at the most, and
/// for a moment more while the client closes.
pub fn probe(settings: &Settings, limit: Duration) -> anyhow::Result<()> {
    let consumer = client::create(settings, Listener::default())?;
    let end = Instant::now() + limit;
    for topic in &settings.topics {
        let metadata = metadata(&consumer, settings, topic, end)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        if found.is_none_or(|found| found.error().is_some() || found.partitions().is_empty()) {
            bail!("topic `{topic}` does not exist, or this user may not describe it");
        }
    }
    Ok(())
}

/// The error names the setting to look at, and repeats what the client or the broker said.
pub(super) fn metadata(consumer: &Asker, settings: &Settings, topic: &str, end: Instant) -> anyhow::Result<Metadata> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let error = match consumer.fetch_metadata(Some(topic), left.min(SLICE)) {
            Ok(metadata) => return Ok(metadata),
            Err(error) => error,
        };
        // The errors wait in the client's queue until somebody polls.
        drop(consumer.poll(POLL));
        let mut heard = consumer.context().heard();
        if heard.hopeless || left.is_zero() {
            let reason = heard.last.take().unwrap_or_else(|| error.to_string());
            let fault = heard.fault.unwrap_or(Fault::Broker);
            bail!("{} ({})", fault.sentence(settings), clean(settings, &reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;

    #[test]
    fn a_source_can_be_used_if_its_brokers_answer_and_its_topics_exist() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("audit", 1, 1).unwrap();
        probe(&Settings::from_the_start(&cluster.bootstrap_servers(), "audit"), Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn a_topic_that_is_missing_is_named() {
        let cluster = MockCluster::new(1).unwrap();
        let error = probe(&Settings::from_the_start(&cluster.bootstrap_servers(), "audti"), Duration::from_secs(10))
            .unwrap_err();
        assert!(format!("{error:#}").contains("`audti` does not exist"), "{error:#}");
    }

    #[test]
    fn a_broker_that_is_away_is_said_with_the_reason_long_before_the_limit() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = probe(&Settings::from_the_start(&format!("127.0.0.1:{port}"), "audit"), Duration::from_mins(1))
            .unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("check [source.entra] brokers = ") && error.contains("refused"), "{error}");
    }
}
