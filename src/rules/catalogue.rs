//! Owns the operation names that have been seen or documented, with who should hear of each and what it means, so that a
//! rule's author finds them and `check` can doubt a name that nobody has ever seen. Microsoft calls its own list incomplete:
//! an unknown name is a warning, never a fault.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use serde::Serialize;

use crate::nearest::{is_slip, nearest as nearest_word};
use crate::record::{Dialect, own};

use crate::record::fold::fold;

use super::Wanted;

/// One name, in its producer's own spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// Whose records bear it.
    pub dialect: Dialect,
    /// `loggedByService`, or who else writes it.
    pub service: &'static str,
    /// `None`: nobody has judged it.
    pub concerns: Option<Concerns>,
    /// As producers write it; a condition may fold case, dashes and spaces.
    pub name: &'static str,
    /// In a few words; empty where the name says it.
    pub meaning: &'static str,
}

/// Who should hear of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Concerns {
    /// The person whom it was done to.
    Person,
    /// The security team.
    Security,
    /// Nobody: a step, a beginning, an echo of another operation.
    Noise,
}

impl Concerns {
    /// As the table and `auditbell operations` write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Security => "security",
            Self::Noise => "noise",
        }
    }
}

/// Names that services build from a method: `POST UserAuthMethod.…`. New ones appear without notice.
const PREFIXES: [&str; 4] =
    ["post userauthmethod.", "patch userauthmethod.", "put userauthmethod.", "delete userauthmethod."];

/// Dialects whose names are few enough for a doubt. Azure's resource providers have tens of thousands, and an alert's title
/// may be anything.
const LISTED: [Dialect; 4] =
    [Dialect::EntraAudit, Dialect::EntraSignIn, Dialect::EntraRisk, Dialect::AuditbellDelivery];

/// The table: tab-separated, one line an operation, `#` before what is none.
const TABLE: &str = include_str!("catalogue.tsv");

static OPERATIONS: LazyLock<Vec<Operation>> = LazyLock::new(|| {
    let of_others = TABLE.lines().filter_map(parse);
    let ours = own::OPERATIONS.iter().map(|name| Operation {
        dialect: Dialect::AuditbellDelivery,
        service: "auditbell",
        concerns: Some(Concerns::Security),
        name,
        meaning: "",
    });
    of_others.chain(ours).collect()
});

static BY_NAME: LazyLock<HashMap<(Dialect, String), usize>> = LazyLock::new(|| {
    let places = OPERATIONS.iter().enumerate();
    places.map(|(place, operation)| ((operation.dialect, fold(operation.name)), place)).collect()
});

/// `None` for a line that is no row; a test holds that none but `#` lines are.
fn parse(line: &'static str) -> Option<Operation> {
    let mut cells = line.split('\t');
    let named = cells.next()?;
    let dialect = Dialect::BUILT_IN.iter().copied().find(|dialect| dialect.as_str() == named)?;
    let service = cells.next()?;
    let concerns = match cells.next()? {
        "" => None,
        "person" => Some(Concerns::Person),
        "security" => Some(Concerns::Security),
        "noise" => Some(Concerns::Noise),
        _ => return None,
    };
    let (name, meaning) = (cells.next()?, cells.next()?);
    cells.next().is_none().then_some(Operation { dialect, service, concerns, name, meaning })
}

/// All of them, by dialect, service and name.
#[must_use]
pub fn all() -> &'static [Operation] {
    &OPERATIONS
}

/// The operation of this name, in whatever spelling matching folds.
#[must_use]
pub fn find(dialect: Dialect, name: &str) -> Option<&'static Operation> {
    BY_NAME.get(&(dialect, fold(name))).and_then(|place| OPERATIONS.get(*place))
}

/// Those with every word of `query` in dialect, service, name or meaning.
#[must_use]
pub fn search(query: &str) -> Vec<&'static Operation> {
    let wanted = words(query);
    let has = |operation: &Operation, word: &str| {
        [operation.dialect.as_str(), operation.service, operation.name, operation.meaning]
            .into_iter()
            .any(|text| fold(text).contains(word))
    };
    OPERATIONS.iter().filter(|operation| wanted.iter().all(|word| has(operation, word))).collect()
}

/// Whether a rule for `dialects` names an operation that nobody has seen in any of them. An empty list is all dialects.
#[must_use]
pub fn unseen(dialects: &[Dialect], name: &str) -> bool {
    let built =
        || dialects.contains(&Dialect::EntraAudit) && PREFIXES.iter().any(|prefix| fold(name).starts_with(prefix));
    !dialects.is_empty()
        && dialects.iter().all(|dialect| LISTED.contains(dialect) && find(*dialect, name).is_none())
        && !built()
}

/// Most names that are suggested for another.
const MOST_NEAR: usize = 3;

/// The names in one of `dialects` that `name` was probably meant to be, at most three, the likeliest first: the same words in
/// another order, a slip of letters, or all of its words once slips in them are mended. An empty list is all dialects.
#[must_use]
pub fn nearest(dialects: &[Dialect], name: &str) -> Vec<&'static str> {
    let wanted = words(name);
    let known = || {
        let among = OPERATIONS.iter().filter(|known| dialects.is_empty() || dialects.contains(&known.dialect));
        among.map(|known| known.name)
    };
    let reordered = known().find(|known| words(known) == wanted);
    if let Some(only) = reordered.or_else(|| nearest_word(&fold(name), known())) {
        return vec![only];
    }
    let vocabulary: BTreeSet<String> = known().flat_map(words).collect();
    let mended: Option<Vec<&str>> = wanted
        .iter()
        .map(|word| nearest_word(word, vocabulary.iter().map(String::as_str).filter(|known| known.len() >= LEAST_WORD)))
        .collect();
    let Some(mended) = mended.filter(|mended| !mended.is_empty()) else { return Vec::new() };
    let mut near: Vec<&str> = Vec::new();
    let has_all = |known: &&str| mended.iter().all(|word| words(known).contains(*word));
    for name in known().filter(has_all) {
        if !near.contains(&name) {
            near.push(name);
        }
    }
    near.sort_by_key(|name| name.len());
    near.truncate(MOST_NEAR);
    near
}

