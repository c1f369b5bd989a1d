//! What a running process says of itself: JSON over HTTP, and the readable form of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::Request;
use axum::routing::{get, post};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// How long a process may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

type Answer = Pin<Box<dyn Future<Output = Value> + Send>>;
type Source = Arc<dyn Fn() -> Answer + Send + Sync>;
type Explainer = Arc<dyn Fn(String) -> Answer + Send + Sync>;

/// The parts of one process, each with the question that it answers.
#[derive(Clone, Default)]
pub struct Parts {
    parts: BTreeMap<&'static str, Source>,
    explainers: BTreeMap<&'static str, Explainer>,
}

impl Parts {
    /// Adds a part.
    #[must_use]
    pub fn with<F, A>(mut self, name: &'static str, ask: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Value> + Send + 'static,
    {
        self.parts.insert(name, Arc::new(move || Box::pin(ask())));
        self
    }

    /// Adds a part's answer to the question about one topic.
    #[must_use]
    pub fn explaining<F, A>(mut self, name: &'static str, ask: F) -> Self
    where
        F: Fn(String) -> A + Send + Sync + 'static,
        A: Future<Output = Value> + Send + 'static,
    {
        self.explainers
            .insert(name, Arc::new(move |topic| Box::pin(ask(topic))));
        self
    }

    /// Asks all parts about a topic.
    pub async fn explain(&self, topic: &str) -> Value {
        let mut all = serde_json::Map::new();
        for (name, source) in &self.explainers {
            all.insert((*name).to_owned(), source(topic.to_owned()).await);
        }
        Value::Object(all)
    }

    /// Asks all parts.
    pub async fn ask(&self) -> Value {
        let mut all = serde_json::Map::new();
        for (name, source) in &self.parts {
            all.insert((*name).to_owned(), source().await);
        }
        Value::Object(all)
    }
}

/// The topic that is asked about, in the body: a name may hold any character.
async fn explain(State(parts): State<Parts>, topic: String) -> Json<Value> {
    Json(parts.explain(&topic).await)
}

/// Serves `GET /status` and `POST /explain` at `address` until `shutdown`.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve(
    address: SocketAddr,
    parts: Parts,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| {
            format!(
                "cannot answer `topicswitch status` at {address} (give another one with --status)"
            )
        })?;
    let app = axum::Router::new()
        .route(
            "/status",
            get(|State(parts): State<Parts>| async move { Json(parts.ask().await) }),
        )
        .route("/explain", post(explain))
        .with_state(parts);
    tokio::spawn(async move {
        let stopped = axum::serve(listener, app).with_graceful_shutdown(shutdown.cancelled_owned());
        if let Err(error) = stopped.await {
            tracing::warn!(%error, "status is no longer served");
        }
    });
    Ok(())
}

/// Where to ask: what was given, or the usual place.
pub fn addresses(given: &[SocketAddr], default: SocketAddr) -> Vec<SocketAddr> {
    match given {
        [] => vec![default],
        given => given.to_vec(),
    }
}

/// Asks the process at `address`.
///
/// # Errors
/// Nobody answers there, or not with JSON.
pub async fn fetch(address: SocketAddr) -> anyhow::Result<Value> {
    ask(address, "/status", None).await
}

/// Asks the process at `address` about a topic: what each of its parts says.
///
/// # Errors
/// As [`fetch`].
pub async fn fetch_explanation(
    address: SocketAddr,
    topic: &str,
) -> anyhow::Result<serde_json::Map<String, Value>> {
    match ask(address, "/explain", Some(topic)).await? {
        Value::Object(parts) => Ok(parts),
        _ => anyhow::bail!("what answers at {address} is no topicswitch"),
    }
}

async fn ask(address: SocketAddr, path: &str, body: Option<&str>) -> anyhow::Result<Value> {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let uri = format!("http://{address}{path}");
    let request = match body {
        None => Request::get(uri).body(Full::default()),
        Some(body) => Request::post(uri).body(Full::from(body.to_owned())),
    };
    let request = request.context("status address")?;
    let no_answer = || {
        format!(
            "no topicswitch answers at {address}: start `up`, or `broker`, `controller` or `sim run` \
             with --status {address}, or name another address with --at"
        )
    };
    let response = tokio::time::timeout(PATIENCE, client.request(request))
        .await
        .with_context(no_answer)?
        .with_context(no_answer)?;
    let status = response.status();
    anyhow::ensure!(
        status.is_success(),
        "what answers at {address} is no topicswitch of this version: {status} for {path}"
    );
    let body = response
        .into_body()
        .collect()
        .await
        .context("status answer")?
        .to_bytes();
    serde_json::from_slice(&body).context("status answer is no JSON")
}

/// The status as indented text, one `name: value` a line.
pub fn readable(status: &Value) -> String {
    let mut out = String::new();
    write_readable(&mut out, status, 0);
    out
}

fn write_readable(out: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    let mut line = |name: &str, value: &Value| match value {
        Value::Object(_) | Value::Array(_) if !is_flat(value) => {
            let _ = writeln!(out, "{indent}{name}:");
            write_readable(out, value, depth + 1);
        }
        _ => {
            let _ = writeln!(out, "{indent}{name}: {}", flat(value));
        }
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| line(name, value)),
        Value::Array(list) => list.iter().for_each(|value| line("-", value)),
        other => {
            let _ = writeln!(out, "{indent}{}", flat(other));
        }
    }
}

fn is_flat(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.iter().all(|v| !v.is_object() && !v.is_array()),
        Value::Object(map) => map.is_empty(),
        _ => true,
    }
}

fn flat(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        Value::Array(list) if list.is_empty() => "none".into(),
        Value::Array(list) => list.iter().map(flat).collect::<Vec<_>>().join(", "),
        Value::Object(_) => "none".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_served_can_be_fetched_and_read() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let parts = Parts::default().with("broker", || async {
            serde_json::json!({"sessions": 3, "ids": [1, 2]})
        });
        let shutdown = CancellationToken::new();
        serve(address, parts, shutdown.clone()).await.unwrap();
        let status = fetch(address).await.unwrap();
        assert_eq!(readable(&status), "broker:\n  ids: 1, 2\n  sessions: 3\n");
        shutdown.cancel();
    }

    #[tokio::test]
    async fn nobody_there_is_said_plainly() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let error = fetch(address).await.unwrap_err().to_string();
        assert!(error.contains("no topicswitch answers"), "{error}");
    }
}
