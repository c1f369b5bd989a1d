//! The controller: turns what the broker wants into table entries of a P4 switch.
//!
//! It takes the broker's [`offload::Intent`], plans the rows that one switch should hold for it, and
//! writes the difference over P4Runtime: make before break, in batches that never leave a topic
//! pointing at a group that is not there. It learns who lives where from the switch's digests, says
//! what it refuses and why, and renews the lease only while nothing is overdue.
//!
//! It knows no octet of MQTT-SN (an alias is two bits and a number), decides nothing about who may
//! publish or subscribe, and keeps nothing across restarts: it reads the switch back.
//!
//! ```no_run
//! # async fn example(pipeline: controller::PipelineConfig) -> Result<(), controller::ControllerError> {
//! let config = controller::Config { ports: vec![1, 2, 3], ..Default::default() };
//! let (controller, _handle) = controller::Controller::new(config, pipeline)?;
//! let (_broker, end) = offload::link(); // the broker's end goes to the broker
//! let mut end = Some(end);
//! let broker = move || std::future::ready(end.take().ok_or_else(|| "the broker is gone".into()));
//! controller.run(broker, tokio_util::sync::CancellationToken::new()).await
//! # }
//! ```
//!
//! Rooms: [`tables`] (one file per P4 table), [`device`] (one switch's controller without I/O:
//! planning, refusals, revisions), [`apply`] (batches and their failures), [`lease`], [`learning`],
//! [`policy`], [`target`] (the switch behind a trait), and the reconciler that ties them together.
#![forbid(unsafe_code)]

pub mod apply;
mod batches;
mod cache;
mod config;
pub mod constants;
pub mod device;
mod explain;
mod fullness;
mod groups;
mod hot;
mod index;
mod infrastructure;
pub mod installed;
mod latency;
pub mod learning;
pub mod lease;
mod membership;
mod places;
mod plan;
pub mod policy;
mod reconciler;
mod refusals;
mod schedule;
mod shares;
mod standby;
mod status;
pub mod tables;
pub mod target;
mod turns;
mod withdrawn;

pub use cache::CacheStatus;
pub use config::{CacheConfig, Config, ConfigError, OnBrokerLoss, Takeover, TlsConfig, Vlan};
pub use explain::{Member, PublicationReport, Selected, TopicReport, TopicState};
pub use hot::HotConfig;
pub use latency::InstallLatency;
pub use policy::Policy;
pub use reconciler::{Connector, Controller, ControllerError, LinkError, run};
pub use status::{EndpointStatus, Handle, Mastership, Status, Stopped};
pub use target::{PipelineConfig, PipelineError};
