//! Owns reading what a field is compared with: a value, a list of values, or a table of operators.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use crate::nearest::nearest;
use crate::network::Network;
use crate::record::Dialect;
use crate::rules::{Check, Condition, Op, Side, Subject, Test, Wanted, Window, fold};

use super::compared::{compared, globs, joined, scalar};
use super::{Reader, Value, shown};

/// The words that compare otherwise than by equality.
pub(super) const OPERATORS: &[&str] = &[
    "in",
    "not",
    "contains",
    "starts_with",
    "ends_with",
    "matches",
    "exists",
    "gt",
    "gte",
    "lt",
    "lte",
    "at_least",
    "cidr",
    "during",
    "in_list",
    "same_as",
    "same_domain_as",
    "changed",
    "from",
    "to",
];

/// Those that take what they look for from a list, too: `cidr = { in_list = "NAME" }`.
const OF_LISTS: [&str; 6] = ["contains", "starts_with", "ends_with", "matches", "cidr", "changed"];

/// What stands right of an operator.
struct Operands {
    /// As the rule has it; for a list `list:NAME`.
    want: Vec<Box<str>>,
    /// What is compared: of a list its entries.
    texts: Vec<Box<str>>,
}

/// Whether `table` is one of operators rather than of fields further down.
pub(super) fn is_operators(table: &DeTable<'_>) -> bool {
    table.keys().any(|key| OPERATORS.contains(&key.get_ref().as_ref()))
}

impl Reader<'_, '_> {
    /// The tests of `subject`, all of which must hold; none where there was a fault.
    pub(super) fn tests(&mut self, path: &str, subject: &Subject, value: &Value<'_>) -> Option<Condition> {
        if let DeValue::Table(table) = value.get_ref()
            && !table.is_empty()
        {
            let mut parts = Vec::new();
            if ["changed", "from", "to"].iter().any(|word| table.contains_key(*word)) {
                return self.changed(path, subject, value, table);
            }
            for (word, value) in table {
                parts.push(self.operator(path, subject, word.get_ref(), value)?);
            }
            return Some(joined(subject, parts));
        }
        if matches!(subject, Subject::Changes) {
            let message = "compares whole changes: changes = { changed = \"PROPERTY\", from = …, to = … }";
            self.fault(value.span(), path, message.into());
            return None;
        }
        let (want, wanted) = self.equal(path, subject, value)?;
        Some(Condition::Test(Test::new(subject.clone(), Op::In, want, Check::Any(wanted))))
    }

    fn operator(&mut self, path: &str, subject: &Subject, word: &str, value: &Value<'_>) -> Option<Condition> {
        let path = format!("{path}.{}", shown(word));
        let test = |op, want, check| Some(Condition::Test(Test::new(subject.clone(), op, want, check)));
        match word {
            "in" => {
                let (want, wanted) = self.equal(&path, subject, value)?;
                test(Op::In, want, Check::Any(wanted))
            }
            "not" if value.get_ref().is_table() => Some(Condition::Not(Box::new(self.tests(&path, subject, value)?))),
            "not" => {
                let (want, wanted) = self.equal(&path, subject, value)?;
                test(Op::Not, want, Check::None(vec![wanted]))
            }
            "exists" => match value.get_ref().as_bool() {
                Some(wanted) => test(Op::Exists, vec![wanted.to_string().into()], Check::Exists(wanted)),
                None => self.refuse(value, &path, "must be true or false, without quotes"),
            },
            "same_as" | "same_domain_as" => {
                let Some(name) = value.get_ref().as_str() else {
                    return self.refuse(value, &path, "must name another field, e.g. \"actor.upn\"");
                };
                let other = self.subject_named(&path, name, value.span())?;
                let want = vec![other.name().into()];
                if word == "same_as" {
                    test(Op::SameAs, want, Check::SameAs(other))
                } else {
                    test(Op::SameDomainAs, want, Check::SameDomainAs(other))
                }
            }
            "during" if !matches!(subject, Subject::Now | Subject::Time) => {
                self.refuse(value, &path, "is of a moment: now = { during = \"NAME\" } or time = { … }")
            }
            _ => {
                let (op, want, wanted) = self.wanted(&path, word, value)?;
                if let Wanted::Equal(texts) | Wanted::EqualAddress(texts, _) = &wanted {
                    self.no_networks(&path, subject, value, texts)?;
                }
                let wanted = match wanted {
                    Wanted::StartsWith(scopes) if subject.name() == "resource" => Wanted::Below(scopes),
                    wanted => wanted,
                };
                test(op, want, Check::Any(wanted))
            }
        }
    }

