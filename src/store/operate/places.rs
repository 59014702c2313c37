//! Owns the positions as an operator sees and sets them.

use rusqlite::{Result, ToSql};

use super::super::position::{self, PositionRow};
use super::super::writer::Mark;
use super::super::{Store, StoreError, sql};
use super::leave_row;
use crate::clock::Timestamp;

impl Store {
    /// All positions of all sources.
    pub async fn all_positions(&self) -> Result<Vec<PositionRow>, StoreError> {
        self.read(position::all).await
    }

    /// Moves the position of `row` to `next`, and forgets its bad messages. `false`: it is no longer what `row` says.
    pub async fn set_position(
        &self,
        row: PositionRow,
        next: i64,
        who: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let who = who.to_owned();
        self.write(Mark::Other, move |w| {
            let PositionRow { source, topic, partition, next: from, .. } = &row;
            let params: [&dyn ToSql; 6] = [&next, &now, source, topic, partition, from];
            let set = "UPDATE position SET next=$1, at=$2, bad=0 WHERE source=$3 AND topic=$4 AND part=$5 AND next=$6";
            let moved = sql::run(&w.conn, set, &params)? == 1;
            if moved {
                leave_row(w, &who, &format!("positions set {source}:{topic}:{partition} {next} (was {from})"), now)?;
            }
            Ok::<_, StoreError>(moved)
        })
        .await
    }
}
