//! Records per second through intake when nearly none matches, beside a bare librdkafka consumer that only counts the
//! bytes of the same topic. Rounds alternate; every round has its own group and store.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::daemon::Daemon;
use crate::kafka::{PARTITIONS, Topic, envelope, padded};
use crate::sink::Sink;
use crate::{Run, median, process_time, wait_until};

const PER_ENVELOPE: usize = 10;
const RECORD_BYTES: usize = 2_000;
/// One record in so many matches.
const ONE_IN: usize = 1_000;
const LIMIT: Duration = Duration::from_mins(3);

pub fn run(run: &Run) {
    let topic = Topic::new("filter", "5");
    // The mock keeps 5 MB per partition.
    let short = run.short || !topic.is_real();
    let (records, rounds) = if short { (10_000, 1) } else { (500_000, 3) };
    if short && !run.short {
        println!("on the mock only {records} records: use `tests/kafka run`");
    }
    let bytes = fill(&topic, records);
    println!("{records} records of {} bytes, {PER_ENVELOPE} per envelope, 1 in {ONE_IN} matches", bytes / records);
    let (mut ratios, mut of_time) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let bare = bare(&topic, records, bytes);
        let ours = ours(run, &topic, records);
        println!("auditbell {}, bare consumer {}, ratio {:.2}", ours.text(), bare.text(), ours.rate / bare.rate);
        ratios.push(ours.rate / bare.rate);
        of_time.push(bare.each / ours.each);
    }
    println!("median ratio {:.2} (wanted: 0.6), of processor time {:.2}", median(ratios), median(of_time));
}

/// How fast records were read.
struct Speed {
    /// Per second.
    rate: f64,
    /// Processor time of the reading process for one, in µs.
    each: f64,
}

impl Speed {
    fn new(records: usize, elapsed: Duration, processor: Duration) -> Self {
        Self { rate: records as f64 / elapsed.as_secs_f64(), each: processor.as_secs_f64() * 1e6 / records as f64 }
    }

    fn text(&self) -> String {
        format!("{:.0} records/s ({:.2} µs each)", self.rate, self.each)
    }
}

/// Writes the topic; its payload bytes.
fn fill(topic: &Topic, records: usize) -> usize {
    let other: Vec<_> = (0..ONE_IN).map(|n| padded(n, "Update user", RECORD_BYTES)).collect();
    let mut bytes = 0;
    for n in 0..records / PER_ENVELOPE {
        let record = |k: usize| {
            let k = n * PER_ENVELOPE + k;
            if k % ONE_IN == 7 { padded(k, "Reset user password", RECORD_BYTES) } else { other[k % ONE_IN].clone() }
        };
        let payload = envelope(&(0..PER_ENVELOPE).map(record).collect::<Vec<_>>());
        bytes += payload.len();
        topic.writer.send(n, &payload);
    }
    topic.writer.flush();
    bytes
}

/// From the first message to the last, librdkafka's own settings: a plain loop that sums the lengths of what it is given,
/// on a topic that was written uncompressed.
fn bare(topic: &Topic, records: usize, bytes: usize) -> Speed {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", &topic.brokers).set("group.id", "bare").create().unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(&topic.writer.topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let (mut seen, mut begun) = (0, None);
    let myself = std::process::id();
    while seen < bytes {
        let message = consumer.poll(LIMIT).expect("a message").unwrap();
        begun.get_or_insert_with(|| (Instant::now(), process_time(myself)));
        seen += message.payload_len();
    }
    let (begun, time) = begun.unwrap();
    Speed::new(records, begun.elapsed(), process_time(myself).saturating_sub(time))
}

/// From the first accepted batch to the last. Exactly the matching ones are told, and nothing is unreadable.
fn ours(run: &Run, topic: &Topic, records: usize) -> Speed {
    let sink = Sink::start();
    let directory = run.directory();
    let daemon = Daemon::start(directory.path(), topic, &sink);
    let accepted = || {
        std::thread::sleep(Duration::from_millis(10));
        daemon.metric("auditbell_records_total")
    };
    let mut first = 0;
    wait_until("the first batch", LIMIT, || {
        first = accepted();
        first > 0
    });
    let (begun, time) = (Instant::now(), daemon.time());
    wait_until("the last batch", LIMIT, || accepted() >= records);
    let speed = Speed::new(records - first, begun.elapsed(), daemon.time().saturating_sub(time));
    assert_eq!(accepted(), records);
    assert_eq!(daemon.metric("auditbell_rule_matches_total"), records / ONE_IN);
    assert_eq!(daemon.metric("auditbell_dead_letters_total"), 0);
    sink.wait_for(records / ONE_IN, LIMIT);
    daemon.stop();
    assert_eq!(sink.count(), records / ONE_IN);
    speed
}
