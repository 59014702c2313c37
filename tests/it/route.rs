//! The way to the relays: which of them, when, how many connections, how many messages.

mod doubt;
mod lanes;
mod network;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use auditbell::channels::past::{Logins, Past};
use auditbell::channels::ration::Rate;
use auditbell::channels::resolve::Resolver;
use auditbell::channels::smtp::{self, Auth, Proof, Security, Settings, Smtp};
use auditbell::channels::{Attempt, Channel, Gate, Permission, Verdict};
use auditbell::clock::Timestamp;
use auditbell::secret::Source;
use tokio::sync::watch;

use crate::resolve::{Answer, Dns};
use crate::smtp::{ALICE, Client, NOW, held, is_sent, settings, timeouts};
use crate::smtp_server::{Close, Command, Options, Relay, Reply, Stall, Tls};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Where nobody listens, and nobody else can while the tests run: the socket is bound, and left so.
fn nowhere() -> smtp::Relay {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::mem::forget(socket);
    smtp::Relay { security: Security::Plain, host: "127.0.0.1".into(), port }
}

/// The channel over these relays, in this order.
fn over(first: smtp::Relay, second: &Relay) -> Settings {
    let settings = settings(second);
    Settings { relays: vec![first, settings.relays[0].clone()], ..settings }
}

fn until(attempt: &Attempt) -> Timestamp {
    let Verdict::Hold { until, .. } = attempt.verdict else { panic!("not held: {attempt:?}") };
    until
}

/// T37.
#[tokio::test]
async fn a_message_goes_by_the_next_relay_when_the_first_cannot_be_reached() {
    let relay = Relay::start().await;
    let client = Client::new(over(nowhere(), &relay));
    for n in 0..20 {
        assert!(is_sent(&client.send_at(&format!("m{n}"), ALICE, NOW.plus(seconds(n))).await), "m{n}");
    }
    assert_eq!(client.channel.gate(false, NOW.plus(seconds(20))), Gate::Open);
    assert_eq!(client.channel.broken(), None, "one way out works");
}

/// T34, T37: what a relay announces that it cannot take is not final while another may take it.
#[tokio::test]
async fn a_mail_that_one_relay_cannot_take_goes_by_the_next_that_can_or_waits_for_it() {
    let small = || Options { capabilities: vec!["SIZE 20"], ..Options::default() };
    let (first, second) = (Relay::start_with(small()).await, Relay::start().await);
    let small_first = settings(&first).relays[0].clone();
    let client = Client::new(over(small_first.clone(), &second));
    assert!(is_sent(&client.send("m1").await));
    assert_eq!((first.count("MAIL"), second.accepted().len()), (0, 1));

    let client = Client::new(Settings { relays: vec![small_first.clone(), nowhere()], ..settings(&first) });
    let attempt = client.send("m2").await;
    let waits = ("too-big", 1);
    assert_eq!((held(&attempt), until(&attempt).since(NOW).as_secs()), waits, "until the second is tried again");
    let attempt = client.send("m2").await;
    assert_eq!((held(&attempt), until(&attempt).since(NOW).as_secs()), waits, "also while it is left alone");

    let third = Relay::start_with(small()).await;
    let attempt = Client::new(over(small_first, &third)).send("m3").await;
    assert_eq!(attempt.verdict, Verdict::Never { reason: "too-big" }, "none can");
}

/// T36, T37: a relay that answers works, though the mail that probed it is not for it.
#[tokio::test]
async fn a_probe_that_the_relay_cannot_take_closes_the_breaker_all_the_same() {
    let relay = Relay::start_with(Options { capabilities: vec!["SIZE 20"], ..Options::default() }).await;
    let client = Client::new(settings(&relay));
    relay.on(Command::Connect, Close);
    let mut now = NOW;
    while client.channel.broken().is_none() {
        let attempt = client.send_at("m1", ALICE, now).await;
        now = until(&attempt);
    }
    relay.calm(Command::Connect);
    let attempt = client.send_at("m1", ALICE, now).await;
    assert_eq!(attempt.verdict, Verdict::Never { reason: "too-big" });
    assert_eq!((client.channel.broken(), client.channel.gate(true, now)), (None, Gate::Open));
}

