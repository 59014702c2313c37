//! The one HTTP client against servers and name servers that do what a test tells them to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use auditbell::channels::breaker::Failure as Trouble;
use auditbell::channels::outcome::Outcome;
use auditbell::channels::web::failure::{Failure, Fault, Standing};
use auditbell::channels::web::guard::Guard;
use auditbell::channels::web::{Client, Limits, MAX_KEPT, MAX_READ, Request, Settings};
use auditbell::channels::{Handover, Outgoing, Permission, Verdict};
use auditbell::clock::Timestamp;
use reqwest::Method;
use reqwest::header::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use url::Url;

use crate::http_server::{Act, Server, status};
use crate::resolve::{Answer, Dns};

pub const NOW: Timestamp = Timestamp::from_millis(1_795_246_080_000);

/// Short where a test waits for the end, long where it must not be reached.
const SHORT: Limits = {
    let limit = Duration::from_millis(500);
    Limits { connect: limit, whole: limit, body: limit }
};

/// For loopback without TLS.
pub fn loopback() -> Settings {
    Settings { guard: Guard { allow_private: true, allow: Vec::new() }, allow_http: true, ..Settings::default() }
}

/// What a daemon hands to a channel; the sender takes the permission back.
pub fn outgoing(bytes: &'static [u8]) -> (Outgoing, watch::Sender<Permission>) {
    let (sender, permission) = watch::channel(Permission::Go);
    let outgoing = Outgoing {
        key: "6907d0f4a1b2c3d4e5f60718293a4b5c".into(),
        to: None,
        bytes: bytes.into(),
        urgent: false,
        permission,
        handover: Handover::default(),
    };
    (outgoing, sender)
}

/// Whether `verdict` is `expected`; a hold counts from the end of the request, which takes a moment.
pub fn is_about(verdict: &Verdict, expected: &Verdict) -> bool {
    match (verdict, expected) {
        (Verdict::Hold { until, why }, Verdict::Hold { until: least, why: expected }) => {
            why == expected && until >= least && until.since(*least) < Duration::from_secs(5)
        }
        (Verdict::Later { not_before: Some(until) }, Verdict::Later { not_before: Some(least) }) => {
            until >= least && until.since(*least) < Duration::from_secs(5)
        }
        _ => verdict == expected,
    }
}

async fn post(client: &Client, url: &str, outgoing: &Outgoing) -> Result<(u16, usize), Failure> {
    let url = Url::parse(url).unwrap();
    let body = outgoing.bytes.clone();
    let request =
        Request { method: Method::POST, url: &url, headers: HeaderMap::new(), body, outgoing: Some(outgoing) };
    client.ask(request, NOW).await.map(|answer| (answer.status, answer.body.len()))
}

/// T82. Whatever a URL calls them, loopback and the machine's own services are not connected to.
#[tokio::test]
async fn no_spelling_of_a_url_reaches_an_address_that_is_not_public() {
    let server = Server::start(status(200)).await;
    let port = server.address.port();
    let client = Client::new(&Settings { allow_http: true, ..Settings::default() }, Limits::default(), 1).unwrap();
    let (outgoing, _go) = outgoing(b"{}");
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "①②⑦.0.0.1",
        "169.254.169.254",
        "[fe80::1]",
        "168.63.129.16",
        "100.100.100.200",
        "10.0.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "100.64.0.1",
        "[fd00::1]",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
    ] {
        let failure = post(&client, &format!("http://{host}:{port}/"), &outgoing).await.unwrap_err();
        assert_eq!((failure.fault, failure.written), (Fault::Forbidden, false), "{host}: {failure:?}");
        assert_eq!(failure.judge(), (Outcome::Hold("forbidden"), Standing::Fails(Trouble::Lasting)));
        assert!(client.probe(&Url::parse(&format!("http://{host}:{port}/")).unwrap()).await.is_err(), "{host}");
    }
    for (why, url) in [
        ("no TLS", "http://hooks.example.com/"),
        ("a user before the host", "https://hooks.example.com@127.0.0.1/"),
        ("a password before the host", "https://u:p@hooks.example.com/"),
        ("another scheme", "ftp://hooks.example.com/"),
        ("a file", "file:///etc/passwd"),
        ("no host", "data:text/plain,x"),
    ] {
        let client = Client::new(&Settings::default(), Limits::default(), 1).unwrap();
        let failure = post(&client, url, &outgoing).await.unwrap_err();
        assert_eq!((failure.fault, failure.written), (Fault::Forbidden, false), "{why}: {failure:?}");
        assert!(!failure.detail.contains("hooks"), "{why}: {failure:?}");
    }
    assert_eq!(server.connections(), 0);
    assert!(outgoing.handover.withdraw());
}

