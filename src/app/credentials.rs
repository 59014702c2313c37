//! Owns how long our credentials are good: the certificates that the configuration names, looked at again and again, since a file
//! may be renewed at any time. Tokens renew themselves, and when a password or a client secret ends only its issuer knows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::revision::Revision;
use crate::certificate::Certificate;
use crate::channels;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::metrics;

/// Between two looks.
const LOOK: Duration = Duration::from_mins(1);
/// One that ends so soon is worth a word.
const SOON: Duration = Duration::from_hours(14 * 24);

/// Looks until `stop`, at the files of the configuration that runs.
pub(super) async fn watch(current: impl Fn() -> Arc<Revision>, clock: Clock, stop: CancellationToken) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = Seen::default();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let current = current();
        if let Ok(ends) = tokio::task::spawn_blocking(move || ends(&current.config)).await {
            seen.tell(ends, clock.now());
        } else {
            tracing::error!("looking at the certificates panicked");
        }
    }
}

/// When the certificates of each key of the configuration end, or why that is not known.
type Ends = BTreeMap<String, Result<Timestamp, String>>;

fn ends(config: &Config) -> Ends {
    let channels = config.channels.iter().map(|channel| {
        let table = format!("channel.{}", channel.name);
        (table, channels::certificates(&channel.settings))
    });
    let sources = config.sources.iter().map(|source| {
        let (authority, own) = source.tls.as_ref().map_or((&None, &None), |tls| (&tls.ca_file, &tls.cert_file));
        (format!("source.{}.tls", source.name), Certificate::of(authority.as_deref(), own.as_deref()))
    });
    let mut ends = Ends::new();
    for (table, certificates) in channels.chain(sources) {
        ends.extend(certificates.into_iter().map(|file| (format!("{table}.{}", file.key()), file.end())));
    }
    ends
}

/// What was there at the last look, and when that was.
#[derive(Default)]
struct Seen {
    ends: Ends,
    at: Option<Timestamp>,
}

impl Seen {
    /// Sets the gauges, and says once what ends soon or cannot be read.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is f64; exact to the millisecond for 200,000 years")]
    fn tell(&mut self, ends: Ends, now: Timestamp) {
        for gone in self.ends.keys().filter(|name| !ends.contains_key(*name)) {
            metrics::credential_expiry(gone.clone()).set(0.0);
        }
        for (name, end) in &ends {
            let news = self.ends.get(name) != Some(end);
            match end {
                Ok(end) => {
                    metrics::credential_expiry(name.clone()).set(end.as_millis() as f64 / 1_000.0);
                    // Time alone makes an end that was far off one that is soon.
                    let said = !news && self.at.is_some_and(|at| *end < at.plus(SOON));
                    if !said && *end < now.plus(SOON) {
                        tracing::warn!(credential = %name, %end, "a certificate ends soon or has ended: renew its file");
                    }
                }
                Err(why) if news => tracing::warn!(credential = %name, "when it ends is not known: the file {why}"),
                Err(_) => {}
            }
        }
        *self = Self { ends, at: Some(now) };
    }
}