/// T36, T37: a relay that has answered up to the body works, though we may not send it any more.
#[tokio::test]
async fn a_probe_that_is_taken_back_closes_the_breaker_all_the_same() {
    let relay = Relay::start().await;
    let client = Client::new(settings(&relay));
    relay.on(Command::Connect, Close);
    let mut now = NOW;
    while client.channel.broken().is_none() {
        now = until(&client.send_at("m1", ALICE, now).await);
    }
    relay.calm(Command::Connect);
    relay.once(Command::Data, Stall);
    let (channel, outgoing) = (client.channel.clone(), client.outgoing("m1", ALICE));
    let attempt = tokio::spawn(async move { channel.attempt(&outgoing, now).await });
    relay.wait_stalled(Command::Data, 1).await;
    client.permission.send_replace(Permission::Lost);
    relay.release();
    assert_eq!(held(&attempt.await.unwrap()), "lost");
    assert_eq!((client.channel.broken(), client.channel.gate(true, now)), (None, Gate::Open));
}

/// T36, T37: so does one that opened a session for a message whose part of the ration went by another relay meanwhile.
#[tokio::test]
async fn a_probe_that_finds_the_ration_used_up_closes_the_breaker_all_the_same() {
    let (first, second) = (Relay::start().await, Relay::start().await);
    let rates = vec![Rate { count: 1, span: seconds(20) }];
    let client = Client::new(Settings { rates, ..over(settings(&first).relays[0].clone(), &second) });
    first.on(Command::Connect, Close);
    for n in 0..5 {
        assert!(is_sent(&client.send_at(&format!("m{n}"), ALICE, NOW.plus(seconds(100 * n))).await));
    }
    first.calm(Command::Connect);
    first.once(Command::Ehlo, Stall);
    let now = NOW.plus(seconds(500));
    let (channel, outgoing) = (client.channel.clone(), client.outgoing("probe", ALICE));
    let probe = tokio::spawn(async move { channel.attempt(&outgoing, now).await });
    first.wait_stalled(Command::Ehlo, 1).await;
    assert!(is_sent(&client.send_at("m5", ALICE, now).await), "by the second");
    first.release();
    assert_eq!(held(&probe.await.unwrap()), "rate");
    // Within the probe's window, when the ration is free again.
    assert!(is_sent(&client.send_at("m6", ALICE, now.plus(seconds(25))).await));
    assert_eq!((first.accepted().len(), second.accepted().len()), (1, 6));
}

/// T37, the way back.
#[tokio::test]
async fn the_first_relay_is_used_again_when_it_works_again() {
    let (first, second) = (Relay::start().await, Relay::start().await);
    first.on(Command::Connect, Close);
    let client = Client::new(over(settings(&first).relays[0].clone(), &second));
    let mut now = NOW;
    // Five failures open its breaker, after pauses of 1, 2, 4 and 8 s.
    for n in 0..30 {
        assert!(is_sent(&client.send_at(&format!("m{n}"), ALICE, now).await));
        now = now.plus(seconds(1));
    }
    assert_eq!((first.connections(), second.accepted().len()), (5, 30));
    first.calm(Command::Connect);
    for n in 30..90 {
        assert!(is_sent(&client.send_at(&format!("m{n}"), ALICE, now).await));
        now = now.plus(seconds(1));
    }
    let back = first.accepted().len();
    assert!(back >= 30, "only {back} by the first");
    assert_eq!(second.accepted().len() + back, 90);
}