    /// An operator that looks at one value at a time.
    fn wanted(&mut self, path: &str, word: &str, value: &Value<'_>) -> Option<(Op, Vec<Box<str>>, Wanted)> {
        let Operands { want, texts } = self.looked_for(path, word, value)?;
        let made = match word {
            "during" if want.iter().any(|name| self.scope.broken.contains(&format!("window.{name}"))) => {
                self.faulty = true;
                return None;
            }
            "during" => self.windows(&want).map(|windows| (Op::During, Wanted::During(windows))),
            "in_list" => self.listed(&want).map(|values| (Op::InList, Wanted::equal(&values))),
            _ => match compared(word, &texts) {
                // Of a list, which of its entries is wrong.
                Some(Err(message)) if want != texts => {
                    let wrong = texts.iter().find(|text| matches!(compared(word, &[(*text).clone()]), Some(Err(_))));
                    Err(format!("list entry `{}` {message}", shown(wrong.map_or("", |text| text))))
                }
                Some(made) => made,
                None => {
                    self.unknown(value.span(), path, "operator", word, OPERATORS);
                    return None;
                }
            },
        };
        match made {
            Ok((op, wanted)) => Some((op, want, wanted)),
            Err(message) => self.refuse(value, path, &message),
        }
    }

    /// What stands right of `word`: values, or `{ in_list = "NAME" }` for the entries of that list.
    fn looked_for(&mut self, path: &str, word: &str, value: &Value<'_>) -> Option<Operands> {
        let DeValue::Table(table) = value.get_ref() else {
            let want = self.operands(path, value)?;
            return Some(Operands { texts: want.clone(), want });
        };
        match table.get("in_list").filter(|_| table.len() == 1 && OF_LISTS.contains(&word)) {
            Some(names) => {
                let path = format!("{path}.in_list");
                let names = self.operands(&path, names)?;
                let texts = self.listed(&names).map_err(|message| self.fault(value.span(), &path, message)).ok()?;
                Some(Operands { want: names.iter().map(|name| format!("list:{name}").into()).collect(), texts })
            }
            None if OF_LISTS.contains(&word) => {
                self.refuse(value, path, "must be a text, a list of them, or { in_list = \"NAME\" }")
            }
            None => self.operands(path, value).map(|want| Operands { texts: want.clone(), want }),
        }
    }

    /// By equality an address is never a network.
    fn no_networks(&mut self, path: &str, subject: &Subject, value: &Value<'_>, texts: &[Box<str>]) -> Option<()> {
        let is_network = |text: &&str| text.contains('/') && text.parse::<Network>().is_ok();
        match texts.iter().map(|text| &**text).find(is_network).filter(|_| subject.holds_addresses()) {
            None => Some(()),
            Some(network) => {
                let message = format!(
                    "compares texts, and `{network}` is a network, which no address equals; write {} = {{ cidr = … }}, \
                     which takes {{ in_list = \"NAME\" }} too",
                    shown(subject.name())
                );
                self.refuse(value, path, &message)
            }
        }
    }

    /// The named windows.
    fn windows(&self, names: &[Box<str>]) -> Result<Vec<Arc<Window>>, String> {
        let find = |name: &str| self.scope.windows.get(name).cloned();
        let missing = |name: &str| {
            let near = nearest(name, self.scope.windows.keys().map(|known| &**known));
            let remedy = near.map_or_else(|| "add it".to_owned(), |near| format!("did you mean `{near}`?"));
            format!("names `{0}`, and there is no [window.{0}]; {remedy}", shown(name))
        };
        names.iter().map(|name| find(name).ok_or_else(|| missing(name))).collect()
    }

    /// The values of the named lists.
    fn listed(&self, names: &[Box<str>]) -> Result<Vec<Box<str>>, String> {
        let mut values = Vec::new();
        for name in names {
            let list = self.scope.lists.get(&**name).ok_or_else(|| {
                let near = nearest(name, self.scope.lists.keys().map(|known| &**known));
                let name = shown(name);
                let add = || format!("add {name} = [\"…\"] to [list]");
                let remedy = near.map_or_else(add, |near| format!("did you mean `{near}`?"));
                format!("names `{name}`, and there is no such list; {remedy}")
            })?;
            values.extend(list.iter().map(|entry| Box::from(&*entry.text)));
        }
        Ok(values)
    }

