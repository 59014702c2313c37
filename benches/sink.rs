//! The relay at the other end: takes mails as fast as it can, keeps a journal, and can be made to refuse or to go away.
//!
//! It costs little, so that what is measured is who sends: one thread per connection, one write per group of replies.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

/// One accepted mail.
#[derive(Clone, Copy)]
pub struct Taken {
    pub at: Instant,
    /// `n` of `user{n}@example.com`; `None` for anybody else.
    pub who: Option<usize>,
}

#[derive(Default)]
struct State {
    journal: Mutex<Vec<Taken>>,
    taken: AtomicUsize,
    bytes: AtomicUsize,
    rcpts: AtomicUsize,
    refusing: AtomicBool,
    away: AtomicBool,
}

pub struct Sink {
    address: SocketAddr,
    /// Never listens: while the sink is away the port refuses everybody and is nobody else's.
    _held: TcpSocket,
    state: Arc<State>,
}

impl Sink {
    pub fn start() -> Self {
        let held = socket(SocketAddr::from(([127, 0, 0, 1], 0)));
        let sink = Self { address: held.local_addr().unwrap(), _held: held, state: Arc::default() };
        sink.listen();
        sink
    }

    fn listen(&self) {
        let (state, socket) = (self.state.clone(), socket(self.address));
        // Only the registration with a runtime needs one.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let listener = runtime.block_on(async { socket.listen(128).unwrap().into_std().unwrap() });
        listener.set_nonblocking(false).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let state = state.clone();
                if state.away.load(Ordering::Relaxed) {
                    return; // the listener goes with this thread
                }
                std::thread::spawn(move || session(stream.unwrap(), &state));
            }
        });
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Hangs up and listens no more.
    pub fn go_away(&self) {
        self.state.away.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address)); // wakes the listener, which ends
    }

    /// Listens again, on the same port.
    pub fn come_back(&self) {
        self.state.away.store(false, Ordering::Relaxed);
        self.listen();
    }

    /// From now on three of ten RCPT are answered with 451, or none.
    pub fn refuse_some(&self, yes: bool) {
        self.state.refusing.store(yes, Ordering::Relaxed);
    }

    /// Mails taken so far.
    pub fn count(&self) -> usize {
        self.state.taken.load(Ordering::Relaxed)
    }

    /// Waits until `count` mails have been taken in all.
    pub fn wait_for(&self, count: usize, limit: Duration) {
        crate::wait_until("mails", limit, || self.count() >= count);
    }

    /// The mails taken since `from` of them, in order.
    pub fn since(&self, from: usize) -> Vec<Taken> {
        self.state.journal.lock().unwrap()[from..].to_vec()
    }

    /// How often each person got a mail.
    pub fn copies(&self, from: usize) -> HashMap<usize, usize> {
        let mut copies = HashMap::new();
        for who in self.since(from).iter().filter_map(|taken| taken.who) {
            *copies.entry(who).or_default() += 1;
        }
        copies
    }

    /// Average size of a mail.
    pub fn average(&self) -> usize {
        self.state.bytes.load(Ordering::Relaxed) / self.count().max(1)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.go_away();
    }
}

/// Bound to `address`, which it shares with sockets of ours alone.
fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

/// One connection. Ends quietly when the other side hangs up.
fn session(stream: TcpStream, state: &State) {
    stream.set_nodelay(true).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    let (mut line, mut replies, mut who) = (Vec::new(), b"220 sink ESMTP\r\n".to_vec(), None);
    loop {
        if reader.buffer().is_empty() {
            if writer.write_all(&replies).is_err() {
                return;
            }
            replies.clear();
        }
        line.clear();
        let read = reader.read_until(b'\n', &mut line);
        if !read.is_ok_and(|read| read > 0) || state.away.load(Ordering::Relaxed) {
            return;
        }
        let reply: &[u8] = match line.get(..4).unwrap_or_default() {
            b"EHLO" => b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
            b"RCPT" => {
                who = number(&line);
                let n = state.rcpts.fetch_add(1, Ordering::Relaxed);
                if state.refusing.load(Ordering::Relaxed) && n % 10 < 3 {
                    who = None;
                    b"451 4.3.0 Try again later\r\n"
                } else {
                    b"250 2.1.5 Ok\r\n"
                }
            }
            b"DATA" if state.refusing.load(Ordering::Relaxed) && who.is_none() => b"503 5.5.1 No recipient\r\n",
            b"DATA" => {
                replies.extend_from_slice(b"354 go on\r\n");
                if writer.write_all(&replies).is_err() {
                    return;
                }
                replies.clear();
                let Some(bytes) = body(&mut reader, &mut line) else { return };
                if state.away.load(Ordering::Relaxed) {
                    return;
                }
                state.bytes.fetch_add(bytes, Ordering::Relaxed);
                state.journal.lock().unwrap().push(Taken { at: Instant::now(), who });
                state.taken.fetch_add(1, Ordering::Relaxed);
                b"250 2.0.0 Ok\r\n"
            }
            b"QUIT" => b"221 2.0.0 Bye\r\n",
            _ => b"250 2.0.0 Ok\r\n",
        };
        replies.extend_from_slice(reply);
    }
}

/// Reads up to the dot; `None`: the connection ended before it.
fn body(reader: &mut impl BufRead, line: &mut Vec<u8>) -> Option<usize> {
    let mut bytes = 0;
    loop {
        line.clear();
        let read = reader.read_until(b'\n', line).ok().filter(|read| *read > 0)?;
        if line == b".\r\n" {
            return Some(bytes);
        }
        bytes += read;
    }
}

/// Of `RCPT TO:<user{n}@example.com>`.
fn number(line: &[u8]) -> Option<usize> {
    std::str::from_utf8(line).ok()?.strip_prefix("RCPT TO:<user")?.split_once('@')?.0.parse().ok()
}
