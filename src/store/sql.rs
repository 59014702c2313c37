//! Owns every hot statement, once, and the one way to bind and run any statement.
//!
//! Parameters are written `$1`, `$2`, … as PostgreSQL numbers them. SQLite takes `$2` for a *name* and numbers names by
//! first appearance, so nothing here binds by position: [`bind`] looks each name up.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Error, Result, Row, Statement};

use crate::clock::Timestamp;

/// Parameters of one statement; the first is `$1`.
pub(super) type Params<'a> = &'a [&'a dyn ToSql];

pub(super) const FENCE: &str = "UPDATE position SET next=$1, at=$2, bad=$3 \
    WHERE source=$4 AND topic=$5 AND part=$6 AND next=$7";
pub(super) const POSITION_NEXT: &str = "SELECT next FROM position WHERE source=$1 AND topic=$2 AND part=$3";

/// Row count 1 = new.
pub(super) const NOTIFY: &str = "INSERT INTO notification(id,at,record,message,rule,element,recipient,config,verdict,reason) \
    VALUES($1,$2,$3,$4,$5,$6,$7,$8,$9,$10) ON CONFLICT(id) DO NOTHING";
/// A clock that went back moves nothing back.
pub(super) const RULE_MATCHED: &str =
    "UPDATE rule_seen SET last_match=$2 WHERE rule=$1 AND (last_match IS NULL OR last_match<$2)";
pub(super) const JOIN_GROUP: &str = "INSERT INTO due(channel,lane,due_at,message,owner,attempt,suspect,open_key,joined) \
    VALUES($1,$2,$3,$4,0,0,0,$5,1) \
    ON CONFLICT(open_key) WHERE open_key IS NOT NULL DO UPDATE SET joined=due.joined+1 RETURNING message";
pub(super) const HELD_GROUP: &str = "SELECT id FROM message WHERE open_key=$1";
/// $2 the latest beginning of a window that is over, $3 the latest of one that the clock did not go back behind.
pub(super) const THROTTLE_OVER: &str = "DELETE FROM throttle WHERE key=$1 AND (since<=$2 OR since>$3)";
/// $2 now, $3 how many are new.
pub(super) const THROTTLE: &str = "INSERT INTO throttle(key,since,count) VALUES($1,$2,$3) \
    ON CONFLICT(key) DO UPDATE SET count=throttle.count+excluded.count RETURNING count, logged, told";
pub(super) const THROTTLE_HOLDS: &str = "UPDATE throttle SET logged=1, told=$2 WHERE key=$1";
/// The most telling rule words the mail; the gravest record gives its severity, the youngest its end.
pub(super) const JOIN_MESSAGE: &str = "UPDATE message SET rule=CASE WHEN $2<rank THEN $3 ELSE rule END, \
    template=CASE WHEN $2<rank THEN $4 ELSE template END, title=CASE WHEN $2<rank THEN $5 ELSE title END, \
    rank=CASE WHEN $2<rank THEN $2 ELSE rank END, severity=max(severity,$6), \
    expires_at=max(expires_at,$7) WHERE id=$1 AND ($2<rank OR $6>severity OR $7>expires_at)";
/// A group that waits becomes urgent with whoever joins it.
pub(super) const HURRY: &str = "UPDATE due SET lane=$2 WHERE open_key=$1 AND lane>$2 RETURNING due_at";
pub(super) const ASSIGN: &str = "UPDATE notification SET message=$2 WHERE id=$1";
pub(super) const RECORD: &str = "INSERT INTO record(id,key,at,accepted_at,broker_at,dialect,origin,body) \
    VALUES($1,$2,$3,$4,$5,$6,$7,$8)";
pub(super) const MESSAGE: &str = "INSERT INTO message(id,key,channel,recipient,rule,rank,template,kind,title,severity,\
    created_at,expires_at,state,attempts,open_key) VALUES($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,0,$14)";
pub(super) const DUE: &str = "INSERT INTO due(channel,lane,due_at,message,owner,attempt,suspect,open_key,joined) \
    VALUES($1,$2,$3,$4,0,0,0,NULL,1)";
pub(super) const DEAD_LETTER: &str = "INSERT INTO dead_letter(source,topic,part,offset_,item,at,broker_at,error,body) \
    VALUES($1,$2,$3,$4,$5,$6,$7,$8,$9) ON CONFLICT(source,topic,part,offset_,item) DO NOTHING";

/// MATERIALIZED: PostgreSQL may run a bare subquery with LIMIT more than once and claim too much.
pub(super) const CLAIM: &str = "WITH c AS MATERIALIZED (SELECT channel,lane,due_at,message FROM due \
      WHERE channel=$2 AND lane=$3 AND owner=0 AND suspect=0 AND due_at>=$4 AND due_at<=$5 ORDER BY due_at LIMIT $6) \
    UPDATE due SET owner=$1, attempt=attempt+1, open_key=NULL, first_at=coalesce(first_at,$5) FROM c \
      WHERE due.channel=c.channel AND due.lane=c.lane AND due.due_at=c.due_at AND due.message=c.message \
    RETURNING due.lane, due.due_at, due.message, due.attempt, due.suspect, due.first_at";
pub(super) const CLAIM_SUSPECT: &str = "WITH c AS MATERIALIZED (SELECT channel,lane,due_at,message FROM due \
      WHERE channel=$2 AND suspect>0 AND owner=0 AND due_at<=$3 ORDER BY due_at LIMIT 1) \
    UPDATE due SET owner=$1, attempt=attempt+1, open_key=NULL, first_at=coalesce(first_at,$3) FROM c \
      WHERE due.channel=c.channel AND due.lane=c.lane AND due.due_at=c.due_at AND due.message=c.message \
    RETURNING due.lane, due.due_at, due.message, due.attempt, due.suspect, due.first_at";
pub(super) const CLAIM_ONE: &str = "UPDATE due SET owner=$1, attempt=attempt+1, open_key=NULL, first_at=coalesce(first_at,$6) \
    WHERE channel=$2 AND lane=$3 AND due_at=$4 AND message=$5 AND owner=0 \
    RETURNING lane, due_at, message, attempt, suspect, first_at";
pub(super) const NEXT_DUE: &str = "SELECT due_at FROM due WHERE channel=$1 AND lane=$2 AND owner=0 AND suspect=0 \
    AND due_at>=$3 ORDER BY due_at LIMIT 1";
pub(super) const NEXT_SUSPECT: &str = "SELECT due_at FROM due WHERE channel=$1 AND suspect>0 AND owner=0 \
    ORDER BY due_at LIMIT 1";
pub(super) const RELEASE: &str = "UPDATE due SET owner=0, attempt=attempt-1, \
    first_at=CASE WHEN attempt>1 THEN first_at END \
    WHERE channel=$1 AND lane=$2 AND due_at=$3 AND message=$4 AND owner=$5 AND attempt=$6";

pub(super) const SENT: &str = "UPDATE message SET state=1, done_at=$2, attempts=$3, reply=$4, reference=$5, digest=$6, \
    address=coalesce(address,$7) WHERE id=$1 AND state<>1";
pub(super) const DROP_DUE: &str = "DELETE FROM due WHERE channel=$1 AND lane=$2 AND due_at=$3 AND message=$4";
pub(super) const DROP_DUE_ANYWHERE: &str = "DELETE FROM due WHERE message=$1";
pub(super) const DROP_MY_DUE: &str = "DELETE FROM due WHERE channel=$1 AND lane=$2 AND due_at=$3 AND message=$4 \
    AND owner=$5 AND attempt=$6";
pub(super) const HAND_BACK: &str = "UPDATE due SET owner=0, due_at=$7, hold=0, \
    suspect=CASE WHEN suspect<$8 THEN 0 ELSE suspect END \
    WHERE channel=$1 AND lane=$2 AND due_at=$3 AND message=$4 AND owner=$5 AND attempt=$6";
pub(super) const HOLD: &str = "UPDATE due SET owner=0, due_at=$7, hold=1, attempt=attempt-1, \
    first_at=CASE WHEN attempt>1 THEN first_at END \
    WHERE channel=$1 AND lane=$2 AND due_at=$3 AND message=$4 AND owner=$5 AND attempt=$6";
pub(super) const HELD_ARE_DUE: &str = "UPDATE due SET due_at=$2 WHERE channel=$1 AND lane IN (0,1) AND due_at>$2 \
    AND owner=0 AND hold=1 AND suspect=0";
pub(super) const TRIED: &str = "UPDATE message SET attempts=$2, reply=$3, address=coalesce(address,$4) WHERE id=$1";
pub(super) const FREEZE: &str = "UPDATE message SET body=coalesce(body,$2), digest=coalesce(digest,$3) WHERE id=$1";
/// What ends without a reply of its own keeps the last one: it is why the message waited.
pub(super) const END: &str = "UPDATE message SET state=$2, done_at=$3, attempts=$4, reply=CASE WHEN $5='' THEN reply ELSE $5 END, \
    address=coalesce(address,$6) WHERE id=$1 AND state=0";
pub(super) const REASON: &str = "UPDATE notification SET reason=$2 WHERE message=$1";
pub(super) const ATTEMPT: &str = "INSERT INTO attempt(message,n,at,verdict,code,reply) VALUES($1,$2,$3,$4,$5,$6) \
    ON CONFLICT(message,n) DO UPDATE SET at=excluded.at, verdict=excluded.verdict, code=excluded.code, reply=excluded.reply";

/// What a start asks. The last two walk `due`: 0.1 s for a million rows, once; an index for them would cost every claim.
pub(super) const LAST_RECORD: &str = "SELECT coalesce(max(id),0) FROM record";
pub(super) const LAST_MESSAGE: &str = "SELECT coalesce(max(id),0) FROM message";
pub(super) const OWNED: &str = "SELECT message, suspect FROM due WHERE owner<>0";
pub(super) const OWNERS: &str = "SELECT DISTINCT owner FROM due WHERE owner<>0";

/// A window in one statement: each message once per notification. CROSS JOIN keeps SQLite from reordering the loops.
pub(super) const LOAD: &str = "SELECT j.key, m.state, m.key, m.recipient, m.rule, m.template, m.kind, m.title, m.severity, \
      m.address, m.created_at, m.expires_at, m.body, r.id, r.origin, r.at, r.broker_at, r.body, o.recipient, k.reason, n.rule, n.element \
    FROM json_each($1) j CROSS JOIN message m ON m.id=j.value \
      LEFT JOIN notification n ON n.message=m.id LEFT JOIN record r ON r.id=n.record \
      LEFT JOIN message o ON o.id=m.stands_for LEFT JOIN notification k ON k.id=o.key";

const NAMES: [&str; 14] = ["$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", "$9", "$10", "$11", "$12", "$13", "$14"];

/// Binds `params[i]` to `$i+1`, wherever that stands in the text.
fn bind(statement: &mut Statement<'_>, params: Params<'_>) -> Result<()> {
    let wanted = statement.parameter_count();
    if wanted != params.len() || wanted > NAMES.len() {
        return Err(Error::InvalidParameterCount(params.len(), wanted));
    }
    for (name, value) in NAMES.iter().zip(params) {
        let index = statement.parameter_index(name)?.ok_or_else(|| Error::InvalidParameterName((*name).to_owned()))?;
        statement.raw_bind_parameter(index, value)?;
    }
    Ok(())
}

/// Runs a statement that returns no rows; how many it changed.
pub(super) fn run(conn: &Connection, text: &str, params: Params<'_>) -> Result<usize> {
    let mut statement = conn.prepare_cached(text)?;
    bind(&mut statement, params)?;
    statement.raw_execute()
}

/// Runs a statement and reads every row.
pub(super) fn rows<T>(
    conn: &Connection,
    text: &str,
    params: Params<'_>,
    mut read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = conn.prepare_cached(text)?;
    bind(&mut statement, params)?;
    let mut rows = statement.raw_query();
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

/// Runs a statement to its end and reads its first column of the first row; `None` without a row.
pub(super) fn first<T: FromSql>(conn: &Connection, text: &str, params: Params<'_>) -> Result<Option<T>> {
    Ok(rows(conn, text, params, |row| row.get(0))?.into_iter().next())
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.as_millis().into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self::from_millis)
    }
}