    /// `changes = { changed = PROPERTY, from = …, to = … }`: all three of one and the same change.
    fn changed(&mut self, path: &str, subject: &Subject, value: &Value<'_>, table: &DeTable<'_>) -> Option<Condition> {
        if !matches!(subject, Subject::Changes) {
            let message = "`changed`, `from` and `to` are of `changes`: changes = { changed = … }; a field of such a name \
                           stands in quotes within the path: 'raw.x.\"from\"'";
            return self.refuse(value, path, message);
        }
        let mut want = Vec::new();
        let mut property = None;
        let mut sides = [None, None];
        for (word, value) in table {
            let below = format!("{path}.{}", shown(word.get_ref()));
            match word.get_ref().as_ref() {
                "changed" => {
                    let Operands { want: written, texts: names } = self.looked_for(&below, "changed", value)?;
                    property = Some(globs(&names).map_err(|message| self.fault(value.span(), &below, message)).ok()?);
                    want.extend(written);
                }
                word @ ("from" | "to") => {
                    let (texts, wanted) = self.side(&below, value)?;
                    want.push(format!("{word} {}", texts.join(", ")).into());
                    sides[usize::from(word == "to")] = Some(wanted);
                }
                word => {
                    self.unknown(value.span(), &below, "operator", word, &["changed", "from", "to"]);
                    return None;
                }
            }
        }
        let [from, to] = sides;
        Some(Condition::Test(Test::new(subject.clone(), Op::Changed, want, Check::Changed { property, from, to })))
    }

    /// A value before or after: compared by equality, or by one operator.
    fn side(&mut self, path: &str, value: &Value<'_>) -> Option<(Vec<Box<str>>, Side)> {
        let DeValue::Table(table) = value.get_ref() else {
            let want = self.operands(path, value)?;
            let wanted = Wanted::equal(&want);
            return Some((want, Side::Any(wanted)));
        };
        let mut operators = table.iter();
        match (operators.next(), operators.next()) {
            (Some((word, value)), None) => match (word.get_ref().as_ref(), value.get_ref()) {
                ("in", DeValue::Table(_)) => self.refuse(value, path, "must be a value or a list of values"),
                ("in", _) => self.side(path, value),
                ("not", _) => match self.side(path, value)? {
                    (want, Side::Any(wanted)) => {
                        Some((want.iter().map(|text| format!("not {text}").into()).collect(), Side::None(wanted)))
                    }
                    _ => self.refuse(value, path, "is a negation of a negation or of `exists`; say it without"),
                },
                ("exists", DeValue::Boolean(wanted)) => {
                    Some((vec![if *wanted { "anything" } else { "nothing" }.into()], Side::Exists(*wanted)))
                }
                ("exists", _) => self.refuse(value, path, "must be true or false"),
                (word, _) => self.wanted(path, word, value).map(|(_, want, wanted)| (want, Side::Any(wanted))),
            },
            _ => self.refuse(value, path, "must be a value, a list of values, or one operator"),
        }
    }

    /// What equality compares with; a closed field has only its own values.
    fn equal(&mut self, path: &str, subject: &Subject, value: &Value<'_>) -> Option<(Vec<Box<str>>, Wanted)> {
        let closed = match subject.name() {
            "dialect" => self.scope.dialects().map(Dialect::as_str).collect(),
            _ => subject.closed(),
        };
        let want = self.operands(path, value)?;
        for text in want.iter().filter(|_| !closed.is_empty()) {
            if !closed.iter().any(|known| fold(known) == fold(text)) {
                self.unknown(value.span(), path, "value", text, &closed);
            }
        }
        self.no_networks(path, subject, value, &want)?;
        let wanted = Wanted::equal(&want);
        Some((want, wanted))
    }

    /// The text of a scalar or of each of a list.
    fn operands(&mut self, path: &str, value: &Value<'_>) -> Option<Vec<Box<str>>> {
        let items: Vec<&Value<'_>> = match value.get_ref() {
            DeValue::Array(array) => array.iter().collect(),
            _ => vec![value],
        };
        if items.is_empty() {
            return self.refuse(value, path, "is an empty list, which no record fulfils; name a value");
        }
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match scalar(item.get_ref()) {
                None if item.get_ref().is_integer() => {
                    let message = "is a number beyond 64 bits; write it as a text in quotes";
                    self.fault(item.span(), path, message.into());
                }
                None => {
                    self.fault(item.span(), path, "must be a text, a number, true or false, or a list of them".into());
                }
                Some(text) if text.trim().is_empty() => {
                    self.fault(item.span(), path, "is empty text, which no field has; name a value".into());
                }
                Some(text) => texts.push(text.into()),
            }
        }
        (!texts.is_empty()).then_some(texts)
    }

    fn refuse<T>(&mut self, value: &Value<'_>, path: &str, message: &str) -> Option<T> {
        self.fault(value.span(), path, message.to_owned());
        None
    }
}