/// T82. What a name means is checked whenever it is asked, and one bad address spoils the rest.
#[tokio::test]
async fn no_answer_of_a_name_server_leads_to_an_address_that_is_not_public() {
    let (server, dns) = (Server::start(status(200)).await, Dns::start().await);
    let settings = Settings { allow_http: true, ..Settings::default() };
    let client = Client::with_resolver(&settings, Limits::default(), 1, dns.resolver()).unwrap();
    let (outgoing, _go) = outgoing(b"{}");
    let hostile = [
        &["127.0.0.1"] as &[&str],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["169.254.169.254"],
        &["168.63.129.16"],
        &["10.1.2.3"],
        &["64:ff9b::7f00:1"],
        &["fd00::1"],
        &["93.184.216.34", "127.0.0.1"],
        &["127.0.0.1", "93.184.216.34"],
        &["93.184.216.34", "::1"],
    ];
    for (number, addresses) in hostile.iter().enumerate() {
        // A name of its own for each: that there is no address of a family is remembered.
        let name = format!("hook{number}.example.test");
        dns.set(&name, dns_answer(addresses));
        let url = format!("http://{name}:{}/", server.address.port());
        let failure = post(&client, &url, &outgoing).await.unwrap_err();
        assert_eq!((failure.fault, failure.written), (Fault::Forbidden, false), "{addresses:?}: {failure:?}");
    }
    assert_eq!(server.connections(), 0);
}

fn dns_answer(addresses: &[&str]) -> Answer {
    Answer::Addresses(addresses.iter().map(|address| address.parse().unwrap()).collect(), 0)
}

/// T82. DNS rebinding: the name means an allowed address at first and another one later. A connection goes to the address
/// that was checked, there is no second lookup for it, and the next connection is checked anew.
#[tokio::test]
async fn a_name_that_changes_its_meaning_is_not_followed() {
    let dns = Dns::start().await;
    let close = Act::Answer(200, vec![("Connection", "close".into())], Vec::new());
    let good = Server::listen("127.0.0.1:0", close, None).await;
    let bad = Server::listen(&format!("127.0.0.2:{}", good.address.port()), status(200), None).await;
    let guard = Guard { allow_private: false, allow: vec!["127.0.0.1".parse().unwrap()] };
    let settings = Settings { guard, allow_http: true, ..Settings::default() };
    let client = Client::with_resolver(&settings, Limits::default(), 1, dns.resolver()).unwrap();
    let (outgoing, _go) = outgoing(b"{}");
    let url = format!("http://hook.example.test:{}/", good.address.port());
    dns.set("hook.example.test", dns_answer(&["127.0.0.1"]));
    assert_eq!(post(&client, &url, &outgoing).await.unwrap().0, 200);
    let lookups = dns.asked().iter().filter(|question| question.ends_with(" A")).count();
    assert_eq!(lookups, 1, "{:?}", dns.asked());
    dns.set("hook.example.test", dns_answer(&["127.0.0.2"]));
    let failure = post(&client, &url, &outgoing).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Forbidden);
    assert_eq!((good.asked().len(), bad.connections()), (1, 0));
}

