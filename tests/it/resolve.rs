//! The resolver against a DNS server that does what a test tells it to.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use auditbell::channels::resolve::{Resolver, Unresolved};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// The bound that the product uses.
const LIMIT: Duration = Duration::from_secs(5);

/// What the server does with a question.
#[derive(Clone, Debug)]
pub enum Answer {
    /// These addresses, for so many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// These, after a pause.
    Slow(Duration, Vec<IpAddr>),
    /// A reply code (RFC 1035 4.1.1) with an SOA that allows an hour of negative caching.
    Code(u8),
    /// Nothing.
    Drop,
    /// IPv4 as given, no answer to AAAA.
    OnlyV4Answers(IpAddr),
}

/// A DNS server over UDP on a free loopback port.
pub struct Dns {
    pub address: SocketAddr,
    zone: Arc<Mutex<HashMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Dns {
    pub async fn start() -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = socket.local_addr().unwrap();
        let (zone, asked) = (Arc::<Mutex<HashMap<String, Answer>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let task = tokio::spawn(serve(socket, zone.clone(), asked.clone()));
        Self { address, zone, asked, task }
    }

    /// From now on `name` is answered so. A name that nobody set does not exist.
    pub fn set(&self, name: &str, answer: Answer) {
        self.zone.lock().unwrap().insert(name.to_owned(), answer);
    }

    /// The questions so far: `name A`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub fn resolver(&self) -> Resolver {
        Resolver::with_servers(&[self.address], &[]).unwrap()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: Arc<UdpSocket>, zone: Arc<Mutex<HashMap<String, Answer>>>, asked: Arc<Mutex<Vec<String>>>) {
    let mut answers = tokio::task::JoinSet::new();
    let mut buffer = [0; 1_500];
    while let Ok((size, peer)) = socket.recv_from(&mut buffer).await {
        let query = buffer[..size].to_vec();
        let (name, v6, question) = question(&query);
        asked.lock().unwrap().push(format!("{name} {}", if v6 { "AAAA" } else { "A" }));
        let answer = zone.lock().unwrap().get(&name).cloned().unwrap_or(Answer::Code(3));
        let (pause, reply) = match answer {
            Answer::Drop => continue,
            Answer::OnlyV4Answers(_) if v6 => continue,
            Answer::OnlyV4Answers(address) => (Duration::ZERO, reply(&query, &question, 0, &[address], v6, 60)),
            Answer::Code(code) => (Duration::ZERO, reply(&query, &question, code, &[], v6, 0)),
            Answer::Addresses(addresses, ttl) => (Duration::ZERO, reply(&query, &question, 0, &addresses, v6, ttl)),
            Answer::Slow(pause, addresses) => (pause, reply(&query, &question, 0, &addresses, v6, 60)),
        };
        let socket = socket.clone();
        answers.spawn(async move {
            tokio::time::sleep(pause).await;
            socket.send_to(&reply, peer).await.unwrap();
        });
        while answers.try_join_next().is_some() {}
    }
}

/// The name asked for in lower case, whether for AAAA, and the question's bytes.
fn question(query: &[u8]) -> (String, bool, Vec<u8>) {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    (labels.join("."), query[at + 2] == 28, query[12..at + 5].to_vec())
}

fn reply(query: &[u8], question: &[u8], code: u8, addresses: &[IpAddr], v6: bool, ttl: u32) -> Vec<u8> {
    let fitting: Vec<_> = addresses.iter().filter(|address| address.is_ipv6() == v6).collect();
    let count = u8::try_from(fitting.len()).unwrap();
    let nothing = u8::from(fitting.is_empty());
    let mut reply = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, nothing, 0, 0];
    reply.extend_from_slice(question);
    for address in fitting {
        let (kind, bytes) = match address {
            IpAddr::V4(ip) => (1, ip.octets().to_vec()),
            IpAddr::V6(ip) => (28, ip.octets().to_vec()),
        };
        reply.extend_from_slice(&[0xc0, 12, 0, kind, 0, 1]);
        reply.extend_from_slice(&ttl.to_be_bytes());
        reply.extend_from_slice(&[0, u8::try_from(bytes.len()).unwrap()]);
        reply.extend_from_slice(&bytes);
    }
    if nothing == 1 {
        // SOA of the root: MNAME and RNAME are the root, then serial, refresh, retry, expire and a minimum of an hour.
        reply.extend_from_slice(&[0, 0, 6, 0, 1, 0, 0, 14, 16, 0, 22, 0, 0]);
        reply.extend([1_u32, 3_600, 600, 86_400, 3_600].iter().flat_map(|number| number.to_be_bytes()));
    }
    reply
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// T38.
#[tokio::test]
async fn a_server_that_takes_four_seconds_is_waited_for_and_one_that_never_answers_five() {
    let dns = Dns::start().await;
    dns.set("slow.example.com", Answer::Slow(Duration::from_secs(4), vec![ip("192.0.2.1")]));
    dns.set("dropped.example.com", Answer::Drop);
    let resolver = dns.resolver();
    let began = Instant::now();
    let (slow, dropped) =
        tokio::join!(resolver.addresses("slow.example.com", LIMIT), resolver.addresses("dropped.example.com", LIMIT));
    let took = began.elapsed();
    assert_eq!(slow, Ok(vec![ip("192.0.2.1")]));
    assert_eq!(dropped, Err(Unresolved::Timeout));
    assert!(took >= Duration::from_millis(4_900) && took < Duration::from_secs(6), "{took:?}");
}

/// T38.
#[tokio::test]
async fn no_such_name_no_address_and_a_failing_server_are_told_apart() {
    let dns = Dns::start().await;
    dns.set("servfail.example.com", Answer::Code(2));
    dns.set("refused.example.com", Answer::Code(5));
    dns.set("empty.example.com", Answer::Code(0));
    let resolver = dns.resolver();
    for (name, expected) in [
        ("nowhere.example.com", Unresolved::NoSuchName),
        ("servfail.example.com", Unresolved::ServerFailed),
        ("refused.example.com", Unresolved::ServerFailed),
        ("empty.example.com", Unresolved::NoAddress),
        ("", Unresolved::NoSuchName),
    ] {
        assert_eq!(resolver.addresses(name, LIMIT).await, Err(expected), "{name}");
    }
}

/// T38.
#[tokio::test]
async fn a_failure_is_not_remembered_and_an_answer_for_its_ttl() {
    let dns = Dns::start().await;
    let resolver = dns.resolver();
    dns.set("relay.example.com", Answer::Code(2));
    assert_eq!(resolver.addresses("relay.example.com", LIMIT).await, Err(Unresolved::ServerFailed));
    dns.set("relay.example.com", Answer::Addresses(vec![ip("192.0.2.1")], 1));
    assert_eq!(resolver.addresses("relay.example.com", LIMIT).await, Ok(vec![ip("192.0.2.1")]), "asked again at once");
    dns.set("relay.example.com", Answer::Addresses(vec![ip("192.0.2.2")], 600));
    let asked = dns.asked().len();
    assert_eq!(resolver.addresses("relay.example.com", LIMIT).await, Ok(vec![ip("192.0.2.1")]));
    assert!(dns.asked()[asked..].iter().all(|question| question.ends_with("AAAA")), "the answer is kept for its TTL");
    let moved = async {
        while resolver.addresses("relay.example.com", LIMIT).await != Ok(vec![ip("192.0.2.2")]) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, moved).await.expect("and no longer");
}

#[tokio::test]
async fn both_families_are_given_in_turn_and_one_that_is_not_answered_delays_little() {
    let dns = Dns::start().await;
    let both = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(ip).to_vec();
    dns.set("both.example.com", Answer::Addresses(both, 60));
    dns.set("half.example.com", Answer::OnlyV4Answers(ip("192.0.2.9")));
    let resolver = dns.resolver();
    let found = resolver.addresses("both.example.com", LIMIT).await.unwrap();
    assert_eq!(found.len(), 3);
    assert_eq!((found[0], found[1].is_ipv4(), found[2].is_ipv4()), (ip("2001:db8::1"), true, true));
    let began = Instant::now();
    assert_eq!(resolver.addresses("half.example.com", LIMIT).await, Ok(vec![ip("192.0.2.9")]));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(resolver.addresses("2001:db8::7", LIMIT).await, Ok(vec![ip("2001:db8::7")]), "an address is itself");
}

#[tokio::test]
async fn search_domains_are_walked_but_not_past_a_server_that_failed() {
    let dns = Dns::start().await;
    dns.set("relay.corp.example", Answer::Addresses(vec![ip("192.0.2.1")], 60));
    dns.set("mail.first.example", Answer::Code(2));
    dns.set("mail.corp.example", Answer::Addresses(vec![ip("192.0.2.66")], 60));
    let resolver = Resolver::with_servers(&[dns.address], &["first.example", "corp.example"]).unwrap();
    assert_eq!(resolver.addresses("relay", LIMIT).await, Ok(vec![ip("192.0.2.1")]));
    assert_eq!(resolver.addresses("mail", LIMIT).await, Err(Unresolved::ServerFailed), "it may be the right one");
    assert_eq!(resolver.addresses("nobody", LIMIT).await, Err(Unresolved::NoSuchName));
    assert_eq!(resolver.addresses("relay.", LIMIT).await, Err(Unresolved::NoSuchName), "a full name is only itself");
}

#[tokio::test]
async fn the_systems_own_files_are_read() {
    let addresses = Resolver::system().addresses("localhost", LIMIT).await.unwrap();
    assert!(addresses.iter().all(IpAddr::is_loopback) && !addresses.is_empty(), "{addresses:?}");
}
