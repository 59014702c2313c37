//! Owns the directory's logs, and what they share: the log's tenant.

pub(super) mod audit;
pub(super) mod risk;
pub(super) mod signin;

use serde_json::Value;

use super::field::Fields;

/// A principal name, and one of before. Whoever was deleted has theirs behind the digits of the object id, so that another may
/// have it: from then on it is only a name, and mail to it reaches the other.
fn principal(upn: Option<String>, id: Option<&str>) -> (Option<String>, Option<String>) {
    let digits = id.unwrap_or_default().replace('-', "");
    let behind = upn.as_ref().filter(|_| digits.len() == 32).and_then(|upn| {
        let (start, name) = upn.split_at_checked(digits.len())?;
        (start.eq_ignore_ascii_case(&digits) && !name.is_empty()).then(|| name.to_owned())
    });
    if behind.is_some() { (None, behind) } else { (upn, None) }
}

/// The log's tenant, in lower case. In Log Analytics, known by its `Type`, `TenantId` is the workspace's, and the
/// directory's has a column of its own.
pub(super) fn tenant(outer: Fields<'_>, inner: Fields<'_>) -> Option<String> {
    let workspace = outer.get("Type").and_then(Value::as_str).is_some_and(|table| !table.contains('/'));
    let written = outer
        .text("AADTenantId")
        .or_else(|| outer.text("tenantId").filter(|_| !workspace))
        .or_else(|| inner.text("tenantId").filter(|_| !workspace));
    written
        .or_else(|| {
            let resource = outer.text("resourceId")?.to_ascii_lowercase();
            resource.strip_prefix("/tenants/")?.split('/').next().map(str::to_owned)
        })
        .map(|tenant| tenant.to_ascii_lowercase())
}
