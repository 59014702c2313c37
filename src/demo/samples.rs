//! Owns what the demo feeds in, and the fixed list of the mails that must come of it.

/// One Kafka message of the feed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// What it stands for, for the reader of the terminal.
    pub title: &'static str,
    /// The message as the exporter wrote it; times and correlation ids are made fresh before it is sent.
    pub message: &'static str,
    /// The mails that must come of it: written down here by hand, not asked of the daemon.
    pub mails: &'static [Expected],
}

/// One mail that must arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Expected {
    /// RFC 5321 RCPT TO.
    pub to: &'static str,
    /// The decoded subject.
    pub subject: &'static str,
}

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";
const SOC: &str = "soc@example.com";

const fn mail(to: &'static str, subject: &'static str) -> Expected {
    Expected { to, subject }
}

macro_rules! sample {
    ($title:literal, $file:literal, $mails:expr) => {
        Sample { title: $title, message: include_str!(concat!("../../tests/fixtures/records/", $file)), mails: $mails }
    };
}

/// In the order in which they are sent.
pub(super) const SAMPLES: &[Sample] = &[
    sample!(
        "The service desk resets Alice's password: six records of one act",
        "admin-password-reset.json",
        &[mail(ALICE, "Your password was reset")]
    ),
    sample!(
        "Alice registers a new sign-in method",
        "security-info-registered.json",
        &[mail(ALICE, "A sign-in method was added to your account")]
    ),
    sample!(
        "Two people in one envelope: each hears of their own account only",
        "two-users-in-one-envelope.json",
        &[mail(ALICE, "Your password was reset"), mail(BOB, "Your password was reset")]
    ),
    sample!("A failed attempt: for the security team, not for the user", "failure.json", &[]),
    sample!("Bob's account is disabled", "account-disabled.json", &[mail(BOB, "Your account was disabled")]),
    sample!("Groups, devices and roles: nobody to mail", "group-device-role-targets.json", &[]),
    sample!(
        "Alice changes her own password",
        "password-changed-by-self.json",
        &[mail(ALICE, "Your password was changed")]
    ),
    sample!(
        "A record that is not JSON among good ones: it alone goes to the dead letters",
        "bad-record-in-the-middle.msg",
        &[mail(ALICE, "Your password was reset"), mail(BOB, "Your password was reset")]
    ),
    sample!(
        "A guest who cannot be mailed: the security team hears instead",
        "guest-target.json",
        &[
            mail(SOC, "Somebody could not be told (rule password-reset)"),
            mail(SOC, "Somebody could not be told (rule security-info-registered)"),
            mail(SOC, "Somebody could not be told (rule password-reset)")
        ]
    ),
    sample!(
        "Hostile text in names and operations: shown as text, or not at all",
        "hostile-text.json",
        &[
            mail(ALICE, "Your password was reset"),
            mail(ALICE, "Your password was reset"),
            mail(SOC, "Somebody could not be told (rule password-reset)")
        ]
    ),
    sample!(
        "Alice's default sign-in method changes",
        "default-method-changed.json",
        &[mail(ALICE, "Your default sign-in method was changed")]
    ),
];
