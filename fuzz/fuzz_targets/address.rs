//! Any text as an address: refused, or it is one in every place where it will stand, and reading it again changes nothing.
#![no_main]

use auditbell::channels::smtp::body::fits_a_path;
use auditbell::people::address::{deliverable, mailbox, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let allowed = ["example.com".to_owned()];
    if let Ok(address) = deliverable(text, &allowed) {
        assert!(address.ends_with("@example.com"));
        assert_eq!(parse(text).as_deref(), Ok(&*address));
    }
    if let Ok(mailbox) = mailbox(text) {
        assert_eq!(parse(&mailbox.address).as_deref(), Ok(&*mailbox.address));
        assert!(mailbox.name.is_none_or(|name| !name.is_empty() && !name.contains(char::is_control)));
    }
    let Ok(address) = parse(text) else { return };
    assert_eq!(parse(&address).as_deref(), Ok(&*address));
    // In a command: it ends none and begins none.
    assert!(fits_a_path(&address));
    let (local, domain) = address.rsplit_once('@').expect("an address has an @");
    assert!(!local.is_empty() && local.len() <= 64 && domain.is_ascii());
    // In a header: one address, with nothing that begins a comment, a group, a list or another header.
    assert!(!address.contains(|c: char| c.is_control() || c.is_whitespace() || "()<>[]:;,\"\\".contains(c)));
    assert_eq!(address.matches('@').count(), 1);
});
