//! Owns what an operator sees and changes: the outbox, the dead letters, the positions. Works beside a running daemon,
//! which notices within 2 s. Every change leaves a row: who, when, what.

mod change;
mod history;
mod letters;
mod outbox;
mod places;
mod status;

use rusqlite::Result;

pub use change::{Action, Change, Waiting, Which};
pub use history::{Event, Names, Told};
pub use letters::{DeadLetterRow, Reread};
pub use outbox::{Detail, Filter, Kept, Message, Notification, Relative, Try};
pub use status::{Queue, Revision, Standing, Worker};

use super::sql;
use super::writer::Writer;
use crate::clock::Timestamp;

pub(super) fn leave_row(w: &Writer, who: &str, what: &str, now: Timestamp) -> Result<()> {
    sql::run(&w.conn, "INSERT INTO operator(at,who,what) VALUES($1,$2,$3)", &[&now, &who, &what])?;
    Ok(())
}
