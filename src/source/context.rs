//! Owns what librdkafka calls back: rebalances, kept for the thread that polls, and faults, told in our words, once a
//! minute, with the setting to look at and never a secret.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr as Reason;

use super::Settings;
use super::watch::Counted;
use crate::clock::{Clock, Timestamp};
use crate::metrics;

/// One line per kind of fault and this long.
const QUIET: Duration = Duration::from_mins(1);
/// Longest text of librdkafka or a broker that we repeat.
const DETAIL: usize = 300;

/// What the group's coordinator decided; the thread answers it with an (un)assign.
#[derive(Debug)]
pub(super) enum Rebalance {
    /// These are ours now, in addition.
    Assign(Vec<(String, i32)>),
    /// These are not.
    Revoke(Vec<(String, i32)>),
}

/// A kind of fault outside of this process. `source_held` has one series for each that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// No broker can be reached.
    Broker,
    /// The broker refuses the login.
    Login,
    /// No secure connection.
    Tls,
    /// A topic does not exist.
    Topic,
    /// The login may not read.
    Permission,
    /// A broker or the store does not say where to read from.
    Position,
    /// Anything else; reading may go on.
    Other,
}

impl Fault {
    /// Label of `source_held`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Login => "login",
            Self::Tls => "tls",
            Self::Topic => "topic",
            Self::Permission => "permission",
            Self::Position => "position",
            Self::Other => "other",
        }
    }

    /// The kind of one of librdkafka's or a broker's errors.
    pub(super) fn of(code: Code) -> Self {
        match code {
            Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve => Self::Broker,
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState => Self::Login,
            Code::SSL => Self::Tls,
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => Self::Topic,
            Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::ClusterAuthorizationFailed => {
                Self::Permission
            }
            _ => Self::Other,
        }
    }

    /// What is wrong and the remedy.
    pub(super) fn sentence(self, settings: &Settings) -> String {
        let Settings { name, brokers, topics, group_id, .. } = settings;
        match self {
            Self::Broker => format!(
                "no broker can be reached: check [source.{name}] brokers = \"{brokers}\", the network between, and that TLS and login are what its port expects"
            ),
            Self::Login => format!(
                "the broker refuses the login: check [source.{name}] auth: mechanism, user and password_file (or password)"
            ),
            Self::Tls => format!(
                "no secure connection to the broker: check that [source.{name}] tls.ca_file holds the authority that signed its certificate and that brokers = \"{brokers}\" names a host in it"
            ),
            Self::Topic => format!(
                "a topic does not exist: check [source.{name}] topics = {topics:?}; auditbell never creates one"
            ),
            Self::Permission => format!(
                "the login may not read: it needs Read and Describe on the topics {topics:?} and Read on the group \"{group_id}\" ([source.{name}])"
            ),
            Self::Position => format!(
                "[source.{name}]: where to read from is not known yet, a broker or the store does not answer; nothing is guessed"
            ),
            Self::Other => {
                format!("the Kafka client of [source.{name}] reports a fault; reading goes on when it is over")
            }
        }
    }
}

/// The callbacks' state. Everything runs on the thread that polls; the lock is never waited for.
pub(super) struct Context {
    settings: Settings,
    clock: Clock,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    rebalances: Vec<Rebalance>,
    /// When each fault was last told; present while it lasts.
    faults: BTreeMap<Fault, Timestamp>,
    /// The newest that nobody has asked for yet.
    counted: Option<Vec<Counted>>,
    closing: bool,
}

