//! `topicswitch pub`

use std::io::BufRead;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mqttsn::types::{Alias, Qos};
use tokio::sync::mpsc;

use crate::cli::PubArgs;
use crate::client::ConnectOptions;

/// Publishes what the arguments say; returns when all is sent and, at QoS 1 and 2, acknowledged.
///
/// # Errors
/// What could not be read, sent or was rejected.
pub async fn run(args: PubArgs) -> anyhow::Result<()> {
    let qos = Qos::from_level(args.qos).context("QoS is -1, 0, 1 or 2")?;
    let known = known_alias(&args)?;
    let mut client = super::open(&args.client).await?;

    if qos == Qos::MinusOne {
        let Some(alias) = known else {
            bail!("QoS -1 needs a predefined topic id or a topic name of two octets");
        };
        let mut messages = messages(&args)?;
        while let Some(data) = messages.recv().await {
            client.publish(alias, qos, args.retain, &data?).await?;
        }
        return Ok(());
    }

    let keep_alive = Duration::from_secs(args.client.keep_alive.into());
    let options = ConnectOptions {
        client_id: super::client_id(&args.client, "pub")?,
        clean_session: true,
        keep_alive,
        will: None,
    };
    client
        .connect(&options)
        .await
        .with_context(|| format!("broker {}", args.client.broker))?;
    let alias = match (known, &args.topic) {
        (Some(alias), _) => alias,
        (None, Some(topic)) => client
            .register(topic)
            .await
            .with_context(|| format!("topic `{topic}`"))?,
        // clap wants one of the two.
        (None, None) => bail!("give --topic or --predefined"),
    };
    let mut messages = messages(&args)?;
    loop {
        // A keep alive of 0 means that the broker does not watch (MQTT-SN 1.2 §6.12).
        let silence = if keep_alive.is_zero() {
            Duration::from_secs(3600)
        } else {
            keep_alive / 2
        };
        tokio::select! {
            data = messages.recv() => match data {
                Some(data) => client.publish(alias, qos, args.retain, &data?).await?,
                None => break,
            },
            // Nothing is subscribed to; what arrives is the broker's end of the connection.
            none = client.next_message(Instant::now() + silence) => {
                if none?.is_none() && !client.is_disconnected() && !keep_alive.is_zero() {
                    client.ping("").await.context("keep alive")?;
                }
            }
        }
        ensure!(!client.is_disconnected(), "the broker ended the connection");
    }
    client.disconnect(None).await?;
    Ok(())
}

/// The alias that needs no registration, if there is one.
fn known_alias(args: &PubArgs) -> anyhow::Result<Option<Alias>> {
    if let Some(id) = args.predefined {
        return Ok(Some(Alias::predefined(id)));
    }
    let Some(topic) = &args.topic else {
        return Ok(None);
    };
    mqttsn::topic::validate_name(topic)
        .map_err(|error| anyhow::anyhow!("topic `{topic}`: {error}"))?;
    Ok(super::short_name(topic).map(Alias::short))
}

/// What is to be published, as it comes: standard input is read by a thread of its own, so that the
/// connection is kept alive meanwhile.
fn messages(args: &PubArgs) -> anyhow::Result<mpsc::Receiver<anyhow::Result<Vec<u8>>>> {
    let (lines, messages) = mpsc::channel(1);
    let one = match (&args.message, &args.file) {
        (Some(message), _) => Some(message.clone().into_bytes()),
        (None, Some(file)) => {
            Some(std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?)
        }
        (None, None) => None,
    };
    std::thread::spawn(move || match one {
        // Whoever should take it may have gone; then there is nothing left to do.
        Some(message) => drop(lines.blocking_send(Ok(message))),
        None => {
            for line in std::io::stdin().lock().lines() {
                let line = line.map(String::into_bytes).context("standard input");
                if lines.blocking_send(line).is_err() {
                    break;
                }
            }
        }
    });
    Ok(messages)
}
