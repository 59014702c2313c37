//! Owns the words for what Entra writes as numbers and property names: how a change reads in a mail.

use serde_json::{Map, Value};

/// Elements of a list that are spelled out.
const MAX_ITEMS: usize = 10;

/// Properties that say nothing to the person: bookkeeping, or the list of the other properties' names.
const HOUSEKEEPING: [&str; 9] = [
    "Included Updated Properties",
    "TargetId.UserType",
    "TargetId.ServiceType",
    "Action Client Name",
    "LastDirSyncTime",
    "LastPasswordChangeTimestamp",
    "StsRefreshTokensValidFrom",
    "TargetId.ServicePrincipalNames",
    "",
];

/// Whether a changed property is left out of mails.
pub fn is_housekeeping(property: &str) -> bool {
    HOUSEKEEPING.contains(&property)
}

/// Records that services write after a human act; they never lead a mail that holds another record too.
pub fn is_follow_up(operation: &str) -> bool {
    let verb = operation.split(' ').next().unwrap_or_default();
    matches!(verb, "POST" | "PATCH" | "PUT" | "DELETE")
        || matches!(
            operation,
            "Update user"
                | "Update PasswordProfile"
                | "Update StsRefreshTokenValidFrom Timestamp"
                | "User registered all required security info"
                | "User started security info registration"
        )
}

/// A property's name, or a sort of thing, as a label. Unknown ones are shown as they are.
pub fn label(property: &str) -> &str {
    match property {
        "StrongAuthenticationMethod" => "Sign-in methods",
        "StrongAuthenticationPhoneAppDetail" => "Authenticator app",
        "StrongAuthenticationUserDetails" => "Contact details for verification",
        "StrongAuthenticationRequirement" => "Multi-factor requirement",
        "AccountEnabled" => "Account enabled",
        "ForceChangePassword" => "New password at next sign-in",
        "OtherMail" | "AlternativeEmail" => "Other mail addresses",
        "UserType" => "Kind of account",
        "PasswordPolicies" => "Password policies",
        "SearchableDeviceKey" => "Security keys",
        "user" => "User",
        "group" => "Group",
        "device" => "Device",
        "app" => "Application",
        "role" => "Role",
        "policy" => "Policy",
        "directory" => "Directory",
        "domain" => "Domain",
        "host" => "Host",
        "ip" => "Address",
        "file" => "File",
        "process" => "Process",
        "url" => "Link",
        "mailbox" => "Mailbox",
        "resource" => "Resource",
        "system" => "System",
        "other" => "Other",
        other => other,
    }
}

/// A changed value as text: `Authenticator app (notification), text message`.
pub fn value(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.is_empty() => "none".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => list(items),
        Value::Object(members) => object(members),
    }
}

/// What `new` holds and `old` does not, as text. Empty where the two are no lists, or have nothing in common: then
/// before and after say it all.
pub fn beyond(new: &Value, old: &Value) -> String {
    let (Value::Array(new), Value::Array(old)) = (new, old) else { return String::new() };
    // Compared by the words: that one of them became the default makes no method a new one.
    let old: Vec<String> = old.iter().map(plain).collect();
    let (kept, more): (Vec<String>, Vec<String>) = new.iter().map(plain).partition(|item| old.contains(item));
    if kept.is_empty() { String::new() } else { more.join(", ") }
}

/// Enough of a phone number or address to recognise it, not enough to use it.
pub fn mask(text: &str) -> String {
    let hidden = "•••";
    if let Some((local, domain)) = text.split_once("[@]").or_else(|| text.split_once('@')) {
        let first = local.chars().next().map(String::from).unwrap_or_default();
        return format!("{first}{hidden}[@]{domain}");
    }
    let count = text.chars().count();
    let shown = if count >= 8 { 4 } else { count / 3 };
    format!("{hidden} {}", text.chars().skip(count - shown).collect::<String>()).trim_end().to_owned()
}

fn list(items: &[Value]) -> String {
    if items.is_empty() {
        return "none".into();
    }
    let mut words: Vec<String> = items.iter().take(MAX_ITEMS).map(value).collect();
    if items.len() > MAX_ITEMS {
        words.push(format!("and {} more", items.len() - MAX_ITEMS));
    }
    words.join(", ")
}

