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
use axum::routing::get;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// How long a process may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

type Answer = Pin<Box<dyn Future<Output = Value> + Send>>;
type Source = Arc<dyn Fn() -> Answer + Send + Sync>;

/// The parts of one process, each with the question that it answers.
#[derive(Clone, Default)]
pub struct Parts {
    parts: BTreeMap<&'static str, Source>,
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

    /// Asks all parts.
    pub async fn ask(&self) -> Value {
        let mut all = serde_json::Map::new();
        for (name, source) in &self.parts {
            all.insert((*name).to_owned(), source().await);
        }
        Value::Object(all)
    }
}

/// Serves `GET /status` at `address` until `shutdown`.
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
    let app = axum::Router::new().route(
        "/status",
        get(move || {
            let parts = parts.clone();
            async move { Json(parts.ask().await) }
        }),
    );
    tokio::spawn(async move {
        let stopped = axum::serve(listener, app).with_graceful_shutdown(shutdown.cancelled_owned());
        if let Err(error) = stopped.await {
            tracing::warn!(%error, "status is no longer served");
        }
    });
    Ok(())
}

/// Asks the process at `address`.
///
/// # Errors
/// Nobody answers there, or not with JSON.
pub async fn fetch(address: SocketAddr) -> anyhow::Result<Value> {
    let client: Client<_, Empty<&[u8]>> = Client::builder(TokioExecutor::new()).build_http();
    let uri = format!("http://{address}/status")
        .parse()
        .context("status address")?;
    let no_answer =
        || format!("no topicswitch answers at {address} (is it running, and with that --status?)");
    let response = tokio::time::timeout(PATIENCE, client.get(uri))
        .await
        .with_context(no_answer)?
        .with_context(no_answer)?;
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
