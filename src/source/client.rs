//! Owns the translation of settings into librdkafka's properties: which are ours, which are defaults, which are the user's.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, ClientContext};

use super::Settings;

/// Properties that `[source.*] kafka = {…}` may not set: they carry an invariant (what is committed, where reading
/// starts, which partitions are whose), have a key of their own in the configuration, or would print or hold secrets.
pub const RESERVED: &[&str] = &[
    "allow.auto.create.topics",
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "bootstrap.servers",
    "debug",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "enable.ssl.certificate.verification",
    "group.id",
    "group.protocol",
    "group.remote.assignor",
    "log.queue",
    "log_level",
    "metadata.broker.list",
    "offset.store.method",
    "partition.assignment.strategy",
    "plugin.library.paths",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "statistics.interval.ms",
    "test.mock.num.brokers",
];

/// What the user may change.
const DEFAULTS: &[(&str, &str)] = &[
    // How brokers' logs and quotas call us.
    ("client.id", "auditbell"),
    ("check.crcs", "true"),
    // Azure drops idle connections after 240 s; librdkafka's own rule for it looks for "azure" in the brokers' names.
    ("connections.max.idle.ms", "180000"),
    ("metadata.max.age.ms", "180000"),
    // How soon a topic that grows is seen, beside reading; one small question to one broker.
    ("topic.metadata.refresh.interval.ms", "10000"),
    ("socket.keepalive.enable", "true"),
    // A closed idle connection is no news.
    ("log.connection.close", "false"),
    // 1 s by default: a queue that was full for a moment would cost a second of latency. Reading at full speed empties
    // the queue in about 10 ms, and is not to wait for more then.
    ("fetch.queue.backoff.ms", "5"),
    // Prefetch of one source: 8 MiB, and no answer of the broker larger than that (a larger message still comes).
    ("queued.max.messages.kbytes", "8192"),
    ("fetch.max.bytes", "8388608"),
];

/// What the invariants need.
const OWNED: &[(&str, &str)] = &[
    ("allow.auto.create.topics", "false"),
    // An offset is stored after accept, and only then; a timer commits it. Event Hubs allows 4 commits/s per partition.
    ("enable.auto.offset.store", "false"),
    ("enable.auto.commit", "true"),
    ("auto.commit.interval.ms", "5000"),
    // Where to read from is decided by our table, never by the client.
    ("auto.offset.reset", "error"),
    ("partition.assignment.strategy", "cooperative-sticky"),
];

/// How often the client counts where partitions end, and which there are, for who reads in a group.
pub(super) const COUNT_MILLIS: u32 = 10_000;

/// Why the client refuses settings. Holds no secret.
#[derive(Debug, thiserror::Error)]
#[error("[source.{name}] {key}: {reason}")]
pub struct Refusal {
    name: Arc<str>,
    /// Dotted key below the source's table, e.g. `kafka.session.timeout.ms`.
    pub key: String,
    /// What is wrong and the remedy.
    pub reason: String,
}

/// Keeps what a client says off the log: whether it can be made is the answer.
struct Silent;

impl ClientContext for Silent {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}
}

impl ConsumerContext for Silent {}

/// Would the client take the user's properties, each and together? Opens no file and connects nothing.
pub fn properties(settings: &Settings) -> Result<(), Refusal> {
    if settings.kafka.is_empty() {
        return Ok(());
    }
    examine(&Settings { auth: None, tls: None, ..settings.clone() })
}

/// Would the client take these settings, certificates included? Connects nothing.
pub fn examine(settings: &Settings) -> Result<(), Refusal> {
    readable_files(settings)?;
    let mut config = config(settings);
    // A client without brokers and without a group has nobody to connect to.
    config.remove("bootstrap.servers").remove("group.id");
    config.create_with_context::<_, BaseConsumer<_>>(Silent).map(drop).map_err(|error| refusal(settings, error))
}