/// A column whose text or number this version cannot read: somebody else wrote it.
pub(super) fn unreadable(column: usize, what: &'static str) -> Error {
    Error::FromSqlConversionFailure(column, rusqlite::types::Type::Null, Box::new(FromSqlError::Other(what.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_bound_by_their_number_and_not_by_first_appearance() {
        let conn = Connection::open_in_memory().unwrap();
        let got = rows(&conn, "SELECT $2, $1, $2", &[&"one", &"two"], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        });
        assert_eq!(got.unwrap(), [("two".into(), "one".into(), "two".into())]);
    }

    #[test]
    fn a_missing_parameter_is_an_error_and_not_null() {
        let conn = Connection::open_in_memory().unwrap();
        assert!(first::<i64>(&conn, "SELECT $1 + $2", &[&1]).is_err());
        assert!(first::<i64>(&conn, "SELECT $1", &[&1, &2]).is_err());
    }

    #[test]
    fn no_hot_statement_walks_a_table_that_grows() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("migrations/0001.sql")).unwrap();
        let hot = [
            FENCE,
            NOTIFY,
            RULE_MATCHED,
            JOIN_GROUP,
            HELD_GROUP,
            THROTTLE,
            JOIN_MESSAGE,
            HURRY,
            ASSIGN,
            CLAIM,
            CLAIM_SUSPECT,
            CLAIM_ONE,
            NEXT_DUE,
            NEXT_SUSPECT,
            RELEASE,
            SENT,
            DROP_DUE,
            DROP_MY_DUE,
            HAND_BACK,
            HOLD,
            HELD_ARE_DUE,
            TRIED,
            FREEZE,
            END,
            REASON,
            LOAD,
        ];
        for text in hot {
            assert_eq!(walks(&conn, text), [""; 0], "{text}");
        }
    }

    /// T61. With the messages that wait grows what is walked once; with the ledger nothing.
    #[test]
    fn a_start_walks_what_is_due_and_no_other_table_that_grows() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("migrations/0001.sql")).unwrap();
        for (text, expected) in
            [(LAST_RECORD, &[][..]), (LAST_MESSAGE, &[]), (OWNED, &["SCAN due"]), (OWNERS, &["SCAN due"])]
        {
            assert_eq!(walks(&conn, text), expected, "{text}");
        }
    }

    /// The steps of the plan that walk a table from end to end. `c` is the window just chosen, `j` the list of ids to load.
    fn walks(conn: &Connection, text: &str) -> Vec<String> {
        let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
        let mut steps = plan.raw_query();
        let mut walks = Vec::new();
        while let Some(step) = steps.next().unwrap() {
            let step: String = step.get(3).unwrap();
            if step.starts_with("SCAN") && !["SCAN c", "SCAN j"].iter().any(|small| step.starts_with(small)) {
                walks.push(step);
            }
        }
        walks
    }
}
