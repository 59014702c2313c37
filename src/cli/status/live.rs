//! Owns what only a running daemon knows, read from its `/metrics`.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::metrics;

/// For each step of the request.
const LIMIT: Duration = Duration::from_secs(5);
/// Most bytes of an answer; a thousand rules make some hundred kilobytes.
const MOST: u64 = 16 << 20;

/// What the daemon tells.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Live {
    /// Sources that are held.
    pub held: Vec<Held>,
    /// Channels that do not work, with the reason.
    pub open: BTreeMap<String, String>,
    /// Channels that begin nothing, until when and why.
    pub paused: BTreeMap<String, Paused>,
    /// First 48 bits of the configuration's hash.
    config: Option<f64>,
}

/// Reading stands still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Held {
    pub source: String,
    pub reason: String,
}

/// Nothing is begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Paused {
    pub until: Timestamp,
    pub reason: String,
}

impl Live {
    /// Is the configuration with this hash the one that runs?
    pub(super) fn runs(&self, hash: [u8; 32]) -> bool {
        self.config == Some(metrics::shortened(hash))
    }
}

/// Asks the ops listener of this machine's daemon; the error says why it does not tell.
pub(super) fn ask(listen: SocketAddr) -> Result<Live, String> {
    if listen.port() == 0 {
        return Err("[http] listen has port 0, so only the daemon knows where it listens".to_owned());
    }
    // What listens everywhere listens here.
    let here = match listen.ip() {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    let answer = fetch(SocketAddr::new(here, listen.port())).map_err(|error| format!("[http] {listen}: {error}"))?;
    match answer.strip_prefix("HTTP/1.1 200") {
        Some(text) => Ok(read(text)),
        None => Err(format!("[http] {listen}: {}", answer.lines().next().unwrap_or("no answer"))),
    }
}

fn fetch(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: auditbell\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(MOST).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Prometheus text: `name{label="value",…} number`, one a line. Our labels hold no quotes and no backslashes.
fn read(text: &str) -> Live {
    let mut live = Live::default();
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let label = |wanted: &str| {
            let all = labels.trim_end_matches('}').split("\",");
            all.filter_map(|label| label.split_once("=\""))
                .find(|(name, _)| *name == wanted)
                .map(|(_, value)| value.trim_end_matches('"').to_owned())
        };
        match (name, value) {
            ("auditbell_config_hash", value) => live.config = value.parse().ok(),
            ("auditbell_source_held", "1") => {
                let held = |(source, reason)| Held { source, reason };
                live.held.extend(label("source").zip(label("reason")).map(held));
            }
            ("auditbell_channel_paused_until_timestamp_seconds", value) if value != "0" => {
                let paused = |(channel, reason)| Some((channel, Paused { until: moment(value)?, reason }));
                live.paused.extend(label("channel").zip(label("reason")).and_then(paused));
            }
            ("auditbell_channel_open", "1") => live.open.extend(label("channel").zip(label("reason"))),
            _ => {}
        }
    }
    live
}

/// Of seconds since the epoch.
#[expect(clippy::cast_possible_truncation, reason = "milliseconds of a time fit; what does not is held at the ends")]
fn moment(seconds: &str) -> Option<Timestamp> {
    let seconds: f64 = seconds.parse().ok()?;
    Some(Timestamp::from_millis((seconds * 1_000.0).round() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_open_channels_and_the_configuration_are_read_from_the_metrics() {
        let live = read(
            "# TYPE auditbell_source_held gauge\n\
             auditbell_source_held{source=\"entra\",reason=\"disk-low\"} 1\n\
             auditbell_source_held{source=\"entra\",reason=\"store\"} 0\n\
             auditbell_channel_open{channel=\"email\",reason=\"auth\"} 1\n\
             auditbell_channel_open{channel=\"chat\",reason=\"connect\"} 0\n\
             auditbell_channel_paused_until_timestamp_seconds{channel=\"chat\",reason=\"rate\"} 1769105702.387\n\
             auditbell_channel_paused_until_timestamp_seconds{channel=\"email\",reason=\"connect\"} 0\n\
             auditbell_config_hash 1108152157446\n",
        );
        let paused = Paused { until: Timestamp::from_millis(1_769_105_702_387), reason: "rate".to_owned() };
        assert_eq!(live.paused, BTreeMap::from([("chat".to_owned(), paused)]));
        assert_eq!(live.held, [Held { source: "entra".to_owned(), reason: "disk-low".to_owned() }]);
        assert_eq!(live.open, BTreeMap::from([("email".to_owned(), "auth".to_owned())]));
        let mut hash = [0; 32];
        hash[..6].copy_from_slice(&[1, 2, 3, 4, 5, 6]);
        assert!(live.runs(hash));
        hash[5] = 7;
        assert!(!live.runs(hash));
    }

    #[test]
    fn a_port_that_only_the_daemon_knows_is_said() {
        assert!(ask("127.0.0.1:0".parse().unwrap()).unwrap_err().contains("port 0"));
    }
}
