//! Owns the log: its form, its filter, and what a panic may say. Lines go to stderr.
//!
//! Our own lines hold no address, name, body or secret. Foreign crates know no such rule, so they are heard from `warn` on
//! only, whatever `[log] level` says, unless it names them.

use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// The filter: one word is the level of our own lines; anything longer is taken as `env-filter` directives.
fn directives(level: &str) -> String {
    if level.contains(['=', ',']) { format!("warn,{level}") } else { format!("warn,auditbell={level}") }
}

/// The filter of `[log] level`; an error where that is none, with what it may be.
pub fn filter(log: &Log) -> anyhow::Result<EnvFilter> {
    // The library's error says what it says a second time as its own cause.
    let remedy = "must be error, warn, info, debug, trace, or a filter such as \"info,auditbell::source=debug\"";
    EnvFilter::try_new(directives(&log.level)).map_err(|error| anyhow::anyhow!("{remedy}: {error}"))
}

/// Puts another filter into the log that runs.
type SetLevel = Box<dyn Fn(EnvFilter) -> anyhow::Result<()> + Send + Sync>;
static SET_LEVEL: OnceLock<SetLevel> = OnceLock::new();

/// Starts the log of this process. A second start (tests, the demo) keeps the first.
pub fn start(log: &Log) -> anyhow::Result<()> {
    let builder = tracing_subscriber::fmt().with_env_filter(filter(log)?).with_writer(std::io::stderr);
    // The handle's type holds that of the form, so it is boxed per form.
    let (started, set_level): (_, SetLevel) = if log.json {
        let builder = builder.json().flatten_event(true).with_current_span(false).with_span_list(false);
        let builder = builder.with_filter_reloading();
        let handle = builder.reload_handle();
        (builder.try_init(), Box::new(move |filter| Ok(handle.reload(filter)?)))
    } else {
        let builder = builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).with_filter_reloading();
        let handle = builder.reload_handle();
        (builder.try_init(), Box::new(move |filter| Ok(handle.reload(filter)?)))
    };
    if started.is_err() || SET_LEVEL.set(set_level).is_err() {
        tracing::debug!("a log was already started");
    }
    std::panic::set_hook(Box::new(panicked));
    Ok(())
}

/// Takes over `[log] level`; the form stays.
pub fn set_level(log: &Log) -> anyhow::Result<()> {
    SET_LEVEL.get().map_or(Ok(()), |set_level| set_level(filter(log)?))
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