impl Context {
    pub(super) fn new(settings: Settings, clock: Clock) -> Self {
        Self { settings, clock, inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the coordinator decided since the last call, in order.
    pub(super) fn rebalances(&self) -> Vec<Rebalance> {
        std::mem::take(&mut self.inner().rebalances)
    }

    /// What librdkafka has counted since the last call; it does so every [`COUNT_MILLIS`](super::client::COUNT_MILLIS).
    pub(super) fn counted(&self) -> Option<Vec<Counted>> {
        self.inner().counted.take()
    }

    /// From here on the callbacks answer rebalances themselves: nobody polls for the sake of reading any more.
    pub(super) fn close(&self) {
        self.inner().closing = true;
    }

    /// Does this fault last?
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.inner().faults.contains_key(&fault)
    }

    /// Does any fault last?
    pub(super) fn is_troubled(&self) -> bool {
        !self.inner().faults.is_empty()
    }

    /// Tells a fault, at most once a minute, and marks the source as held by it.
    pub(super) fn fault(&self, fault: Fault, detail: &str) {
        let now = self.clock.now();
        let mut inner = self.inner();
        // A broker that shows us the door counts as down: one cause, one line. While it lasts it is told every minute; twice
        // that without a refusal, and the broker is down indeed.
        let refused = |cause| inner.faults.get(cause).is_some_and(|told| now.since(*told) < QUIET * 2);
        if fault == Fault::Broker && [Fault::Login, Fault::Tls].iter().any(refused) {
            return;
        }
        if inner.faults.get(&fault).is_some_and(|told| now.since(*told) < QUIET) {
            return;
        }
        inner.faults.insert(fault, now);
        drop(inner);
        if fault != Fault::Other {
            metrics::source_held(self.settings.name.clone(), fault.as_str()).set(1.0);
        }
        tracing::error!(
            source = %self.settings.name,
            reason = fault.as_str(),
            detail = clean(&self.settings, detail),
            "{}",
            fault.sentence(&self.settings)
        );
    }

    /// The brokers answer: whatever kept us from them is over.
    pub(super) fn well(&self) {
        for fault in [Fault::Broker, Fault::Login, Fault::Tls, Fault::Permission, Fault::Position, Fault::Other] {
            self.over(fault);
        }
    }

    /// This fault is over.
    pub(super) fn over(&self, fault: Fault) {
        if self.inner().faults.remove(&fault).is_some() && fault != Fault::Other {
            metrics::source_held(self.settings.name.clone(), fault.as_str()).set(0.0);
            tracing::info!(source = %self.settings.name, reason = fault.as_str(), "over: reading goes on");
        }
    }
}

/// A text of librdkafka's or a broker's without the password, should one ever repeat it, and not too long.
pub(super) fn clean(settings: &Settings, text: &str) -> String {
    let password = settings.auth.as_ref().map_or("", |auth| auth.password.expose());
    let text = if password.is_empty() { text.to_owned() } else { text.replace(password, "***") };
    text.chars().take(DETAIL).collect()
}

/// The partitions of our topics that a broker has told of, whoever reads them.
fn counted(statistics: &Statistics, settings: &Settings) -> Vec<Counted> {
    let topics = settings.topics.iter().filter_map(|topic| statistics.topics.get(topic));
    let partitions = topics.flat_map(|topic| {
        let name: Arc<str> = topic.topic.as_str().into();
        // Below 0 is librdkafka's place for messages without a partition; unknown is what only we have named.
        let there = topic.partitions.values().filter(|partition| partition.partition >= 0 && !partition.unknown);
        there.map(move |partition| {
            // Below 0 is "none". Behind the last stable offset nothing is given to us, unless all is.
            let end = [partition.ls_offset, partition.hi_offset].into_iter().find(|offset| *offset >= 0);
            Counted { key: (name.clone(), partition.partition), end }
        })
    });
    partitions.collect()
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        self.inner().counted = Some(counted(&statistics, &self.settings));
    }

    /// All of it at debug: what matters arrives in [`Self::error`] as well, with a code.
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, line: &str) {
        tracing::debug!(target: "librdkafka", source = %self.settings.name, facility, "{}", clean(&self.settings, line));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // The thread's own: the same error comes out of `poll`, where it is acted on.
            Some(Code::AutoOffsetReset | Code::Fatal | Code::PartitionEOF) => {}
            // One connection of several; when it is the last one, `AllBrokersDown` follows.
            Some(Code::BrokerTransportFailure) => {
                tracing::debug!(source = %self.settings.name, detail = clean(&self.settings, reason), "a broker's connection failed");
            }
            Some(code) => self.fault(Fault::of(code), reason),
            None => self.fault(Fault::Other, reason),
        }
    }
}

