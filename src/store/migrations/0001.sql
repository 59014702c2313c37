-- auditbell's store, version 1. Times are integer milliseconds since 1970; bytes that came from outside are BLOB.

-- Where each partition is read. Moved by compare-and-swap only.
CREATE TABLE position(source TEXT NOT NULL, topic TEXT NOT NULL, part INTEGER NOT NULL, cluster TEXT NOT NULL,
  next INTEGER NOT NULL, at INTEGER NOT NULL, bad INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY(source, topic, part)) WITHOUT ROWID;

-- One audit record that gave at least one notification. `id` is sequential, so inserts are appends and `accepted_at`
-- rises with it; `at` is the record's own time; `broker_at` is Kafka's, needed to read `body` again.
-- `body` is NULL after the content retention.
CREATE TABLE record(id INTEGER PRIMARY KEY, key BLOB NOT NULL, at INTEGER NOT NULL, accepted_at INTEGER NOT NULL,
  broker_at INTEGER, dialect TEXT NOT NULL, origin TEXT NOT NULL, body BLOB);

-- The ledger: one (rule, record, recipient, channel), told once. `id` = be32(day of the event, or 0) || hash[..12]: unique,
-- clustered, purged by range. `at` is when it was accepted. `verdict` 0 = see the message. `recipient` only where there
-- is no message. `config` is the revision that decided.
CREATE TABLE notification(id BLOB PRIMARY KEY, at INTEGER NOT NULL, record INTEGER NOT NULL, message INTEGER,
  rule TEXT NOT NULL, element TEXT, recipient TEXT, config INTEGER NOT NULL, verdict INTEGER NOT NULL,
  reason TEXT) WITHOUT ROWID;
CREATE INDEX notification_message ON notification(message, record, rule, element) WHERE message IS NOT NULL;

-- What is sent. `key` = id of its first notification = left side of the Message-ID. `rank` = place in the config of the
-- most telling rule that joined. `address` is set at the first attempt and kept for ever.
-- kind: 0 normal 1 unresolved 2 failed 3 test. severity: 0 informational … 4 critical.
-- state: 0 pending 1 sent 2 failed 3 expired 4 cancelled 5 held (no row in `due`) 6 discarded. `body`: frozen once the final dot may have been written.
-- `stands_for`: with kinds 1 and 2 the message that was given up. `open_key`: only of a held message, whose group still
-- takes notifications.
CREATE TABLE message(id INTEGER PRIMARY KEY, key BLOB NOT NULL, channel TEXT NOT NULL, recipient TEXT NOT NULL,
  rule TEXT NOT NULL, rank INTEGER NOT NULL, template TEXT NOT NULL, kind INTEGER NOT NULL, title TEXT NOT NULL,
  severity INTEGER NOT NULL, address TEXT, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
  state INTEGER NOT NULL, done_at INTEGER, attempts INTEGER NOT NULL, reply TEXT, reference TEXT, digest BLOB, body BLOB,
  stands_for INTEGER, open_key TEXT);
CREATE INDEX message_body ON message(id) WHERE body IS NOT NULL;
CREATE INDEX message_stands_for ON message(stands_for) WHERE stands_for IS NOT NULL;
CREATE INDEX message_held ON message(channel, rule) WHERE state=5;
CREATE UNIQUE INDEX message_open ON message(open_key) WHERE open_key IS NOT NULL;

-- The only hot table: insert, claim, delete. One row per pending message. `owner` 0 = free. `open_key`: a group that
-- still takes notifications. `joined` counts them. `suspect` counts crashes of the process that held it. `first_at`: when
-- it was first claimed for a real attempt. `hold` 1: `due_at` is a hold's, not the schedule's.
CREATE TABLE due(channel TEXT NOT NULL, lane INTEGER NOT NULL, due_at INTEGER NOT NULL, message INTEGER NOT NULL,
  owner INTEGER NOT NULL, attempt INTEGER NOT NULL, suspect INTEGER NOT NULL, open_key TEXT, joined INTEGER NOT NULL,
  first_at INTEGER, hold INTEGER NOT NULL DEFAULT 0, PRIMARY KEY(channel, lane, due_at, message)) WITHOUT ROWID;
CREATE UNIQUE INDEX due_open ON due(open_key) WHERE open_key IS NOT NULL;
CREATE INDEX due_suspect ON due(channel, due_at) WHERE suspect > 0;

-- Not written for a first-try Sent. verdict: 1 sent 2 later 3 ambiguous 4 never.
CREATE TABLE attempt(message INTEGER NOT NULL, n INTEGER NOT NULL, at INTEGER NOT NULL, verdict INTEGER NOT NULL,
  code INTEGER, reply TEXT, PRIMARY KEY(message, n)) WITHOUT ROWID;

-- Our own records that no rule has seen yet; taken out by the transaction that accounts for them. No id is given twice.
CREATE TABLE internal(id INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL);

-- Mailboxes that were refused for good through a channel, and until when nothing is sent there. `address` is folded to
-- lower case.
CREATE TABLE refused(channel TEXT NOT NULL, address TEXT NOT NULL, until INTEGER NOT NULL,
  PRIMARY KEY(channel, address)) WITHOUT ROWID;

-- How many messages of a (rule, channel) began since `since`. Whether the log was told since that the brake holds some, and
-- whether the rules were.
CREATE TABLE throttle(key TEXT PRIMARY KEY, since INTEGER NOT NULL, count INTEGER NOT NULL,
  logged INTEGER NOT NULL DEFAULT 0, told INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;

-- Who holds claims; void after 30 s unseen.
CREATE TABLE worker(id INTEGER PRIMARY KEY, name TEXT NOT NULL, seen_at INTEGER NOT NULL);

-- What could not be read. `item` -1 = the whole Kafka message (NULL would defeat UNIQUE). `broker_at` is Kafka's time, needed
-- to read `body` again. No id is given twice: operators discard and replay by it.
CREATE TABLE dead_letter(id INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, topic TEXT NOT NULL, part INTEGER NOT NULL,
  offset_ INTEGER NOT NULL, item INTEGER NOT NULL, at INTEGER NOT NULL, broker_at INTEGER, error TEXT NOT NULL, body BLOB,
  UNIQUE(source, topic, part, offset_, item));

CREATE TABLE config(revision INTEGER PRIMARY KEY, hash BLOB NOT NULL, at INTEGER NOT NULL);
CREATE TABLE operator(id INTEGER PRIMARY KEY, at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL);
-- When each rule was first active, and when it last matched a record (NULL: never).
CREATE TABLE rule_seen(rule TEXT PRIMARY KEY, since INTEGER NOT NULL, last_match INTEGER) WITHOUT ROWID;
CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
