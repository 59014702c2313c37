//! A scripted HTTP/1.1 server, written by hand so that it can also do what no server should: say nothing, cut the connection
//! at a given moment, drip, answer garbage. It keeps every request as it came.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is done with a request that has come whole.
#[derive(Clone, Debug)]
pub enum Act {
    /// Status, further header lines, body.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes, and the connection is closed.
    Raw(Vec<u8>),
    /// The connection is closed without a word.
    Cut,
    /// Nothing, and the connection stays.
    Silence,
    /// The answer waits until the server is told to go on.
    Wait(u16),
}

/// `status` with a JSON body.
pub fn json(status: u16, body: impl Into<String>) -> Act {
    Act::Answer(status, vec![("Content-Type", "application/json".into())], body.into().into_bytes())
}

/// `status` with nothing.
pub fn status(status: u16) -> Act {
    Act::Answer(status, Vec::new(), Vec::new())
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `POST /path HTTP/1.1`.
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    /// The one header of that name, in whatever case; `None`: there is not exactly one.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let first = found.next().map(|(_, value)| value.as_str());
        if found.next().is_some() { None } else { first }
    }

    /// The fields of a form.
    pub fn form(&self, name: &str) -> Option<String> {
        let mut fields = url::form_urlencoded::parse(&self.body);
        fields.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }
}

#[derive(Default)]
struct State {
    script: VecDeque<Act>,
    asked: Vec<Asked>,
    connections: usize,
}

/// A server on a free loopback port.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    otherwise: Act,
    go_on: watch::Sender<bool>,
    tls: Option<Arc<(TlsAcceptor, tempfile::TempDir)>>,
}

impl Server {
    /// Plain HTTP; what the script has no act for is answered with `otherwise`.
    pub async fn start(otherwise: Act) -> Self {
        Self::listen("127.0.0.1:0", otherwise, None).await
    }

    /// HTTPS, with a certificate of its own CA for `names`.
    pub async fn start_tls(otherwise: Act, names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), made.cert.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let tls = Arc::new((TlsAcceptor::from(Arc::new(config)), directory));
        Self::listen("127.0.0.1:0", otherwise, Some(tls)).await
    }

    /// On an address of the test's choice.
    pub async fn listen(at: &str, otherwise: Act, tls: Option<Arc<(TlsAcceptor, tempfile::TempDir)>>) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, state: Arc::default(), otherwise, go_on: watch::Sender::new(false), tls };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = serving.clone();
                server.state.lock().unwrap().connections += 1;
                tokio::spawn(async move {
                    match &server.tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.0.accept(stream).await {
                                server.talk(stream).await;
                            }
                        }
                        None => server.talk(stream).await,
                    }
                });
            }
        });
        server
    }

    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT`.
    pub fn url(&self) -> String {
        match self.tls {
            Some(_) => format!("https://localhost:{}", self.address.port()),
            None => format!("http://{}", self.address),
        }
    }

    /// The CA of an HTTPS server.
    pub fn ca_file(&self) -> PathBuf {
        self.tls.as_ref().unwrap().1.path().join("ca.pem")
    }

    /// The next request is treated so, and the one after that by the next call's act.
    pub fn then(&self, act: Act) -> &Self {
        self.state.lock().unwrap().script.push_back(act);
        self
    }

    /// Lets every waiting answer go.
    pub fn go_on(&self) {
        self.go_on.send_replace(true);
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// The first `count` requests, as soon as there are so many.
    pub async fn wait_for(&self, count: usize) -> Vec<Asked> {
        let began = Instant::now();
        loop {
            let asked = self.asked();
            if asked.len() >= count {
                return asked;
            }
            assert!(began.elapsed() < PATIENCE, "{} of {count} requests came", asked.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn talk(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut bytes = Vec::new();
        while let Some(asked) = read(&mut stream, &mut bytes).await {
            let act = {
                let mut state = self.state.lock().unwrap();
                state.asked.push(asked);
                state.script.pop_front().unwrap_or_else(|| self.otherwise.clone())
            };
            let (status, headers, body) = match act {
                Act::Answer(status, headers, body) => (status, headers, body),
                Act::Raw(bytes) => {
                    let _ = stream.write_all(&bytes).await;
                    let _ = stream.shutdown().await;
                    return;
                }
                Act::Cut => return,
                Act::Silence => std::future::pending().await,
                Act::Wait(status) => {
                    let _ = self.go_on.subscribe().wait_for(|go| *go).await;
                    (status, Vec::new(), Vec::new())
                }
            };
            let lines: String = headers.iter().map(|(name, value)| [name, ": ", value, "\r\n"].concat()).collect();
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{lines}\r\n", body.len());
            let mut answer = answer.into_bytes();
            answer.extend(body);
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

/// One whole request; `None`: the other side is gone.
async fn read(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> Option<Asked> {
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let mut lines = head.split("\r\n").map(str::to_owned);
            let line = lines.next().unwrap();
            let headers: Vec<_> = lines
                .map(|line| {
                    line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())).unwrap()
                })
                .collect();
            assert!(!headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding")), "{headers:?}");
            let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                let body = bytes[end + 4..end + 4 + length].to_vec();
                bytes.drain(..end + 4 + length);
                return Some(Asked { line, headers, body });
            }
        }
        let mut buffer = vec![0; 16 << 10];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend(&buffer[..count]),
        }
    }
}