fn plain(item: &Value) -> String {
    match item.as_object().and_then(|members| members.get("MethodType")) {
        Some(method) => method_name(method),
        None => value(item),
    }
}

fn object(members: &Map<String, Value>) -> String {
    let default = members.get("Default").and_then(Value::as_bool).unwrap_or(false);
    if let Some(method) = members.get("MethodType") {
        return format!("{}{}", method_name(method), if default { " (default)" } else { "" });
    }
    if let Some(Value::String(device)) = members.get("DeviceName") {
        return device.clone();
    }
    if let (Some(_), Some(state)) = (members.get("RelyingParty"), members.get("State")) {
        return requirement(state);
    }
    let pairs = members.iter().filter(|(_, item)| !matches!(item, Value::Null) && value(item) != "none");
    let words: Vec<String> = pairs.take(MAX_ITEMS).map(|(key, item)| member(key, item)).collect();
    if words.is_empty() { "none".into() } else { words.join("; ") }
}

fn member(key: &str, item: &Value) -> String {
    match key {
        "PhoneNumber" => format!("phone {}", mask(&value(item))),
        "AlternativePhoneNumber" => format!("alternative phone {}", mask(&value(item))),
        "VoiceOnlyPhoneNumber" => format!("office phone {}", mask(&value(item))),
        "Email" => format!("mail {}", mask(&value(item))),
        _ => format!("{key}: {}", value(item)),
    }
}

/// `StrongAuthenticationMethodType` of the `MSOnline` module, the numbers that Core Directory writes.
fn method_name(method: &Value) -> String {
    let name = match value(method).as_str() {
        "0" => "phone call",
        "1" => "text message (answered)",
        "2" => "call to the office phone",
        "3" => "call to the alternative phone",
        "4" => "text message to the alternative phone",
        "5" => "text message",
        "6" => "authenticator app notification",
        "7" => "authenticator app code",
        other => return format!("method {other}"),
    };
    name.into()
}

/// Per-user multi-factor state.
fn requirement(state: &Value) -> String {
    match value(state).as_str() {
        "0" => "off".into(),
        "1" => "enabled".into(),
        "2" => "enforced".into(),
        other => format!("state {other}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changed_values_read_as_words() {
        for (why, given, expected) in [
            ("a list of names", json!(["Phone", "App"]), "Phone, App"),
            ("nothing before", json!(null), "none"),
            ("an empty list", json!([]), "none"),
            ("a switch", json!([true]), "yes"),
            (
                "methods by number, the default named",
                json!([{"MethodType": 0, "Default": false}, {"MethodType": 6, "Default": true}, {"MethodType": 99}]),
                "phone call, authenticator app notification (default), method 99",
            ),
            ("a phone is masked", json!([{"PhoneNumber": "+44 1632960001", "Email": null}]), "phone ••• 0001"),
            ("an address is masked", json!([{"Email": "alice[@]home[.]example"}]), "mail a•••[@]home[.]example"),
            (
                "a device is its name; its token is nobody's business",
                json!([{"DeviceName": "Pixel 9", "DeviceToken": "s3cret"}]),
                "Pixel 9",
            ),
            ("the requirement is its state", json!([{"RelyingParty": "*", "State": 0}]), "off"),
            ("an unknown object is spelled out", json!({"a": 1, "b": null}), "a: 1"),
            ("a long list ends", json!((0..12).collect::<Vec<_>>()), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, and 2 more"),
        ] {
            assert_eq!(value(&given), expected, "{why}");
        }
    }

    #[test]
    fn what_came_and_what_went_is_told_apart() {
        let old = json!([{"MethodType": 0, "Default": true}]);
        let new = json!([{"MethodType": 0, "Default": false}, {"MethodType": 7, "Default": true}]);
        assert_eq!(beyond(&new, &old), "authenticator app code");
        assert_eq!(beyond(&old, &new), "");
        assert_eq!(beyond(&json!(["a"]), &json!(["b"])), "", "one in the place of the other");
        assert_eq!(beyond(&json!("a"), &json!("b")), "");
    }
}
