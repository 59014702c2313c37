//! Owns whom the entries of `to` and `except` name in one record: each person once, and the reason for those who are not
//! told.

use std::sync::Arc;

use serde_json::Value;

use crate::record::fold::fold;
use crate::record::{Change, Record};
use crate::rules::{Known, Part, Subject, Tell, To};

use super::{Directory, Party, Recipient};

/// The properties whose former values are addresses of somebody, folded. The directory calls them as Graph does, but the audit
/// log writes the other addresses as `OtherMail` and, older, `AlternativeEmail`.
const ADDRESSES: [&str; 6] =
    ["mail", "userprincipalname", "othermail", "othermails", "alternativeemail", "proxyaddresses"];

/// Most people whom one reference names; each is a notification of its own for every record.
const MOST_OF_ONE: usize = 100;

/// A recipient, or nobody; and why nobody is told, if so.
pub(super) type Named = (Option<Recipient>, Option<&'static str>);

/// What the entries are held against.
pub(super) struct Scene<'a> {
    pub record: &'a Record,
    /// With `each`: what the rule was held against.
    pub part: Option<&'a Part>,
    pub parties: &'a [Party],
    pub known: Known<'a>,
    pub directory: Directory<'a>,
}

/// Somebody named by `to` or `except`.
#[derive(Clone)]
enum Person<'a> {
    Party(&'a Party),
    /// By a name that the directory gave.
    User(Recipient),
    /// Of somebody.
    Manager(Arc<str>),
    Address(Arc<str>),
    /// By a reference that leads to nobody.
    Missing(Arc<str>),
}

impl<'a> Scene<'a> {
    /// The people whom `tell` tells, each once, with the reason for those it does not.
    pub fn people(&self, tell: &Tell) -> Vec<Named> {
        let excepted: Vec<Person<'_>> = tell.except.iter().flat_map(|to| self.named(to, &[])).collect();
        let mut people: Vec<Person<'_>> = Vec::new();
        let mut nobody = None;
        for to in &tell.to {
            let named = self.named(to, &excepted);
            if named.is_empty() {
                nobody = nobody.or(without(to));
                nobody = nobody.or(Some("no-user"));
            }
            for person in named {
                if person.recipient().is_none() {
                    nobody = nobody.or(Some("no-identity"));
                } else if !people.iter().any(|other| self.same(other, &person)) {
                    people.push(person);
                }
            }
        }
        let people = people.into_iter().map(|person| {
            let except = excepted.iter().any(|other| self.same(other, &person));
            (person.recipient(), except.then_some("except"))
        });
        people.chain(nobody.map(|reason| (None, Some(reason)))).collect()
    }

    fn named(&self, to: &To, excepted: &[Person<'a>]) -> Vec<Person<'a>> {
        match to {
            To::Target => self.targets().map(Person::Party).collect(),
            To::Actor => self.actor().map(Person::Party).collect(),
            To::TargetManager => self.targets().map(manager).collect(),
            To::ActorManager => self.actor().map(manager).collect(),
            To::TargetAlternates => {
                let known = self.targets().filter_map(|party| party.recipient.as_ref());
                known.flat_map(|known| (self.directory.alternates)(known)).map(Person::Address).collect()
            }
            To::TargetPrevious => self.previous().into_iter().map(Person::Address).collect(),
            To::List(_, entries) => {
                let on = entries
                    .iter()
                    .filter(|entry| entry.during.as_ref().is_none_or(|window| window.holds(self.known.now)));
                on.map(|entry| Person::Address(entry.text.clone())).collect()
            }
            To::Reference(text, subject) => self.referred(text, subject),
            To::Address(address) => vec![Person::Address(address.clone())],
            To::FirstOf(entries) => self.first_of(entries, excepted),
        }
    }

    /// The people of the first entry that names somebody who is there and not excepted; else those of the last that named
    /// anybody.
    fn first_of(&self, entries: &[To], excepted: &[Person<'a>]) -> Vec<Person<'a>> {
        let mut last = Vec::new();
        for entry in entries {
            let mut named = self.named(entry, excepted);
            let there = |person: &Person<'_>| match person {
                Person::Missing(_) => false,
                Person::Manager(of) => (self.directory.manager)(&Recipient::User(of.clone())).is_some(),
                other => other.recipient().is_some(),
            };
            let told = |person: &Person<'a>| there(person) && !excepted.iter().any(|other| self.same(other, person));
            if named.iter().any(told) {
                named.retain(there);
                return named;
            }
            if !named.is_empty() {
                last = named;
            }
        }
        last
    }

    fn targets(&self) -> impl Iterator<Item = &'a Party> {
        let only = match self.part {
            Some(Part::Target(place)) => Some(Some(*place)),
            Some(Part::Change(place)) => Some(self.record.changes.get(*place).map(|change| change.target)),
            Some(Part::Raw(_)) | None => None,
        };
        let meant = move |party: &&Party| match only {
            None => !party.targets.is_empty(),
            Some(place) => place.is_some_and(|place| party.targets.contains(&place)),
        };
        self.parties.iter().filter(meant)
    }

    fn actor(&self) -> impl Iterator<Item = &'a Party> {
        self.parties.iter().filter(|party| party.actor)
    }

    /// The addresses that the targets had and have no more.
    fn previous(&self) -> Vec<Arc<str>> {
        let places: Vec<usize> = self.targets().flat_map(|party| &party.targets).copied().collect();
        let concerns = |change: &&Change| {
            places.contains(&change.target) && ADDRESSES.iter().any(|name| fold(&change.name) == *name)
        };
        let changes = self.record.changes.iter().filter(concerns);
        let gone = changes.flat_map(|change| {
            let now = addresses(&change.new);
            addresses(&change.old).into_iter().filter(move |old| !now.contains(old))
        });
        gone.map(Arc::from).collect()
    }

    /// Whom a reference names: addresses and object ids, several split at commas and semicolons.
    fn referred(&self, text: &Arc<str>, subject: &Subject) -> Vec<Person<'a>> {
        let values = subject.of(self.record, self.part, self.known);
        let names = values.iter().flat_map(|value| value.split([',', ';'])).map(str::trim);
        let people: Vec<Person<'_>> = names
            .filter_map(|name| {
                let name = unadorned(name);
                if is_object_id(name) {
                    return (self.directory.canonical)(Some(name), None).map(Person::User);
                }
                is_address(name).then(|| Person::Address(name.into()))
            })
            .take(MOST_OF_ONE)
            .collect();
        if people.is_empty() { vec![Person::Missing(text.clone())] } else { people }
    }

