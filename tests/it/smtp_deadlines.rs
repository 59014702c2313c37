//! T25, T27: how long each phase may take, to the second, on a clock that jumps when everybody waits.

use std::future::Future;
use std::time::Duration;

use auditbell::channels::Channel as _;
use auditbell::channels::smtp::{Settings, Timeouts};
use tokio::time::Instant;

use crate::smtp::{ALICE, Client, NOW, settings};
use crate::smtp_server::{Command, Drip, Options, Relay, Sip, Stall, Tls};
use crate::smtp_verdicts::{large, small_window, word};

/// In real time: longer than any of this takes, and no test hangs.
const PATIENCE: Duration = Duration::from_mins(2);

/// Our own limits, as `docs/delivery.md` has them.
fn client(relay: &Relay) -> Client {
    Client::new(Settings { timeouts: Timeouts::default(), ..settings(relay) })
}

/// Waits for `reached` while the clock stands: it jumps whenever everybody waits, also for a byte that is on its way between the
/// two sockets, but not while a blocking task runs.
async fn standing<T>(reached: impl Future<Output = T>) -> T {
    let (over, waits) = std::sync::mpsc::sync_channel::<()>(1);
    let holds = tokio::task::spawn_blocking(move || waits.recv_timeout(PATIENCE));
    let value = reached.await;
    drop(over);
    let _disconnected = holds.await.unwrap();
    value
}

/// T25.
#[tokio::test(start_paused = true)]
async fn each_phase_is_given_up_when_its_time_is_over_and_not_before() {
    let cases = [
        (Command::Connect, 30, "hold greeting"),
        (Command::Ehlo, 30, "hold hello"),
        (Command::Mail, 60, "later"),
        (Command::Rcpt, 60, "later"),
        (Command::Data, 60, "later"),
        (Command::Dot, 300, "ambiguous"),
    ];
    for capabilities in [vec!["PIPELINING"], vec![]] {
        for (command, seconds, expected) in cases {
            // A reply that drips is as good as none: the limit is for the whole.
            for action in [Stall, Drip(b"250-and\r\n250-and\r\n250-and\r\n250-so on\r\n", Duration::from_secs(20))] {
                let relay =
                    Relay::start_with(Options { capabilities: capabilities.clone(), ..Options::default() }).await;
                relay.on(command, action);
                let began = Instant::now();
                let sending = client(&relay).spawn("m1");
                standing(relay.wait_stalled(command, 1)).await;
                let attempt = sending.await.unwrap();
                let what = format!("{command:?} {action:?} {capabilities:?}: {attempt:?}");
                assert_eq!(word(&attempt.verdict), expected, "{what}");
                let took = began.elapsed();
                let limit = Duration::from_secs(seconds);
                assert!((limit..limit + Duration::from_secs(1)).contains(&took), "{what}: {took:?}");
                if matches!(action, Stall) {
                    standing(relay.wait_closed()).await; // one that drips notices only at its next byte
                }
            }
        }
    }
}

/// T25, and the handshake of T30.
#[tokio::test(start_paused = true)]
async fn a_handshake_and_a_login_have_limits_of_their_own() {
    let trusted = Relay::start_with(Options { tls: Tls::Implicit, ..Options::default() }).await;
    let mute = Relay::start().await;
    mute.on(Command::Connect, Stall);
    let mut settings = Settings { timeouts: Timeouts::default(), ..settings(&trusted) };
    settings.relays[0].port = mute.address().port();
    let began = Instant::now();
    let sending = Client::new(settings).spawn("m1");
    standing(mute.wait_stalled(Command::Connect, 1)).await;
    assert_eq!(word(&sending.await.unwrap().verdict), "hold tls");
    assert_eq!(began.elapsed().as_secs(), 10);

    let account = Some(("bell", "secret"));
    let relay = Relay::start_with(Options { tls: Tls::Implicit, account, ..Options::default() }).await;
    relay.on(Command::Auth, Stall);
    let settings = crate::smtp_tls::with_password(&relay, "bell", "secret");
    let began = Instant::now();
    let sending = Client::new(Settings { timeouts: Timeouts::default(), ..settings }).spawn("m1");
    standing(relay.wait_stalled(Command::Auth, 1)).await;
    assert_eq!(word(&sending.await.unwrap().verdict), "hold auth");
    assert_eq!(began.elapsed().as_secs(), 30);
    standing(relay.wait_closed()).await;
}

/// T27: a relay that takes nothing of a large mail is given up after a minute.
#[tokio::test(start_paused = true)]
async fn a_body_that_makes_no_progress_is_given_up() {
    let relay = small_window().await;
    relay.on(Command::Body, Stall);
    let client = client(&relay);
    let began = Instant::now();
    let outgoing = client.outgoing_bytes("large", ALICE, large());
    let channel = client.channel.clone();
    let sending = tokio::spawn(async move { channel.attempt(&outgoing, NOW).await });
    standing(relay.wait_stalled(Command::Body, 1)).await;
    let attempt = sending.await.unwrap();
    assert_eq!(word(&attempt.verdict), "later", "the dot was not written: {attempt:?}");
    // After the time is over there is a second for the relay's last words.
    assert!((60..=62).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(relay.accepted().is_empty());
}

/// T27: one that sips, and keeps the limit of each 64 KiB, is given up when the limits of the whole are over. (In real
/// time: the operating system's windows know no other.)
#[tokio::test]
async fn a_body_that_makes_too_little_progress_is_given_up() {
    let relay = small_window().await;
    relay.on(Command::Body, Sip(Duration::from_millis(8)));
    let (half, whole) = (Duration::from_millis(500), Duration::from_secs(2));
    let timeouts = Timeouts { mail: half, rcpt: half, data: half, body: whole, ..Timeouts::default() };
    let client = Client::new(Settings { timeouts, ..settings(&relay) });
    let began = Instant::now();
    let attempt = client.channel.attempt(&client.outgoing_bytes("large", ALICE, large()), NOW).await;
    assert_eq!(word(&attempt.verdict), "later", "the dot was not written: {attempt:?}");
    let took = began.elapsed();
    assert!(took >= 3 * half + 2 * whole, "{took:?}: a block was given up, not the whole");
    assert!(relay.accepted().is_empty());
}