#[tokio::test]
async fn a_relay_that_nobody_answers_at_is_tried_ever_more_seldom() {
    let client = Client::new(Settings { relays: vec![nowhere()], ..settings(&Relay::start().await) });
    let mut now = NOW;
    let mut tries = Vec::new();
    for n in 0..9 {
        let attempt = client.send_at(&format!("m{n}"), ALICE, now).await;
        assert_eq!(held(&attempt), "connect");
        tries.push(until(&attempt).since(now).as_secs());
        assert_eq!(client.channel.broken().is_some(), n >= 4, "after {n}");
        now = until(&attempt);
    }
    for (index, (pause, least)) in tries.iter().zip([1, 2, 4, 8, 30, 60, 120, 240, 480]).enumerate() {
        let most = if index < 4 { least } else { least + least / 5 + 1 };
        assert!((least..=most).contains(pause), "pause {index} is {pause} s, not {least} to {most}");
    }
}

/// T24: whoever says 421 before he knows for whom the mail is, is left alone for a minute, which costs no message anything,
/// and is no break.
#[tokio::test]
async fn a_relay_that_goes_away_is_left_alone_for_a_minute() {
    let relay = Relay::start().await;
    let client = Client::of(&relay);
    relay.once(Command::Mail, Reply("421 4.3.2 shutting down"));
    let attempt = client.send("m2").await;
    assert_eq!((held(&attempt), until(&attempt).since(NOW).as_secs()), ("closing", 60));
    assert_eq!(client.channel.broken(), None);
    let again = until(&attempt);
    assert_eq!(held(&client.send_at("m3", ALICE, again.minus(seconds(2))).await), "closing");
    assert!(is_sent(&client.send_at("m2", ALICE, again).await), "not penalised");
    assert!(is_sent(&client.send_at("m3", ALICE, again).await));
}

/// Two relays that know one account by `password`, and the settings of a channel over both that logs in by what `file` says.
async fn with_one_account(password: &'static str, file: &std::path::Path) -> ([Relay; 2], Settings) {
    let options = || Options { tls: Tls::Implicit, account: Some(("bell", password)), ..Options::default() };
    let relays = [Relay::start_with(options()).await, Relay::start_with(options()).await];
    let ca_file = file.with_extension("pem");
    let both = relays.each_ref().map(|relay| std::fs::read_to_string(relay.ca_file()).unwrap()).concat();
    std::fs::write(&ca_file, both).unwrap();
    let settings = Settings {
        relays: relays.each_ref().map(|relay| settings(relay).relays[0].clone()).to_vec(),
        auth: Some(Auth { user: "bell".into(), proof: Proof::Password(Source::File(file.into())) }),
        ca_file: Some(ca_file),
        ..settings(&relays[0])
    };
    (relays, settings)
}

/// T32: a password that is no longer right, at two relays that both took it before: each new connection asks for the login,
/// and it is made once.
#[tokio::test]
async fn a_login_that_once_worked_at_both_relays_is_refused_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "right").unwrap();
    let (relays, settings) = with_one_account("right", &file).await;
    let limits = smtp::Limits { messages: 1, ..smtp::Limits::default() };
    let client = Client::new(Settings { limits, ..settings });
    let logins = || relays.each_ref().map(|relay| relay.count("AUTH"));
    assert!(is_sent(&client.send("m1").await));
    relays[0].on(Command::Connect, Close);
    assert!(is_sent(&client.send("m2").await), "by the second");
    relays[0].calm(Command::Connect);
    assert_eq!(logins(), [1, 1]);

    std::fs::write(&file, "wrong").unwrap();
    let now = NOW.plus(seconds(60));
    assert_eq!(held(&client.send_at("m3", ALICE, now).await), "auth");
    assert_eq!(logins().iter().sum::<usize>(), 3, "one of them is asked");
    let Gate::Shut { until, why: "auth" } = client.channel.gate(true, now) else { panic!("it pauses") };
    assert!(until >= now.plus(seconds(30)));
    std::fs::write(&file, "right").unwrap();
    assert!(is_sent(&client.send_at("m3", ALICE, now.plus(seconds(90))).await));
}

