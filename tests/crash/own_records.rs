//! Our own records between the settle that writes one and the transaction that plans it.

use crate::harness::{ALICE, Bench, RESET, envelope, reset};
use crate::smtp_server::{Action, Command};
use std::os::unix::process::ExitStatusExt;

/// Tells `ops@example.com` of whatever was given up.
const OPS: &str = r#"
[[rule]]
id = "ops-delivery"
on = "auditbell.delivery"
to = ["ops@example.com"]
channels = ["email"]
template = "delivery"
"#;

/// The record is on disk and nobody has planned it; or it is planned, and nobody was told. The first acceptance is that of the
/// audit record.
#[test]
fn a_record_of_ours_outlives_a_kill_and_is_told_once() {
    let steps = ["settle_after_commit:1", "before_internal:1", "accept_before_commit:2", "accept_after_commit:2"];
    super::each(&steps, async |step| {
        let mut bench = Bench::new().await;
        bench.rules = RESET.to_owned() + OPS;
        bench.relay.on_recipient("alice@example.com", Command::Rcpt, Action::Reply("550 5.7.1 no"));
        bench.environment.push(("AUDITBELL_CRASH".into(), step.into()));
        let mut victim = bench.spawn();
        bench.publish(envelope(&[reset("1", ALICE)])).await;
        let status = bench.ended(&mut victim).await;
        assert_eq!(status.signal(), Some(9), "{step}: {status}\n{}", bench.log());
        bench.environment.clear();
        bench.start().await;
        bench
            .until("both mails", |bench| {
                let told = |who: &str| bench.relay.accepted().iter().any(|mail| mail.to == [who]);
                (told("ops@example.com") && told("soc@example.com")).then_some(())
            })
            .await;
        assert!(bench.stop().await.success(), "{step}\n{}", bench.log());
        bench.books_balance();
        let accepted = bench.relay.accepted();
        let ops = accepted.iter().filter(|mail| mail.to == ["ops@example.com"]).count();
        assert_eq!(ops, 1, "{step}: it was planned once, and not one mail to them was under way at the kill");
        assert!(!accepted.iter().any(|mail| mail.to == ["alice@example.com"]), "{step}");
    });
}
