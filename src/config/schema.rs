//! Owns the closed set of keys: their names, types, limits and defaults. The walker, the environment, the example file's
//! test and the builder all read this one table; a key that is not here is refused.

use std::time::Duration;

use super::values;
use crate::rules::window;

mod web;

/// A table at the top of a file.
#[derive(Debug)]
pub(super) struct Section {
    pub name: &'static str,
    pub form: Form,
    pub keys: &'static [Key],
}

/// What stands below a section's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `[store]`: the keys.
    Single,
    /// `[source.NAME]`: tables with the keys.
    Named,
    /// `[channel.NAME]`: tables whose keys are those of their `type`.
    Typed(&'static [(&'static str, &'static [Key])]),
    /// `[list]`: keys of the user's choice, all of one kind.
    Free,
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub name: &'static str,
    pub shape: Shape,
    pub need: Need,
}

/// A key's value, from outside in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    One(Kind),
    /// At least one; a text without brackets is a list of one.
    Many(Kind),
    Table(&'static [Key]),
    /// A list of such tables; a text stands for a table with its first key alone.
    Entries(&'static [Key]),
    /// Text by names of the user's choice.
    Map,
    /// A list of tables with columns of the user's choice.
    Rows,
}

/// Must it be there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Required,
    Optional,
    /// In the form of an environment variable: lists with commas.
    Default(&'static str),
}

/// What a text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Never repeated in a fault.
    Secret,
    Path,
    Integer {
        min: u64,
        max: u64,
    },
    Span {
        min: Duration,
        max: Duration,
    },
    OneOf(&'static [&'static str]),
    Start,
    Brokers,
    StoreUrl,
    Socket,
    Relay,
    Rate,
    Host,
    Address,
    EnvelopeFrom,
    Mailbox,
    Domain,
    Url,
    Contact,
    LogFilter,
    /// `list:NAME` or an address.
    Addressee,
    /// A record field that groups may be made by.
    GroupField,
    /// `true` or `false`.
    Bool,
    /// Of the week.
    Days,
    /// Of a day.
    Minute,
    /// Of the IANA database.
    Zone,
    /// Of IP addresses.
    Network,
}

impl Section {
    /// The keys of a table of this `type`; `None`: there is no such type.
    pub fn keys_of(&self, kind: Option<&str>) -> Option<&'static [Key]> {
        let Form::Typed(types) = self.form else { return Some(self.keys) };
        types.iter().find(|(name, _)| Some(*name) == kind).map(|(_, keys)| *keys)
    }

    /// The keys of all types, each name once: what can be said of a key before the type is known.
    pub fn every_key(&self) -> Vec<&'static Key> {
        let Form::Typed(types) = self.form else { return self.keys.iter().collect() };
        let mut all: Vec<&'static Key> = Vec::new();
        for key in types.iter().flat_map(|(_, keys)| keys.iter()) {
            if !all.iter().any(|known| known.name == key.name) {
                all.push(key);
            }
        }
        all
    }

    /// Whether tables with names stand below it.
    pub fn has_names(&self) -> bool {
        matches!(self.form, Form::Named | Form::Typed(_))
    }
}

impl Kind {
    /// Is `text` one of these? The error follows the key: "must be …".
    pub fn check(self, text: &str) -> Result<(), String> {
        if text.is_empty() {
            return Err("must not be empty".into());
        }
        if text.chars().any(char::is_control) {
            return Err("must not hold control characters or line breaks".into());
        }
        if text.contains(char::REPLACEMENT_CHARACTER) {
            return Err("must be UTF-8".into());
        }
        match self {
            Self::Text | Self::Secret | Self::Path => Ok(()),
            Self::Integer { min, max } => values::integer(text, min, max).map(drop),
            Self::Span { min, max } => values::span(text, min, max).map(drop),
            Self::OneOf(words) => values::one_of(text, words),
            Self::Start => values::start(text).map(drop),
            Self::Brokers => values::brokers(text),
            Self::StoreUrl => values::sqlite_path(text).map(drop),
            Self::Socket => values::socket(text).map(drop),
            Self::Relay => values::relay(text).map(drop),
            Self::Rate => values::rate(text).map(drop),
            Self::Host => values::host(text).map(drop),
            Self::Address => values::address(text).map(drop),
            Self::EnvelopeFrom => values::envelope_from(text).map(drop),
            Self::Mailbox => values::mailbox(text).map(drop),
            Self::Domain => values::domain(text).map(drop),
            Self::Url => values::url(text, &["https", "http"]),
            Self::Contact => values::contact(text),
            Self::LogFilter => values::log_filter(text),
            Self::Addressee => values::addressee(text).map(drop),
            Self::GroupField => values::one_of(text, crate::rules::GROUP_BY),
            Self::Bool => values::flag(text).map(drop),
            Self::Network => values::network(text).map(drop),
            Self::Days => text.parse::<window::Days>().map(drop),
            Self::Minute => text.parse::<window::Minute>().map(drop),
            Self::Zone => text.parse::<window::Zone>().map(drop),
        }
    }