/// T32: two channels lead to one account, by the same relay or by another: they share its rest, however close together they
/// log in.
#[tokio::test]
async fn channels_with_one_account_share_the_rest_of_a_refused_login() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "wrong").unwrap();
    let (relays, all) = with_one_account("right", &file).await;
    let logins = Logins::default();
    let open = |relay: usize| {
        let settings = Settings { relays: vec![all.relays[relay].clone()], ..all.clone() };
        let past = Past::new(logins.clone());
        let channel = Smtp::with_resolver(&"email".into(), &settings, &Resolver::system(), &past).unwrap();
        Client { channel, permission: watch::Sender::new(Permission::Go) }
    };
    let clients = [open(0), open(0), open(1)];
    let attempts = clients.each_ref().map(|client| client.spawn("m"));
    for attempt in attempts {
        assert_eq!(held(&attempt.await.unwrap()), "auth");
    }
    let tried = || relays.iter().map(|relay| relay.count("AUTH")).sum::<usize>();
    assert_eq!(tried(), 1);
    let anew = open(1);
    assert_eq!(held(&anew.send_at("m", ALICE, NOW.plus(seconds(29))).await), "auth");
    assert_eq!(anew.channel.broken(), None, "a rest says nothing of the relay");
    assert_eq!(tried(), 1, "nor by a channel that is new");
}

/// T32: two relays with one account, whose password is wrong: over an hour never two logins in 30 s.
#[tokio::test]
async fn a_wrong_password_is_never_tried_twice_in_half_a_minute_whatever_the_relays() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "wrong").unwrap();
    let (relays, settings) = with_one_account("another", &file).await;
    let client = Client::new(settings);
    let logins = || relays.iter().map(|relay| relay.count("AUTH")).sum::<usize>();
    let mut times = Vec::new();
    for second in 0..3_600 {
        let now = NOW.plus(seconds(second));
        let before = logins();
        // As dispatch does: only if the gate lets it.
        if matches!(client.channel.gate(true, now), Gate::Shut { .. }) {
            continue;
        }
        assert_eq!(held(&client.send_at(&format!("m{second}"), ALICE, now).await), "auth");
        times.extend(std::iter::repeat_n(second, logins() - before));
    }
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap >= 30), "{times:?}");
    assert!((5..30).contains(&times.len()), "it is tried, and ever more seldom: {times:?}");
    assert!(relays.iter().all(|relay| relay.count("AUTH") > 0), "both are tried");
}

