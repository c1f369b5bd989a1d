//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{ContractTlsConfig, LogFormat};

/// MQTT-SN publish/subscribe, taken off the broker's CPU and put into the switch.
#[derive(Debug, Parser)]
#[command(name = "topicswitch", version, max_term_width = 100)]
pub struct Cli {
    /// Configuration file (YAML). Flags override it.
    #[arg(
        long,
        short,
        global = true,
        env = "TOPICSWITCH_CONFIG",
        value_name = "FILE"
    )]
    pub config: Option<PathBuf>,
    /// What to log: a level, or a filter such as `info,controller=debug`.
    #[arg(long, global = true, env = "TOPICSWITCH_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How to log.
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Broker, controller and software switch in one process, on a UDP socket.
    Up(UpArgs),
    /// The MQTT-SN broker; alone, or behind a switch whose controller connects to it.
    Broker(BrokerArgs),
    /// The controller: turns what the broker wants into table entries over P4Runtime.
    Controller(ControllerArgs),
    /// The software switch.
    #[command(subcommand)]
    Sim(SimCommand),
    /// Publish messages.
    Pub(PubArgs),
    /// Subscribe and print what arrives.
    Sub(SubArgs),
    /// Measure a broker, ours or any other that speaks MQTT-SN 1.2.
    Bench(BenchArgs),
    /// What running processes do.
    Status(StatusArgs),
    /// Whether and how one topic is offloaded, and what becomes of a PUBLISH to it.
    Explain(ExplainArgs),
    /// Show the main job: offload off, on, and a controller that is killed.
    Demo(DemoArgs),
    /// Look at configuration files.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// `up`
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Where MQTT-SN clients reach the broker.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Also serve P4Runtime there, for other tools to look at the switch.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub p4runtime: Option<SocketAddr>,
    /// Answer `topicswitch status` there.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub status: Option<SocketAddr>,
    /// More ports of the switch, beside the UDP socket (port 1) and the broker (port 2).
    #[arg(long = "port", value_name = "N=KIND:…")]
    pub ports: Vec<sim::ports::PortConfig>,
    /// Leave every PUBLISH to the broker.
    #[arg(long)]
    pub no_offload: bool,
    /// Keep what must survive a restart in this directory.
    #[arg(long, value_name = "DIRECTORY")]
    pub store: Option<PathBuf>,
}

/// `broker`
#[derive(Debug, Args)]
pub struct BrokerArgs {
    /// Where MQTT-SN clients reach the broker: one IPv4 address, one IPv6 address, or one of each.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Vec<SocketAddr>,
    /// Threads that receive; 0 for one per core.
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Let the network help: serve the contract to a controller there (`contract` of the
    /// configuration when no address is given). The switch must then drop forged tags, so use this
    /// only behind one.
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 0..=1)]
    pub offload: Option<Option<SocketAddr>>,
    /// How broker and controller prove who they are.
    #[command(flatten)]
    pub contract_tls: ContractTlsArgs,
    /// Also take clients over DTLS there: those with a key of the key file, and, with a certificate,
    /// those that want one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub dtls_listen: Option<SocketAddr>,
    /// The server's certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "dtls_key")]
    pub dtls_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE", requires = "dtls_cert")]
    pub dtls_key: Option<PathBuf>,
    /// Who must have signed the certificates of clients (PEM).
    #[arg(long, value_name = "FILE")]
    pub dtls_client_ca: Option<PathBuf>,
    /// The key file: one line a client, `client-id:hexkey`.
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// Answer `topicswitch status` there.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub status: Option<SocketAddr>,
    /// Keep what must survive a restart in this directory.
    #[arg(long, value_name = "DIRECTORY")]
    pub store: Option<PathBuf>,
}

/// TLS between broker and controller.
#[derive(Debug, Default, Args)]
pub struct ContractTlsArgs {
    /// Speak TLS between broker and controller: the authorities (PEM) one of which must have signed the
    /// other side's certificate. Both sides show one.
    #[arg(long, value_name = "FILE")]
    pub contract_ca: Option<PathBuf>,
    /// This side's certificate there (PEM).
    #[arg(long, value_name = "FILE")]
    pub contract_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE")]
    pub contract_key: Option<PathBuf>,
    /// Allow plain text between broker and controller on different hosts.
    #[arg(long)]
    pub contract_insecure: bool,
}

impl ContractTlsArgs {
    /// The configuration with what the flags say.
    #[must_use]
    pub fn over(self, config: ContractTlsConfig) -> ContractTlsConfig {
        ContractTlsConfig {
            ca: self.contract_ca.or(config.ca),
            cert: self.contract_cert.or(config.cert),
            key: self.contract_key.or(config.key),
            server_name: config.server_name,
            insecure: self.contract_insecure || config.insecure,
        }
    }
}

