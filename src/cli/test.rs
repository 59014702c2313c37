//! `test`: what the authors of rules say that they do, held against what they do. No store, no broker, no relay; each record is
//! decided as of its own time.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::{Options, Output, at_fault, exit, out};
use crate::config::{Config, Listed, RuleTest};
use world::World;

mod compare;
mod junit;
mod world;

/// Arguments of `test`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
    /// Only the tests in these files of the configuration, or below these directories
    #[arg(value_name = "DIR|FILE")]
    files: Vec<PathBuf>,
    /// Write the results as JUnit XML, too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// What came of one test; printed as it is with `-o json`, one object a line.
#[derive(Clone, Debug, Serialize)]
struct Run {
    file: String,
    line: Option<usize>,
    rule: Arc<str>,
    name: Arc<str>,
    outcome: Outcome,
    /// What was wanted and is not so, and the other way round; why it was skipped.
    differences: Vec<String>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Passed,
    Failed,
    /// Its rule is disabled, or another than the one that it was written for.
    Skipped,
}

/// 0: all passed; 1: one did not; 2: a file that is none of the configuration's; 78: faults.
pub(crate) fn run(args: &Args) -> ExitCode {
    test(args).unwrap_or_else(|code| code)
}

fn test(args: &Args) -> Result<ExitCode, ExitCode> {
    let config = args.options.file.load()?;
    let wanted = chosen(&config, &args.files)?;
    let world = World::new(&config).map_err(at_fault)?;
    let runs: Vec<Run> = wanted
        .into_iter()
        .flat_map(|listed| listed.tests.iter().map(move |test| (listed, test)))
        .map(|(listed, test)| one(&world, listed, test))
        .collect();
    match args.options.output {
        Output::Json => runs.iter().for_each(out::json),
        Output::Text => print(&runs),
    }
    if let Some(path) = &args.junit {
        std::fs::write(path, junit::report(&runs)).map_err(|error| {
            eprintln!("{}: cannot be written: {error}", path.display());
            ExitCode::from(exit::USAGE)
        })?;
    }
    let failed = runs.iter().any(|run| run.outcome == Outcome::Failed);
    Ok(if failed { ExitCode::from(exit::FAILED) } else { ExitCode::SUCCESS })
}

/// The rules whose tests are asked for.
fn chosen<'a>(config: &'a Config, files: &[PathBuf]) -> Result<Vec<&'a Listed>, ExitCode> {
    let canonical = |path: &Path| std::fs::canonicalize(path).ok();
    let mut places = Vec::with_capacity(files.len());
    for file in files {
        let place = canonical(file);
        let is_below = |listed: &&Listed| {
            let own = canonical(Path::new(&listed.place.file));
            place.as_ref().zip(own).is_some_and(|(place, own)| own.starts_with(place))
        };
        if !config.listed.iter().any(|listed| is_below(&listed)) {
            eprintln!("{}: no rule of this configuration stands there; does `include` name it?", file.display());
            return Err(ExitCode::from(exit::USAGE));
        }
        places.extend(place);
    }
    let is_wanted = |listed: &&Listed| {
        let own = canonical(Path::new(&listed.place.file));
        files.is_empty() || own.is_some_and(|own| places.iter().any(|place| own.starts_with(place)))
    };
    Ok(config.listed.iter().filter(is_wanted).collect())
}

fn one(world: &World<'_>, listed: &Listed, test: &RuleTest) -> Run {
    let (outcome, differences) = if !listed.enabled {
        (Outcome::Skipped, vec!["the rule is disabled".to_owned()])
    } else if test.set_aside {
        let why = format!("{} changes the rule of this pack: give it a [[rule.test]] of your own", listed.place);
        (Outcome::Skipped, vec![why])
    } else {
        let differences = compare::differences(world, listed, test);
        (if differences.is_empty() { Outcome::Passed } else { Outcome::Failed }, differences)
    };
    Run {
        file: test.place.file.clone(),
        line: test.place.line,
        rule: listed.rule.id.clone(),
        name: test.name.clone(),
        outcome,
        differences,
    }
}

fn print(runs: &[Run]) {
    for run in runs {
        let word = match run.outcome {
            Outcome::Passed => "ok     ",
            Outcome::Failed => "FAILED ",
            Outcome::Skipped => "skipped",
        };
        outln!("{word} {}: {}", run.rule, run.name);
        if run.outcome == Outcome::Failed {
            let line = run.line.map_or_else(String::new, |line| format!(":{line}"));
            outln!("        {}{line}", run.file);
        }
        for line in run.differences.iter().flat_map(|difference| difference.lines()) {
            outln!("        {line}");
        }
    }
    let count = |outcome| runs.iter().filter(|run| run.outcome == outcome).count();
    let (passed, failed, skipped) = (count(Outcome::Passed), count(Outcome::Failed), count(Outcome::Skipped));
    let skipped = if skipped > 0 { format!(", skipped: {skipped}") } else { String::new() };
    outln!("passed: {passed}, failed: {failed}{skipped}");
}