/// T25: of a relay that stalls nothing is left, no task and no connection.
#[tokio::test]
async fn a_stalled_relay_leaves_no_task_behind() {
    let relay = Relay::start().await;
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    for command in [Command::Connect, Command::Ehlo, Command::Mail, Command::Rcpt, Command::Data, Command::Dot] {
        let client = Client::new(Settings { timeouts: timeouts(Duration::from_millis(200)), ..settings(&relay) });
        relay.on(command, Stall);
        let attempts: Vec<_> = (0..5).map(|n| client.spawn(&format!("{command:?}-{n}"))).collect();
        for attempt in attempts {
            assert!(!is_sent(&attempt.await.unwrap()), "{command:?}");
        }
        client.channel.close().await;
        drop(client);
        relay.wait_closed().await;
        relay.calm(command);
        let gone = async {
            while alive() > before {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(seconds(30), gone).await.unwrap_or_else(|_| panic!("{command:?}: {} tasks", alive()));
    }
}

#[tokio::test]
async fn connections_grow_with_those_that_wait_and_shrink_with_failures() {
    let relay = Relay::start().await;
    let client = Client::of(&relay);
    let allowed = |waiting| client.channel.connections(waiting);
    assert_eq!([0, 8, 9, 16, 17, 40, 1_000].map(allowed), [1, 1, 2, 2, 3, 5, 5]);
    let mut now = NOW;
    for expected in [2, 1, 1] {
        relay.once(Command::Connect, Close);
        now = until(&client.send_at("m", ALICE, now).await);
        assert_eq!(allowed(1_000), expected, "a failure halves them");
    }
    for n in 0..32 {
        assert!(is_sent(&client.send_at(&format!("m{n}"), ALICE, now).await));
        assert_eq!(allowed(1_000), 1 + (n + 1) / 8, "one more for each eight answers");
    }
}

#[tokio::test]
async fn a_ration_holds_and_leaves_a_share_to_urgent_messages() {
    let relay = Relay::start().await;
    let rates = vec![Rate { count: 8, span: seconds(60) }, Rate { count: 10, span: seconds(3_600) }];
    let client = Client::new(Settings { rates, ..settings(&relay) });
    for n in 0..6 {
        assert_eq!(client.channel.gate(false, NOW), Gate::Few(6 - n));
        assert!(is_sent(&client.send(&format!("m{n}")).await));
    }
    let refused = client.send("m6").await;
    assert_eq!(held(&refused), "rate");
    assert!(until(&refused) >= NOW.plus(seconds(60)));
    assert_eq!(client.channel.gate(false, NOW), Gate::Shut { until: until(&refused), why: "rate" });
    let mut urgent = client.outgoing("urgent", ALICE);
    urgent.urgent = true;
    for left in [2, 1] {
        assert_eq!(client.channel.gate(true, NOW), Gate::Few(left));
        assert!(is_sent(&client.channel.attempt(&urgent, NOW).await));
    }
    assert_eq!(held(&client.channel.attempt(&urgent, NOW).await), "rate");
    assert_eq!((relay.accepted().len(), client.channel.broken()), (8, None), "a ration is no break");
    // A minute later the hour's bucket holds: two of its ten are left, and they are for urgent messages.
    let later = NOW.plus(seconds(62));
    assert_eq!(held(&client.send_at("m7", ALICE, later).await), "rate");
    assert!(is_sent(&client.channel.attempt(&urgent, later).await));
}

/// T37: a relay that hangs up on a kept connection and takes no new one has heard nothing of the mail: it is counted once.
#[tokio::test]
async fn a_mail_that_goes_by_the_next_relay_uses_its_part_of_the_ration_once() {
    let (first, second) = (Relay::start().await, Relay::start().await);
    let rates = vec![Rate { count: 8, span: seconds(60) }];
    let client = Client::new(Settings { rates, ..over(settings(&first).relays[0].clone(), &second) });
    assert!(is_sent(&client.send("m1").await));
    first.on(Command::Mail, Close);
    first.on(Command::Connect, Close);
    assert!(is_sent(&client.send("m2").await));
    assert_eq!((first.count("MAIL"), second.accepted().len()), (2, 1), "both relays saw it begin");
    assert_eq!(client.channel.gate(true, NOW), Gate::Few(6));
}

/// T38, through the channel.
#[tokio::test]
async fn a_relay_whose_name_does_not_exist_is_the_operators_to_mend_and_a_failing_server_may_pass() {
    let dns = Dns::start().await;
    let relay = Relay::start().await;
    let with = |name: &str| {
        let mut settings = settings(&relay);
        settings.relays[0].host = name.into();
        let channel = Smtp::with_resolver(&"email".into(), &settings, &dns.resolver(), &Past::default()).unwrap();
        Client { channel, permission: watch::Sender::new(Permission::Go) }
    };
    let client = with("no-such-relay.example.com");
    let attempt = client.send("m1").await;
    assert_eq!(held(&attempt), "resolve");
    assert!(attempt.reply.contains("does not exist (NXDOMAIN): correct it in the configuration"), "{}", attempt.reply);
    assert_eq!(client.channel.broken(), Some("resolve"), "at once");

    dns.set("relay.example.com", Answer::Code(2));
    let client = with("relay.example.com");
    let attempt = client.send("m1").await;
    assert_eq!((held(&attempt), client.channel.broken()), ("resolve", None));
    assert!(attempt.reply.contains("SERVFAIL"), "{}", attempt.reply);
    // Nobody listens on the first two addresses: each is tried in turn.
    let addresses = ["::1", "127.0.0.2", "127.0.0.1"].map(|ip| ip.parse::<IpAddr>().unwrap());
    dns.set("relay.example.com", Answer::Addresses(addresses.to_vec(), 60));
    assert!(is_sent(&client.send_at("m1", ALICE, until(&attempt)).await), "a failure is not remembered");
    assert_eq!(relay.address(), SocketAddr::new(addresses[2], relay.address().port()));
}
