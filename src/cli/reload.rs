//! `reload`: checks the configuration as `check` does, tells the daemon to take it over, and says what came of that.

use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::store::{who, with};
use super::{Options, Output, at_fault, check, exit, out};
use crate::app::reload::{LIMIT, Outcome};
use crate::clock::{Clock, Timestamp};
use crate::store::{self, Store, StoreError};

/// Arguments of `reload`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
}

/// How often we look for the daemon's answer.
const LOOK: Duration = Duration::from_millis(50);
/// It may be busy with another reload when ours comes.
const PATIENCE: Duration = Duration::from_secs(2 * LIMIT.as_secs() + 5);

/// What became of the order.
enum Answer {
    Came(Outcome),
    /// The daemon has read its own files again, which say something else than ours.
    Another(Outcome),
    NoDaemon,
    Refused(rustix::io::Errno),
    Silence,
}

/// 0: taken over; 1: the daemon keeps the old one and says why, or has read another file; 75: no daemon, or it does not answer; 78: faults.
pub(crate) fn run(args: &Args) -> ExitCode {
    order(&args.options).unwrap_or_else(|code| code)
}

fn order(options: &Options) -> Result<ExitCode, ExitCode> {
    let config = options.file.load()?;
    let faults = check::parts(&config);
    if !faults.is_empty() {
        return Err(at_fault(faults));
    }
    let path = config.store.path.display().to_string();
    let config = &config;
    let answer = with(config, |store| async move {
        let Some(pid) = store::holder(&config.store)?.and_then(Pid::from_raw) else { return Ok(Answer::NoDaemon) };
        let answer = signal(&store, pid, || store::holder(&config.store)).await?;
        let Answer::Came(outcome) = answer else { return Ok(answer) };
        let ours = store.revision(config.hash).await?.map(|ours| ours.revision);
        let is_ours = !outcome.faults.is_empty() || ours == Some(outcome.revision);
        Ok(if is_ours { Answer::Came(outcome) } else { Answer::Another(outcome) })
    })?;
    Ok(match answer {
        Answer::Came(outcome) => print(options, &outcome),
        Answer::Another(Outcome { revision, .. }) => {
            eprintln!(
                "the daemon runs revision {revision}, which is not what {} says: it was started with another file, or yours \
                 was changed just now; give that file with -c, or start the daemon with yours",
                options.file.config.display()
            );
            ExitCode::from(exit::FAILED)
        }
        Answer::NoDaemon => {
            eprintln!("{path}: no daemon runs on this store; `auditbell run` starts one with this configuration");
            ExitCode::from(exit::TRY_AGAIN)
        }
        Answer::Refused(error) => {
            eprintln!("the daemon cannot be signalled: {error}; run this as auditbell's user, or as root");
            ExitCode::from(exit::FAILED)
        }
        Answer::Silence => {
            eprintln!("the daemon has not said what came of it within {} s; see its log", PATIENCE.as_secs());
            ExitCode::from(exit::TRY_AGAIN)
        }
    })
}

/// Gives the order, and waits for the note about a reload that began after it.
async fn signal(
    store: &Store,
    daemon: Pid,
    holder: impl Fn() -> Result<Option<i32>, StoreError>,
) -> Result<Answer, StoreError> {
    let clock = Clock::system();
    let ordered = clock.now();
    store.ordered(&who(), "reload", ordered).await?;
    if let Err(error) = kill_process(daemon, Signal::HUP) {
        return Ok(Answer::Refused(error));
    }
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(outcome) = Outcome::last(store).await?.filter(|outcome| outcome.began >= ordered.as_millis()) {
            return Ok(Answer::Came(outcome));
        }
        if holder()?.is_none() {
            return Ok(Answer::NoDaemon);
        }
        sleep(LOOK).await;
    }
    Ok(Answer::Silence)
}

fn print(options: &Options, outcome: &Outcome) -> ExitCode {
    match options.output {
        Output::Json => out::json(&serde_json::json!({
            "began": Timestamp::from_millis(outcome.began),
            "revision": outcome.revision,
            "faults": outcome.faults,
        })),
        Output::Text => {
            for fault in &outcome.faults {
                outln!("{fault}");
            }
            let done = outcome.faults.is_empty();
            outln!(
                "{} revision {}",
                if done { "taken over:" } else { "not taken over, the old one stays:" },
                outcome.revision
            );
        }
    }
    if outcome.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) }
}
