//! `store`: the accountant; and how every command that looks into the store opens it.

use std::path::Path;
use std::process::ExitCode;

use tokio::runtime::Runtime;

use super::{Options, Output, exit, out};
use crate::config::Config;
use crate::store::check::{self, Report};
use crate::store::{Store, StoreError};

/// Arguments of `store`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Prove that every accepted record is accounted for; changes nothing, may run beside a daemon
    Check,
}

/// Runs the command; 1 when something is not accounted for.
pub(crate) fn run(args: Args) -> ExitCode {
    let Args { options, command: Command::Check } = args;
    let report = match options.file.load().and_then(|config| check::check(&config.store.path).map_err(|e| failed(&e))) {
        Ok(report) => report,
        Err(code) => return code,
    };
    match options.output {
        Output::Json => out::json(&report),
        Output::Text => print(&report),
    }
    if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) }
}

fn print(report: &Report) {
    for (name, rows) in &report.notifications {
        outln!("notifications {name}: {rows}");
    }
    for (name, rows) in &report.messages {
        outln!("messages {name}: {rows}");
    }
    outln!("dead letters: {}", report.dead_letters);
    for finding in &report.findings {
        outln!("WRONG: {}: {}", finding.what, finding.rows);
    }
    outln!("{}", if report.findings.is_empty() { "everything is accounted for" } else { "the books do not balance" });
}

/// Opens the configured store beside a daemon, and runs `work` on it.
pub(super) fn with<T, F>(config: &Config, work: impl FnOnce(Store) -> F) -> Result<T, ExitCode>
where
    F: Future<Output = Result<T, StoreError>>,
{
    opened(config, false, work)
}

/// As [`with`], but in the daemon's place: 75 while one runs, and none can start meanwhile.
pub(super) fn alone<T, F>(config: &Config, work: impl FnOnce(Store) -> F) -> Result<T, ExitCode>
where
    F: Future<Output = Result<T, StoreError>>,
{
    opened(config, true, work)
}

fn opened<T, F>(config: &Config, alone: bool, work: impl FnOnce(Store) -> F) -> Result<T, ExitCode>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let opened = Opened::new(config, alone)?;
    let answer = opened.ask(work);
    opened.runtime.block_on(opened.store.close());
    answer
}

/// An open store, for a command that asks it again and again.
pub(super) struct Opened {
    runtime: Runtime,
    store: Store,
}

impl Opened {
    /// The configured store; with `alone` in the daemon's place, else beside it. What is wrong with it is said on stderr.
    pub(super) fn new(config: &Config, alone: bool) -> Result<Self, ExitCode> {
        let settings = &config.store;
        if !settings.path.exists() {
            eprintln!("{}", missing(&settings.path));
            return Err(ExitCode::from(exit::CONFIG));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| failed(&StoreError::Other(error.into())))?;
        let store = runtime.block_on(async { Store::open(settings, alone) }).map_err(|error| failed(&error))?;
        Ok(Self { runtime, store })
    }

    /// Blocks until it is answered.
    pub(super) fn ask<T, F>(&self, question: impl FnOnce(Store) -> F) -> Result<T, ExitCode>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        self.runtime.block_on(question(self.store.clone())).map_err(|error| failed(&error))
    }
}

/// A path that begins at `$STATE_DIRECTORY` is another one for the daemon than here, where systemd sets that for the daemon alone.
pub(super) fn missing(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    format!(
        "{}: there is no store; `auditbell run` makes it. Is this the daemon's configuration, directory and STATE_DIRECTORY?",
        path.display()
    )
}

/// Says what is wrong with the store; its exit code.
fn failed(error: &StoreError) -> ExitCode {
    eprintln!("{error:#}");
    ExitCode::from(match error {
        StoreError::Damaged(_) => exit::STORE,
        StoreError::Busy(_) => exit::TRY_AGAIN,
        StoreError::Refused(_) => exit::CONFIG,
        StoreError::Other(_) => exit::FAILED,
    })
}

/// The user of the system who gives this command, for the row that a change leaves.
pub(super) fn who() -> String {
    let uid = rustix::process::getuid().as_raw();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    match user_name(&passwd, uid) {
        Some(name) => format!("{name} (uid {uid})"),
        None => format!("uid {uid}"),
    }
}

/// The name of `uid` in a passwd(5) file.
fn user_name(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_by_the_passwd_file() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\nbell:x:971:971::/var/lib/auditbell:/sbin/nologin\n";
        assert_eq!(user_name(passwd, 971), Some("bell"));
        assert_eq!(user_name(passwd, 1), None);
    }
}
