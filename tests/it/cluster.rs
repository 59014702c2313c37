//! Kafka's mock cluster out of its own library, with groups that form at once.
//!
//! As a broker does, the mock waits three seconds for further members of a new group (`group.initial.rebalance.delay.ms`): at
//! each start of each daemon of each test, which would be most of the time of all tests.

use rdkafka::ClientConfig;
use rdkafka::bindings::{rd_kafka_handle_mock_cluster, rd_kafka_mock_group_initial_rebalance_delay_ms};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer as _};
use rdkafka::types::RDKafkaApiKey as Request;
use rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT as HANGS_UP;

/// As long as the mock itself waits once it knows that every member is there.
const DELAY_MS: i32 = 100;

/// What a producer and a member of a group ask for.
const REQUESTS: [Request; 12] = [
    Request::ApiVersion,
    Request::Metadata,
    Request::Produce,
    Request::Fetch,
    Request::ListOffsets,
    Request::FindCoordinator,
    Request::OffsetFetch,
    Request::OffsetCommit,
    Request::JoinGroup,
    Request::SyncGroup,
    Request::Heartbeat,
    Request::LeaveGroup,
];
/// More requests than come while a test has its broker down.
const MANY: usize = 10_000;

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

    /// Nobody is answered any more: each request ends its connection. (The mock's own way is to close its port and bind it again,
    /// and it ends this whole process where that fails, since another test's child has it between fork and exec.)
    pub fn down(&self) {
        for request in REQUESTS {
            self.mock().request_errors(request, &vec![HANGS_UP; MANY]);
        }
    }

    pub fn up(&self) {
        for request in REQUESTS {
            self.mock().clear_request_errors(request);
        }
    }
}
