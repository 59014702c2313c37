//! A relay that does what a test tells it to: answers, refuses, stalls, hangs up, speaks garbage; and writes down every
//! message it took.
//!
//! ```ignore
//! let relay = Relay::start().await;
//! relay.on(Command::Rcpt, Reply("550 5.1.1 no such user"));
//! relay.once(Command::Dot, Close);                       // takes the mail and says nothing (RFC 1047)
//! relay.wait_for(3).await;
//! assert_eq!(relay.accepted()[0].to, ["alice@example.com"]);
//! ```
//!
//! A message counts as taken unless its final dot is answered with 3xx, 4xx or 5xx; it is in the journal (and in the journal
//! file, if there is one) before a byte of the answer is written.

mod certificate;
mod talk;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub use Action::{Bytes, Close, Delay, Drip, Endless, Reply, ReplyThenClose, Reset, Sip, Stall};

/// How long `wait_for` and its like wait before they fail the test.
const PATIENCE: Duration = Duration::from_mins(1);

/// A moment in the dialogue at which a script may step in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Command {
    /// A connection came; the greeting is due.
    Connect,
    Ehlo,
    Helo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// The first bytes of the body came.
    Body,
    /// The final dot came.
    Dot,
    Rset,
    Quit,
}

/// What the relay does in place of the ordinary answer.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// One reply; `\n` separates the lines of a longer one, CRLF is added.
    Reply(&'static str),
    /// A reply, then the connection is closed.
    ReplyThenClose(&'static str),
    /// These bytes as they are. At `StartTls` a text that begins with `220` is followed by the handshake.
    Bytes(&'static [u8]),
    /// These bytes, one at a time, with a pause before each.
    Drip(&'static [u8], Duration),
    /// These bytes over and over until the client hangs up.
    Endless(&'static [u8]),
    /// At `Body`: swallows a little, pauses, and so on for ever.
    Sip(Duration),
    /// FIN without a word.
    Close,
    /// RST without a word.
    Reset,
    /// Silence until [`Relay::release`], then the ordinary answer.
    Stall,
    /// The ordinary answer after a pause.
    Delay(Duration),
}

/// How a connection to the relay is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "STARTTLS is called that")]
pub enum Tls {
    None,
    Implicit,
    StartTls,
}

/// Whose certificate the relay shows. The client is meant to trust [`Relay::ca_file`] and to dial `localhost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    Right,
    WrongHost,
    UnknownCa,
    Expired,
}

/// A message the relay took.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub from: String,
    pub to: Vec<String>,
    /// Without dot-stuffing and without the final dot.
    pub bytes: Vec<u8>,
    /// As it came after 354, the final dot included.
    pub wire: Vec<u8>,
    /// The header's value without `<>`; empty when there is none.
    pub message_id: String,
    pub at: Instant,
    /// Number of the connection, from 1.
    pub connection: usize,
    /// Whether it came over TLS.
    pub tls: bool,
    /// Who had logged in.
    pub user: Option<String>,
}

/// How to start a relay; every field has a calm default.
pub struct Options {
    pub tls: Tls,
    pub certificate: Certificate,
    /// Whether it takes only clients that show the certificate of [`Relay::identity`].
    pub wants_client: bool,
    /// What EHLO announces beside STARTTLS and AUTH, which follow from `tls` and `account`.
    pub capabilities: Vec<&'static str>,
    /// User and password; with an account, MAIL before AUTH is refused with 530.
    pub account: Option<(&'static str, &'static str)>,
    /// What `AUTH` is announced with.
    pub mechanisms: &'static str,
    /// One JSON line per message taken: `message_id`, `from`, `to`, `digest` (blake3 of the bytes, hex).
    pub journal_file: Option<PathBuf>,
    /// Receive buffer in bytes, to make a body that cannot be swallowed at once.
    pub receive_buffer: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls: Tls::None,
            certificate: Certificate::Right,
            wants_client: false,
            capabilities: vec!["PIPELINING", "SIZE 10485760", "8BITMIME", "ENHANCEDSTATUSCODES"],
            account: None,
            mechanisms: "PLAIN LOGIN",
            journal_file: None,
            receive_buffer: None,
        }
    }
}

/// The relay. Dropping it closes the port and every connection.
pub struct Relay {
    shared: Arc<Shared>,
    address: SocketAddr,
    listener: JoinHandle<()>,
    directory: tempfile::TempDir,
}