/// Creates the consumer; nothing is connected yet.
pub(super) fn create<C: ConsumerContext>(settings: &Settings, context: C) -> Result<BaseConsumer<C>, Refusal> {
    readable_files(settings)?;
    let mut config = config(settings);
    config.set("statistics.interval.ms", COUNT_MILLIS.to_string());
    config.create_with_context(context).map_err(|error| refusal(settings, error))
}

/// As [`create`], for a client that reads beside every group: it commits nothing, and says where a partition ends.
pub(super) fn create_apart<C: ConsumerContext>(settings: &Settings, context: C) -> Result<BaseConsumer<C>, Refusal> {
    readable_files(settings)?;
    let mut config = config(settings);
    config.set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    config.create_with_context(context).map_err(|error| refusal(settings, error))
}

fn refusal(settings: &Settings, error: KafkaError) -> Refusal {
    let (key, reason) = match error {
        KafkaError::ClientConfig(_, fault, key, value) => {
            // The value is left out: it may be a secret.
            let fault = fault.replace(&format!("\"{value}\""), "this value");
            (format!("kafka.{key}"), format!("{fault}; see librdkafka's CONFIGURATION.md"))
        }
        KafkaError::ClientCreation(fault) if fault.contains("ssl.") => (
            "tls".into(),
            format!("{fault}; ca_file, cert_file and key_file must be PEM, and the key must fit the certificate"),
        ),
        KafkaError::ClientCreation(fault) => ("kafka".into(), format!("{fault}; see librdkafka's CONFIGURATION.md")),
        other => ("kafka".into(), other.to_string()),
    };
    Refusal { name: settings.name.clone(), key, reason }
}

/// librdkafka's own message for a file it cannot open names OpenSSL's C function, not our setting.
fn readable_files(settings: &Settings) -> Result<(), Refusal> {
    let Some(tls) = &settings.tls else { return Ok(()) };
    for (key, file) in [("ca_file", &tls.ca_file), ("cert_file", &tls.cert_file), ("key_file", &tls.key_file)] {
        let Some(file) = file else { continue };
        File::open(file).map_err(|error| Refusal {
            name: settings.name.clone(),
            key: format!("tls.{key}"),
            reason: format!("`{}`: {error}; this user must be able to read the file", file.display()),
        })?;
    }
    Ok(())
}

