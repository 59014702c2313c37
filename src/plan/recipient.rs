//! Owns `Recipient`: whom a notification is for, and its one written form.

use std::sync::Arc;

/// Whom a notification is for, canonical: one person has one recipient. Not yet an address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Recipient {
    /// `user:` + object id where known, else the UPN, folded to lower case.
    User(Arc<str>),
    /// `manager:` + the name that [`Self::User`] has of whom they manage. The directory knows them when it is sent.
    Manager(Arc<str>),
    /// `addr:` + an address from the config, a lookup or a field.
    Address(Arc<str>),
    /// `room:` + the name of a channel that is the recipient itself.
    Room(Arc<str>),
    /// `missing:` + a reference that led to nobody, as the rule writes it: somebody was meant, so the fallback hears of it.
    Missing(Arc<str>),
}

impl Recipient {
    /// Without the word for its kind.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        let (Self::User(name) | Self::Manager(name) | Self::Address(name) | Self::Room(name) | Self::Missing(name)) =
            self;
        name
    }
}

/// The form the store and the hash use.
impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self {
            Self::User(_) => "user",
            Self::Manager(_) => "manager",
            Self::Address(_) => "addr",
            Self::Room(_) => "room",
            Self::Missing(_) => "missing",
        };
        write!(f, "{kind}:{}", self.name())
    }
}

impl std::str::FromStr for Recipient {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("user", id)) => Ok(Self::User(id.into())),
            Some(("manager", of)) => Ok(Self::Manager(of.into())),
            Some(("addr", address)) => Ok(Self::Address(address.into())),
            Some(("room", channel)) => Ok(Self::Room(channel.into())),
            Some(("missing", reference)) => Ok(Self::Missing(reference.into())),
            _ => Err(anyhow::anyhow!("not a recipient")),
        }
    }
}
