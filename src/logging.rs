//! Owns the log: its form, its filter, and what a panic may say. Lines go to stderr.
//!
//! Our own lines hold no address, name, body or secret. Foreign crates know no such rule, so they are heard from `warn` on
//! only, whatever `[log] level` says, unless it names them.

use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// The filter: one word is the level of our own lines; anything longer is taken as `env-filter` directives.
fn directives(level: &str) -> String {
    if level.contains(['=', ',']) { format!("warn,{level}") } else { format!("warn,auditbell={level}") }
}

/// Starts the log of this process. A second start (tests, the demo) keeps the first.
pub fn start(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(directives(&log.level))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if log.json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
    };
    if started.is_err() {
        tracing::debug!("a log was already started");
    }
    std::panic::set_hook(Box::new(panicked));
    Ok(())
}

/// A panic's text may quote a record; its place never does.
fn panicked(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, "panicked");
}

#[cfg(test)]
mod tests {
    use super::directives;

    #[test]
    fn a_level_is_ours_and_foreign_crates_stay_quiet_unless_named() {
        for (why, level, expected) in [
            ("a word is our level", "trace", "warn,auditbell=trace"),
            ("a directive is taken as it is", "info,rdkafka=debug", "warn,info,rdkafka=debug"),
            ("also a single one", "auditbell=debug", "warn,auditbell=debug"),
        ] {
            assert_eq!(directives(level), expected, "{why}");
        }
    }
}