/// `controller`
#[derive(Debug, Args)]
pub struct ControllerArgs {
    /// The switch's P4Runtime address.
    #[arg(long, visible_alias = "p4runtime", value_name = "HOST:PORT")]
    pub switch: Option<String>,
    /// Speak TLS to the switch: certificates of the authorities that may have signed its own (PEM).
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// The controller's certificate chain, for a switch that wants one (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of the certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// The broker's contract address (see `broker --offload`).
    #[arg(long, value_name = "HOST:PORT")]
    pub broker: Option<String>,
    /// How broker and controller prove who they are.
    #[command(flatten)]
    pub contract_tls: ContractTlsArgs,
    /// P4Runtime device id (BMv2: 0 unless started with another).
    #[arg(long, value_name = "N")]
    pub device_id: Option<u64>,
    /// Election id: the controller with the highest one is the primary.
    #[arg(long, value_name = "N")]
    pub election_id: Option<u64>,
    /// What to do while another is primary, or nobody: never, when_vacant or always take over with a
    /// higher election id.
    #[arg(long, value_name = "WHEN")]
    pub takeover: Option<controller::Takeover>,
    /// The switch's ports, for flooding.
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    pub ports: Option<Vec<u16>>,
    /// Compiled program to push instead of the built-in one: p4c's P4Info (text).
    #[arg(long, value_name = "FILE", requires = "json")]
    pub p4info: Option<PathBuf>,
    /// Compiled program to push instead of the built-in one: p4c's BMv2 JSON.
    #[arg(long, value_name = "FILE", requires = "p4info")]
    pub json: Option<PathBuf>,
    /// Only bridge: leave every PUBLISH to the broker.
    #[arg(long)]
    pub no_offload: bool,
    /// Answer `topicswitch status` there.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub status: Option<SocketAddr>,
}

/// `sim …`
#[derive(Debug, Subcommand)]
pub enum SimCommand {
    /// Run a switch.
    Run(Box<SimRunArgs>),
    /// Run one STF test of a P4 program: packets in, packets out, table entries.
    Stf(SimStfArgs),
}

/// `sim stf`
#[derive(Debug, Args)]
#[command(after_long_help = "\
The test's lines are those that p4c's BMv2 driver knows:

  add TABLE [PRIORITY] KEY:VALUE ... ACTION(NAME:VALUE, ...)   setdefault TABLE ACTION(...)
  packet PORT BYTES     expect PORT BYTES     check_counter NAME(INDEX) packets == N     wait

An expected packet is a prefix in hexadecimal digits: `*` is any digit, and `$` behind it says that \
the packet ends there. `expect PORT` alone allows any packets on that port. Compile the program with
`p4c-bm2-ss --arch v1model -o PROGRAM.json PROGRAM.p4`. The exit status is 0 only if the test passes.")]
pub struct SimStfArgs {
    /// p4c's BMv2 JSON of the program.
    #[arg(value_name = "PROGRAM.json")]
    pub program: PathBuf,
    /// The test.
    #[arg(value_name = "TEST.stf")]
    pub test: PathBuf,
    /// P4Info (text) of the program: its aliases can then be used as names.
    #[arg(long, value_name = "FILE")]
    pub p4info: Option<PathBuf>,
    /// Print what each packet meets: parser states, tables, actions, clones, drops.
    #[arg(long)]
    pub trace: bool,
    /// Packets on ports that the test does not mention are errors too.
    #[arg(long)]
    pub strict: bool,
}

