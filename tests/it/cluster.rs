//! Kafka's mock cluster out of its own library, with groups that form at once.
//!
//! As a broker does, the mock waits three seconds for further members of a new group (`group.initial.rebalance.delay.ms`): at
//! each start of each daemon of each test, which would be most of the time of all tests.

use rdkafka::ClientConfig;
use rdkafka::bindings::{rd_kafka_handle_mock_cluster, rd_kafka_mock_group_initial_rebalance_delay_ms};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer as _};

/// As long as the mock itself waits once it knows that every member is there.
const DELAY_MS: i32 = 100;

/// One broker, which ends with this.
pub struct Cluster(BaseProducer);

impl Cluster {
    pub fn new() -> Self {
        // The library makes a mock cluster for a client that is configured so, and ends it with the client.
        let owner: BaseProducer = ClientConfig::new().set("test.mock.num.brokers", "1").create().unwrap();
        #[expect(unsafe_code, reason = "the crate wraps the mock cluster, and not this knob of it")]
        // SAFETY: the client lives, and its cluster as long as it; the library locks the cluster for the change.
        unsafe {
            let cluster = rd_kafka_handle_mock_cluster(owner.client().native_ptr());
            assert!(!cluster.is_null());
            rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, DELAY_MS);
        }
        Self(owner)
    }

    /// What can be done with it.
    pub fn mock(&self) -> MockCluster<'_, DefaultProducerContext> {
        self.0.client().mock_cluster().unwrap()
    }

    pub fn brokers(&self) -> String {
        self.mock().bootstrap_servers()
    }
}
