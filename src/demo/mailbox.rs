//! Owns the demo's mail server: takes every mail on a loopback port and keeps it in memory. It knows just enough SMTP
//! (RFC 5321) to be a relay for the daemon beside it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Longest line and largest mail we take; our own mails are far smaller.
const MAX_MAIL: usize = 1 << 20;
/// A session that says nothing for so long is closed.
const IDLE: Duration = Duration::from_mins(2);

/// A mail that was taken.
#[derive(Clone, Debug)]
pub(super) struct Received {
    /// RFC 5321 RCPT TO.
    pub to: String,
    /// The message, dots unstuffed.
    pub bytes: Vec<u8>,
}

/// Starts the server; every mail goes into `taken`.
pub(super) async fn start(taken: mpsc::Sender<Received>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on 127.0.0.1")?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let taken = taken.clone();
            tokio::spawn(async move {
                if let Err(error) = session(stream, taken).await {
                    tracing::debug!(%error, "demo mail session ended");
                }
            });
        }
    });
    Ok(address)
}

async fn session(stream: TcpStream, taken: mpsc::Sender<Received>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    let mut to = String::new();
    write.write_all(b"220 demo.auditbell ESMTP\r\n").await?;
    loop {
        let Some(line) = line(&mut lines).await? else { return Ok(()) };
        let command = line.to_ascii_uppercase();
        let reply: &[u8] = if command.starts_with("EHLO") {
            b"250-demo.auditbell\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n"
        } else if command.starts_with("RCPT TO:") {
            to = line[8..].trim().trim_matches(['<', '>']).split('>').next().unwrap_or_default().to_owned();
            b"250 2.1.5 Ok\r\n"
        } else if command == "DATA" {
            write.write_all(b"354 End data with <CR><LF>.<CR><LF>\r\n").await?;
            let bytes = body(&mut lines).await?;
            taken.send(Received { to: std::mem::take(&mut to), bytes }).await.context("the demo is over")?;
            b"250 2.0.0 Ok: kept for the page\r\n"
        } else if command == "QUIT" {
            write.write_all(b"221 2.0.0 Bye\r\n").await?;
            return Ok(());
        } else {
            b"250 2.0.0 Ok\r\n"
        };
        write.write_all(reply).await?;
    }
}

/// One line without its CRLF; `None` at the end of the stream.
async fn line<R: tokio::io::AsyncRead + Unpin>(reader: &mut BufReader<R>) -> anyhow::Result<Option<String>> {
    let mut line = Vec::new();
    let mut limited = reader.take(MAX_MAIL as u64);
    let read = tokio::time::timeout(IDLE, limited.read_until(b'\n', &mut line)).await??;
    if read == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
}

/// The lines up to the dot, the stuffed dots taken off (RFC 5321 4.5.2).
async fn body<R: tokio::io::AsyncRead + Unpin>(reader: &mut BufReader<R>) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(line) = line(reader).await? {
        if line == "." {
            return Ok(bytes);
        }
        bytes.extend_from_slice(line.strip_prefix('.').unwrap_or(&line).as_bytes());
        bytes.extend_from_slice(b"\r\n");
        if bytes.len() > MAX_MAIL {
            bail!("a mail larger than {MAX_MAIL} bytes");
        }
    }
    bail!("the connection ended inside a mail")
}