/// The known name that `name` is a slip of, in any dialect: at most two letters wrong. It is asked of dialects whose names are not
/// listed: an operation of a resource provider has slashes and no blanks, so a text with blanks was probably meant to be one of
/// those that are.
#[must_use]
pub fn slip_of(name: &str) -> Option<&'static str> {
    let folded = fold(name);
    let built = PREFIXES.iter().any(|prefix| folded.starts_with(prefix));
    if !folded.contains(' ')
        || folded.contains('/')
        || built
        || OPERATIONS.iter().any(|known| fold(known.name) == folded)
    {
        return None;
    }
    OPERATIONS.iter().map(|known| known.name).find(|known| is_slip(&folded, &fold(known)))
}

/// Shorter words are a slip away from anything.
const LEAST_WORD: usize = 4;

/// "; did you mean …?" of what [`nearest`] found; nothing where it found nothing.
#[must_use]
pub fn did_you_mean(near: &[&str]) -> String {
    let quoted: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => format!("; did you mean {last}?"),
        Some((last, others)) => format!("; did you mean {} or {last}?", others.join(", ")),
    }
}

/// Whether a rule for `dialects` asks for operations as `wanted` says, and none that has been seen in any of them is so. An
/// empty list is all dialects.
#[must_use]
pub fn none_is(dialects: &[Dialect], wanted: &Wanted) -> bool {
    let seen = |known: &&Operation| dialects.contains(&known.dialect);
    let built = || dialects.contains(&Dialect::EntraAudit) && PREFIXES.iter().any(|prefix| wanted.is_met_by(prefix));
    let any = || OPERATIONS.iter().filter(seen).any(|known| wanted.is_met_by(known.name)) || built();
    !dialects.is_empty() && dialects.iter().all(|dialect| LISTED.contains(dialect)) && !any()
}

fn words(name: &str) -> BTreeSet<String> {
    fold(name).split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUDIT: &[Dialect] = &[Dialect::EntraAudit];

    #[test]
    fn every_line_of_the_table_is_read_and_no_name_stands_twice() {
        let rows = TABLE.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(TABLE.lines().filter_map(parse).count(), rows);
        assert_eq!(BY_NAME.len(), OPERATIONS.len(), "a name stands twice in one dialect");
        for operation in all() {
            assert!(!operation.name.trim().is_empty() && !operation.service.is_empty(), "{operation:?}");
        }
    }

    #[test]
    fn a_name_is_known_in_every_spelling_that_matches() {
        for name in [
            "Reset user password",
            "reset user password.",
            "Update application - Certificates and secrets management ",
            "POST UserAuthMethod.SomethingOfNextYear",
        ] {
            assert!(!unseen(AUDIT, name), "{name}");
        }
        for name in ["Password reset", "Reset user pasword", "Delete planet", "", "leakedCredentials"] {
            assert!(unseen(AUDIT, name), "{name}");
        }
        assert!(!unseen(&[Dialect::EntraAudit, Dialect::EntraRisk], "leakedCredentials"), "known in one of them");
    }

    #[test]
    fn where_names_are_without_number_nothing_is_doubted() {
        assert!(!unseen(&[Dialect::AzureActivity], "MICROSOFT.NEW/THING/WRITE"));
        assert!(!unseen(&[], "anything"));
    }

    #[test]
    fn a_name_that_nobody_has_seen_finds_the_one_that_was_meant() {
        let cases: [(_, _, &[&str]); 5] = [
            ("a slip of letters", "Reset user pasword", &["Reset user password"]),
            ("the order of another product", "Password reset", &["Reset password"]),
            ("some words, with a slip", "bitlocker raed", &["Read BitLocker key"]),
            ("nothing near", "Colourless green ideas", &[]),
            ("nothing at all", "", &[]),
        ];
        for (what, name, expected) in cases {
            assert_eq!(nearest(AUDIT, name), expected, "{what}");
        }
        assert_eq!(nearest(&[Dialect::AuditbellDelivery], "Message gave up"), ["Message given up"]);
        let passwords = nearest(AUDIT, "passwrod");
        assert!(passwords.len() == MOST_NEAR, "{passwords:?}");
        assert!(passwords.iter().all(|name| fold(name).contains("password")), "{passwords:?}");
        for (near, expected) in [
            (&[][..], ""),
            (&["a"][..], "; did you mean `a`?"),
            (&["a", "b", "c"][..], "; did you mean `a`, `b` or `c`?"),
        ] {
            assert_eq!(did_you_mean(near), expected);
        }
    }

    #[test]
    fn a_query_finds_by_words_of_name_service_and_meaning() {
        let found = |query: &str| search(query).iter().map(|operation| operation.name).collect::<Vec<_>>();
        assert_eq!(found("bitlocker READ"), ["Read BitLocker key"]);
        assert!(found("security key").contains(&"Delete FIDO2 security key(s)"), "by name");
        assert!(found("entra.risk stolen").contains(&"leakedCredentials"), "by dialect and meaning");
        assert_eq!(search("").len(), all().len());
    }
}
