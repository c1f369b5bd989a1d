//! How an operator writes a port: `N=KIND:…`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;

use super::frame::MacAddr;

/// The MAC address that frames from a `udp` port are addressed to unless `mac=` says otherwise.
pub const DEFAULT_SERVICE_MAC: MacAddr = MacAddr([0x02, 0x00, 0x54, 0x53, 0x00, 0x01]);

/// A port's number and what is behind it.
///
/// ```
/// use sim::ports::{PortConfig, PortSpec};
/// let port: PortConfig = "1=udp:127.0.0.1:1884".parse()?;
/// assert_eq!(port.number, 1);
/// assert!(matches!(port.spec, PortSpec::Udp(_)));
/// # Ok::<(), sim::ports::PortSpecError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortConfig {
    /// The data plane's number of the port (`ingress_port`, `egress_port`): 1 to 509
    /// (v1model's ports have 9 bits; 510 is the CPU port, 511 drops).
    pub number: u32,
    /// What is behind it.
    pub spec: PortSpec,
}

/// What is behind a port.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortSpec {
    /// A queue pair inside this process, by name.
    Mem(String),
    /// A UDP socket whose datagrams become frames.
    Udp(UdpSpec),
    /// A network interface (veth, NIC), by name.
    AfPacket(String),
    /// Capture files.
    Pcap(PcapSpec),
}

/// A `pcap` port: `pcap:IN,OUT[,pace]`, where IN or OUT may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PcapSpec {
    /// The capture whose frames come in.
    pub input: Option<PathBuf>,
    /// Where frames that go out are written; what the file held is lost.
    pub output: Option<PathBuf>,
    /// Frames come at the distances of their times in the capture, and not as fast as possible.
    pub pace: bool,
}

/// A `udp` port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpSpec {
    /// Where the socket is bound.
    pub bind: SocketAddrV4,
    /// Destination MAC address of the frames made from datagrams: that of the service behind the
    /// switch.
    pub mac: MacAddr,
    /// The port's own MAC address, source of those frames: to the switch all peers live behind
    /// it, as behind a router. `None`: [`UdpSpec::default_gateway_mac`].
    pub gateway_mac: Option<MacAddr>,
    /// Destination IPv4 address of those frames when the socket is bound to 0.0.0.0.
    pub local: Option<Ipv4Addr>,
}

impl UdpSpec {
    /// A port bound to `bind` with every option at its default.
    pub fn new(bind: SocketAddrV4) -> Self {
        UdpSpec {
            bind,
            mac: DEFAULT_SERVICE_MAC,
            gateway_mac: None,
            local: None,
        }
    }

    /// The locally administered MAC address of port `number`: `02:00:54:53:01:00` plus the number
    /// in the last two bytes' place (`02:54:HH:HH:LL:LL` with all 32 bits).
    pub fn default_gateway_mac(number: u32) -> MacAddr {
        let [a, b, c, d] = number.to_be_bytes();
        MacAddr([0x02, 0x54, a, b, c, d])
    }
}

/// Why a text is not a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortSpecError {
    /// No `=`.
    #[error("port `{0}` has no number: write N=KIND:…, like 1=udp:127.0.0.1:1884")]
    NoNumber(String),
    /// The part in front of `=` is not a port number.
    #[error("`{0}` is not a port number: take one from 1 to 509 (510 is the CPU port, 511 drops)")]
    BadNumber(String),
    /// The kind is not known.
    #[error(
        "`{0}` is not a kind of port: there are af-packet:IFACE, udp:ADDR:PORT, pcap:IN,OUT \
             and mem:NAME"
    )]
    UnknownKind(String),
    /// A name is missing.
    #[error("`{0}` names nothing: write {0}:NAME")]
    NoName(&'static str),
    /// A udp port's address is not one.
    #[error("`{0}` is not an IPv4 address and port: write udp:ADDR:PORT, like udp:127.0.0.1:1884")]
    BadAddress(String),
    /// A udp port's option is not known.
    #[error("`{0}` is not an option of a udp port: there are mac=, gateway-mac= and local=")]
    UnknownOption(String),
    /// A udp port's option has a value that is not of its kind.
    #[error("option {option} of a udp port: {reason}")]
    BadOption {
        /// The option's name.
        option: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// A pcap port with neither file, or with more than the files and `pace`.
    #[error(
        "`{0}` is no pcap port: write pcap:IN,OUT, like pcap:in.pcap,out.pcap; either may be left \
         out (pcap:in.pcap or pcap:,out.pcap), and `,pace` behind them keeps the times of IN"
    )]
    BadPcap(String),
    /// Bound to 0.0.0.0 without `local=`.
    #[error(
        "udp:{0} listens on every address, so frames need a destination address: add \
         local=ADDR, the address that clients send to"
    )]
    NoLocal(SocketAddrV4),
}

impl FromStr for PortConfig {
    type Err = PortSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, spec) = text
            .split_once('=')
            .ok_or_else(|| PortSpecError::NoNumber(text.to_owned()))?;
        let number = number
            .parse()
            .ok()
            .filter(|n| (1..=509).contains(n))
            .ok_or_else(|| PortSpecError::BadNumber(number.to_owned()))?;
        Ok(PortConfig {
            number,
            spec: spec.parse()?,
        })
    }
}

impl fmt::Display for PortConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.number, self.spec)
    }
}