    /// Is it written as `true` or `false` in TOML?
    pub fn is_bool(self) -> bool {
        matches!(self, Self::Bool)
    }

    /// Is it written as a number in TOML?
    pub fn is_number(self) -> bool {
        matches!(self, Self::Integer { .. })
    }
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const LONGEST_WAIT: Duration = Duration::from_mins(30);
const DAY: Duration = Duration::from_hours(24);
const TEN_YEARS: Duration = Duration::from_hours(10 * 365 * 24);

const fn one(name: &'static str, kind: Kind, need: Need) -> Key {
    Key { name, shape: Shape::One(kind), need }
}

const fn many(name: &'static str, kind: Kind, need: Need) -> Key {
    Key { name, shape: Shape::Many(kind), need }
}

const fn table(name: &'static str, keys: &'static [Key]) -> Key {
    Key { name, shape: Shape::Table(keys), need: Need::Optional }
}

/// How long a phase of SMTP may take: no longer than RFC 5321 4.5.3.2 asks of the longest.
const fn phase(name: &'static str) -> Key {
    one(name, Kind::Span { min: SECOND, max: Duration::from_mins(10) }, Need::Optional)
}

use Need::{Default, Optional, Required};

const SOURCE: &[Key] = &[
    one("brokers", Kind::Brokers, Required),
    many("topics", Kind::Text, Required),
    one("group_id", Kind::Text, Default("auditbell")),
    one("start", Kind::Start, Default("-1h")),
    one("on_lost_store", Kind::OneOf(&["refuse", "committed", "replay"]), Default("refuse")),
    table(
        "auth",
        &[
            one("mechanism", Kind::OneOf(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]), Required),
            one("user", Kind::Text, Required),
            one("password", Kind::Secret, Optional),
            one("password_file", Kind::Path, Optional),
        ],
    ),
    table(
        "tls",
        &[
            one("ca_file", Kind::Path, Optional),
            one("cert_file", Kind::Path, Optional),
            one("key_file", Kind::Path, Optional),
        ],
    ),
    Key { name: "kafka", shape: Shape::Map, need: Optional },
];

/// `ledger`: records older than the ledger less a day are refused, so less than two days would refuse nearly all.
const STORE: &[Key] = &[
    one("url", Kind::StoreUrl, Default("sqlite:auditbell.db")),
    one("ledger", Kind::Span { min: Duration::from_hours(48), max: TEN_YEARS }, Default("90d")),
    one("content", Kind::Span { min: HOUR, max: TEN_YEARS }, Default("14d")),
];

/// `retry`: the waits before the second, third … attempt, the last one again and again, each times 0.8 to 1.2. Shorter
/// first steps than RFC 5321 4.5.4.1 recommends (30 minutes), because this is a security notice and the peer our relay.
const CHANNEL: &[Key] = &[
    one("type", TYPE, Required),
    many("relay", Kind::Relay, Required),
    one("from", Kind::Mailbox, Required),
    one("reply_to", Kind::Mailbox, Optional),
    one("envelope_from", Kind::EnvelopeFrom, Optional),
    one("redirect_to", Kind::Address, Optional),
    table(
        "auth",
        &[
            one("user", Kind::Text, Required),
            one("password", Kind::Secret, Optional),
            one("password_file", Kind::Path, Optional),
            web::OAUTH2,
        ],
    ),
    one("ca_file", Kind::Path, Optional),
    one("cert_file", Kind::Path, Optional),
    one("key_file", Kind::Path, Optional),
    one("hello", Kind::Host, Optional),
    one("connections", Kind::Integer { min: 1, max: 100 }, Default("5")),
    one("messages_per_connection", Kind::Integer { min: 1, max: 100_000 }, Default("100")),
    one("connection_age", Kind::Span { min: SECOND, max: DAY }, Default("10m")),
    one("connection_idle", Kind::Span { min: SECOND, max: HOUR }, Default("30s")),
    table(
        "timeouts",
        &[
            phase("resolve"),
            phase("connect"),
            phase("tls"),
            phase("greeting"),
            phase("hello"),
            phase("auth"),
            phase("mail"),
            phase("rcpt"),
            phase("data"),
            phase("body"),
            phase("dot"),
        ],
    ),
    many("rate", Kind::Rate, Optional),
    many("fallback", Kind::Text, Optional),
    many("retry", Kind::Span { min: SECOND, max: DAY }, Default("30s,1m,2m,5m,10m,15m,30m,1h")),
];

