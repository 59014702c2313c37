//! `FILE|-` and `--lines`: the messages that `inspect` and `explain` are given, and how their results are written.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Stdout, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::{exit, out};
use crate::record::Position;
use crate::record::envelope::{self, Item, MAX_MESSAGE};

/// Where messages are read from.
#[derive(clap::Args, Debug)]
pub(super) struct Input {
    /// Files with one Kafka message's bytes each; `-` is stdin
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<PathBuf>,
    /// Each line is a message; `offset` is then its number, from 0
    #[arg(long)]
    lines: bool,
}

/// Results on stdout.
pub(super) struct Output(BufWriter<Stdout>);

impl Output {
    /// On stdout.
    pub(super) fn new() -> Self {
        Self(BufWriter::new(io::stdout()))
    }

    /// Writes text as it is.
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        self.0.write_all(text.as_bytes())
    }

    /// What was written leaves; [`ended`] with how.
    pub(super) fn end(mut self, written: io::Result<()>, code: ExitCode) -> ExitCode {
        ended(written.and_then(|()| self.0.flush()), code)
    }

    /// Writes one JSON object on a line of its own.
    pub(super) fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let line = serde_json::to_string(line).map_err(io::Error::from)?;
        self.0.write_all(out::escaped(&line).as_bytes())?;
        self.0.write_all(b"\n")
    }
}

/// Told of each item of each message, in order, with its place.
pub(super) type Each<'a> = dyn FnMut(Position, Item<'_>, &mut Output) -> io::Result<()> + 'a;

enum Failure {
    Read(io::Error),
    Write(io::Error),
}

impl Input {
    /// Gives every item of every file to `each`: 1 if any could not be read, 2 if a file could not.
    pub(super) fn each(&self, each: &mut Each<'_>) -> ExitCode {
        let mut output = Output::new();
        let (mut dead, mut unread) = (false, false);
        for file in &self.files {
            match self.file(file, each, &mut output) {
                Ok(one) => dead |= one,
                Err(Failure::Read(error)) => {
                    eprintln!("auditbell: cannot read {}: {error}", file.display());
                    unread = true;
                }
                Err(Failure::Write(error)) => return output.end(Err(error), ExitCode::SUCCESS),
            }
        }
        let code = match (unread, dead) {
            (true, _) => ExitCode::from(exit::USAGE),
            (false, true) => ExitCode::from(exit::FAILED),
            (false, false) => ExitCode::SUCCESS,
        };
        output.end(Ok(()), code)
    }

    /// Gives every item of `file` to `each`; whether any could not be read.
    fn file(&self, file: &Path, each: &mut Each<'_>, output: &mut Output) -> Result<bool, Failure> {
        let source: Arc<str> = file.to_string_lossy().into();
        let mut dead = false;
        let mut message = |bytes: &[u8], offset: Option<i64>| {
            for (index, item) in (0..).zip(envelope::decode(Some(bytes))) {
                dead |= matches!(item, Item::Dead(_));
                let position = Position { source: source.clone(), topic: None, partition: None, offset, index };
                each(position, item, output)?;
            }
            Ok(())
        };
        let input: Box<dyn Read> = if file.as_os_str() == "-" {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(file).map_err(Failure::Read)?)
        };
        if self.lines {
            each_line(input, &mut message)?;
        } else {
            whole(input, &mut message)?;
        }
        Ok(dead)
    }
}

/// `code`, unless the result could not be written. Whoever reads may have seen enough (`| head`).
fn ended(written: io::Result<()>, code: ExitCode) -> ExitCode {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("auditbell: cannot write the result: {error}");
            ExitCode::from(exit::FAILED)
        }
        Ok(()) | Err(_) => code,
    }
}

type Message<'a> = dyn FnMut(&[u8], Option<i64>) -> io::Result<()> + 'a;

fn whole(input: impl Read, message: &mut Message<'_>) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    // One byte more than is accepted, so that it is seen to be too large.
    input.take(MAX_MESSAGE as u64 + 1).read_to_end(&mut bytes).map_err(Failure::Read)?;
    message(&bytes, None).map_err(Failure::Write)
}

fn each_line(input: impl Read, message: &mut Message<'_>) -> Result<(), Failure> {
    for (number, line) in (0..).zip(BufReader::new(input).split(b'\n')) {
        let line = line.map_err(Failure::Read)?;
        if !line.trim_ascii().is_empty() {
            message(&line, Some(number)).map_err(Failure::Write)?;
        }
    }
    Ok(())
}