impl FromStr for PortSpec {
    type Err = PortSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let name = |kind| match rest {
            "" => Err(PortSpecError::NoName(kind)),
            name => Ok(name.to_owned()),
        };
        match kind {
            "mem" => Ok(PortSpec::Mem(name("mem")?)),
            "af-packet" => Ok(PortSpec::AfPacket(name("af-packet")?)),
            "pcap" => Ok(PortSpec::Pcap(parse_pcap(rest)?)),
            "udp" => Ok(PortSpec::Udp(parse_udp(rest)?)),
            _ => Err(PortSpecError::UnknownKind(kind.to_owned())),
        }
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortSpec::Mem(name) => write!(f, "mem:{name}"),
            PortSpec::AfPacket(interface) => write!(f, "af-packet:{interface}"),
            PortSpec::Pcap(PcapSpec {
                input,
                output,
                pace,
            }) => {
                let name = |path: &Option<PathBuf>| {
                    path.as_ref()
                        .map(|path| path.display().to_string())
                        .unwrap_or_default()
                };
                write!(f, "pcap:{}", name(input))?;
                if output.is_some() || *pace {
                    write!(f, ",{}", name(output))?;
                }
                if *pace {
                    write!(f, ",pace")?;
                }
                Ok(())
            }
            PortSpec::Udp(udp) => {
                write!(f, "udp:{}", udp.bind)?;
                if udp.mac != DEFAULT_SERVICE_MAC {
                    write!(f, ",mac={}", udp.mac)?;
                }
                if let Some(mac) = udp.gateway_mac {
                    write!(f, ",gateway-mac={mac}")?;
                }
                if let Some(local) = udp.local {
                    write!(f, ",local={local}")?;
                }
                Ok(())
            }
        }
    }
}

fn parse_udp(text: &str) -> Result<UdpSpec, PortSpecError> {
    let mut parts = text.split(',');
    let address = parts.next().unwrap_or("");
    let bind: SocketAddrV4 = address
        .parse()
        .map_err(|_| PortSpecError::BadAddress(address.to_owned()))?;
    let mut spec = UdpSpec::new(bind);
    for part in parts {
        match part.split_once('=') {
            Some(("mac", value)) => spec.mac = parse_mac("mac", value)?,
            Some(("gateway-mac", value)) => {
                spec.gateway_mac = Some(parse_mac("gateway-mac", value)?);
            }
            Some(("local", value)) => {
                spec.local = Some(value.parse().map_err(|_| PortSpecError::BadOption {
                    option: "local",
                    reason: format!("`{value}` is not an IPv4 address"),
                })?);
            }
            _ => return Err(PortSpecError::UnknownOption(part.to_owned())),
        }
    }
    if bind.ip().is_unspecified() && spec.local.is_none() {
        return Err(PortSpecError::NoLocal(bind));
    }
    Ok(spec)
}

fn parse_pcap(text: &str) -> Result<PcapSpec, PortSpecError> {
    let bad = || PortSpecError::BadPcap(format!("pcap:{text}"));
    let mut parts = text.split(',');
    let mut path = || {
        let part = parts.next().unwrap_or("");
        (!part.is_empty()).then(|| PathBuf::from(part))
    };
    let (input, output) = (path(), path());
    let pace = match parts.next() {
        None => false,
        Some("pace") => true,
        Some(_) => return Err(bad()),
    };
    let nothing_to_pace = pace && input.is_none();
    if parts.next().is_some() || nothing_to_pace || (input.is_none() && output.is_none()) {
        return Err(bad());
    }
    Ok(PcapSpec {
        input,
        output,
        pace,
    })
}

fn parse_mac(option: &'static str, value: &str) -> Result<MacAddr, PortSpecError> {
    let bad = |reason: String| PortSpecError::BadOption { option, reason };
    let mac: MacAddr = value
        .parse()
        .map_err(|error: super::MacAddrError| bad(error.to_string()))?;
    if mac.is_group() {
        return Err(bad(format!("{mac} names a group of stations, not one")));
    }
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_as_written() {
        for text in [
            "1=mem:broker",
            "2=af-packet:veth0",
            "3=udp:127.0.0.1:1884",
            "5=pcap:in.pcap,out.pcap",
            "5=pcap:in.pcap",
            "5=pcap:,out.pcap",
            "5=pcap:in.pcap,,pace",
            "4=udp:0.0.0.0:1884,mac=02:00:00:00:00:09,gateway-mac=02:00:00:00:00:08,local=192.0.2.1",
        ] {
            let port: PortConfig = text.parse().expect("valid");
            assert_eq!(port.to_string(), text);
        }
    }

    #[test]
    fn wrong_ports_are_refused_with_the_wrong_part_named() {
        for (text, wanted) in [
            ("udp:127.0.0.1:1884", "has no number"),
            ("x=mem:a", "`x`"),
            ("0=mem:a", "`0`"),
            ("510=mem:a", "CPU port"),
            ("512=mem:a", "`512`"),
            ("1=dpdk:0", "`dpdk`"),
            ("1=mem", "mem:NAME"),
            ("1=af-packet:", "af-packet:NAME"),
            ("1=pcap:", "pcap:IN,OUT"),
            ("1=pcap:,out.pcap,pace", "pcap:IN,OUT"),
            ("1=pcap:in,out,fast", "`pcap:in,out,fast`"),
            ("1=udp:localhost:1884", "`localhost:1884`"),
            ("1=udp:127.0.0.1:1884,mtu=9", "`mtu=9`"),
            ("1=udp:127.0.0.1:1884,mac=1", "`1`"),
            (
                "1=udp:127.0.0.1:1884,mac=ff:ff:ff:ff:ff:ff",
                "group of stations",
            ),
            ("1=udp:127.0.0.1:1884,local=here", "`here`"),
            ("1=udp:0.0.0.0:1884", "local=ADDR"),
        ] {
            let error = text.parse::<PortConfig>().expect_err(text).to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