fn config(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (key, value) in DEFAULTS {
        config.set(*key, *value);
    }
    for (key, value) in &settings.kafka {
        config.set(key, value);
    }
    for (key, value) in OWNED {
        config.set(*key, *value);
    }
    config.set("bootstrap.servers", &settings.brokers);
    config.set("group.id", &settings.group_id);
    config.set(
        "security.protocol",
        match (&settings.auth, &settings.tls) {
            (None, None) => "plaintext",
            (None, Some(_)) => "ssl",
            (Some(_), None) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        },
    );
    if let Some(auth) = &settings.auth {
        config.set("sasl.mechanism", &auth.mechanism);
        config.set("sasl.username", &auth.user);
        config.set("sasl.password", auth.password.expose());
    }
    if let Some(tls) = &settings.tls {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        // The vendored OpenSSL looks for roots where no system keeps them; `probe` tries the usual places.
        config.set("ssl.ca.location", tls.ca_file.as_deref().map_or_else(|| "probe".to_owned(), text));
        if let Some(file) = &tls.cert_file {
            config.set("ssl.certificate.location", text(file));
        }
        if let Some(file) = &tls.key_file {
            config.set("ssl.key.location", text(file));
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rdkafka::consumer::DefaultConsumerContext;

    use super::super::{OnLostStore, Sasl, Start, Tls};
    use super::*;
    use crate::secret::Secret;

    fn settings() -> Settings {
        Settings {
            name: Arc::from("entra"),
            brokers: "localhost:1".into(),
            topics: vec!["audit".into()],
            group_id: "auditbell".into(),
            start: Start::Earliest,
            auth: None,
            tls: None,
            on_lost_store: OnLostStore::Refuse,
            kafka: [].into(),
        }
    }

    fn refusal(settings: &Settings) -> String {
        match create(settings, DefaultConsumerContext) {
            Ok(_) => panic!("created"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_owned_property_is_reserved_and_no_default_is() {
        assert!(RESERVED.is_sorted());
        assert!(OWNED.iter().all(|(key, _)| RESERVED.contains(key)));
        assert!(DEFAULTS.iter().all(|(key, _)| !RESERVED.contains(key)));
    }

    #[test]
    fn the_user_may_change_a_default_but_nothing_that_is_owned() {
        let mut settings = settings();
        settings.kafka.insert("queued.max.messages.kbytes".into(), "1024".into());
        settings.kafka.insert("auto.offset.reset".into(), "latest".into());
        let config = config(&settings);
        assert_eq!(config.get("queued.max.messages.kbytes"), Some("1024"));
        assert_eq!(config.get("auto.offset.reset"), Some("error"));
    }

    #[test]
    fn the_security_protocol_follows_from_auth_and_tls() {
        let mut settings = settings();
        assert_eq!(config(&settings).get("security.protocol"), Some("plaintext"));
        settings.tls = Some(Tls::default());
        assert_eq!(config(&settings).get("security.protocol"), Some("ssl"));
        assert_eq!(config(&settings).get("ssl.ca.location"), Some("probe"));
        settings.auth =
            Some(Sasl { mechanism: "SCRAM-SHA-256".into(), user: "u".into(), password: Secret::new("canary") });
        assert_eq!(config(&settings).get("security.protocol"), Some("sasl_ssl"));
        settings.tls = None;
        assert_eq!(config(&settings).get("security.protocol"), Some("sasl_plaintext"));
    }

    #[test]
    fn librdkafka_knows_every_property_and_every_mechanism_that_we_name() {
        let mut settings = settings();
        settings.tls = Some(Tls::default());
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            settings.auth = Some(Sasl { mechanism: mechanism.into(), user: "u".into(), password: Secret::new("p") });
            create(&settings, DefaultConsumerContext).unwrap();
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_or_is_no_certificate_is_named_with_its_setting() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let mut settings = settings();
        settings.tls = Some(Tls { ca_file: Some(file.clone()), ..Tls::default() });
        let missing = refusal(&settings);
        assert!(missing.contains("[source.entra] tls.ca_file: ") && missing.contains("No such file"), "{missing}");
        std::fs::write(&file, "not a certificate").unwrap();
        let wrong = refusal(&settings);
        assert!(wrong.contains("[source.entra] tls:") && wrong.contains("must be PEM"), "{wrong}");
    }

    #[test]
    fn properties_are_examined_each_and_together_and_no_value_is_repeated() {
        for (properties, key) in [
            (&[("sesion.timeout.ms", "canary")][..], "kafka.sesion.timeout.ms"),
            (&[("session.timeout.ms", "canary")], "kafka.session.timeout.ms"),
            (&[("isolation.level", "canary")], "kafka.isolation.level"),
            // Each is right, but the poll interval may not be below the session's timeout.
            (&[("max.poll.interval.ms", "7000"), ("session.timeout.ms", "8000")], "kafka"),
        ] {
            let mut settings = settings();
            settings.kafka = properties.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
            let refusal = super::properties(&settings).unwrap_err();
            assert_eq!(refusal.key, key, "{refusal}");
            assert!(!refusal.reason.is_empty() && !refusal.reason.contains("canary"), "{refusal}");
        }
    }

    #[test]
    fn a_property_that_librdkafka_does_not_know_is_named() {
        let mut settings = settings();
        settings.kafka.insert("sesion.timeout.ms".into(), "1".into());
        let refused = refusal(&settings);
        assert!(refused.contains("[source.entra] kafka.sesion.timeout.ms: No such"), "{refused}");
    }
}
