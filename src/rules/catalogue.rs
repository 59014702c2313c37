//! Owns the operation names that have been seen or documented for Entra audit records, so that `check` can doubt a name
//! that nobody has ever seen. Microsoft calls its own list incomplete: an unknown name is a warning, never a fault.

use std::collections::BTreeSet;

use crate::nearest::nearest as nearest_word;

use crate::record::fold::fold;

/// Names that services build from a method: `POST UserAuthMethod.…`. New ones appear without notice.
const PREFIXES: [&str; 4] =
    ["post userauthmethod.", "patch userauthmethod.", "put userauthmethod.", "delete userauthmethod."];

/// Whether `operation` has been seen, in whatever spelling matching folds.
#[must_use]
pub fn known(operation: &str) -> bool {
    let folded = fold(operation);
    PREFIXES.iter().any(|prefix| folded.starts_with(prefix)) || OPERATIONS.iter().any(|known| fold(known) == folded)
}

/// The seen name that `operation` was probably meant to be: the same words in another order, or a slip of letters.
#[must_use]
pub fn nearest(operation: &str) -> Option<&'static str> {
    let wanted = words(operation);
    let reordered = OPERATIONS.iter().copied().find(|name| words(name) == wanted);
    reordered.or_else(|| nearest_word(&fold(operation), OPERATIONS.iter().copied()))
}

