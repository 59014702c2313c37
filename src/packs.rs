//! Owns the packs: rules for one purpose, shipped inside the program, which a configuration includes by name. Each is a folder
//! below `src/packs/`.

/// What the rules of every pack call the channel that they write through. Where no channel is called so and only one writes to
/// people, it is meant.
pub const CHANNEL: &str = "email";

/// One pack.
#[derive(Debug)]
pub struct Pack {
    /// As `include = ["pack:NAME"]` has it.
    pub name: &'static str,
    /// Its `rules.toml`: a file of the configuration like any other.
    pub rules: &'static str,
    /// The records that the tests of its rules name: path below the pack's folder, and text.
    pub fixtures: &'static [(&'static str, &'static str)],
}

macro_rules! pack {
    ($name:literal $(, $fixture:literal)* $(,)?) => {
        Pack {
            name: $name,
            rules: include_str!(concat!("packs/", $name, "/rules.toml")),
            fixtures: &[$(($fixture, include_str!(concat!("packs/", $name, "/", $fixture)))),*],
        }
    };
}

/// All of them, by name.
pub const ALL: &[Pack] = &[
    pack!(
        "defender-alerts",
        "fixtures/alert-high-closed.json",
        "fixtures/alert-high-machine.json",
        "fixtures/alert-high.json",
        "fixtures/alert-low.json",
        "fixtures/alert-medium.json",
        "fixtures/alert-sample.json",
        "fixtures/incident.json",
        "fixtures/recommendation-healthy.json",
        "fixtures/recommendation-snapshot.json",
        "fixtures/recommendation-unhealthy.json",
        "fixtures/risk-high.json",
        "fixtures/risk-low.json",
        "fixtures/risk-remediated.json",
        "fixtures/suppression.json",
    ),
    pack!(
        "entra-admin",
        "fixtures/app-credential.json",
        "fixtures/app-owner.json",
        "fixtures/app-permission.json",
        "fixtures/break-glass-changed.json",
        "fixtures/break-glass-failed.json",
        "fixtures/break-glass-sign-in.json",
        "fixtures/certificate-authority.json",
        "fixtures/conditional-access.json",
        "fixtures/consent-of-one-user.json",
        "fixtures/consent.json",
        "fixtures/cross-tenant.json",
        "fixtures/device-secret.json",
        "fixtures/elevated.json",
        "fixtures/federation.json",
        "fixtures/fraud.json",
        "fixtures/guest-became-member.json",
        "fixtures/logging-off.json",
        "fixtures/method-policy.json",
        "fixtures/pim-weakened.json",
        "fixtures/risk-dismissed.json",
        "fixtures/role-activated-lesser.json",
        "fixtures/role-activated.json",
        "fixtures/role-assigned.json",
        "fixtures/role-outside-pim.json",
        "fixtures/service-principal-credential.json",
        "fixtures/sign-in-of-anybody.json",
    ),
    pack!(
        "entra-user-safety",
        "fixtures/account-disabled.json",
        "fixtures/account-unlocked.json",
        "fixtures/app-password.json",
        "fixtures/change.json",
        "fixtures/default-method.json",
        "fixtures/device-registered-by-service.json",
        "fixtures/device-registered.json",
        "fixtures/force-change.json",
        "fixtures/fraud.json",
        "fixtures/method-deleted-by-admin.json",
        "fixtures/method-deleted.json",
        "fixtures/method-registered.json",
        "fixtures/method-updated.json",
        "fixtures/mfa-disabled.json",
        "fixtures/noise.json",
        "fixtures/passkey-added.json",
        "fixtures/passkey-deleted.json",
        "fixtures/reset-blocked.json",
        "fixtures/reset-by-admin.json",
        "fixtures/reset-by-self.json",
        "fixtures/reset-failed.json",
        "fixtures/temporary-access-pass.json",
        "fixtures/two-people.json",
        "fixtures/update-user-only.json",
    ),
];

/// The pack of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Pack> {
    ALL.iter().find(|pack| pack.name == name)
}
