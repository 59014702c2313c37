//! A "not now" that may be said of one message or of everybody: 421 from RCPT on.

use std::collections::HashMap;

use super::*;
use crate::smtp_server::ReplyThenClose;

const POISON: &str = "poison@example.com";
const GOES: &str = "421 4.7.0 try again later";

/// R4, T24: whoever is alone in being told 421 keeps nobody waiting, and pays from the second time on.
#[tokio::test]
async fn one_recipient_for_whom_the_relay_says_421_keeps_no_other_waiting() {
    for (command, capabilities) in [
        (Command::Rcpt, vec!["PIPELINING"]),
        (Command::Rcpt, vec![]),
        (Command::Data, vec![]),
        (Command::Dot, vec!["PIPELINING"]),
    ] {
        for action in [Reply(GOES), ReplyThenClose(GOES)] {
            let relay = Relay::start_with(Options { capabilities: capabilities.clone(), ..Options::default() }).await;
            relay.on_recipient(POISON, command, action);
            let client = Client::new(Settings { connections: 1, ..settings(&relay) });
            let attempt = client.send_at("p", POISON, NOW).await;
            let mut now = NOW;
            if command == Command::Dot {
                assert_eq!(attempt.verdict, Verdict::Later { not_before: None }, "as any 4xx to the dot");
            } else {
                assert_eq!((held(&attempt), until(&attempt).since(NOW).as_secs()), ("closing", 5), "{command:?}");
                now = until(&attempt);
            }
            for n in 0..3 {
                assert!(is_sent(&client.send_at(&format!("m{n}"), ALICE, now).await), "{command:?} m{n}");
                let again = client.send_at("p", POISON, now).await;
                assert_eq!(again.verdict, Verdict::Later { not_before: None }, "{command:?} {n}");
                assert_eq!(again.code, Some(421));
                assert_eq!((client.channel.gate(false, now), client.channel.broken()), (Gate::Open, None));
            }
            relay.calm(command);
            assert!(is_sent(&client.send_at("p", POISON, now).await), "{command:?}");
        }
    }
}

/// T24: what is said to everybody is nobody's fault, however many there are and however long it lasts.
#[tokio::test]
async fn a_relay_that_says_421_to_everybody_costs_nobody_an_attempt_and_opens_the_breaker() {
    for people in [1, 2, 10] {
        let relay = Relay::start().await;
        let client = Client::of(&relay);
        assert!(is_sent(&client.send_at("before", ALICE, NOW).await));
        relay.on(Command::Rcpt, ReplyThenClose("421 4.3.2 shutting down"));
        let mut due: HashMap<usize, Timestamp> = (0..people).map(|n| (n, NOW)).collect();
        let mut tries = Vec::new();
        for second in 0..3_600 {
            let now = NOW.plus(seconds(second));
            for (n, due) in &mut due {
                // As dispatch does: who is due, if the gate lets it.
                if *due <= now && !matches!(client.channel.gate(true, now), Gate::Shut { .. }) {
                    let attempt = client.send_at(&format!("m{n}"), &format!("user{n}@example.com"), now).await;
                    assert_eq!(held(&attempt), "closing", "{people} {n} after {second} s");
                    *due = until(&attempt);
                    tries.push(second);
                }
            }
            if second == 300 {
                assert_eq!(client.channel.broken(), Some("closing"), "{people}");
            }
        }
        assert!((5..45).contains(&tries.len()), "ever more seldom: {tries:?}");
        relay.calm(Command::Rcpt);
        let now = due.values().copied().max().unwrap().plus(seconds(1_000));
        for n in 0..people {
            assert!(is_sent(&client.send_at(&format!("m{n}"), &format!("user{n}@example.com"), now).await), "{n}");
        }
        assert_eq!((client.channel.broken(), client.channel.gate(true, now)), (None, Gate::Open));
    }
}

/// R4: nobody else was there to show that the relay works, and whoever comes shows it at once.
#[tokio::test]
async fn one_that_was_alone_for_long_keeps_no_newcomer_waiting() {
    let relay = Relay::start().await;
    relay.on_recipient(POISON, Command::Rcpt, Reply(GOES));
    let client = Client::of(&relay);
    let mut now = NOW;
    for _ in 0..10 {
        let attempt = client.send_at("p", POISON, now).await;
        assert_eq!(held(&attempt), "closing");
        assert_eq!(client.channel.gate(true, now), Gate::Open);
        now = until(&attempt);
    }
    assert_eq!(client.channel.broken(), Some("closing"), "somebody should look");
    assert!(is_sent(&client.send_at("m", ALICE, now).await));
    assert_eq!(client.channel.broken(), None);
    assert_eq!(client.send_at("p", POISON, now).await.verdict, Verdict::Later { not_before: None });
}

/// T24, T37.
#[tokio::test]
async fn a_mail_that_one_relay_answers_with_421_goes_by_the_next_within_the_same_attempt() {
    for command in [Command::Mail, Command::Rcpt, Command::Data] {
        let (first, second) = (Relay::start().await, Relay::start().await);
        first.on(command, ReplyThenClose("421 4.3.2 shutting down"));
        let client = Client::new(over(settings(&first).relays[0].clone(), &second));
        for n in 0..9 {
            assert!(
                is_sent(&client.send_at(&format!("m{n}"), &format!("user{n}@example.com"), NOW).await),
                "{command:?}"
            );
        }
        assert_eq!((first.accepted().len(), second.accepted().len()), (0, 9), "{command:?}");
        let asked = if command == Command::Mail { 1 } else { 5 };
        assert_eq!(first.count("MAIL"), asked, "{command:?}: then the first is left alone");
    }
}

/// A relay that works again is not kept shut by the one recipient for whom it does not.
#[tokio::test]
async fn one_recipient_does_not_keep_a_breaker_open() {
    let relay = Relay::start().await;
    let client = Client::of(&relay);
    relay.on(Command::Mail, Reply(GOES));
    let mut now = NOW;
    let next = |client: &Client, now| match client.channel.gate(true, now) {
        Gate::Shut { until, .. } => until,
        Gate::Open | Gate::Few(_) | Gate::Probe => now,
    };
    while client.channel.broken().is_none() {
        client.send_at("m", ALICE, now).await;
        now = next(&client, now);
        assert!(now.since(NOW) < Duration::from_hours(1), "421 to MAIL is the relay's fault");
    }
    relay.calm(Command::Mail);
    relay.on_recipient(POISON, Command::Rcpt, Reply(GOES));
    for _ in 0..2 {
        now = next(&client, now);
        assert_eq!(held(&client.send_at("p", POISON, now).await), "closing");
    }
    assert_eq!((client.channel.broken(), client.channel.gate(true, now)), (None, Gate::Open));
    assert!(is_sent(&client.send_at("m", ALICE, now).await));
}

/// What is cancelled, moved or over is not tried again: nobody would ever take back that the relay does not work.
#[tokio::test]
async fn one_that_was_alone_and_is_there_no_more_leaves_no_alarm() {
    let relay = Relay::start().await;
    relay.on_recipient(POISON, Command::Rcpt, Reply(GOES));
    let client = Client::of(&relay);
    let mut now = NOW;
    for _ in 0..3 {
        now = until(&client.send_at("p", POISON, now).await);
    }
    assert_eq!((client.channel.gate(true, now), client.channel.broken()), (Gate::Open, Some("closing")));
    let later = now.plus(Duration::from_hours(2));
    assert_eq!((client.channel.gate(true, later), client.channel.broken()), (Gate::Open, None));
}