fn words(name: &str) -> BTreeSet<String> {
    fold(name).split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// In the producers' own spelling, by service.
pub const OPERATIONS: &[&str] = &[
    // Authentication Methods
    "User registered security info",
    "User deleted security info",
    "User updated security info",
    "User changed default security info",
    "User registered all required security info",
    "User reviewed security info",
    "User started security info registration",
    "User canceled security info registration",
    "User cancelled security info registration",
    "User registered authentication method",
    "Admin registered security info",
    "Admin updated security info",
    "Admin deleted security info",
    "Admin started password reset",
    "User started password change",
    "User started password reset",
    "Update per-user multifactor authentication state",
    "Restore multifactor authentication on all remembered devices",
    "Get passkey creation options",
    "Create Temporary Access Pass method for user",
    "Assign Hardware Oath Token",
    "Create Hardware Oath Token",
    "Update Hardware Oath Token",
    "Delete Hardware Oath Token",
    "Bulk upload Hardware Oath Token",
    "Authentication Methods Policy Update",
    "Authentication Methods Policy Reset",
    "Update authentication methods policy",
    "MFA Service Policy Update",
    "Authentication Strength Policy Create",
    "Authentication Strength Policy Update",
    "Authentication Strength Policy Delete",
    "Authentication Strength Combination Configuration Create",
    "Authentication Strength Combination Configuration Update",
    "Authentication Strength Combination Configuration Delete",
    "POST Tenant.CreateBypassedUser",
    "POST Tenant.RemoveBypassedUser",
    "POST Tenant.CreateBlockedUser",
    "POST Tenant.RemoveBlockedUser",
    // Multifactor authentication
    "Suspicious activity reported",
    "Fraud reported - user is blocked for MFA",
    "Fraud reported - no action taken",
    // Device Registration Service
    "Add Passkey (device-bound)",
    "Delete Passkey (device-bound)",
    "Add FIDO2 security key",
    "Delete FIDO2 security key(s)",
    "Add Windows Hello for Business credential",
    "Delete Windows Hello for Business credential",
    "Add passwordless phone sign-in credential",
    "Delete passwordless phone sign-in credential",
    "Add platform credential",
    "Delete platform credential",
    "Register device",
    "Unregister device",
    "Recover device local administrator password",
    "Reveal local administrator password",
    "Update local administrator password",
    "Update device local administrator password",
    "Read BitLocker key",
    "Add BitLocker key",
    "Delete BitLocker key",
    // Self-service Password Management
    "Reset password (self-service)",
    "Change password (self-service)",
    "Reset password (by admin)",
    "Unlock user account (self-service)",
    "Security info saved for self-service password reset",
    "Blocked from self-service password reset",
    "Self-service password reset flow activity progress",
    "Enable password writeback for directory",
    "Disable password writeback for directory",
    // Microsoft Identity Manager
    "User Password Registration",
    "User Password Reset",
    // Core Directory: users
    "Add user",
    "Update user",
    "Delete user",
    "Hard Delete user",
    "Restore user",
    "Enable account",
    "Disable account",
    "Change user password",
    "Reset user password",
    "Reset password",
    "Set force change user password",
    "Update PasswordProfile",
    "Update StsRefreshTokenValidFrom Timestamp",
    "Create application password for user",
    "Delete application password for user",
    "Convert federated user to managed",
    "Disable Strong Authentication",
    "Enable Strong Authentication",
    "Add users strong authentication phone app detail",
    "Remove users strong authentication phone app detail",
    "Set user oath token metadata enabled",
    "Set user manager",
    "Remove user manager",
    "Change user license",
    "Set license properties",
    "Update external secrets",
    "Invite external user",
    "Invite Internal User",
    "Redeem external user invite",
    "Viral user creation",
    "Set password policy",
    "Update User Risk and MFA Registration Policy",
    "Add bypass user",
    "Add blocked user",
    "Clear block on user",
    "Remove bypassed user",
    "Bulk add authentication devices - finished (bulk)",
    // Core Directory: groups, roles, devices, administrative units
    "Add group",
    "Update group",
    "Delete group",
    "Restore group",
    "Hard Delete group",
    "Add member to group",
    "Remove member from group",
    "Add owner to group",
    "Remove owner from group",
    "Add app role assignment to group",
    "Remove app role assignment from group",
    "Set group license",
    "Add member to role",
    "Remove member from role",
    "Add eligible member to role",
    "Remove eligible member from role",
    "Add scoped member to role",
    "Remove scoped member from role",
    "Add role definition",
    "Update role definition",
    "Delete role definition",
    "Add role assignment to role definition",
    "Update role",
    "Add device",
    "Update device",
    "Delete device",
    "Pre-create device",
    "Add registered owner to device",
    "Remove registered owner from device",
    "Add registered users to device",
    "Remove registered users from device",
    "Add device configuration",
    "Device no longer compliant",
    "Device no longer managed",
    "Add administrative unit",
    "Update administrative unit",
    "Delete administrative unit",
    "Add member to administrative unit",
    "Remove member from administrative unit",
    // Core Directory: applications and consent
    "Add application",
    "Update application",
    "Delete application",
    "Hard Delete application",
    "Restore application",
    "Add owner to application",
    "Remove owner from application",
    "Update application – Certificates and secrets management",
    "Consent to application",
    "Revoke consent",
    "Add service principal",
    "Update service principal",
    "Remove service principal",
    "Disable service principal",
    "Add service principal credentials",
    "Remove service principal credentials",
    "Add owner to service principal",
    "Remove owner from service principal",
    "Add delegated permission grant",
    "Remove delegated permission grant",
    "Add OAuth2PermissionGrant",
    "Remove OAuth2PermissionGrant",
    "Add app role assignment to service principal",
    "Remove app role assignment from service principal",
    "Add app role assignment grant to user",
    "Remove app role assignment from user",
    // Core Directory: the tenant
    "Set Company Information",
    "Update company settings",
    "Set directory feature on tenant",
    "Set domain authentication",
    "Set federation settings on domain",
    "Add unverified domain",
    "Add verified domain",
    "Update domain",
    "Verify domain",
    "Remove unverified domain",
    "Remove verified domain",
    "Add partner to company",
    "Remove partner from company",
    "Set Partnership",
    "Disable Desktop Sso",
    "Add policy",
    "Update policy",
    "Delete policy",
    "Add CertificateBasedAuthConfiguration",
    "Update CertificateBasedAuthConfiguration",
    "Delete CertificateBasedAuthConfiguration",
    "Add CertBasedAuthConfiguration",
    "Add CertificationBasedAuthConfiguration",
    "Hard delete CertificationBasedAuthConfiguration",
    "Create CertificateAuthorityEntity",
    "Update CertificateAuthorityEntity",
    "Delete CertificateAuthorityEntity",
    "Restore CertificateAuthorityEntity",
    "Hard Delete CertificateAuthorityEntity",
    "Create PublicKeyInfrastructure",
    "Update PublicKeyInfrastructure",
    "Delete PublicKeyInfrastructure",
    "Restore PublicKeyInfrastructure",
    "Hard Delete PublicKeyInfrastructure",
    // Conditional Access
    "Add Conditional Access policy",
    "Update Conditional Access policy",
    "Delete Conditional Access policy",
    "Add named location",
    "Update named location",
    "Delete named location",
    // Privileged Identity Management
    "Add member to role requested (PIM activation)",
    "Add member to role completed (PIM activation)",
    "Add member to role approval requested (PIM activation)",
    "Add member to role request approved (PIM activation)",
    "Add member to role request denied (PIM activation)",
    "Add member to role canceled (PIM activation)",
    "Remove member from role (PIM activation expired)",
    "Add eligible member to role in PIM requested (permanent)",
    "Add eligible member to role in PIM completed (permanent)",
    "Add eligible member to role in PIM requested (timebound)",
    "Add eligible member to role in PIM completed (timebound)",
    "Add member to role in PIM requested (permanent)",
    "Add member to role in PIM completed (permanent)",
    "Add member to role in PIM requested (timebound)",
    "Add member to role in PIM completed (timebound)",
    "Add member to role outside of PIM (permanent)",
    "Remove eligible member from role in PIM completed (permanent)",
    "Remove member from role in PIM completed (permanent)",
    "Update role setting in PIM",
    "Disable PIM alert",
    "Triggered PIM alert",
    // Access reviews and entitlement
    "Access approved",
    "Approval approved",
    "Request approved",
    "Create access review",
    "Update access review",
    "Delete access review",
    "Apply access review decision",
    "Create access package",
    "Update access package",
    "Delete access package",
    // B2C
    "Delete all available strong authentication devices",
    "Get available strong authentication devices",
    "Register TOTP secret",
    "Verify phone number",
];

#[cfg(test)]
mod tests {
    use super::{OPERATIONS, known, nearest};
    use crate::rules::fold;

    #[test]
    fn no_name_stands_twice() {
        let mut folded: Vec<_> = OPERATIONS.iter().map(|name| fold(name)).collect();
        folded.sort_unstable();
        let twice: Vec<_> = folded.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }

    #[test]
    fn a_name_is_known_in_every_spelling_that_matches() {
        for name in [
            "Reset user password",
            "reset user password.",
            "Update application - Certificates and secrets management ",
            "POST UserAuthMethod.SomethingOfNextYear",
        ] {
            assert!(known(name), "{name}");
        }
        for name in ["Password reset", "Reset user pasword", "Delete planet", ""] {
            assert!(!known(name), "{name}");
        }
    }

    #[test]
    fn a_name_that_nobody_has_seen_finds_the_one_that_was_meant() {
        let cases = [
            ("a slip of letters", "Reset user pasword", Some("Reset user password")),
            ("the order of another product", "Password reset", Some("Reset password")),
            ("nothing near", "Delete planet", None),
        ];
        for (what, name, expected) in cases {
            assert_eq!(nearest(name), expected, "{what}");
        }
    }
}