    fn same(&self, one: &Person<'_>, other: &Person<'_>) -> bool {
        if let (Person::Manager(one), Person::Manager(other)) = (one, other)
            && one == other
        {
            return true;
        }
        let canonical = self.directory.canonical;
        match (self.met(one), self.met(other)) {
            (Person::Party(a), Person::Party(b)) => a.recipient.is_some() && a.recipient == b.recipient,
            (Person::Party(party), Person::Address(address)) | (Person::Address(address), Person::Party(party)) => {
                party.has_address(&address, canonical)
            }
            (Person::Party(party), Person::User(user)) | (Person::User(user), Person::Party(party)) => {
                party.recipient == Some(user)
            }
            (Person::User(a), Person::User(b)) => a == b,
            (Person::User(user), Person::Address(address)) | (Person::Address(address), Person::User(user)) => {
                canonical(None, Some(&address)) == Some(user)
            }
            (Person::Address(a), Person::Address(b)) => {
                let known = canonical(None, Some(&a));
                a.to_lowercase() == b.to_lowercase() || (known.is_some() && known == canonical(None, Some(&b)))
            }
            (Person::Missing(a), Person::Missing(b)) => a == b,
            _ => false,
        }
    }

    /// A manager as the directory knows them now.
    fn met<'p>(&self, person: &Person<'p>) -> Person<'p> {
        let manager = match person {
            Person::Manager(of) => (self.directory.manager)(&Recipient::User(of.clone())),
            _ => None,
        };
        manager.map_or_else(|| person.clone(), Person::User)
    }
}

impl Person<'_> {
    fn recipient(&self) -> Option<Recipient> {
        match self {
            Self::Party(party) => party.recipient.clone(),
            Self::User(user) => Some(user.clone()),
            Self::Manager(of) => Some(Recipient::Manager(of.clone())),
            Self::Address(address) => Some(Recipient::Address(address.to_lowercase().into())),
            Self::Missing(reference) => Some(Recipient::Missing(reference.clone())),
        }
    }
}

/// Of somebody who has no name there is no manager either: the party stands for both.
fn manager(party: &Party) -> Person<'_> {
    party.recipient.as_ref().map_or(Person::Party(party), |of| Person::Manager(of.name().clone()))
}

/// Why an entry names nobody, where that is not for want of a user.
fn without(to: &To) -> Option<&'static str> {
    let addresses = matches!(to, To::TargetAlternates | To::TargetPrevious).then_some("no-other-address");
    let list = matches!(to, To::List(..)).then_some("off-duty");
    let first_of = matches!(to, To::FirstOf(_)).then_some("nobody-of");
    addresses.or(list).or(first_of)
}

/// The addresses on one side of a change; a proxy address stands behind its protocol.
fn addresses(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(addresses).collect(),
        Value::String(text) => {
            let (kind, rest) = text.trim().split_once(':').unwrap_or(("smtp", text.trim()));
            let address = rest.to_lowercase();
            (kind.eq_ignore_ascii_case("smtp") && is_address(&address)).then_some(address).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Whether it looks like one; whether it may be mailed is the directory's decision.
fn is_address(text: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control());
    text.rsplit_once('@').is_some_and(|(local, domain)| plain(local) && plain(domain) && domain.contains('.'))
}

/// What stands between the angle brackets of `Dana Okafor <dana@example.com>`; else all of it.
fn unadorned(name: &str) -> &str {
    let inside = name.strip_suffix('>').and_then(|name| name.rsplit_once('<'));
    inside.map_or(name, |(_, inside)| inside.trim())
}

/// A GUID, as Entra writes object ids.
fn is_object_id(text: &str) -> bool {
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}
