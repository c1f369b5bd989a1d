//! `topicswitch sub`

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mqttsn::types::{Qos, TopicIdType, TopicRef};
use tokio_util::sync::CancellationToken;

use crate::cli::SubArgs;
use crate::client::{Client, ConnectOptions, Message};

/// How long the last goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Subscribes and prints messages until the count is reached or `shutdown`.
///
/// # Errors
/// A rejection, a broker that does not answer, or the connection's end by the broker.
pub async fn run(args: SubArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    if args.topic.is_empty() && args.predefined.is_empty() {
        bail!("give --topic or --predefined");
    }
    let qos = Qos::from_level(args.qos).context("QoS is 0, 1 or 2")?;
    for filter in &args.topic {
        mqttsn::topic::validate_filter(filter)
            .map_err(|error| anyhow::anyhow!("filter `{filter}`: {error}"))?;
    }
    let keep_alive = Duration::from_secs(args.client.keep_alive.into());
    let mut client = tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        client = subscribed(&args, qos, keep_alive) => client?,
    };
    let interrupted = print_messages(&args, &mut client, keep_alive, &shutdown).await?;
    match tokio::time::timeout(GOODBYE, client.disconnect(None)).await {
        Ok(Ok(())) => Ok(()),
        // Asked to end, it ends, whoever answers.
        _ if interrupted => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => bail!("the broker does not answer DISCONNECT"),
    }
}

/// A client that has its subscriptions.
async fn subscribed(args: &SubArgs, qos: Qos, keep_alive: Duration) -> anyhow::Result<Client> {
    let mut client = super::open(&args.client).await?;
    let options = ConnectOptions {
        client_id: super::client_id(&args.client, "sub")?,
        clean_session: !args.no_clean,
        keep_alive,
        will: None,
    };
    client
        .connect(&options)
        .await
        .with_context(|| format!("broker {}", args.client.broker))?;
    for filter in &args.topic {
        let topic = match super::short_name(filter) {
            Some(short) => TopicRef::Short(short),
            None => TopicRef::Name(filter),
        };
        client
            .subscribe(topic, qos)
            .await
            .with_context(|| format!("filter `{filter}`"))?;
    }
    for id in &args.predefined {
        client
            .subscribe(TopicRef::Predefined(*id), qos)
            .await
            .with_context(|| format!("predefined topic {id}"))?;
    }
    Ok(client)
}

/// Prints until the count is reached (false) or `shutdown` (true).
async fn print_messages(
    args: &SubArgs,
    client: &mut Client,
    keep_alive: Duration,
    shutdown: &CancellationToken,
) -> anyhow::Result<bool> {
    let mut left = args.count;
    let mut next_ping = Instant::now() + keep_alive / 2;
    while left != Some(0) {
        // A keep alive of 0 means that the broker does not watch (MQTT-SN 1.2 §6.12).
        let deadline = if keep_alive.is_zero() {
            Instant::now() + Duration::from_secs(3600)
        } else {
            next_ping
        };
        let message = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(true),
            message = client.next_message(deadline) => message?,
        };
        match message {
            None if client.is_disconnected() => bail!(
                "the broker ended the connection: it may be shutting down, or another client connects under \
                 the same client id"
            ),
            Some((_, message)) => {
                print(client, &message, args.verbose)?;
                left = left.map(|left| left - 1);
            }
            None if keep_alive.is_zero() => {}
            None => {
                client.ping("").await.context("keep alive")?;
                next_ping = Instant::now() + keep_alive / 2;
            }
        }
    }
    Ok(false)
}

fn print(client: &Client, message: &Message, verbose: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if verbose {
        let alias = message.alias;
        let topic = match (client.topic_name(alias), alias.topic_id_type) {
            (Some(name), _) => name.to_owned(),
            (None, TopicIdType::Short) => {
                String::from_utf8_lossy(&alias.topic_id.to_be_bytes()).into_owned()
            }
            (None, TopicIdType::Predefined) => format!("predefined:{}", alias.topic_id),
            (None, TopicIdType::Normal) => format!("normal:{}", alias.topic_id),
        };
        let retained = if message.retain { " retained" } else { "" };
        write!(out, "{topic} qos {}{retained}: ", message.qos.level())?;
    }
    out.write_all(&message.data)?;
    writeln!(out)?;
    Ok(out.flush()?)
}
