//! Owns the directory's logs, and what they share: the log's tenant.

pub(super) mod audit;
pub(super) mod risk;
pub(super) mod signin;

use serde_json::Value;

use super::field::Fields;

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
