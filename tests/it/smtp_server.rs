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
//! A message counts as taken unless its final dot is answered with 4xx or 5xx; it is in the journal (and in the journal
//! file, if there is one) before a byte of the answer is written.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use Action::{Bytes, Close, Delay, Drip, Endless, Reply, ReplyThenClose, Reset, Stall};

/// How long `wait_for` and its like wait before they fail the test.
const PATIENCE: Duration = Duration::from_secs(30);

/// A moment in the dialogue at which a script may step in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Command {
    /// A connection came; the greeting is due.
    Connect,
    Ehlo,
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
        let acceptor =
            (options.tls != Tls::None).then(|| acceptor(options.certificate, &directory.path().join("ca.pem")));
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

    /// Waits until `n` connections stand still at `command`.
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
            let _ = Talk::new(shared.clone(), number, stream).run().await;
            shared.note(|state| state.open -= 1);
        });
        while talks.try_join_next().is_some() {}
    }
}

/// One connection. Every step is `Err` when the connection is over, by the client's doing or the script's.
struct Talk {
    shared: Arc<Shared>,
    number: usize,
    wire: Wire,
    unread: Vec<u8>,
    user: Option<String>,
    from: Option<String>,
    to: Vec<String>,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Between the two, while hands are shaken.
    Gone,
}

impl Talk {
    fn new(shared: Arc<Shared>, number: usize, stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        let wire = Wire::Plain(stream);
        Self { shared, number, wire, unread: Vec::new(), user: None, from: None, to: Vec::new() }
    }

    async fn run(mut self) -> io::Result<()> {
        if self.shared.options.tls == Tls::Implicit {
            self.handshake().await?;
        }
        self.answer(Command::Connect, "220 relay.test ESMTP").await?;
        while let Some(line) = self.line().await? {
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let shown =
                if verb == "AUTH" { line.split(' ').take(2).collect::<Vec<_>>().join(" ") } else { line.clone() };
            let number = self.number;
            self.shared.note(|state| state.heard.push(format!("{number}: {shown}")));
            match verb.as_str() {
                "EHLO" => self.ehlo().await?,
                "STARTTLS" => self.start_tls().await?,
                "AUTH" => self.auth(&line).await?,
                "MAIL" => self.mail(&line).await?,
                "RCPT" => self.rcpt(&line).await?,
                "DATA" => self.data().await?,
                "RSET" => {
                    self.forget();
                    self.answer(Command::Rset, "250 2.0.0 Ok").await?;
                }
                "QUIT" => {
                    self.answer(Command::Quit, "221 2.0.0 Bye").await?;
                    return Ok(());
                }
                _ => self.say(b"500 5.5.1 what?\r\n").await?,
            }
        }
        Ok(())
    }

    async fn ehlo(&mut self) -> io::Result<()> {
        let secure = matches!(self.wire, Wire::Tls(_));
        let options = &self.shared.options;
        let mut lines = vec!["relay.test".to_owned()];
        lines.extend(options.capabilities.iter().map(|&line| line.to_owned()));
        if options.tls == Tls::StartTls && !secure {
            lines.push("STARTTLS".to_owned());
        }
        if options.account.is_some() && secure {
            lines.push(format!("AUTH {}", options.mechanisms));
        }
        let last = lines.len() - 1;
        let text: Vec<_> = lines
            .iter()
            .enumerate()
            .map(|(n, line)| format!("250{}{line}", if n == last { ' ' } else { '-' }))
            .collect();
        self.answer(Command::Ehlo, &text.join("\n")).await.map(drop)
    }

    async fn start_tls(&mut self) -> io::Result<()> {
        if self.answer(Command::StartTls, "220 2.0.0 go ahead").await? == b'2' {
            self.handshake().await?;
        }
        Ok(())
    }

    async fn handshake(&mut self) -> io::Result<()> {
        let acceptor = self.shared.acceptor.clone().unwrap();
        let Wire::Plain(stream) = std::mem::replace(&mut self.wire, Wire::Gone) else { return Err(over()) };
        self.wire = Wire::Tls(Box::new(acceptor.accept(stream).await?));
        Ok(())
    }

