//! Owns the bytes between us and the relay: connecting, TLS, writing, and reading one reply, each under a deadline.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::reply::{self, Reply};
use super::tls::Tls;
use super::verdict::{End, Event, Phase};
use super::{Relay, Security, Timeouts};
use crate::channels::resolve::{Resolver, Unresolved};

/// Most addresses of one relay that are tried for one connection, so that connecting ends.
const MAX_ADDRESSES: usize = 4;
/// Most bytes that one deadline covers while a body is written (RFC 5321 4.5.3.2.5: the limit is per block).
const BLOCK: usize = 64 * 1024;

/// An open connection. Dropping it closes the socket.
pub(super) struct Wire {
    stream: Stream,
    /// What came and is no part of a reply yet.
    unread: BytesMut,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// A TCP connection to `relay`: its addresses one after the other, each with its own deadline.
    pub(super) async fn connect(relay: &Relay, resolver: &Resolver, timeouts: &Timeouts) -> Result<Self, End> {
        let connect = |event| End { phase: Phase::Connect, event };
        let looked_up = resolver.addresses(&relay.host, timeouts.resolve).await;
        let addresses = looked_up.map_err(|why| End { phase: Phase::Resolve, event: unresolved(why) })?;
        if relay.security == Security::Plain && !addresses.iter().all(IpAddr::is_loopback) {
            return Err(connect(Event::Unfit("smtp+plain:// goes to this machine only; use smtps:// or smtp://")));
        }
        let mut last = connect(Event::Timeout);
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            let there = SocketAddr::new(address, relay.port);
            match within(timeouts.connect, TcpStream::connect(there)).await.and_then(without_delay) {
                Ok(stream) => return Ok(Self { stream: Stream::Plain(stream), unread: BytesMut::new() }),
                Err(event) => last = connect(event),
            }
        }
        Err(last)
    }

    /// The same connection with TLS on it. Bytes that were read before belong to nobody and must not exist.
    pub(super) async fn secure(self, tls: &Tls, limit: Duration) -> Result<Self, Event> {
        if self.has_surplus() {
            return Err(Event::Surplus);
        }
        let Stream::Plain(stream) = self.stream else { return Err(Event::Unfit("TLS within TLS")) };
        let connector = tls.connector(limit).await?;
        let stream = within(limit, connector.connect(tls.name(), stream)).await?;
        Ok(Self { stream: Stream::Tls(Box::new(stream)), unread: BytesMut::new() })
    }

    /// Writes all of `bytes`; `Ok` means that the operating system has every one. `limit` is for each 64 KiB.
    pub(super) async fn write(&mut self, bytes: &[u8], limit: Duration) -> Result<(), Event> {
        for block in bytes.chunks(BLOCK) {
            let written = match &mut self.stream {
                Stream::Plain(stream) => within(limit, stream.write_all(block)).await,
                Stream::Tls(stream) => within(limit, stream.write_all(block)).await,
            };
            written?;
        }
        match &mut self.stream {
            Stream::Plain(_) => Ok(()),
            // rustls may still hold encrypted bytes.
            Stream::Tls(stream) => within(limit, stream.flush()).await,
        }
    }

    /// The next reply, whole within `limit`.
    pub(super) async fn reply(&mut self, limit: Duration) -> Result<Reply, Event> {
        timeout(limit, self.read_reply()).await.unwrap_or(Err(Event::Timeout))
    }

    async fn read_reply(&mut self) -> Result<Reply, Event> {
        loop {
            if let Some((reply, taken)) = reply::parse(&self.unread).map_err(Event::Unparsable)? {
                self.unread.advance(taken);
                return Ok(reply);
            }
            // The parser refuses before the buffer exceeds MAX_REPLY by more than one read.
            let read = match &mut self.stream {
                Stream::Plain(stream) => stream.read_buf(&mut self.unread).await,
                Stream::Tls(stream) => stream.read_buf(&mut self.unread).await,
            };
            match read {
                Ok(0) => return Err(Event::Closed),
                Ok(_) => {}
                // A relay that hangs up without TLS's goodbye has hung up.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Event::Closed),
                Err(error) => return Err(Event::Io(error.to_string())),
            }
        }
    }

    /// Whether bytes lie here that nobody has asked for.
    pub(super) fn has_surplus(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Whether the relay has been silent: neither bytes (a 421, say) nor the end of the connection wait to be read.
    pub(super) async fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let silent = poll_fn(|cx| {
            let polled = match &mut self.stream {
                Stream::Plain(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
                Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, &mut buffer),
            };
            Poll::Ready(polled.is_pending())
        });
        silent.await && !self.has_surplus()
    }

    /// Our own end of the connection.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        match &self.stream {
            Stream::Plain(stream) => stream.local_addr().ok(),
            Stream::Tls(stream) => stream.get_ref().0.local_addr().ok(),
        }
    }
}

/// A name that does not exist is the operator's to mend; anything else may pass.
fn unresolved(why: Unresolved) -> Event {
    match why {
        lasting if lasting.is_lasting() => Event::Unfit(lasting.text()),
        Unresolved::Timeout => Event::Timeout,
        passing => Event::Io(passing.to_string()),
    }
}

/// Body and dot go out in one write and the answer is waited for: Nagle's algorithm could only add 40 ms.
fn without_delay(stream: TcpStream) -> Result<TcpStream, Event> {
    stream.set_nodelay(true).map_err(|error| Event::Io(error.to_string()))?;
    Ok(stream)
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> Result<T, Event> {
    match timeout(limit, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Err(Event::Timeout),
        Ok(Err(error)) => Err(Event::Io(error.to_string())),
        Err(_) => Err(Event::Timeout),
    }
}
