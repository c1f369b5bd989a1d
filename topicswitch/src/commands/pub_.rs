//! `topicswitch pub`

use std::io::BufRead;
use std::time::Duration;

use anyhow::{Context, bail};
use mqttsn::types::{Alias, Qos};

use crate::cli::PubArgs;
use crate::client::{Client, ConnectOptions, Retry};

/// Publishes what the arguments say; returns when all is sent and, at QoS 1 and 2, acknowledged.
///
/// # Errors
/// What could not be read, sent or was rejected.
pub async fn run(args: PubArgs) -> anyhow::Result<()> {
    let qos = Qos::from_level(args.qos).context("QoS is -1, 0, 1 or 2")?;
    let known = known_alias(&args)?;
    let mut client = Client::open(args.client.broker, Retry::default()).await?;

    if qos == Qos::MinusOne {
        let Some(alias) = known else {
            bail!("QoS -1 needs a predefined topic id or a topic name of two octets");
        };
        return each_message(&args, async |data| {
            client.publish(alias, qos, args.retain, &data).await?;
            Ok(())
        })
        .await;
    }

    let options = ConnectOptions {
        client_id: super::client_id(&args.client, "pub"),
        clean_session: true,
        keep_alive: Duration::from_secs(args.client.keep_alive.into()),
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
    each_message(&args, async |data| {
        client.publish(alias, qos, args.retain, &data).await?;
        Ok(())
    })
    .await?;
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

async fn each_message(
    args: &PubArgs,
    mut publish: impl AsyncFnMut(Vec<u8>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if let Some(message) = &args.message {
        return publish(message.clone().into_bytes()).await;
    }
    if let Some(file) = &args.file {
        let data =
            std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        return publish(data).await;
    }
    for line in std::io::stdin().lock().lines() {
        publish(line.context("standard input")?.into_bytes()).await?;
    }
    Ok(())
}