/// T82. A redirect is an answer.
#[tokio::test]
async fn a_redirect_is_never_followed() {
    let (server, inside) = (Server::start(status(200)).await, Server::start(status(200)).await);
    let client = Client::new(&loopback(), Limits::default(), 1).unwrap();
    let (outgoing, _go) = outgoing(b"{}");
    for code in [301, 302, 303, 307, 308] {
        server.then(Act::Answer(code, vec![("Location", inside.url())], Vec::new()));
        assert_eq!(post(&client, &server.url(), &outgoing).await.unwrap().0, code);
    }
    assert_eq!((server.asked().len(), inside.connections()), (5, 0));
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_limit_and_kept_up_to_a_smaller_one() {
    let server = Server::start(Act::Answer(200, Vec::new(), vec![b'x'; 1 << 20])).await;
    let client = Client::new(&loopback(), Limits::default(), 1).unwrap();
    let url = Url::parse(&server.url()).unwrap();
    let ask = || Request { method: Method::GET, url: &url, headers: HeaderMap::new(), body: "".into(), outgoing: None };
    let answer = client.ask(ask(), NOW).await.unwrap();
    assert_eq!(answer.body.len(), MAX_READ);
    let kept = answer.kept();
    assert_eq!((kept.len(), &kept[..9]), (MAX_KEPT, "200 OK: x"));

    server.then(Act::Answer(202, Vec::new(), b"a\r\nb\x1b[1m\xff".to_vec()));
    assert_eq!(client.ask(ask(), NOW).await.unwrap().kept(), "202 Accepted: a\\r\\nb\\u{1b}[1m\u{fffd}");
    let asked = server.asked();
    assert!(asked[0].header("user-agent").unwrap().starts_with("auditbell/"), "{asked:?}");
    assert_eq!((asked[0].header("accept-encoding"), asked[0].header("referer")), (None, None));
}

/// What was seen of a request that nobody answered, and whether it may have arrived.
#[tokio::test]
async fn a_failure_says_whether_the_request_had_been_written() {
    let server = Server::start(status(200)).await;
    let client = Client::new(&loopback(), SHORT, 1).unwrap();
    for (why, act, fault) in [
        ("the connection is closed without a word", Act::Cut, Fault::Broken),
        ("what comes is no HTTP", Act::Raw(b"220 smtp.example.com ESMTP\r\n".to_vec()), Fault::Broken),
        ("the head breaks off", Act::Raw(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()), Fault::Broken),
        ("nothing comes", Act::Silence, Fault::Timeout),
    ] {
        let (outgoing, _go) = outgoing(b"{}");
        server.then(act);
        let failure = post(&client, &server.url(), &outgoing).await.unwrap_err();
        assert_eq!((failure.fault, failure.written), (fault, true), "{why}: {failure:?}");
        assert_eq!(failure.judge().0, Outcome::Ambiguous, "{why}");
        assert!(!outgoing.handover.withdraw(), "{why}");
    }
    let (outgoing, _go) = outgoing(b"{}");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let failure = post(&client, &format!("http://{closed}/"), &outgoing).await.unwrap_err();
    assert_eq!((failure.fault, failure.written), (Fault::Connect, false), "nobody listens: {failure:?}");

    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Which of two equal limits is seen first is chance.
    let patient = Client::new(&loopback(), Limits { whole: Limits::default().whole, ..SHORT }, 1).unwrap();
    let failure = post(&patient, &format!("https://{}/", mute.local_addr().unwrap()), &outgoing).await.unwrap_err();
    assert_eq!((failure.fault, failure.written), (Fault::Connect, false), "no handshake: {failure:?}");
    let dns = Dns::start().await;
    let nameless = Client::with_resolver(&loopback(), SHORT, 1, dns.resolver()).unwrap();
    let failure = post(&nameless, "http://nobody.example.test/", &outgoing).await.unwrap_err();
    assert_eq!((failure.fault, failure.written), (Fault::Resolve, false), "no such name: {failure:?}");
    assert!(outgoing.handover.withdraw(), "what was not written can be taken back");
}

#[tokio::test]
async fn a_status_counts_although_its_body_breaks_off_or_never_ends() {
    let server = Server::start(status(200)).await;
    let client = Client::new(&loopback(), SHORT, 1).unwrap();
    let (outgoing, _go) = outgoing(b"{}");
    server.then(Act::Raw(b"HTTP/1.1 202 X\r\nContent-Length: 100\r\n\r\nabc".to_vec()));
    assert_eq!(post(&client, &server.url(), &outgoing).await.unwrap(), (202, 3));

    // An event stream, say.
    let endless = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", endless.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut stream, _) = endless.accept().await.unwrap();
        assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nhello").await.unwrap();
        std::future::pending::<()>().await;
    });
    let client = Client::new(&loopback(), Limits { body: Duration::from_millis(200), ..Limits::default() }, 1).unwrap();
    let began = Instant::now();
    assert_eq!(post(&client, &url, &outgoing).await.unwrap(), (200, 5));
    assert!(began.elapsed() < Limits::default().whole / 2, "{:?}", began.elapsed());
    serving.abort();
}