    async fn auth(&mut self, line: &str) -> io::Result<()> {
        let mut words = line.split(' ').skip(1);
        let (mechanism, initial) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (user, password) = if mechanism.eq_ignore_ascii_case("LOGIN") {
            self.say(b"334 VXNlcm5hbWU6\r\n").await?;
            let user = decoded(&self.line().await?.unwrap_or_default());
            self.say(b"334 UGFzc3dvcmQ6\r\n").await?;
            (user, decoded(&self.line().await?.unwrap_or_default()))
        } else {
            let said = decoded(initial);
            let mut parts = said.splitn(3, '\0').skip(1).map(str::to_owned);
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
        };
        let right = self.shared.options.account == Some((user.as_str(), password.as_str()));
        let usual = if right { "235 2.7.0 welcome" } else { "535 5.7.8 wrong user or password" };
        if self.answer(Command::Auth, usual).await? == b'2' {
            self.user = Some(user);
        }
        Ok(())
    }

    async fn mail(&mut self, line: &str) -> io::Result<()> {
        let refused = self.shared.options.account.is_some() && self.user.is_none();
        let usual = if refused { "530 5.7.0 log in first" } else { "250 2.1.0 Ok" };
        self.forget();
        if self.answer(Command::Mail, usual).await? == b'2' {
            self.from = Some(path(line));
        }
        Ok(())
    }

    async fn rcpt(&mut self, line: &str) -> io::Result<()> {
        let recipient = path(line);
        let usual = if self.from.is_some() { "250 2.1.5 Ok" } else { "503 5.5.1 MAIL first" };
        if self.answer_for(Command::Rcpt, std::slice::from_ref(&recipient), usual).await? == b'2' {
            self.to.push(recipient);
        }
        Ok(())
    }

    async fn data(&mut self) -> io::Result<()> {
        let usual = if self.to.is_empty() { "503 5.5.1 no valid recipients" } else { "354 go ahead" };
        let to = self.to.clone();
        if self.answer_for(Command::Data, &to, usual).await? != b'3' {
            return Ok(());
        }
        while self.unread.is_empty() {
            self.fill().await?;
        }
        self.answer_for(Command::Body, &to, "").await?;
        let bytes = self.body().await?;
        let usual = "250 2.0.0 Ok: queued as ";
        let action = self.shared.action(Command::Dot, &to);
        let refused = matches!(action, Some(Reply(text) | ReplyThenClose(text)) if text.starts_with(['4', '5']));
        let number = if refused { 0 } else { self.journal(bytes) };
        self.forget();
        self.perform(Command::Dot, action, &format!("{usual}Q{number}")).await.map(drop)
    }

    fn forget(&mut self) {
        self.from = None;
        self.to.clear();
    }

    /// Writes the message down, in the file first, and gives its number from 1.
    fn journal(&mut self, bytes: Vec<u8>) -> usize {
        let mail = Accepted {
            from: self.from.clone().unwrap_or_default(),
            to: self.to.clone(),
            message_id: message_id(&bytes),
            bytes,
            at: Instant::now(),
            connection: self.number,
            tls: matches!(self.wire, Wire::Tls(_)),
            user: self.user.clone(),
        };
        if let Some(path) = &self.shared.options.journal_file {
            let digest = blake3::hash(&mail.bytes).to_hex().to_string();
            let line = serde_json::json!({
                "message_id": mail.message_id, "from": mail.from, "to": mail.to, "digest": digest,
            });
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
            file.write_all(format!("{line}\n").as_bytes()).unwrap();
        }
        self.shared.note(|state| {
            state.accepted.push(mail);
            state.accepted.len()
        })
    }

    async fn answer(&mut self, command: Command, usual: &str) -> io::Result<u8> {
        self.answer_for(command, &[], usual).await
    }

    async fn answer_for(&mut self, command: Command, recipients: &[String], usual: &str) -> io::Result<u8> {
        let action = self.shared.action(command, recipients);
        self.perform(command, action, usual).await
    }

    /// Does what the script says, else the usual, and gives the first byte of what was said.
    async fn perform(&mut self, command: Command, action: Option<Action>, usual: &str) -> io::Result<u8> {
        let first = |said: &[u8]| said.first().copied().unwrap_or(b'0');
        match action {
            None => self.reply(usual).await,
            Some(Reply(text)) => self.reply(text).await,
            Some(ReplyThenClose(text)) => {
                self.reply(text).await?;
                Err(over())
            }
            Some(Bytes(bytes)) => {
                self.say(bytes).await?;
                Ok(first(bytes))
            }
            Some(Drip(bytes, pause)) => {
                for byte in bytes {
                    tokio::time::sleep(pause).await;
                    self.say(&[*byte]).await?;
                }
                Ok(first(bytes))
            }
            Some(Endless(bytes)) => loop {
                self.say(bytes).await?;
            },
            Some(Close) => Err(over()),
            Some(Reset) => {
                self.tcp()?.set_zero_linger()?;
                Err(over())
            }
            Some(Stall) => {
                let mut released = self.shared.released.subscribe();
                self.shared.note(|state| *state.stalled.entry(command).or_default() += 1);
                let outcome = if command == Command::Body {
                    // Reading on would take the whole body off the client's hands.
                    released.changed().await.map_err(|_| over())
                } else {
                    self.hang_or(released.changed()).await
                };
                self.shared.note(|state| *state.stalled.entry(command).or_default() -= 1);
                outcome?;
                self.reply(usual).await
            }
            Some(Delay(pause)) => {
                tokio::time::sleep(pause).await;
                self.reply(usual).await
            }
        }
    }

