//! Owns what an operator makes of the texts right of it, and what all operators of one table make together.

use toml::de::DeValue;

use crate::nearest::nearest;
use crate::network::Network;
use crate::record::Severity;
use crate::record::fold::fold_number;
use crate::rules::operator::{number, severity};
use crate::rules::{Check, Condition, Op, Order, Subject, Wanted};

/// All operators of one table: of a field with several values one and the same must fulfil those that look at one value.
pub(super) fn joined(subject: &Subject, mut parts: Vec<Condition>) -> Condition {
    let (mut of_one, mut others) = (Vec::new(), Vec::new());
    for part in parts.drain(..) {
        match part {
            Condition::Test(test) if !subject.is_one() && matches!(test.check(), Check::Any(_)) => of_one.push(test),
            part => others.push(part),
        }
    }
    match of_one.len() {
        0 | 1 => others.extend(of_one.into_iter().map(Condition::Test)),
        _ => others.push(Condition::Value(of_one)),
    }
    if others.len() == 1 { others.remove(0) } else { Condition::All(others) }
}

/// What `word` makes of its operands, or what is wrong with them; `None` where it is no operator.
pub(super) fn compared(word: &str, texts: &[Box<str>]) -> Option<Result<(Op, Wanted), String>> {
    let than = |op, order| {
        match texts {
            [one] => number(one).map(|number| (op, Wanted::Number(order, number))),
            _ => None,
        }
        .ok_or_else(|| {
            "must be one number, e.g. gt = 5; of severities write at_least = \"high\", of moments during = \"NAME\""
                .to_owned()
        })
    };
    Some(match word {
        "contains" => Ok((Op::Contains, Wanted::part(texts, Wanted::Contains))),
        "starts_with" => Ok((Op::StartsWith, Wanted::part(texts, Wanted::StartsWith))),
        "ends_with" => Ok((Op::EndsWith, Wanted::part(texts, Wanted::EndsWith))),
        "matches" => Wanted::patterns(texts).map(|wanted| (Op::Matches, wanted)),
        "gt" => than(Op::Gt, Order::Gt),
        "gte" => than(Op::Gte, Order::Gte),
        "lt" => than(Op::Lt, Order::Lt),
        "lte" => than(Op::Lte, Order::Lte),
        "at_least" => match texts {
            [one] => severity(one).map(|least| (Op::AtLeast, Wanted::AtLeast(least))),
            _ => None,
        }
        .ok_or_else(|| {
            let near = texts.iter().find_map(|text| nearest(text, Severity::ALL.iter().map(|known| known.as_str())));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            format!("must be one of informational, low, medium, high, critical{near}")
        }),
        "cidr" => {
            let networks = texts.iter().map(|text| text.parse::<Network>()).collect::<Result<Vec<_>, _>>();
            networks.map(|networks| (Op::Cidr, Wanted::Cidr(networks))).map_err(str::to_owned)
        }
        _ => return None,
    })
}

/// Names in which `*` stands for any text.
pub(super) fn globs(names: &[Box<str>]) -> Result<Wanted, String> {
    if names.iter().all(|name| !name.contains('*')) {
        return Ok(Wanted::equal(names));
    }
    let escaped = |name: &str| name.split('*').map(regex::escape).collect::<Vec<_>>().join(".*");
    let patterns: Vec<Box<str>> = names.iter().map(|name| format!("^{}$", escaped(name)).into()).collect();
    Wanted::patterns(&patterns)
}

/// The text by which a value is compared: `50053` equals `"50053"`.
pub(super) fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(i64::from_str_radix(number.as_str(), number.radix()).ok()?.to_string()),
        DeValue::Float(number) => Some(fold_number(number.as_str().parse().ok()?)),
        DeValue::Boolean(boolean) => Some(boolean.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
