//! Owns the inbox page: the mails as the employee sees them, next to the records each came from and why it was sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use handlebars::Handlebars;
use serde_json::json;
use tokio::net::TcpListener;

use super::story::{Letter, Story};

const PAGE: &str = include_str!("../../templates/demo/inbox.hbs");
const SCRIPT: &str = include_str!("../../templates/demo/inbox.js");
/// The page itself: our own style and script, the mail in a frame of its own.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; \
                           frame-src 'self'; base-uri 'none'; form-action 'none'";
/// A mail: what a mail client would allow, no script at all.
const MAIL_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox allow-popups";

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    story: Arc<Mutex<Story>>,
    templates: Arc<Handlebars<'static>>,
}

/// Serves the page on `listen`; the address it got.
pub(super) async fn start(listen: SocketAddr, story: Arc<Mutex<Story>>) -> anyhow::Result<SocketAddr> {
    let mut templates = Handlebars::new();
    templates.set_strict_mode(true);
    templates.register_template_string("inbox", PAGE).context("the inbox page's template")?;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; choose another by --listen"))?;
    let address = listener.local_addr()?;
    let routes = Router::new()
        .route("/", get(newest))
        .route("/mail/{key}", get(one))
        .route("/mail/{key}/body", get(body))
        .route("/count", get(count))
        .route("/inbox.js", get(script))
        .with_state(Shared { story, templates: Arc::new(templates) });
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}

async fn newest(State(shared): State<Shared>) -> Response {
    page(&shared, None)
}

async fn one(State(shared): State<Shared>, Path(key): Path<String>) -> Response {
    page(&shared, Some(&key))
}

async fn count(State(shared): State<Shared>) -> String {
    let story = shared.story.lock().unwrap_or_else(PoisonError::into_inner);
    story.letters.last().map_or_else(String::new, |letter| letter.key.clone())
}

async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT)
}

async fn body(State(shared): State<Shared>, Path(key): Path<String>) -> Response {
    let story = shared.story.lock().unwrap_or_else(PoisonError::into_inner);
    match story.letters.iter().find(|letter| letter.key == key) {
        Some(letter) => guarded(MAIL_POLICY, letter.html.clone()),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn page(shared: &Shared, key: Option<&str>) -> Response {
    let story = shared.story.lock().unwrap_or_else(PoisonError::into_inner);
    let chosen = match key {
        Some(key) => story.letters.iter().find(|letter| letter.key == key),
        None => story.letters.last(),
    };
    if key.is_some() && chosen.is_none() {
        return (StatusCode::NOT_FOUND, "This mail is no longer kept.").into_response();
    }
    let list: Vec<_> = story.letters.iter().rev().map(|letter| row(letter, chosen)).collect();
    let context = json!({ "letters": list, "count": list.len(), "chosen": chosen.map(detail) });
    match shared.templates.render("inbox", &context) {
        Ok(html) => guarded(PAGE_POLICY, html),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn guarded(policy: &'static str, html: String) -> Response {
    let headers: [(HeaderName, &str); 3] = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(html)).into_response()
}

fn row(letter: &Letter, chosen: Option<&Letter>) -> serde_json::Value {
    json!({
        "key": letter.key,
        "to": letter.to,
        "subject": letter.subject,
        "at": clock_time(letter),
        "chosen": chosen.is_some_and(|chosen| chosen.key == letter.key),
    })
}

fn detail(letter: &Letter) -> serde_json::Value {
    let rules: Vec<_> =
        letter.rules.iter().map(|(id, description)| json!({ "id": id, "description": description })).collect();
    json!({
        "key": letter.key,
        "to": letter.to,
        "from": letter.from,
        "subject": letter.subject,
        "at": clock_time(letter),
        "text": letter.text,
        "rules": rules,
        "instead": letter.instead,
        "records": letter.records,
        "several": letter.records.len() > 1,
        "count": letter.records.len(),
    })
}

/// `18:15:02`.
fn clock_time(letter: &Letter) -> String {
    letter.at.to_string().get(11..19).unwrap_or_default().to_owned()
}