    /// Waits for `release`, or ends with the connection when the client leaves.
    async fn hang_or<T>(&mut self, release: impl Future<Output = T>) -> io::Result<()> {
        tokio::pin!(release);
        loop {
            tokio::select! {
                _ = &mut release => return Ok(()),
                read = self.fill() => read?,
            }
        }
    }

    async fn reply(&mut self, text: &str) -> io::Result<u8> {
        if text.is_empty() {
            return Ok(b'0');
        }
        self.say((text.replace('\n', "\r\n") + "\r\n").as_bytes()).await?;
        Ok(text.as_bytes()[0])
    }

    async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.wire {
            Wire::Plain(stream) => stream.write_all(bytes).await,
            Wire::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Wire::Gone => Err(over()),
        }
    }

    fn tcp(&self) -> io::Result<&TcpStream> {
        match &self.wire {
            Wire::Plain(stream) => Ok(stream),
            Wire::Tls(stream) => Ok(stream.get_ref().0),
            Wire::Gone => Err(over()),
        }
    }

    /// Reads more; the end of the stream is an error.
    async fn fill(&mut self) -> io::Result<()> {
        self.unread.reserve(16 * 1024);
        let n = match &mut self.wire {
            Wire::Plain(stream) => stream.read_buf(&mut self.unread).await?,
            Wire::Tls(stream) => stream.read_buf(&mut self.unread).await?,
            Wire::Gone => 0,
        };
        if n == 0 { Err(over()) } else { Ok(()) }
    }

    /// The next line without its end; `None` when the client has gone.
    async fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            if self.fill().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// The body up to the final dot, with the stuffing taken out. Only CRLF ends a line here.
    async fn body(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        let mut scanned = 0;
        loop {
            while let Some(end) = self.unread[scanned..].windows(2).position(|pair| pair == b"\r\n") {
                let line = &self.unread[scanned..scanned + end + 2];
                scanned += line.len();
                if line == b".\r\n" {
                    self.unread.drain(..scanned);
                    return Ok(body);
                }
                body.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            }
            self.unread.drain(..scanned);
            scanned = 0;
            self.fill().await?;
        }
    }
}

fn over() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionAborted)
}

fn decoded(base64: &str) -> String {
    String::from_utf8_lossy(&BASE64.decode(base64).unwrap_or_default()).into_owned()
}

/// What stands between `<` and `>`.
fn path(line: &str) -> String {
    line.split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map_or_else(String::new, |(path, _)| path.to_owned())
}

fn message_id(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let headers = text.split("\r\n\r\n").next().unwrap_or_default();
    let value = headers.lines().find(|line| line.to_ascii_lowercase().starts_with("message-id:"));
    value
        .and_then(|line| line.split_once(':'))
        .map_or_else(String::new, |(_, id)| id.trim().trim_matches(['<', '>']).to_owned())
}

/// Makes a CA, writes it to `ca_file`, and shows the certificate asked for.
fn acceptor(certificate: Certificate, ca_file: &Path) -> TlsAcceptor {
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        (Issuer::new(params, key), pem)
    };
    let (trusted, pem) = authority("the CA of these tests");
    std::fs::write(ca_file, pem).unwrap();
    let (stranger, _) = authority("a stranger");

    let names = match certificate {
        Certificate::WrongHost => vec!["elsewhere.test".to_owned()],
        _ => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
    };
    let mut params = CertificateParams::new(names).unwrap();
    if certificate == Certificate::Expired {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    }
    let key = KeyPair::generate().unwrap();
    let issuer = if certificate == Certificate::UnknownCa { &stranger } else { &trusted };
    let chain = vec![params.signed_by(&key, issuer).unwrap().der().clone()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
