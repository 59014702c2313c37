//! `dead-letters replay`: what could not be read then, read by today's code and rules.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::app;
use crate::cli::store::{who, with};
use crate::cli::{Options, Output, exit, out, people};
use crate::clock::Clock;
use crate::config::Config;
use crate::intake::{self, Basis};
use crate::people::People;
use crate::store::operate::Reread;
use crate::store::{AcceptError, Accepted, Store, StoreError};

/// Letters per transaction, and the pause between two: a daemon beside us waits for SQLite's lock in steps of 100 ms.
const SLICE: usize = 50;
const GIVE_WAY: Duration = Duration::from_millis(150);

/// What became of one letter.
#[derive(Default, Serialize)]
struct Became {
    number: i64,
    /// It was understood, and is no dead letter any more.
    read: bool,
    /// Why not.
    error: Option<&'static str>,
    records: u64,
    /// Older than the ledger remembers: read, and not told.
    too_old: u64,
    /// Notifications that are new, and will be sent or are held.
    new: u64,
    /// Of these, what the brake holds.
    held: u64,
    /// Told before.
    duplicates: usize,
    /// Ended at once, by a verdict of their own.
    ended: usize,
    /// Dead letters that are left of it, under other numbers.
    dead_letters: u64,
}

/// Replays the letters `numbers` (`None`: all); 1 if one is a dead letter still.
pub(super) fn run(options: &Options, numbers: Option<Vec<i64>>) -> Result<ExitCode, ExitCode> {
    let config = options.file.load()?;
    let people = people(&config)?;
    let config = &config;
    let mut all_read = true;
    let tell = |became: &Became| {
        all_read &= became.read;
        print(options, became);
    };
    with(config, |store| replay(store, config, people, numbers, tell))?;
    Ok(if all_read { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}

async fn replay(
    store: Store,
    config: &Config,
    people: People,
    numbers: Option<Vec<i64>>,
    mut tell: impl FnMut(&Became),
) -> Result<(), StoreError> {
    let (clock, who) = (Clock::system(), who());
    let numbers = match numbers {
        Some(numbers) => numbers,
        None => store.dead_letter_numbers().await?,
    };
    let known = app::reload::known(&store, config, clock.now(), clock.now()).await?;
    let basis = Basis {
        lookups: config.lookups.clone(),
        revision: known.number,
        dialects: config.dialects.clone(),
        rules: config.rules.clone(),
        people: Arc::new(people),
        rules_seen: known.rules_seen,
        wakes: HashMap::new(), // a daemon looks by itself every two seconds
    };
    for (n, slice) in numbers.chunks(SLICE).enumerate() {
        if n > 0 {
            tokio::time::sleep(GIVE_WAY).await;
        }
        let now = clock.now();
        let (mut became, mut letters) = (Vec::new(), Vec::new());
        for number in slice {
            let mut one = Became { number: *number, ..Became::default() };
            match store.dead_letter(*number).await? {
                None => one.error = Some("no such dead letter"),
                Some((_, None)) => one.error = Some("its bytes are past [store] content"),
                Some((letter, Some(body))) => {
                    let (reread, too_old) = intake::replay(&letter, body.into(), &basis, app::remembered(config), now);
                    one.too_old = too_old;
                    match &reread {
                        Reread::Understood { records, .. } => one.records = *records,
                        Reread::Dead(error) => one.error = Some(*error),
                    }
                    letters.push((*number, reread));
                }
            }
            became.push(one);
        }
        let tried: Vec<i64> = letters.iter().map(|(number, _)| *number).collect();
        let accepted = store.replay(letters, &who, now).await.map_err(failed)?;
        for (number, accepted) in tried.into_iter().zip(accepted) {
            if let Some(one) = became.iter_mut().find(|one| one.number == number) {
                one.take(accepted);
            }
        }
        became.iter().for_each(&mut tell);
    }
    Ok(())
}

impl Became {
    fn take(&mut self, accepted: Option<Accepted>) {
        let Some(accepted) = accepted else {
            self.error = Some("somebody else has replayed or discarded it");
            return;
        };
        self.read = self.error.is_none();
        self.new = accepted.messages;
        self.held = accepted.held.iter().map(|(_, _, count)| count).sum();
        self.duplicates = accepted.duplicates.len();
        self.ended = accepted.ended.len();
        self.dead_letters = accepted.dead_letters;
    }
}

/// The store says when to try again, or what is wrong with it.
fn failed(error: AcceptError) -> StoreError {
    match error {
        AcceptError::Store(error) => error,
        full => StoreError::Busy(format!("{full}: nothing was replayed; make room and try again")),
    }
}

fn print(options: &Options, became: &Became) {
    let Became { number, records, too_old, new, held, duplicates, ended, dead_letters, .. } = became;
    match (options.output, became.error) {
        (Output::Json, _) => out::json(became),
        (Output::Text, Some(error)) => outln!("{number} not read: {error}"),
        (Output::Text, None) => outln!(
            "{number} read: records={records} new={new} held={held} duplicates={duplicates} ended={ended} \
             too_old={too_old} dead_letters={dead_letters}"
        ),
    }
}
