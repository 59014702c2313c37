//! Owns the question whether somebody did it to himself.

use super::{Actor, EntityKind, Target};

/// `None` without an actor or a user among the targets, and where they share no kind of name.
pub(super) fn by_self(actor: Option<&Actor>, targets: &[Target]) -> Option<bool> {
    let actor = actor?;
    let mut users = targets.iter().filter(|target| target.kind == EntityKind::User).peekable();
    users.peek()?;
    if actor.kind != EntityKind::User {
        return Some(false);
    }
    let mut all = Some(true);
    for user in users {
        let same = |one: &Option<String>, other: &Option<String>| {
            Some(one.as_deref()?.eq_ignore_ascii_case(other.as_deref()?))
        };
        match same(&actor.id, &user.id).or_else(|| same(&actor.upn, &user.upn)) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => all = None,
        }
    }
    all
}
