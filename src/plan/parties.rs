//! Owns who is who in one record: its user targets and its user actor, each person once. Plan tells by it;
//! whoever must know which targets are a reader's own asks here too, or a mail could show one person another's changes.

use crate::record::{EntityKind, Record};

use super::Recipient;

/// The canonical name of somebody known by object id and/or UPN (`people::People::canonical`).
pub type Canonical<'a> = &'a dyn Fn(Option<&str>, Option<&str>) -> Option<Recipient>;

/// One person whom a record names, by everything the record knows of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Canonical; `None` where the record has neither object id nor UPN.
    pub recipient: Option<Recipient>,
    /// Object id.
    pub id: Option<String>,
    /// User principal name.
    pub upn: Option<String>,
    /// Which of the record's targets they are.
    pub targets: Vec<usize>,
    /// Whether they are the record's actor.
    pub actor: bool,
}

impl Party {
    /// Whether `address`, from the configuration, is this person's: their UPN, or an address of theirs that the
    /// directory knows.
    #[must_use]
    pub fn has_address(&self, address: &str, canonical: Canonical<'_>) -> bool {
        let named = canonical(None, Some(address));
        named.is_some() && (named == self.recipient || named == canonical(None, self.upn.as_deref()))
    }

    fn is(&self, other: &Self, canonical: Canonical<'_>) -> bool {
        if self.recipient.is_none() || other.recipient.is_none() {
            return false;
        }
        // Two ids are two people, whatever UPN a service wrote beside them (a recreated account has its old one).
        let two_ids = matches!((&self.id, &other.id), (Some(a), Some(b)) if !a.eq_ignore_ascii_case(b));
        let same_upn = || {
            let name = canonical(None, self.upn.as_deref());
            name.is_some() && name == canonical(None, other.upn.as_deref())
        };
        self.recipient == other.recipient || (!two_ids && same_upn())
    }

    fn absorb(&mut self, other: Self, canonical: Canonical<'_>) {
        self.id = self.id.take().or(other.id);
        self.upn = self.upn.take().or(other.upn);
        self.targets.extend(other.targets);
        self.targets.sort_unstable();
        self.actor |= other.actor;
        self.recipient = canonical(self.id.as_deref(), self.upn.as_deref());
    }
}

/// The people of `record`, in the order of its targets, an actor who is no target last. Groups, devices, apps and roles
/// are not people. Somebody without id and UPN is a party of their own without a recipient.
#[must_use]
pub fn parties(record: &Record, canonical: Canonical<'_>) -> Vec<Party> {
    let party = |id: &Option<String>, upn: &Option<String>, targets, actor| Party {
        recipient: canonical(id.as_deref(), upn.as_deref()),
        id: id.clone(),
        upn: upn.clone(),
        targets,
        actor,
    };
    let targets = record.targets.iter().enumerate().filter(|(_, target)| target.kind == EntityKind::User);
    let targets = targets.map(|(place, target)| party(&target.id, &target.upn, vec![place], false));
    let actor = record.actor.iter().filter(|actor| actor.kind == EntityKind::User);
    let actor = actor.map(|actor| party(&actor.id, &actor.upn, Vec::new(), true));
    let mut named: Vec<Party> = targets.chain(actor).collect();
    // Who is known by both names ties together those known by one, so they come first.
    named.sort_by_key(|party| party.id.is_none() || party.upn.is_none());
    let mut parties: Vec<Party> = Vec::with_capacity(named.len());
    for party in named {
        match parties.iter_mut().find(|known| known.is(&party, canonical)) {
            Some(known) => known.absorb(party, canonical),
            None => parties.push(party),
        }
    }
    parties.sort_by_key(|party| party.targets.first().copied().unwrap_or(usize::MAX));
    parties
}