/// `sim run`
#[derive(Debug, Args)]
pub struct SimRunArgs {
    /// P4Info (text) of a program to start with; without it a controller pushes one.
    #[arg(long, value_name = "FILE", requires = "json")]
    pub p4info: Option<PathBuf>,
    /// p4c's BMv2 JSON of the program.
    #[arg(long, value_name = "FILE", requires = "p4info")]
    pub json: Option<PathBuf>,
    /// Serve P4Runtime there.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub p4runtime: Option<SocketAddr>,
    /// A port: `1=af-packet:veth0`, `2=udp:127.0.0.1:1884`, `3=pcap:in.pcap,out.pcap`. Give one
    /// flag a port.
    #[arg(long = "port", value_name = "N=KIND:…")]
    pub ports: Vec<sim::ports::PortConfig>,
    /// Device id that P4Runtime clients must name.
    #[arg(long, value_name = "N")]
    pub device_id: Option<u64>,
    /// Port number of packet-in and packet-out.
    #[arg(long, value_name = "N")]
    pub cpu_port: Option<u32>,
    /// Threads that move packets; the ports are dealt out to them in turn.
    #[arg(long, value_name = "N")]
    pub workers: Option<std::num::NonZeroUsize>,
    /// How long a worker looks again and again for the next frame before it sleeps, in
    /// microseconds: less latency, at the price of a core.
    #[arg(long, value_name = "N")]
    pub spin_us: Option<u64>,
    /// Have the resources of another target: unlimited, bmv2 or tofino.
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<sim::server::Profile>,
    /// Behave as the specification says (spec), or as BMv2's P4Runtime server (bmv2).
    #[arg(long, value_name = "WHOSE")]
    pub compat: Option<sim::server::Compat>,
    /// Take so many updates a second; more are RESOURCE_EXHAUSTED.
    #[arg(long, value_name = "N")]
    pub updates_per_second: Option<u64>,
    /// Let something go wrong, to test a controller: refuse every n-th update, drop the stream,
    /// restart without entries. Give one flag a fault.
    #[arg(
        long = "fail",
        value_name = "FAULT",
        long_help = "\
Let something go wrong, to test a controller. Give one flag a fault:
  write:every=N[,code=NAME]             refuse every n-th update
  stream:after=N                        end each stream with its n-th message
  stream:every=TIME                     end all streams each so often (500ms, 5s)
  restart:after=N[,pipeline=lost]       restart after each n-th update, without entries
  restart:every=TIME[,pipeline=lost]    restart each so often
  restart:signal=USR1[,pipeline=lost]   restart when the process gets SIGUSR1"
    )]
    pub faults: Vec<sim::server::Fault>,
    /// Speak TLS, with this certificate chain (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of the certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Let in only clients with a certificate of these authorities (PEM).
    #[arg(long, value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Answer `topicswitch status` there.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub status: Option<SocketAddr>,
}

/// How a client finds its broker.
#[derive(Debug, Args)]
pub struct ClientArgs {
    /// The broker.
    #[arg(
        long,
        short,
        default_value = "127.0.0.1:1884",
        value_name = "ADDRESS:PORT"
    )]
    pub broker: SocketAddr,
    /// Client id, 1 to 23 characters.
    #[arg(long, short = 'i', value_name = "ID")]
    pub client_id: Option<String>,
    /// Keep alive, in seconds.
    #[arg(long, short = 'k', default_value_t = 60, value_name = "SECONDS")]
    pub keep_alive: u16,
    /// Whether and how to speak DTLS.
    #[command(flatten)]
    pub dtls: DtlsArgs,
}

/// How a client proves who it is, and knows its broker.
#[derive(Debug, Args)]
#[command(next_help_heading = "DTLS")]
#[command(group(clap::ArgGroup::new("known_by").args(["psk_key", "psk_file", "ca"])))]
pub struct DtlsArgs {
    /// Speak DTLS 1.2 to the broker: with --psk-key, --psk-file or --ca.
    #[arg(long, requires = "known_by")]
    pub dtls: bool,
    /// Identity of the pre-shared key. Default: the client id, and the other way round.
    #[arg(long, value_name = "ID", requires = "dtls", conflicts_with = "ca")]
    pub psk_identity: Option<String>,
    /// The pre-shared key in hexadecimal. Other users of this machine see it; --psk-file is better.
    #[arg(long, value_name = "HEX", requires = "dtls")]
    pub psk_key: Option<String>,
    /// A file as the broker's key file, with a line `identity:hexkey`.
    #[arg(long, value_name = "FILE", requires = "dtls")]
    pub psk_file: Option<PathBuf>,
    /// The authorities (PEM) one of which has signed the broker's certificate.
    #[arg(long, value_name = "FILE", requires = "dtls")]
    pub ca: Option<PathBuf>,
    /// The name in the broker's certificate. Default: its IP address.
    #[arg(long, value_name = "NAME", requires = "ca")]
    pub server_name: Option<String>,
    /// The client's certificate (PEM); its common name is the client id.
    #[arg(long, value_name = "FILE", requires_all = ["ca", "key"])]
    pub cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
}

/// `pub`
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["topic", "predefined"])))]
#[command(group(clap::ArgGroup::new("payload").required(true).args(["message", "file", "lines"])))]
pub struct PubArgs {
    /// Who and where.
    #[command(flatten)]
    pub client: ClientArgs,
    /// Topic name. One of two octets is sent as a short topic name.
    #[arg(long, short)]
    pub topic: Option<String>,
    /// Predefined topic id instead of a name.
    #[arg(long, value_name = "ID")]
    pub predefined: Option<u16>,
    /// QoS: -1, 0, 1 or 2. At -1 no connection is made (predefined ids and short names only).
    #[arg(long, short, default_value_t = 0, allow_negative_numbers = true, value_parser = clap::value_parser!(i8).range(-1..=2))]
    pub qos: i8,
    /// Let the broker keep the message for later subscribers.
    #[arg(long, short)]
    pub retain: bool,
    /// The message.
    #[arg(long, short)]
    pub message: Option<String>,
    /// Send the contents of a file as one message.
    #[arg(long, short, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Send each line of standard input as a message.
    #[arg(long, short)]
    pub lines: bool,
}