/// Until the body is handed out, the permission can be taken back; then it cannot.
#[tokio::test]
async fn a_request_does_not_leave_once_the_permission_is_gone() {
    let server = Server::start(status(200)).await;
    let client = Client::new(&loopback(), SHORT, 1).unwrap();
    for (permission, why) in [(Permission::Stopping, "stopping"), (Permission::Lost, "lost")] {
        let (outgoing, go) = outgoing(b"{}");
        go.send_replace(permission);
        let failure = post(&client, &server.url(), &outgoing).await.unwrap_err();
        assert_eq!((failure.fault, failure.written), (Fault::Withdrawn(permission), false), "{failure:?}");
        assert_eq!(failure.judge(), (Outcome::Hold(why), Standing::Untold));
        assert!(outgoing.handover.withdraw());
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn tls_verifies_the_certificate_and_the_name_and_nothing_else_will_do() {
    let server = Server::start_tls(status(204), &["localhost"]).await;
    let trusting = Settings { ca_file: Some(server.ca_file()), ..loopback() };
    let (outgoing, _go) = outgoing(b"{}");
    let client = Client::new(&trusting, Limits::default(), 1).unwrap();
    assert_eq!(post(&client, &server.url(), &outgoing).await.unwrap().0, 204);
    client.probe(&Url::parse(&server.url()).unwrap()).await.unwrap();
    assert_eq!(server.asked().len(), 1, "a probe asks nothing");

    let by_address = server.url().replace("localhost", "127.0.0.1");
    for (why, settings, url) in
        [("nobody knows the CA", loopback(), server.url()), ("the certificate has another name", trusting, by_address)]
    {
        let client = Client::new(&settings, Limits::default(), 1).unwrap();
        let failure = post(&client, &url, &outgoing).await.unwrap_err();
        assert_eq!((failure.fault, failure.written), (Fault::Tls, false), "{why}: {failure:?}");
        assert!(client.probe(&Url::parse(&url).unwrap()).await.is_err(), "{why}");
    }
    assert_eq!(server.asked().len(), 1);
}

/// The table of `docs/http.md`, whole: what is handed out is ambiguous, whatever was seen afterwards.
#[test]
fn every_failure_has_a_verdict() {
    use Permission::{Lost, Stopping};
    use Trouble::{Lasting, Passing};
    for (fault, outcome, standing) in [
        (Fault::Forbidden, Outcome::Hold("forbidden"), Standing::Fails(Lasting)),
        (Fault::Resolve, Outcome::Hold("resolve"), Standing::Fails(Passing)),
        (Fault::Connect, Outcome::Hold("connect"), Standing::Fails(Passing)),
        (Fault::Tls, Outcome::Hold("tls"), Standing::Fails(Passing)),
        (Fault::Timeout, Outcome::Hold("connect"), Standing::Fails(Passing)),
        (Fault::Broken, Outcome::Hold("connect"), Standing::Fails(Passing)),
        (Fault::Withdrawn(Stopping), Outcome::Hold("stopping"), Standing::Untold),
        (Fault::Withdrawn(Lost), Outcome::Hold("lost"), Standing::Untold),
    ] {
        let failure = |written| Failure { fault, written, detail: String::new() };
        assert_eq!(failure(false).judge(), (outcome, standing), "{fault:?}");
        assert_eq!(failure(true).judge().0, Outcome::Ambiguous, "{fault:?}");
    }
}

/// Several messages at once use several connections, and one after the other the same.
#[tokio::test]
async fn a_connection_is_used_again() {
    let server = Server::start(status(200)).await;
    let client = Arc::new(Client::new(&loopback(), Limits::default(), 2).unwrap());
    let (outgoing, _go) = outgoing(b"{}");
    for _ in 0..5 {
        post(&client, &server.url(), &outgoing).await.unwrap();
    }
    assert_eq!(server.connections(), 1);
}