impl ConsumerContext for Context {
    /// Only keeps the decision: the thread fetches the positions and answers between two polls, so that commands are
    /// still heard while a broker or the store is slow. librdkafka waits for the answer.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, reason: Reason, partitions: &mut TopicPartitionList) {
        let mut inner = self.inner();
        if inner.closing {
            drop(inner);
            // While the consumer closes, librdkafka takes any answer as "give up everything".
            if let Err(error) = consumer.incremental_unassign(&TopicPartitionList::new()) {
                tracing::debug!(source = %self.settings.name, %error, "giving up the partitions");
            }
            return;
        }
        let list = partitions.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect();
        inner.rebalances.push(match reason {
            Reason::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assign(list),
            _ => Rebalance::Revoke(list),
        });
    }

    /// The committed offset is for display and as a last resort; the store's position is what counts.
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        match result {
            Ok(()) | Err(KafkaError::ConsumerCommit(Code::NoOffset)) => {}
            Err(error) => {
                tracing::debug!(source = %self.settings.name, %error, "an offset was not committed; the next commit carries it");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::super::{OnLostStore, Sasl, Start};
    use super::*;
    use crate::secret::Secret;

    fn settings() -> Settings {
        Settings {
            name: Arc::from("entra"),
            brokers: "kafka.example.com:9093".into(),
            topics: vec!["audit".into()],
            group_id: "bell".into(),
            start: Start::Earliest,
            auth: Some(Sasl { mechanism: "PLAIN".into(), user: "u".into(), password: Secret::new("canary") }),
            tls: None,
            on_lost_store: OnLostStore::Refuse,
            kafka: [].into(),
        }
    }

    /// What `act` logs at the most talkative level.
    fn logged(act: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, act);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_fault_is_told_once_a_minute_and_again_after_it_was_over() {
        let clock = Clock::manual(Timestamp::from_millis(0));
        let context = Context::new(settings(), clock.clone());
        let down = || context.error(KafkaError::Global(Code::AllBrokersDown), "1/1 brokers are down");
        let told = |act: &dyn Fn()| logged(act).matches("no broker can be reached").count();
        assert_eq!(told(&|| (0..100).for_each(|_| down())), 1, "a flood is one line");
        clock.advance(Duration::from_secs(59));
        assert_eq!(told(&down), 0);
        clock.advance(Duration::from_secs(1));
        assert_eq!(told(&down), 1, "after a minute");
        context.well();
        assert_eq!(told(&down), 1, "a new outage is news");
    }

    #[test]
    fn what_is_counted_are_the_partitions_of_our_topics_that_are_there_and_where_they_end() {
        use rdkafka::statistics::{Partition, Topic};
        let partition = |partition, ls_offset, hi_offset, unknown| {
            (partition, Partition { partition, ls_offset, hi_offset, unknown, ..Partition::default() })
        };
        let partitions = [
            partition(-1, -1001, -1001, false),
            partition(0, 7, 9, false),
            partition(1, -1, 9, false),
            partition(2, -1001, -1001, false),
            partition(3, -1001, -1001, true),
        ];
        let topic =
            |name: &str| Topic { topic: name.into(), partitions: partitions.clone().into(), ..Topic::default() };
        let topics = ["audit", "not ours"].map(|name| (name.to_owned(), topic(name))).into();
        let context = Context::new(settings(), Clock::manual(Timestamp::from_millis(0)));
        context.stats(Statistics { topics, ..Statistics::default() });
        let mut counted = context.counted().unwrap();
        counted.sort_by(|a, b| a.key.cmp(&b.key));
        let expected = [(0, Some(7)), (1, Some(9)), (2, None)];
        assert_eq!(counted, expected.map(|(partition, end)| Counted { key: ("audit".into(), partition), end }));
        assert_eq!(context.counted(), None, "each count is taken once");
    }

    #[test]
    fn a_broker_that_refuses_us_is_not_also_told_to_be_down() {
        for refusal in [Code::Authentication, Code::SSL] {
            let clock = Clock::manual(Timestamp::from_millis(0));
            let context = Context::new(settings(), clock.clone());
            let act = |code| logged(|| context.error(KafkaError::Global(code), "said the client"));
            assert!(act(refusal).contains("ERROR"));
            assert_eq!(act(Code::AllBrokersDown), "", "the consequence of {refusal:?}");
            clock.advance(QUIET * 2);
            assert!(act(Code::AllBrokersDown).contains("no broker can be reached"), "it refuses nothing any more");
        }
    }

    #[test]
    fn each_kind_of_fault_names_the_setting_and_never_the_password() {
        let table = [
            (Code::AllBrokersDown, "[source.entra] brokers = \"kafka.example.com:9093\""),
            (Code::Authentication, "[source.entra] auth: mechanism, user and password_file"),
            (Code::SSL, "[source.entra] tls.ca_file"),
            (Code::UnknownTopicOrPartition, "[source.entra] topics = [\"audit\"]"),
            (Code::TopicAuthorizationFailed, "Read and Describe on the topics [\"audit\"]"),
            (Code::GroupAuthorizationFailed, "Read on the group \"bell\""),
            (Code::PollExceeded, "[source.entra]"),
        ];
        for (code, part) in table {
            let context = Context::new(settings(), Clock::manual(Timestamp::from_millis(0)));
            let log = logged(|| {
                context.error(KafkaError::Global(code), "the broker said canary");
                context.log(RDKafkaLogLevel::Error, "FAIL", "and logged canary");
            });
            assert!(log.contains(part), "{code:?}: {log}");
            assert!(!log.contains("canary"), "{log}");
        }
    }
}
