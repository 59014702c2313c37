//! `run`: the daemon, in the foreground, until SIGTERM or SIGINT. SIGHUP is the order to reload.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use super::{ConfigFile, exit};
use crate::app::{self, App};
use crate::clock::Clock;
use crate::config::Config;
use crate::logging;
use crate::memory;
use crate::shutdown::{Shutdown, signals};

/// Arguments of `run`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    file: ConfigFile,
}

/// How long the runtime may take to drop what is still blocked (a file being read, a name being resolved).
const RUNTIME_END: Duration = Duration::from_secs(1);

/// Runs the daemon. Exit: 0 after an order to stop; 74, 75, 78 as the command line documents; 1 where a loop died.
#[expect(clippy::needless_pass_by_value, reason = "every command takes its arguments alike")]
pub(crate) fn run(args: Args) -> ExitCode {
    if let Err(refusal) = app::refuse_unset_clock(Clock::system().now()) {
        eprintln!("{refusal}");
        return ExitCode::from(exit::TRY_AGAIN);
    }
    let config = match args.file.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(error) = logging::start(&config.log) {
        eprintln!("[log] level: {error:#}");
        return ExitCode::from(exit::CONFIG);
    }
    memory::bound();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime did not start: {error}");
            return ExitCode::from(exit::FAILED);
        }
    };
    let code = runtime.block_on(daemon(config));
    runtime.shutdown_timeout(RUNTIME_END);
    ExitCode::from(code)
}

async fn daemon(config: Config) -> u8 {
    let shutdown = Shutdown::default();
    let watching = tokio::spawn(signals(shutdown.clone()));
    let wanted = Arc::new(Notify::new());
    // From here on SIGHUP does not end the process any more.
    let hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => tokio::spawn(reload_at(hangups, wanted.clone())),
        Err(error) => {
            tracing::error!("SIGHUP cannot be heard: {error}");
            return exit::FAILED;
        }
    };
    let code = match App::start(config, shutdown, wanted).await {
        Ok(app) => app.wait().await,
        Err(ending) => {
            tracing::error!(exit = ending.exit, "{}", ending.message);
            ending.exit
        }
    };
    watching.abort();
    hangups.abort();
    code
}

async fn reload_at(mut hangups: Signal, wanted: Arc<Notify>) {
    while hangups.recv().await.is_some() {
        wanted.notify_one();
    }
}
