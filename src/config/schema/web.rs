//! Owns the keys of what speaks HTTP: `[azure]`, tokens, and the channels graph-mail and webhook.

use super::Need::{Default, Optional, Required};
use super::{DAY, Key, Kind, SECOND, Shape, many, one, table};
use crate::channels::graph::MOST_CONNECTIONS;

/// A key of a client's reach; see `channels/web`.
const ALLOW_HTTP: Key = one("allow_http", Kind::Bool, Default("false"));
const ALLOW_PRIVATE: Key = one("allow_private", Kind::Bool, Default("false"));
const ALLOW_CIDRS: Key = many("allow_cidrs", Kind::Network, Optional);
const CA_FILE: Key = one("ca_file", Kind::Path, Optional);

/// `[azure]`.
pub(super) const AZURE: &[Key] = &[
    one("cloud", Kind::OneOf(&["public", "usgov", "china"]), Default("public")),
    one("login_url", Kind::Url, Optional),
    one("graph_url", Kind::Url, Optional),
    ALLOW_HTTP,
    ALLOW_PRIVATE,
    ALLOW_CIDRS,
    CA_FILE,
];

/// `auth.oauth2`: a client secret, or one of the identities.
pub(super) const OAUTH2: Key = table(
    "oauth2",
    &[
        one("tenant", Kind::Text, Optional),
        one("client_id", Kind::Text, Optional),
        one("client_secret", Kind::Secret, Optional),
        one("client_secret_file", Kind::Path, Optional),
        one("identity", Kind::OneOf(&["workload", "managed"]), Optional),
        one("token_file", Kind::Path, Optional),
    ],
);

/// `retry` as for SMTP: the same people wait for the same mails.
pub(super) const GRAPH_MAIL: &[Key] = &[
    one("type", super::TYPE, Required),
    one("from", Kind::Mailbox, Required),
    one("mailbox", Kind::Text, Optional),
    one("reply_to", Kind::Address, Optional),
    one("redirect_to", Kind::Address, Optional),
    Key { name: "auth", shape: Shape::Table(&[OAUTH2]), need: Required },
    many("fallback", Kind::Text, Optional),
    one("connections", Kind::Integer { min: 1, max: MOST_CONNECTIONS as u64 }, Default("4")),
    many("rate", Kind::Rate, Optional),
    many("retry", Kind::Span { min: SECOND, max: DAY }, Default("30s,1m,2m,5m,10m,15m,30m,1h")),
];

/// `retry`: the schedule that Standard Webhooks recommends, with two short steps before it.
pub(super) const WEBHOOK: &[Key] = &[
    one("type", super::TYPE, Required),
    one("url", Kind::Secret, Optional),
    one("url_file", Kind::Path, Optional),
    one("secret", Kind::Secret, Optional),
    one("secret_file", Kind::Path, Optional),
    one("authorization", Kind::Secret, Optional),
    one("authorization_file", Kind::Path, Optional),
    Key { name: "headers", shape: Shape::Map, need: Optional },
    many("fallback", Kind::Text, Optional),
    one("content_type", Kind::Text, Default("application/json")),
    ALLOW_HTTP,
    ALLOW_PRIVATE,
    ALLOW_CIDRS,
    CA_FILE,
    one("cert_file", Kind::Path, Optional),
    one("key_file", Kind::Path, Optional),
    one("connections", Kind::Integer { min: 1, max: 100 }, Default("5")),
    many("rate", Kind::Rate, Optional),
    many("retry", Kind::Span { min: SECOND, max: DAY }, Default("5s,15s,1m,5m,30m,2h,5h,10h")),
];
