//! Lookups through the doors: a CSV file says whom a record concerns and what its mail says; a reload brings the file's new
//! rows, and one with a fault keeps the old ones.

use std::fs;
use std::path::Path;

use crate::harness::{ALICE, BOB, Bench, envelope, recipients, reset, text};

/// Exit code and everything said by `auditbell reload`.
fn reload(bench: &Bench) -> (Option<i32>, String) {
    let output = bench.command(&["reload"]).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), said)
}

/// A template whose subject says what stands in the lookup.
fn wording(directory: &Path) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/password-reset");
    let own = directory.join("templates/password-reset");
    fs::create_dir_all(&own).unwrap();
    for part in ["html.hbs", "text.hbs"] {
        fs::copy(shipped.join(part), own.join(part)).unwrap();
    }
    fs::write(own.join("subject.hbs"), "Desk {{default lookup.desks.place 'unknown'}}\n").unwrap();
}

/// A13, A14: whoever the file names is told, and the fallback of what it does not name.
#[tokio::test(flavor = "multi_thread")]
async fn a_csv_file_says_whom_to_tell_and_a_reload_brings_its_new_rows() {
    let mut bench = Bench::new().await;
    wording(bench.directory.path());
    let tables = "[templates]\ndir = \"templates\"\n[lookup.desks]\ncsv = \"desks.csv\"\nkey = \"person\"\nby = \"target.upn\"\n[brand]";
    bench.replace("[brand]", tables);
    let rules = bench.rules.replace("to = [\"target\"]", "to = [\"lookup:desks.mail\"]");
    assert_ne!(rules, bench.rules);
    bench.rules = rules;
    let desks = bench.path("desks.csv");
    fs::write(&desks, "person,mail,place\nALICE@example.com,\"north@example.com; south@example.com\",N1\n").unwrap();
    bench.start().await;
    bench.publish(envelope(&[reset("one", ALICE)])).await;
    let mails = bench.relay.wait_for(2).await;
    assert_eq!(recipients(&mails), ["north@example.com", "south@example.com"]);
    assert!(mails.iter().all(|mail| text(mail).starts_with("Desk N1")), "{}", text(&mails[0]));

    fs::write(&desks, "person,mail,place\nalice@example.com,a@example.com,N1\nAlice@example.com,b@example.com,N2\n")
        .unwrap();
    let (code, said) = reload(&bench);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("desks.csv`: line 3: has the same key as 2"), "{said}");

    fs::write(&desks, "person,mail,place\nalice@example.com,west@example.com,W7\n").unwrap();
    let (code, said) = reload(&bench);
    assert_eq!(code, Some(0), "{said}\n{}", bench.log());
    bench.publish(envelope(&[reset("two", ALICE), reset("three", BOB)])).await;
    let mails = bench.relay.wait_for(4).await;
    let told = recipients(&mails);
    let of_bob = "nobody stands there for Bob, so the fallback hears";
    assert_eq!(told, ["north@example.com", "soc@example.com", "south@example.com", "west@example.com"], "{of_bob}");
    let west = mails.iter().find(|mail| recipients(std::slice::from_ref(*mail)) == ["west@example.com"]).unwrap();
    assert!(text(west).starts_with("Desk W7"), "{}", text(west));
    assert!(bench.stop().await.success());
    bench.books_balance();
}
