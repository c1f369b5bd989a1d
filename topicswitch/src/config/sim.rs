//! The software switch's part of the configuration.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use sim::server::{Compat, Profile};

/// The software switch.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimConfig {
    /// Device id that P4Runtime clients must name. Default 1.
    pub device_id: u64,
    /// The port number of packet-in and packet-out. Default 510.
    pub cpu_port: u32,
    /// Where P4Runtime is served. Default 127.0.0.1:9559.
    pub p4runtime: SocketAddr,
    /// TLS where P4Runtime is served.
    pub tls: SimTlsConfig,
    /// Threads that move packets; the ports are dealt out to them in turn. Default 1.
    pub workers: std::num::NonZeroUsize,
    /// How long a worker looks again and again for the next frame before it sleeps, in microseconds.
    /// Default: about what being woken costs, or not at all where there is one CPU.
    pub spin_us: Option<u64>,
    /// Ports, each `NUMBER=af-packet:INTERFACE`, `NUMBER=udp:ADDRESS:PORT[,…]` or
    /// `NUMBER=pcap:IN,OUT[,pace]`. Default none.
    pub ports: Vec<String>,
    /// Whose resources to have: `unlimited`, `bmv2` or `tofino`. Default `unlimited`.
    #[serde(deserialize_with = "parsed")]
    pub profile: Profile,
    /// Whose behaviour to show where BMv2's P4Runtime server and the specification differ: `spec` or
    /// `bmv2`. Default `spec`.
    #[serde(deserialize_with = "parsed")]
    pub compat: Compat,
    /// The updates that P4Runtime takes a second; a tenth of them may come at once. Default: the
    /// profile's.
    pub updates_per_second: Option<u64>,
}

impl Default for SimConfig {
    fn default() -> Self {
        SimConfig {
            device_id: 1,
            cpu_port: 510,
            p4runtime: SocketAddr::from(([127, 0, 0, 1], 9559)),
            tls: SimTlsConfig::default(),
            workers: std::num::NonZeroUsize::MIN,
            spin_us: None,
            ports: Vec::new(),
            profile: Profile::default(),
            compat: Compat::default(),
            updates_per_second: None,
        }
    }
}

/// Who the P4Runtime server is, and whom it lets in. Files in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimTlsConfig {
    /// The server's certificate chain. Default: no TLS.
    pub cert: Option<PathBuf>,
    /// The key of that certificate.
    pub key: Option<PathBuf>,
    /// Certificates of the authorities that must have signed a client's. Default: every client is let
    /// in.
    pub client_ca: Option<PathBuf>,
}

fn parsed<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = String::deserialize(from)?;
    text.parse().map_err(serde::de::Error::custom)
}
