//! `inspect`: what we understand of records, one JSON object each.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::{Global, exit};
use crate::record::envelope::{self, Item, MAX_MESSAGE};
use crate::record::view::View;
use crate::record::{Position, Record};

/// Arguments of `inspect`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// One Kafka message's bytes; `-` is stdin
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// Each line is a message; `offset` is then its number, from 0
    #[arg(long)]
    lines: bool,
    /// Add the record as it came, as the last key
    #[arg(long)]
    raw: bool,
}

/// Runs the command: 1 if anything could not be read, 2 if the file could not.
pub(crate) fn run(_global: &Global, args: Args) -> ExitCode {
    let source = args.file.to_string_lossy();
    let input: Box<dyn Read> = if source == "-" {
        Box::new(io::stdin().lock())
    } else {
        match File::open(&args.file) {
            Ok(file) => Box::new(file),
            Err(error) => return unreadable(&source, &error),
        }
    };
    let mut printer =
        Printer { source: Arc::from(&*source), raw: args.raw, dead: 0, out: BufWriter::new(io::stdout()) };
    let done = if args.lines { each_line(input, &mut printer) } else { whole(input, &mut printer) };
    match done.and_then(|()| printer.out.flush().map_err(Failure::Write)) {
        Err(Failure::Read(error)) => unreadable(&source, &error),
        // Whoever reads has seen enough (`| head`).
        Err(Failure::Write(error)) if error.kind() == ErrorKind::BrokenPipe => printer.code(),
        Err(Failure::Write(error)) => {
            eprintln!("auditbell: cannot write the result: {error}");
            ExitCode::from(exit::FAILED)
        }
        Ok(()) => printer.code(),
    }
}

fn unreadable(source: &str, error: &io::Error) -> ExitCode {
    eprintln!("auditbell: cannot read {source}: {error}");
    ExitCode::from(exit::USAGE)
}

enum Failure {
    Read(io::Error),
    Write(io::Error),
}

fn whole(input: impl Read, printer: &mut Printer<impl Write>) -> Result<(), Failure> {
    let mut message = Vec::new();
    // One byte more than is accepted, so that it is seen to be too large.
    input.take(MAX_MESSAGE as u64 + 1).read_to_end(&mut message).map_err(Failure::Read)?;
    printer.message(&message, None).map_err(Failure::Write)
}

fn each_line(input: impl Read, printer: &mut Printer<impl Write>) -> Result<(), Failure> {
    for (number, line) in (0..).zip(BufReader::new(input).split(b'\n')) {
        let line = line.map_err(Failure::Read)?;
        if !line.trim_ascii().is_empty() {
            printer.message(&line, Some(number)).map_err(Failure::Write)?;
        }
    }
    Ok(())
}

struct Printer<W: Write> {
    source: Arc<str>,
    raw: bool,
    dead: usize,
    out: BufWriter<W>,
}

impl<W: Write> Printer<W> {
    fn message(&mut self, message: &[u8], offset: Option<i64>) -> io::Result<()> {
        for (index, item) in (0..).zip(envelope::decode(Some(message))) {
            let position = Position { source: self.source.clone(), topic: None, partition: None, offset, index };
            match item {
                Item::Record(raw) => self.record(&raw.read(position, None))?,
                Item::Dead(dead) => {
                    self.dead += 1;
                    self.line(&View::of_dead(&position, &dead))?;
                }
            }
        }
        Ok(())
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        let view = View::from(record);
        self.line(&if self.raw { view.with_raw(record) } else { view })
    }

    fn line(&mut self, view: &View<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, view).map_err(io::Error::from)?;
        self.out.write_all(b"\n")
    }

    fn code(&self) -> ExitCode {
        if self.dead == 0 { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) }
    }
}