/// `sub`
#[derive(Debug, Args)]
pub struct SubArgs {
    /// Who and where.
    #[command(flatten)]
    pub client: ClientArgs,
    /// Topic name or filter (`+`, `#`); may be given several times. A name of two octets is
    /// subscribed to as a short topic name.
    #[arg(long, short, value_name = "FILTER")]
    pub topic: Vec<String>,
    /// Predefined topic id; may be given several times.
    #[arg(long, value_name = "ID")]
    pub predefined: Vec<u16>,
    /// QoS asked for: 0, 1 or 2.
    #[arg(long, short, default_value_t = 0, value_parser = clap::value_parser!(i8).range(0..=2))]
    pub qos: i8,
    /// Stop after this many messages.
    #[arg(long, short = 'C', value_name = "N")]
    pub count: Option<u64>,
    /// Keep the session of an earlier run (its subscriptions and queued messages).
    #[arg(long)]
    pub no_clean: bool,
    /// Print topic, QoS and flags before each message.
    #[arg(long, short)]
    pub verbose: bool,
}

/// `bench`
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("pace").args(["rate", "max"])))]
pub struct BenchArgs {
    /// The broker.
    #[arg(
        long,
        short,
        default_value = "127.0.0.1:1884",
        value_name = "HOST:PORT"
    )]
    pub broker: String,
    /// Clients that publish.
    #[arg(long, short, default_value_t = 1, value_name = "N")]
    pub publishers: usize,
    /// Clients that subscribe.
    #[arg(long, short, default_value_t = 1, value_name = "N")]
    pub subscribers: usize,
    /// Topics: publisher and subscriber number i use topic i modulo this.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub topics: usize,
    /// Octets of payload, 24 to 1400.
    #[arg(long, default_value_t = 100, value_name = "OCTETS")]
    pub size: usize,
    /// QoS of publications and subscriptions: 0, 1 or 2.
    #[arg(long, short, default_value_t = 0, value_parser = clap::value_parser!(i8).range(0..=2))]
    pub qos: i8,
    /// Publish so many messages a second, all publishers together. Latency counts from the time at
    /// which a message was due.
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// Publish as fast as the broker delivers (the default).
    #[arg(long)]
    pub max: bool,
    /// With --max: publications on their way at most. Lossless as long as they fit the receive
    /// buffers, the broker's too.
    #[arg(long, default_value_t = 128, value_name = "N", conflicts_with = "rate")]
    pub window: u32,
    /// Seconds that count.
    #[arg(long, short, default_value_t = 5.0, value_name = "SECONDS")]
    pub duration: f64,
    /// Seconds before them that do not.
    #[arg(long, default_value_t = 0.5, value_name = "SECONDS")]
    pub warmup: f64,
    /// Subscribe in sessions that outlast the connection (CleanSession 0).
    #[arg(long)]
    pub persistent: bool,
    /// Messages of one publisher in one system call, 1 to 64.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub burst: u8,
    /// Send such a burst with UDP GSO, as a network card would take it.
    #[arg(long)]
    pub gso: bool,
    /// Receive with UDP GRO, as a network card would hand it over.
    #[arg(long)]
    pub gro: bool,
    /// Sleep while there is nothing to do: less CPU time here, and less exact times.
    #[arg(long)]
    pub sleep: bool,
    /// T_retry at QoS 1 and 2, in seconds.
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    pub retry: f64,
    /// The broker's process on this machine: report its CPU time and memory.
    #[arg(long, value_name = "PID")]
    pub broker_pid: Option<u32>,
    /// Run the generator on this CPU only.
    #[arg(long, value_name = "N")]
    pub cpu: Option<usize>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// `status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Where a process answers; several times for broker, controller and switch apart.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub at: Vec<SocketAddr>,
    /// Print JSON: everything that each part says.
    #[arg(long)]
    pub json: bool,
    /// Print everything that each part says, as text.
    #[arg(long, conflicts_with = "json")]
    pub all: bool,
}

/// `explain`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The topic's name, whether anybody uses it or not.
    pub topic: String,
    /// Where a process answers; several times for broker and controller apart.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub at: Vec<SocketAddr>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Messages published in each of the two main phases.
    #[arg(long, default_value_t = 5000, value_name = "N", value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    pub messages: u64,
}

/// `config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether a file is right, and what is wrong with it.
    Check {
        /// The file.
        file: PathBuf,
    },
}
