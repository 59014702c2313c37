//! `positions set`: reads a partition from another offset on. Nothing is told twice by that, within `[store] ledger`.

use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::cli::store::{alone, who, with};
use crate::cli::{Options, Output, exit, out};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::source::{self, Extent, Settings, Start};
use crate::store::{self, PositionRow};

/// How long the brokers may take.
const LIMIT: Duration = Duration::from_secs(15);

/// Arguments of `positions set`.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// SOURCE:TOPIC:PARTITION, as in `positions list`
    #[arg(value_name = "PARTITION")]
    place: Place,
    /// An offset, earliest, latest, a span before now ("-1h") or a time ("2026-01-22T18:00:00Z")
    #[arg(value_name = "TO", allow_hyphen_values = true, value_parser = target)]
    to: Target,
    /// Write it; the daemon must be stopped
    #[arg(long)]
    apply: bool,
}

/// `SOURCE:TOPIC:PARTITION`. Neither a source's name nor a topic's holds a colon.
#[derive(Clone, Debug)]
struct Place {
    source: String,
    key: (Arc<str>, i32),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ':');
        let place = || Some((parts.next()?, parts.next()?, parts.next()?.parse().ok()?));
        let (source, topic, partition) = { place }().ok_or("must be SOURCE:TOPIC:PARTITION, as in `positions list`")?;
        Ok(Self { source: source.to_owned(), key: (topic.into(), partition) })
    }
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Offset(i64),
    At(Start),
}

fn target(text: &str) -> Result<Target, String> {
    match text.parse() {
        Ok(offset) if offset >= 0 => Ok(Target::Offset(offset)),
        _ => config::start(text).map(Target::At),
    }
}

/// What the move means.
#[derive(Serialize)]
struct Move<'a> {
    source: &'a str,
    topic: &'a str,
    partition: i32,
    from: i64,
    to: i64,
    /// Kafka messages that would not be read. Where the broker did not answer, at most so many: it may not have them.
    skipped: i64,
    /// Kafka messages that would be read a second time; at most, likewise.
    again: i64,
    /// What the broker keeps; null where it did not answer.
    low: Option<i64>,
    high: Option<i64>,
    applied: bool,
}

/// Prints the move, and makes it with `--apply`. 1: no such position, or no such offset; 75: a daemon runs, or the brokers
/// do not answer and are needed.
pub(super) fn run(options: &Options, args: &Args) -> Result<ExitCode, ExitCode> {
    let config = options.file.load()?;
    let place = &args.place;
    let row = position(&config, place)?;
    let settings = config.sources.iter().find(|source| *source.name == *place.source);
    let extent = settings.map_or_else(|| Err(not_configured(place)), |settings| extent(settings, place));
    let to = offset(args.to, settings, place, &extent)?;
    if let Err(why) = &extent {
        eprintln!("the broker was not asked: {why}");
    }
    let extent = extent.ok();
    let (low, high) = (extent.map(|extent| extent.low), extent.map(|extent| extent.high));
    // What the broker has deleted can be neither skipped nor read.
    let kept = |offset: i64| offset.clamp(low.unwrap_or(i64::MIN), high.unwrap_or(i64::MAX));
    let ahead = kept(to) - kept(row.next);
    let (topic, partition) = (&*place.key.0, place.key.1);
    let mut plan = Move {
        source: &place.source,
        topic,
        partition,
        from: row.next,
        to,
        skipped: ahead.max(0),
        again: (-ahead).max(0),
        low,
        high,
        applied: false,
    };
    if args.apply {
        apply(&config, row, to)?;
        plan.applied = true;
    } else if let Ok(Some(pid)) = store::holder(&config.store) {
        eprintln!("a daemon runs (process {pid}): stop it before --apply");
    }
    print(options, &plan);
    Ok(ExitCode::SUCCESS)
}

/// The row as it is; only what the daemon has once read can be set.
fn position(config: &Config, place: &Place) -> Result<PositionRow, ExitCode> {
    let rows = with(config, |store| async move { store.all_positions().await })?;
    let found =
        rows.into_iter().find(|row| *row.source == *place.source && (row.topic.clone(), row.partition) == place.key);
    found.ok_or_else(|| {
        let Place { source, key: (topic, partition) } = place;
        eprintln!("{source}:{topic}:{partition} has no position: the daemon has not read it yet; see `positions list`");
        ExitCode::from(exit::FAILED)
    })
}

fn not_configured(place: &Place) -> String {
    format!("[source.{}] is not in the configuration", place.source)
}

fn extent(settings: &Settings, place: &Place) -> Result<Extent, String> {
    let extents = source::extents(settings, std::slice::from_ref(&place.key), LIMIT);
    let extents = extents.map_err(|error| format!("{error:#}"))?;
    extents.get(&place.key).copied().ok_or_else(|| "the broker does not know the partition".to_owned())
}

/// The offset that was meant.
fn offset(
    to: Target,
    settings: Option<&Settings>,
    place: &Place,
    extent: &Result<Extent, String>,
) -> Result<i64, ExitCode> {
    let needed = |why: &str| {
        eprintln!("only the broker knows that offset: {why}");
        ExitCode::from(exit::TRY_AGAIN)
    };
    let moment = match (to, extent) {
        (Target::Offset(offset), Ok(Extent { low, high })) if offset < *low || offset > *high => {
            eprintln!("{offset} lies outside of what the broker keeps, {low} to {high}");
            return Err(ExitCode::from(exit::FAILED));
        }
        (Target::Offset(offset), _) => return Ok(offset),
        (Target::At(Start::Earliest), Ok(extent)) => return Ok(extent.low),
        (Target::At(Start::Latest), Ok(extent)) => return Ok(extent.high),
        (Target::At(_), Err(why)) => return Err(needed(why)),
        (Target::At(Start::Ago(span)), _) => Clock::system().now().minus(span),
        (Target::At(Start::At(at)), _) => at,
    };
    let settings = settings.ok_or_else(|| needed(&not_configured(place)))?;
    let found =
        source::offset_at(settings, &place.key, moment, LIMIT).map_err(|error| needed(&format!("{error:#}")))?;
    // Nothing was written since then: the next message is the first.
    found.or(extent.as_ref().ok().map(|extent| extent.high)).ok_or_else(|| needed("no answer"))
}

fn apply(config: &Config, row: PositionRow, to: i64) -> Result<(), ExitCode> {
    let now = Clock::system().now();
    let moved = alone(config, |store| async move { store.set_position(row, to, &who(), now).await })?;
    if !moved {
        eprintln!("the position was moved meanwhile: look again");
        return Err(ExitCode::from(exit::TRY_AGAIN));
    }
    Ok(())
}

fn print(options: &Options, plan: &Move<'_>) {
    let Move { source, topic, partition, from, to, skipped, again, low, high, applied } = plan;
    if options.output == Output::Json {
        out::json(plan);
        return;
    }
    outln!("{source}:{topic}:{partition} from {from} to {to}");
    if let (Some(low), Some(high)) = (low, high) {
        outln!("  the broker keeps {low} to {high}");
    }
    // Only the broker knows how many of them there are.
    let up_to = if low.is_some() && high.is_some() { "" } else { "up to " };
    match (*skipped, *again) {
        (0, 0) => outln!("  nothing would be skipped or read again"),
        (skipped, 0) => outln!("  {up_to}{skipped} messages would be skipped: nobody is told of them"),
        (_, again) => {
            outln!(
                "  {up_to}{again} messages would be read again: who was told is not told again within [store] ledger"
            );
        }
    }
    outln!("  {}", if *applied { "done" } else { "nothing was changed: add --apply" });
}
