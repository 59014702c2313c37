//! Owns what is known of a lost store: whether this file is empty, and for which sources it was when a daemon began with it.
//! It does not stay empty: other sources write their rows into it while one waits for its broker, or is refused.

use super::writer::Mark;
use super::{Store, StoreError, sql};

/// Before the source's name, in `meta`.
const NOTE: &str = "lost:";

/// What of a store may be lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// There is nothing in the file.
    empty: bool,
    /// Those that have not been placed since it was.
    sources: Vec<String>,
}

impl Lost {
    /// Whether the positions of `source`, if it had any, are lost.
    #[must_use]
    pub fn concerns(&self, source: &str) -> bool {
        self.empty || self.sources.iter().any(|lost| lost == source)
    }
}

impl Store {
    /// Ask before this process accounts for anything.
    pub async fn lost(&self) -> Result<Lost, StoreError> {
        self.read(|conn| {
            let any = "SELECT EXISTS (SELECT 1 FROM position) OR EXISTS (SELECT 1 FROM notification)";
            let noted = "SELECT substr(key, 1+length($1)) FROM meta WHERE substr(key, 1, length($1))=$1";
            let empty = sql::first::<bool>(conn, any, &[])? != Some(true);
            Ok(Lost { empty, sources: sql::rows(conn, noted, &[&NOTE], |row| row.get(0))? })
        })
        .await
    }

    /// The store was empty when `source` came to it, which is remembered until it has its positions.
    pub async fn note_lost(&self, source: &str) -> Result<(), StoreError> {
        let key = format!("{NOTE}{source}");
        let note = "INSERT INTO meta(key,value) VALUES($1,NULL) ON CONFLICT(key) DO NOTHING";
        self.write(Mark::Other, move |w| Ok::<_, StoreError>(sql::run(&w.conn, note, &[&key])?)).await?;
        Ok(())
    }

    /// `source` has its positions, of every topic.
    pub async fn note_found(&self, source: &str) -> Result<(), StoreError> {
        let key = format!("{NOTE}{source}");
        let gone = "DELETE FROM meta WHERE key=$1";
        self.write(Mark::Other, move |w| Ok::<_, StoreError>(sql::run(&w.conn, gone, &[&key])?)).await?;
        Ok(())
    }
}
