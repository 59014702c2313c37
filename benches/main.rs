//! The figures of docs/performance.md, from the real binary: `tests/kafka run cargo bench` beside a real Apache Kafka,
//! `cargo bench` on a mock cluster. `-- end_to_end filter …` runs only these; `-- --short` is a short form that only shows
//! that they run; `-- --dir DIR` puts the stores on another disk.
//!
//! The sink (and the mock cluster) stands in this process, the daemon is a process of its own with its store on the disk.
//! Every figure is printed beside what it is compared with, taken in the same run: read the ratios.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that cannot be made shall say so and end")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod daemon;
mod decode;
mod end_to_end;
mod faults;
mod filter;
mod kafka;
mod latency;
mod memory;
mod rules;
mod sink;
mod store;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Connections to the relay, ours and `smtp-source`'s.
const CONNECTIONS: usize = 4;

/// What was asked for.
struct Run {
    short: bool,
    /// Where the stores are: their disk's fsync counts.
    directory: PathBuf,
}

/// A name on the command line, and what it runs.
type Figure = (&'static str, fn(&Run));

const FIGURES: [Figure; 8] = [
    ("end_to_end", end_to_end::run),
    ("latency", latency::run),
    ("memory", memory::run),
    ("filter", filter::run),
    ("faults", faults::run),
    ("decode", decode::run),
    ("rules", rules::run),
    ("store", store::run),
];

fn main() {
    let mut run = Run { short: false, directory: env!("CARGO_TARGET_TMPDIR").into() };
    let mut wanted = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {} // cargo's own
            "--short" => run.short = true,
            "--dir" => run.directory = arguments.next().expect("--dir DIR").into(),
            name => wanted.push(FIGURES.iter().find(|(known, _)| *known == name).expect("no such figure")),
        }
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let binary = std::fs::metadata(daemon::BINARY).unwrap().len() as f64 / 1e6;
    println!("{cores} cores; binary {binary:.1} MB; 4 KiB write + fdatasync {:.2?}", fsync_cost(&run.directory));
    let all: Vec<&Figure> = FIGURES.iter().collect();
    for (name, figure) in if wanted.is_empty() { all } else { wanted } {
        println!("\n== {name}");
        figure(&run);
    }
}

impl Run {
    /// A directory for one store.
    fn directory(&self) -> tempfile::TempDir {
        tempfile::tempdir_in(&self.directory).unwrap()
    }

    fn size<T>(&self, full: T, short: T) -> T {
        if self.short { short } else { full }
    }
}

/// The median of 200.
fn fsync_cost(directory: &Path) -> Duration {
    use std::io::Write as _;
    let mut file = tempfile::tempfile_in(directory).unwrap();
    let mut costs: Vec<Duration> = (0..200)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&[7; 4096]).unwrap();
            file.sync_data().unwrap();
            begun.elapsed()
        })
        .collect();
    costs.sort();
    costs[100]
}

/// Two ways through the same bytes, in turns: the processor time of this thread, so that what runs beside it counts little.
/// The ratio is that of the speeds.
fn compare(what: &str, ours: &dyn Fn(), beside: &str, theirs: &dyn Fn(), bytes: usize, rounds: usize) {
    let speed = |way: &dyn Fn()| {
        let begun = thread_time();
        way();
        bytes as f64 / 1e6 / thread_time().saturating_sub(begun).as_secs_f64()
    };
    let (ours, theirs): (Vec<f64>, Vec<f64>) = (0..rounds).map(|_| (speed(ours), speed(theirs))).unzip();
    let ratio = median(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect());
    println!("  {what} {:.0} MB/s, {beside} {:.0} MB/s, ratio {ratio:.2}", median(ours), median(theirs));
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap())
}

/// Processor time, user and system, that process `id` has used so far; the kernel counts it in hundredths of a second.
fn process_time(id: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let behind_name = stat.rsplit_once(')').unwrap().1;
    let ticks = |field: usize| behind_name.split_whitespace().nth(field).unwrap().parse::<u64>().unwrap();
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

/// The middle one; of an even number the lower.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[(figures.len() - 1) / 2]
}

/// Asks every millisecond until `condition` holds.
fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < until, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