/// `[channel.NAME] type`, and the keys that each has.
const TYPES: &[(&str, &[Key])] = &[("smtp", CHANNEL), ("graph-mail", web::GRAPH_MAIL), ("webhook", web::WEBHOOK)];
const TYPE: Kind = Kind::OneOf(&["smtp", "graph-mail", "webhook"]);

const PEOPLE: &[Key] = &[
    many("allow_domains", Kind::Domain, Required),
    one("csv", Kind::Path, Optional),
    many("fallback", Kind::Addressee, Optional),
    one("wait", Kind::Span { min: Duration::ZERO, max: DAY }, Default("15m")),
    one("max_rows", Kind::Integer { min: 1, max: 10_000_000 }, Default("1000000")),
];

const BRAND: &[Key] = &[
    one("name", Kind::Text, Required),
    one("address", Kind::Text, Optional),
    one("logo_file", Kind::Path, Optional),
    one("helpdesk_url", Kind::Url, Optional),
    one("security_contact", Kind::Contact, Required),
    one("report_url", Kind::Url, Optional),
    one("review_url", Kind::Url, Optional),
];

/// `wait` is how late the first mail of a group may be: half of the hour after which a notice says that it is late, so that
/// one that leaves in time never does. `overflow`: what is
/// not built is refused by the builder, which can say so.
const POLICY: &[Key] = &[
    table(
        "group",
        &[many("by", Kind::GroupField, Required), one("wait", Kind::Span { min: SECOND, max: LONGEST_WAIT }, Required)],
    ),
    table(
        "throttle",
        &[
            one("max", Kind::Integer { min: 1, max: 1_000_000 }, Required),
            one("per", Kind::Span { min: SECOND, max: DAY }, Required),
            one("overflow", Kind::OneOf(&["hold", "group", "count"]), Required),
        ],
    ),
];

const WINDOW: &[Key] = &[
    many("days", Kind::Days, Default("mon-sun")),
    one("from", Kind::Minute, Default("00:00")),
    one("to", Kind::Minute, Default("24:00")),
    one("tz", Kind::Zone, Required),
];

const LIST_ENTRY: &[Key] = &[one("to", Kind::Text, Required), one("during", Kind::Text, Optional)];
const LIST: Key = Key { name: "*", shape: Shape::Entries(LIST_ENTRY), need: Required };

const LOOKUP: &[Key] = &[
    one("key", Kind::Text, Required),
    one("by", Kind::Text, Optional),
    one("csv", Kind::Path, Optional),
    Key { name: "rows", shape: Shape::Rows, need: Optional },
    one("repeats", Kind::Bool, Default("false")),
    one("max_rows", Kind::Integer { min: 1, max: 10_000_000 }, Default("100000")),
];

/// Everything but `include` and `[[rule]]`.
pub(super) const SECTIONS: &[Section] = &[
    Section { name: "source", form: Form::Named, keys: SOURCE },
    Section { name: "store", form: Form::Single, keys: STORE },
    Section { name: "http", form: Form::Single, keys: &[one("listen", Kind::Socket, Default("127.0.0.1:7410"))] },
    Section { name: "channel", form: Form::Typed(TYPES), keys: &[] },
    Section { name: "azure", form: Form::Single, keys: web::AZURE },
    Section { name: "people", form: Form::Single, keys: PEOPLE },
    Section { name: "templates", form: Form::Single, keys: &[one("dir", Kind::Path, Optional)] },
    Section {
        name: "log",
        form: Form::Single,
        keys: &[
            one("format", Kind::OneOf(&["json", "text"]), Default("json")),
            one("level", Kind::LogFilter, Default("info")),
        ],
    },
    Section { name: "brand", form: Form::Single, keys: BRAND },
    Section { name: "list", form: Form::Free, keys: &[LIST] },
    Section { name: "lookup", form: Form::Named, keys: LOOKUP },
    Section { name: "window", form: Form::Named, keys: WINDOW },
    Section { name: "policy", form: Form::Named, keys: POLICY },
];

/// Sections that only files may hold: they are concatenated over files, never layered.
pub(super) const FILES_ONLY: &[&str] = &["list", "lookup", "window", "policy"];

/// The section of that name.
pub(super) fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

/// Names of sources, channels, lists, lookups, windows and policies.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.len() <= 63
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// What to say of a name that is none.
pub(super) const NAME_FORM: &str = "is no valid name: use a-z, 0-9 and `-`, beginning with a letter, at most 63";

/// What to say of a key that is not in the table.
pub(super) fn unknown(word: &str, known: &[&str]) -> String {
    match crate::nearest::nearest(word, known.iter().copied()) {
        Some(near) => format!("unknown key; did you mean `{near}`?"),
        None => format!("unknown key; known here: {}", known.join(", ")),
    }
}