impl Relay {
    /// A relay without TLS on a free loopback port.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// A relay as `options` say.
    #[expect(clippy::unused_async, reason = "it spawns, so it must be called within a runtime: the type says it")]
    pub async fn start_with(options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let acceptor = (options.tls != Tls::None).then(|| {
            certificate::acceptor(options.certificate, options.wants_client, &directory.path().join("ca.pem"))
        });
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = options.receive_buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(128).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            options,
            acceptor,
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            released: watch::Sender::new(0),
        });
        Self { listener: tokio::spawn(serve(listener, shared.clone())), shared, address, directory }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As `[channel.*] relay` has it. TLS names `localhost`, for that is the name on the certificate.
    pub fn url(&self) -> String {
        let port = self.address.port();
        match self.shared.options.tls {
            Tls::None => format!("smtp+plain://127.0.0.1:{port}"),
            Tls::Implicit => format!("smtps://localhost:{port}"),
            Tls::StartTls => format!("smtp://localhost:{port}"),
        }
    }

    /// The CA to trust (PEM); there is none without TLS.
    pub fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Certificate and key for a client to show.
    pub fn identity(&self) -> (PathBuf, PathBuf) {
        (self.directory.path().join("client.pem"), self.directory.path().join("client.key"))
    }

    /// From now on, `action` at every `command`.
    pub fn on(&self, command: Command, action: Action) {
        self.shared.state.lock().unwrap().always.insert(command, action);
    }

    /// `action` at the next `command` that has no older `once`.
    pub fn once(&self, command: Command, action: Action) {
        self.shared.state.lock().unwrap().once.entry(command).or_default().push_back(action);
    }

    /// From now on, `action` at `command` (`Rcpt`, `Data`, `Body`, `Dot`) of every transaction for `recipient`.
    pub fn on_recipient(&self, recipient: &str, command: Command, action: Action) {
        self.shared.state.lock().unwrap().recipients.insert((recipient.to_owned(), command), action);
    }

    /// Back to ordinary answers at `command`.
    pub fn calm(&self, command: Command) {
        let mut state = self.shared.state.lock().unwrap();
        state.always.remove(&command);
        state.once.remove(&command);
        state.recipients.retain(|(_, at), _| *at != command);
    }

    /// Everything that stalls now goes on with the ordinary answer.
    pub fn release(&self) {
        self.shared.released.send_modify(|count| *count += 1);
    }

    /// The messages taken so far, in order.
    pub fn accepted(&self) -> Vec<Accepted> {
        self.shared.state.lock().unwrap().accepted.clone()
    }

    /// The distinct Message-IDs taken so far.
    pub fn message_ids(&self) -> BTreeSet<String> {
        self.accepted().into_iter().map(|mail| mail.message_id).collect()
    }

    /// What clients said, line by line over all connections: `1: EHLO host`. Bodies and login responses are left out.
    pub fn heard(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().heard.clone()
    }

    /// How many of the lines in [`Relay::heard`] begin with `verb`.
    pub fn count(&self, verb: &str) -> usize {
        self.heard().iter().filter(|line| line.split_once(": ").is_some_and(|(_, said)| said.starts_with(verb))).count()
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.shared.state.lock().unwrap().open
    }

    /// The most connections that were open at one time.
    pub fn most_open(&self) -> usize {
        self.shared.state.lock().unwrap().most_open
    }

    /// Waits until `n` messages were taken, and gives them.
    pub async fn wait_for(&self, n: usize) -> Vec<Accepted> {
        self.wait_until(&format!("{n} messages"), |relay| relay.accepted().len() >= n).await;
        self.accepted()
    }

    /// Waits until `n` connections stand still, or drip, at `command`.
    pub async fn wait_stalled(&self, command: Command, n: usize) {
        self.wait_until(&format!("{n} stalled at {command:?}"), |relay| {
            relay.shared.state.lock().unwrap().stalled.get(&command).is_some_and(|count| *count >= n)
        })
        .await;
    }

    /// Waits until no connection is open.
    pub async fn wait_closed(&self) {
        self.wait_until("every connection closed", |relay| relay.open() == 0).await;
    }

    async fn wait_until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        let mut changes = self.shared.changed.subscribe();
        let waiting = changes.wait_for(|_| reached(self));
        let in_time = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(in_time, "waited {PATIENCE:?} for {what}; heard:\n{}", self.heard().join("\n"));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listener.abort();
        self.shared.changed.send_modify(|_| ());
    }
}

struct Shared {
    options: Options,
    acceptor: Option<TlsAcceptor>,
    state: Mutex<State>,
    /// Counts up whenever something was written down.
    changed: watch::Sender<u64>,
    /// Counts up at each release.
    released: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    always: HashMap<Command, Action>,
    once: HashMap<Command, VecDeque<Action>>,
    recipients: HashMap<(String, Command), Action>,
    stalled: HashMap<Command, usize>,
    accepted: Vec<Accepted>,
    heard: Vec<String>,
    connections: usize,
    open: usize,
    most_open: usize,
}

impl Shared {
    fn note<T>(&self, write: impl FnOnce(&mut State) -> T) -> T {
        let value = write(&mut self.state.lock().unwrap());
        self.changed.send_modify(|count| *count += 1);
        value
    }

    fn action(&self, command: Command, recipients: &[String]) -> Option<Action> {
        let mut state = self.state.lock().unwrap();
        let own = recipients.iter().find_map(|to| state.recipients.get(&(to.clone(), command)).copied());
        let once = || state.once.get_mut(&command).and_then(VecDeque::pop_front);
        own.or_else(once).or_else(|| state.always.get(&command).copied())
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Connections end with the listener: aborting this task drops the set.
    let mut talks = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = shared.note(|state| {
            state.connections += 1;
            state.open += 1;
            state.most_open = state.most_open.max(state.open);
            state.connections
        });
        let shared = shared.clone();
        talks.spawn(async move {
            // A client that breaks off is what many tests are about; the journal says how far it came.
            let _ = talk::Talk::new(shared.clone(), number, stream).run().await;
            shared.note(|state| state.open -= 1);
        });
        while talks.try_join_next().is_some() {}
    }
}
