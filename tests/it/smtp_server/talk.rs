//! The relay's side of one connection.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{
    Accepted, Action, Bytes, Close, Command, Delay, Drip, Endless, Reply, ReplyThenClose, Reset, Shared, Sip, Stall,
    Tls,
};

/// One connection. Every step is `Err` when the connection is over, by the client's doing or the script's.
pub(super) struct Talk {
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
    pub(super) fn new(shared: Arc<Shared>, number: usize, stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        let wire = Wire::Plain(stream);
        Self { shared, number, wire, unread: Vec::new(), user: None, from: None, to: Vec::new() }
    }

    pub(super) async fn run(mut self) -> io::Result<()> {
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
                "HELO" => drop(self.answer(Command::Helo, "250 relay.test").await?),
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
        let bearer = matches!(mechanism, "XOAUTH2" | "OAUTHBEARER");
        let (user, password) = match mechanism {
            "LOGIN" => {
                self.say(b"334 VXNlcm5hbWU6\r\n").await?;
                let user = decoded(&self.line().await?.unwrap_or_default());
                self.say(b"334 UGFzc3dvcmQ6\r\n").await?;
                (user, decoded(&self.line().await?.unwrap_or_default()))
            }
            _ if bearer => said_by_bearer(&decoded(initial)),
            _ => {
                let said = decoded(initial);
                let mut parts = said.splitn(3, '\0').skip(1).map(str::to_owned);
                (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
            }
        };
        let right = self.shared.options.account == Some((user.as_str(), password.as_str()));
        if bearer && !right {
            // RFC 7628 3.2.2: why, in JSON; the refusal comes after the client's answer.
            self.say(b"334 eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=\r\n").await?;
            let answer = self.line().await?.unwrap_or_default();
            let number = self.number;
            self.shared.note(|state| state.heard.push(format!("{number}: answer {answer:?}")));
        }
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
        let (bytes, wire) = self.body().await?;
        let usual = "250 2.0.0 Ok: queued as ";
        let action = self.shared.action(Command::Dot, &to);
        let refused = matches!(action, Some(Reply(text) | ReplyThenClose(text)) if text.starts_with(['3', '4', '5']));
        let number = if refused { 0 } else { self.journal(bytes, wire) };
        self.forget();
        self.perform(Command::Dot, action, &format!("{usual}Q{number}")).await.map(drop)
    }

    fn forget(&mut self) {
        self.from = None;
        self.to.clear();
    }

    /// Writes the message down, in the file first, and gives its number from 1.
    fn journal(&mut self, bytes: Vec<u8>, wire: Vec<u8>) -> usize {
        let mail = Accepted {
            from: self.from.clone().unwrap_or_default(),
            to: self.to.clone(),
            message_id: message_id(&bytes),
            bytes,
            wire,
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
                self.stands(command, 1);
                let outcome = self.drip(bytes, pause).await;
                self.stands(command, -1);
                outcome?;
                Ok(first(bytes))
            }
            Some(Endless(bytes)) => loop {
                self.say(bytes).await?;
            },
            Some(Sip(pause)) => loop {
                tokio::time::sleep(pause).await;
                self.unread.clear();
                self.fill().await?;
            },
            Some(Close) => Err(over()),
            Some(Reset) => {
                self.tcp()?.set_zero_linger()?;
                Err(over())
            }
            Some(Stall) => {
                let mut released = self.shared.released.subscribe();
                self.stands(command, 1);
                let outcome = if command == Command::Body {
                    // Reading on would take the whole body off the client's hands.
                    released.changed().await.map_err(|_| over())
                } else {
                    self.hang_or(released.changed()).await
                };
                self.stands(command, -1);
                outcome?;
                self.reply(usual).await
            }
            Some(Delay(pause)) => {
                tokio::time::sleep(pause).await;
                self.reply(usual).await
            }
        }
    }

    /// One connection more or less stands still at `command`.
    fn stands(&self, command: Command, change: isize) {
        self.shared.note(|state| {
            let count = state.stalled.entry(command).or_default();
            *count = count.saturating_add_signed(change);
        });
    }

    async fn drip(&mut self, bytes: &[u8], pause: Duration) -> io::Result<()> {
        for byte in bytes {
            tokio::time::sleep(pause).await;
            self.say(&[*byte]).await?;
        }
        Ok(())
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

    /// The body up to the final dot, with the stuffing taken out, and as it came. Only CRLF ends a line here.
    async fn body(&mut self) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (mut body, mut wire) = (Vec::new(), Vec::new());
        let mut scanned = 0;
        loop {
            while let Some(end) = self.unread[scanned..].windows(2).position(|pair| pair == b"\r\n") {
                let line = &self.unread[scanned..scanned + end + 2];
                scanned += line.len();
                wire.extend_from_slice(line);
                if line == b".\r\n" {
                    self.unread.drain(..scanned);
                    return Ok((body, wire));
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

/// User and token, as both mechanisms of bearer tokens write them between bytes 0x01.
fn said_by_bearer(response: &str) -> (String, String) {
    let mut parts = response.split('\u{1}');
    let user = parts.next().unwrap_or_default();
    let user = user.strip_prefix("user=").or_else(|| user.strip_prefix("n,a=")?.strip_suffix(',')).unwrap_or_default();
    let token = parts.next().and_then(|part| part.strip_prefix("auth=Bearer ")).unwrap_or_default();
    let ended = parts.collect::<Vec<_>>() == ["", ""];
    (user.replace("=2C", ",").replace("=3D", "="), if ended { token.to_owned() } else { String::new() })
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
