//! Asks running processes about a topic.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use broker::TopicAccount;

use super::{ControllerAccount, Explanation};
use crate::status;

impl Explanation {
    /// Asks the processes at these status addresses, of which one may be a broker and others controllers.
    ///
    /// # Errors
    /// One does not answer, or not what is understood here; neither a broker nor a controller is there.
    pub async fn ask(topic: &str, at: &[SocketAddr]) -> anyhow::Result<Self> {
        let mut broker: Option<TopicAccount> = None;
        let mut controller: Option<ControllerAccount> = None;
        for &at in at {
            let mut parts = status::fetch_explanation(at, topic).await?;
            for (name, part) in parts.iter_mut() {
                if let Some(error) = part.get("error").and_then(|error| error.as_str()) {
                    bail!("the {name} at {at}: {error}");
                }
            }
            let read = |what: &'static str| {
                move || format!("what the {what} at {at} says is unknown here")
            };
            if let Some(part) = parts.remove("broker") {
                broker = Some(serde_json::from_value(part).with_context(read("broker"))?);
            }
            if let Some(part) = parts.remove("controller") {
                let part: ControllerAccount =
                    serde_json::from_value(part).with_context(read("controller"))?;
                // Of several controllers the primary one knows.
                if controller.is_none() || part.mastership["state"] == "primary" {
                    controller = Some(part);
                }
            }
        }
        if broker.is_none() && controller.is_none() {
            bail!("neither a broker nor a controller answers there: give their --at, each");
        }
        Ok(Self::of(topic, broker.as_ref(), controller.as_ref()))
    }
}
