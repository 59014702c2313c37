//! Owns `demo`: an embedded broker, sample records, the real daemon, a mail server and an inbox page, all in this process
//! and in one temporary directory that is gone afterwards.

mod feed;
mod fresh;
mod mailbox;
mod page;
mod samples;
mod story;
mod tally;

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::mpsc;

use crate::app::App;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::people::People;
use crate::shutdown::{self, Shutdown};

use feed::Feed;
use mailbox::Received;
use samples::{SAMPLES, Sample};
use story::Story;
use tally::Tally;

/// The shipped rules, from the first `[[rule]]` of the example on.
const EXAMPLE: &str = include_str!("../../config.example.toml");
const OURS: &str = include_str!("demo.toml");
const PEOPLE: &str = "id,upn,mail,name,time_zone\n\
    ,alice@example.com,alice@example.com,Alice,Europe/Berlin\n\
    ,bob@example.com,bob@example.com,Bob,Europe/London\n";
/// Between two messages of the feed.
const PACE: Duration = Duration::from_secs(4);
/// `--once`: the slowest mail waits for the group to form (3 s), its own group (2 s), and a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// `--once`: after the last expected mail, so long for one that should not come.
const QUIET: Duration = Duration::from_secs(4);
/// Mails on their way from the mail server to the page.
const BACKLOG: usize = 64;

/// What the command line says.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Deliver the samples once, print a summary, end.
    pub once: bool,
    /// Where the page listens.
    pub listen: SocketAddr,
}

/// Runs the demo until Ctrl-C, or with `once` until the samples are delivered. `Ok(false)`: a mail is missing or was not expected.
pub async fn run(options: Options) -> anyhow::Result<bool> {
    let home = Home::make()?;
    let feed = Feed::start()?;
    let (sender, mut taken) = mpsc::channel(BACKLOG);
    let relay = mailbox::start(sender).await?;
    let config = configure(&home.0, &feed.brokers(), relay)?;
    let people = Arc::new(People::load(config.people.clone())?);
    let story = Arc::new(Mutex::new(Story::new(config.rules.clone(), people)));
    let page = page::start(options.listen, story.clone()).await?;
    say(&format!("The inbox:  http://{page}/   (Ctrl-C ends the demo and leaves nothing behind)\n"));

    let shutdown = Shutdown::default();
    let app = match App::start(config, shutdown.clone(), Arc::default()).await {
        Ok(app) => app,
        Err(ending) => bail!("the daemon does not start: {}", ending.message),
    };
    tokio::spawn(shutdown::signals(shutdown.clone()));
    let scene = Scene { feed, story, clock: Clock::system() };
    let result = tokio::select! {
        result = scene.play(options.once, &mut taken) => result,
        () = shutdown.soft().cancelled() => Ok(true),
    };
    shutdown.begin();
    let exit = app.wait().await;
    if exit != 0 {
        bail!("the daemon ended with exit code {exit}");
    }
    result
}

/// The parts that act while the daemon runs.
struct Scene {
    feed: Feed,
    story: Arc<Mutex<Story>>,
    clock: Clock,
}

impl Scene {
    async fn play(&self, once: bool, taken: &mut mpsc::Receiver<Received>) -> anyhow::Result<bool> {
        if once {
            for sample in SAMPLES {
                self.feed_one(sample, 0).await?;
            }
            return self.collect(taken).await;
        }
        let mut pace = tokio::time::interval(PACE);
        let mut next = (0..).flat_map(|round| SAMPLES.iter().map(move |sample| (sample, round)));
        loop {
            tokio::select! {
                _ = pace.tick() => {
                    if let Some((sample, round)) = next.next() {
                        self.feed_one(sample, round).await?;
                    }
                }
                Some(mail) = taken.recv() => { self.receive(&mail); }
            }
        }
    }

    async fn feed_one(&self, sample: &Sample, round: u64) -> anyhow::Result<()> {
        let message = fresh::fresh(sample.message, self.clock.now(), round);
        let (_, offset) = self.feed.send(&message).await?;
        say(sample.title);
        let lines = self.story.lock().unwrap_or_else(PoisonError::into_inner).sent(&message, offset, self.clock.now());
        for line in lines {
            say(&line);
        }
        Ok(())
    }

    fn receive(&self, mail: &Received) -> (String, String) {
        let letter = self.story.lock().unwrap_or_else(PoisonError::into_inner).arrived(mail, self.clock.now());
        let of = match letter.records.len() {
            0 | 1 => String::new(),
            records => format!("   (one mail for {records} records)"),
        };
        say(&format!("     mail to {}: {}{of}", letter.to, letter.subject));
        (letter.to, letter.subject)
    }

    /// Takes mails until the expected ones are there and it has been quiet since; prints the summary.
    async fn collect(&self, taken: &mut mpsc::Receiver<Received>) -> anyhow::Result<bool> {
        let mut tally = Tally::new(SAMPLES.iter().flat_map(|sample| sample.mails).copied());
        let give_up = tokio::time::Instant::now() + PATIENCE;
        loop {
            let limit = if tally.complete() { tokio::time::Instant::now() + QUIET } else { give_up };
            let Ok(mail) = tokio::time::timeout_at(limit, taken.recv()).await else { break };
            let (to, subject) = self.receive(&mail.context("the mail server has ended")?);
            tally.arrived(to, subject);
        }
        say(&format!("\n{tally}"));
        Ok(tally.ok())
    }
}

/// The daemon's configuration: our scalars, the shipped rules.
fn configure(home: &Path, brokers: &str, relay: SocketAddr) -> anyhow::Result<Config> {
    let ours = OURS
        .replace("BROKERS", brokers)
        .replace("RELAY", &format!("smtp+plain://{relay}"))
        .replace("sqlite:demo.db", &format!("sqlite:{}", home.join("demo.db").display()));
    fs::write(home.join("demo.toml"), format!("{ours}\n{}", shipped_rules()?))?;
    fs::write(home.join("people.csv"), PEOPLE)?;
    config::load(&home.join("demo.toml")).map_err(|faults| {
        let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the demo's own configuration is wrong:\n{}", lines.join("\n"))
    })
}

fn shipped_rules() -> anyhow::Result<&'static str> {
    let at = EXAMPLE.find("\n[[rule]]").context("config.example.toml has no [[rule]]")?;
    Ok(&EXAMPLE[at..])
}

/// A directory of our own that goes when the demo goes.
struct Home(PathBuf);

impl Home {
    fn make() -> anyhow::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
        let path = std::env::temp_dir().join(format!("auditbell-demo-{:016x}", u64::from_be_bytes(random)));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the demo's directory stays behind");
        }
    }
}

/// One line for the person at the terminal. A closed terminal is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}
