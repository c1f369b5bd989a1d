//! A controller in this process.

use std::sync::Arc;

use controller::{Config, Controller, Handle, LinkError, PipelineConfig};
use offload::{BrokerEnd, ControllerEnd};
use tokio::sync::mpsc;
use tonic::transport::Channel;

use super::{Program, Tasks};
use crate::contract::RemoteBroker;

/// How the controller reaches its switch.
pub enum Switch {
    /// Over TCP, at `controller.switch` of the configuration.
    Configured,
    /// Over a channel that is there already.
    Channel(Channel),
}

/// How the controller reaches its broker.
pub enum Broker {
    /// In this process.
    Local(mpsc::Sender<BrokerEnd>),
    /// Over gRPC.
    Remote(Box<RemoteBroker>),
}

impl Broker {
    async fn link(self: Arc<Self>) -> Result<ControllerEnd, LinkError> {
        match &*self {
            Broker::Local(links) => {
                let (broker, controller) = offload::link();
                links
                    .send(broker)
                    .await
                    .map_err(|_| "the broker has stopped")?;
                Ok(controller)
            }
            Broker::Remote(broker) => broker.link().await,
        }
    }
}

/// Starts a controller.
///
/// # Errors
/// A configuration that it refuses, or a program that it is not for.
pub fn run_controller(
    config: Config,
    program: Program,
    switch: Switch,
    broker: Broker,
    tasks: &Tasks,
) -> anyhow::Result<Handle> {
    let pipeline = PipelineConfig {
        p4info: Arc::new(program.p4info),
        device_config: program.json,
    };
    let (mut controller, handle) = Controller::new(config, pipeline)?;
    if let Switch::Channel(channel) = switch {
        controller = controller.with_channel(channel);
    }
    let shutdown = tasks.shutdown();
    let broker = Arc::new(broker);
    tasks.spawn("controller", async move {
        Ok(controller
            .run(move || broker.clone().link(), shutdown)
            .await?)
    });
    Ok(handle)
}
