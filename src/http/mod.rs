//! Owns the ops listener: `/metrics`, `/livez`, `/readyz`. Nothing here changes anything, and nothing here waits for Kafka
//! or a mail relay: an outage out there is a metric, not a reason to take this process out of service.

mod limit;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Whether this process does its work; else what is wrong, in a few words.
pub type Readiness = Arc<dyn Fn() -> Result<(), &'static str> + Send + Sync>;

/// A bound listener. Bound before any loop starts, so that a port that is taken is found before anything is read or sent.
pub struct Ops {
    listener: TcpListener,
    address: SocketAddr,
}

impl Ops {
    /// Binds `[http] listen`.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The bound address: the port is a real one where the configuration said 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `done`; requests under way are dropped then.
    pub async fn serve(self, metrics: PrometheusHandle, readiness: Readiness, done: CancellationToken) {
        let router = router(metrics, readiness);
        let serving = axum::serve(limit::Limited::new(self.listener), router).into_future();
        if let Some(Err(error)) = done.run_until_cancelled(serving).await {
            tracing::error!(%error, "the http listener ended");
        }
    }
}

fn router(metrics: PrometheusHandle, readiness: Readiness) -> Router {
    let ready = get(ready).with_state(readiness);
    Router::new()
        .route("/metrics", get(render).with_state(metrics))
        .route("/livez", get(alive))
        .route("/-/healthy", get(alive))
        .route("/readyz", ready.clone())
        .route("/-/ready", ready)
}

async fn render(State(metrics): State<PrometheusHandle>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render()).into_response()
}

/// Answering at all is the proof.
async fn alive() -> &'static str {
    "ok\n"
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    match readiness() {
        Ok(()) => "ok\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn request(address: SocketAddr, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn probes_and_metrics_are_answered_and_nothing_else() {
        let is_ready = Arc::new(AtomicBool::new(false));
        let readiness: Readiness = {
            let is_ready = is_ready.clone();
            Arc::new(move || if is_ready.load(Ordering::SeqCst) { Ok(()) } else { Err("the store does not answer") })
        };
        let ops = Ops::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = ops.address();
        let done = CancellationToken::new();
        let serving = tokio::spawn(ops.serve(crate::metrics::install().unwrap(), readiness, done.clone()));

        for (why, method, path, status, holds) in [
            ("who answers is alive", "GET", "/livez", "200", "ok"),
            ("also under the other name", "GET", "/-/healthy", "200", "ok"),
            ("not ready says why", "GET", "/readyz", "503", "the store does not answer"),
            ("metrics name their format", "GET", "/metrics", "200", "text/plain; version=0.0.4"),
            ("there is nothing else", "GET", "/", "404", ""),
            ("and nothing can be changed", "POST", "/readyz", "405", ""),
        ] {
            let answer = request(address, method, path).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(holds), "{why}: {answer}");
        }
        is_ready.store(true, Ordering::SeqCst);
        assert!(request(address, "GET", "/-/ready").await.starts_with("HTTP/1.1 200"));
        done.cancel();
        serving.await.unwrap();
    }
}
