//! The source of tokens against a login server and a metadata service of our own.

use std::time::Duration;

use auditbell::channels::token::{Azure, Cloud, Credential, Refused, Service, Settings, Tokens};
use auditbell::channels::web::{Limits, Settings as Reach};
use auditbell::clock::Timestamp;
use auditbell::secret::{Secret, Source};

use crate::http_server::{Act, Server, json, status};
use crate::web::{NOW, loopback};

const HOUR: u64 = 3_600;

pub fn azure(login: &Server, graph: Option<&Server>) -> Azure {
    Azure {
        cloud: Cloud::Public,
        login_url: Some(login.url().parse().unwrap()),
        graph_url: graph.map(|graph| graph.url().parse().unwrap()),
        web: loopback(),
    }
}

pub fn with_secret(azure: Azure) -> Settings {
    Settings {
        azure,
        tenant: "example.com".into(),
        client_id: Some("app-1".into()),
        credential: Credential::Secret(Source::Here(Secret::new("canary+secret&="))),
    }
}

/// A token of `seconds`.
pub fn grant(token: &str, seconds: u64) -> Act {
    json(200, format!(r#"{{"token_type":"Bearer","expires_in":{seconds},"access_token":"{token}"}}"#))
}

fn tokens(login: &Server) -> Tokens {
    Tokens::new(&with_secret(azure(login, None)), Service::Graph).unwrap()
}

fn at(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

async fn got(tokens: &Tokens, now: Timestamp) -> String {
    tokens.get(now).await.unwrap().expose().to_owned()
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_renewed_before_it_expires() {
    let login = Server::start(grant("second", HOUR)).await;
    login.then(grant("first", HOUR));
    let tokens = tokens(&login);
    for seconds in [0, 1, 2_879] {
        assert_eq!(got(&tokens, at(seconds)).await, "first", "{seconds}");
    }
    assert_eq!(got(&tokens, at(2_880)).await, "second", "at 80 % of its life");
    let asked = login.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].line, "POST /example.com/oauth2/v2.0/token HTTP/1.1");
    assert_eq!(asked[0].header("content-type"), Some("application/x-www-form-urlencoded"));
    for (field, value) in [
        ("grant_type", "client_credentials"),
        ("client_id", "app-1"),
        ("client_secret", "canary+secret&="),
        ("scope", "https://graph.microsoft.com/.default"),
    ] {
        assert_eq!(asked[0].form(field).as_deref(), Some(value));
    }
}

#[tokio::test]
async fn many_that_need_a_token_ask_once() {
    let login = Server::start(status(500)).await;
    login.then(grant("only", HOUR));
    let tokens = tokens(&login);
    let mut askers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let tokens = tokens.clone();
        askers.spawn(async move { got(&tokens, NOW).await });
    }
    assert!(askers.join_all().await.iter().all(|token| token == "only"));
    assert_eq!(login.asked().len(), 1);
}

#[tokio::test]
async fn while_somebody_renews_the_old_token_serves_the_others() {
    let login = Server::start(Act::Wait(500)).await;
    login.then(grant("old", HOUR));
    let tokens = tokens(&login);
    assert_eq!(got(&tokens, NOW).await, "old");
    let renewing = tokio::spawn({
        let tokens = tokens.clone();
        async move { got(&tokens, at(3_000)).await }
    });
    login.wait_for(2).await;
    for _ in 0..3 {
        assert_eq!(got(&tokens, at(3_000)).await, "old");
    }
    login.go_on();
    assert_eq!(renewing.await.unwrap(), "old", "a renewal that failed leaves what is still good");
    assert_eq!(login.asked().len(), 2);
    assert_eq!(got(&tokens, at(3_001)).await, "old", "and is not tried again at once");
    assert_eq!(login.asked().len(), 2);
}

#[tokio::test]
async fn a_token_is_not_used_in_its_last_minute() {
    let login = Server::start(status(503)).await;
    login.then(grant("old", HOUR));
    let tokens = tokens(&login);
    assert_eq!(got(&tokens, NOW).await, "old");
    assert_eq!(got(&tokens, at(HOUR - 61)).await, "old");
    assert_eq!(tokens.get(at(HOUR - 50)).await.unwrap_err().why, "token");
}

#[tokio::test]
async fn a_refused_login_is_tried_at_most_once_in_thirty_seconds() {
    let login = Server::start(json(401, r#"{"error":"invalid_client","error_codes":[7000215]}"#)).await;
    let tokens = tokens(&login);
    for seconds in [0, 1, 29] {
        let Refused { why, message, .. } = tokens.get(at(seconds)).await.unwrap_err();
        assert_eq!(why, "auth");
        assert!(message.contains("AADSTS7000215: the client secret is wrong"), "{message}");
    }
    assert_eq!(login.asked().len(), 1);
    assert!(tokens.get(at(30)).await.is_err());
    assert_eq!(login.asked().len(), 2);
}

#[tokio::test]
async fn a_login_server_that_asks_for_time_gets_it() {
    let login = Server::start(Act::Answer(429, vec![("Retry-After", "20".into())], Vec::new())).await;
    let tokens = tokens(&login);
    for seconds in [0, 6, 19] {
        let Refused { why, until, .. } = tokens.get(at(seconds)).await.unwrap_err();
        assert_eq!((why, until.is_some_and(|until| until >= at(20))), ("token", true), "{seconds}");
    }
    assert_eq!(login.asked().len(), 1);
    login.then(Act::Answer(401, vec![("Retry-After", "1".into())], Vec::new()));
    assert_eq!(tokens.get(at(25)).await.unwrap_err().why, "auth");
    assert!(tokens.get(at(54)).await.is_err());
    assert_eq!(login.asked().len(), 2, "a refused login still has its half minute");
}

#[tokio::test]
async fn a_token_that_was_not_taken_is_not_given_out_again() {
    let login = Server::start(grant("fresh", HOUR)).await;
    login.then(grant("stale", HOUR));
    let tokens = tokens(&login);
    let stale = tokens.get(NOW).await.unwrap();
    tokens.reject(&stale);
    assert_eq!(got(&tokens, NOW).await, "fresh");
    tokens.reject(&stale);
    assert_eq!(got(&tokens, NOW).await, "fresh", "somebody who comes late with the old one changes nothing");
    assert_eq!(login.asked().len(), 2);
}

#[tokio::test]
async fn every_refusal_says_what_to_do_and_holds_no_secret() {
    let login = Server::start(status(500)).await;
    for (why, act, word, told) in [
        (
            "an expired secret",
            json(401, r#"{"error_codes":[7000222],"error_description":"canary"}"#),
            "auth",
            "make a new one",
        ),
        (
            "an unknown application",
            json(400, r#"{"error_codes":[700016]}"#),
            "auth",
            "no application with this client_id",
        ),
        ("an unknown tenant", json(400, r#"{"error_codes":[90002]}"#), "auth", "there is no such tenant"),
        ("a code that nobody has seen", json(400, r#"{"error_codes":[1]}"#), "auth", "AADSTS1: "),
        (
            "a code in words alone",
            json(401, r#"{"error_description":"AADSTS7000222: canary"}"#),
            "auth",
            "AADSTS7000222: the client secret has expired",
        ),
        ("words without a code", json(401, r#"{"error_description":"AADSTS: canary"}"#), "auth", "status 401"),
        ("no JSON at all", status(403), "auth", "status 403"),
        ("no tenant in the path", status(404), "auth", "look at `tenant`"),
        ("a server in trouble", status(503), "token", "status 503"),
        ("too many questions", status(429), "token", "status 429"),
        ("an answer without a token", json(200, "{}"), "token", "without a token"),
        ("a token with a line break", json(200, r#"{"access_token":"a\nb"}"#), "token", "without a token"),
        ("a redirect", Act::Answer(302, vec![("Location", login.url())], Vec::new()), "token", "status 302"),
        ("a lost connection", Act::Cut, "token", "cannot be asked"),
    ] {
        login.then(act);
        let refused = tokens(&login).get(NOW).await.unwrap_err();
        assert_eq!(refused.why, word, "{why}: {refused:?}");
        assert!(refused.message.contains(told), "{why}: {refused:?}");
        assert!(!refused.message.contains("canary"), "{why}: {refused:?}");
    }
    assert!(!format!("{:?}", with_secret(azure(&login, None))).contains("canary"));
}

#[tokio::test]
async fn a_workload_shows_the_token_of_its_file_as_it_is_now() {
    let login = Server::start(grant("t", 100)).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let settings = Settings { credential: Credential::Federated(file.clone()), ..with_secret(azure(&login, None)) };
    let tokens = Tokens::new(&settings, Service::Smtp).unwrap();
    let refused = tokens.get(NOW).await.unwrap_err();
    assert!(refused.why == "auth" && refused.message.contains("cannot be read"), "{refused:?}");
    for (assertion, now) in [("eyJ.one", at(60)), ("eyJ.two", at(200))] {
        std::fs::write(&file, format!("{assertion}\n")).unwrap();
        tokens.get(now).await.unwrap();
        let asked = login.asked().pop().unwrap();
        assert_eq!(asked.form("client_assertion").as_deref(), Some(assertion));
        let kind = asked.form("client_assertion_type");
        assert_eq!(kind.as_deref(), Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
        assert_eq!(asked.form("scope").as_deref(), Some("https://outlook.office365.com/.default"));
        assert_eq!(asked.form("client_secret"), None);
    }
}

#[tokio::test]
async fn a_machine_asks_its_metadata_service_and_nothing_else_of_that_kind_is_open() {
    let metadata = Server::start(json(400, r#"{"error":"invalid_request"}"#)).await;
    metadata.then(json(200, r#"{"access_token":"t","expires_in":"86399","expires_on":"1795332479"}"#));
    let settings = Settings {
        azure: Azure { cloud: Cloud::UsGov, login_url: None, graph_url: None, web: Reach::default() },
        tenant: String::new(),
        client_id: Some("user-assigned".into()),
        credential: Credential::Managed,
    };
    let url = format!("{}/metadata/identity/oauth2/token", metadata.url());
    let tokens = Tokens::at(&settings, Service::Graph, Limits::default(), &url).unwrap();
    assert_eq!(got(&tokens, NOW).await, "t");
    assert_eq!(got(&tokens, at(60_000)).await, "t", "a day, told as text");
    let asked = &metadata.asked()[0];
    assert_eq!(
        asked.line,
        "GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fgraph.microsoft.us\
         &client_id=user-assigned HTTP/1.1"
    );
    assert_eq!(asked.header("metadata"), Some("true"));
    let refused = tokens.get(at(80_000)).await;
    assert!(refused.is_ok(), "the old one is still good");
    let refused = tokens.get(at(86_400)).await.unwrap_err();
    assert!(refused.message.contains("assign one to it"), "{refused:?}");
}
