//! Owns the lines that commands print on stdout. A reader that has seen enough (`| head`) ends the printing and nothing else.

use std::fmt;
use std::io::{self, ErrorKind, Write};

use super::exit;

/// As `println!`, which panics where nobody reads on.
macro_rules! outln {
    ($($text:tt)*) => { $crate::cli::out::line(format_args!($($text)*)) };
}

/// See `outln!`. A result that cannot be written for another reason ends the command with 1.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("stdout: {error}");
            std::process::exit(exit::FAILED.into());
        }
        Ok(()) | Err(_) => {}
    }
}
