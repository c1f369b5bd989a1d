//! Brokers as processes of their own.

use std::fmt;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mqttsn::packet::{Connect, Disconnect};
use mqttsn::types::{PROTOCOL_ID, Seconds};
use mqttsn::{Frame, Packet};
use tempfile::TempDir;
use topicswitch::load::pin_to;

/// How long a broker may take to answer after its start.
const STARTUP: Duration = Duration::from_secs(60);

/// Which CPUs a broker gets and which the generator.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    pub(crate) broker: Vec<usize>,
    pub(crate) generator: Vec<usize>,
}

impl Placement {
    /// The first CPU for the broker and the last for the generator.
    pub(crate) fn of_this_machine() -> anyhow::Result<Self> {
        let all = pin_to(&[0])?;
        let last = all.last().copied().unwrap_or(0);
        pin_to(&[last])?;
        Ok(Placement {
            broker: vec![all.first().copied().unwrap_or(0)],
            generator: vec![last],
        })
    }

    /// The broker may use two CPUs, the generator's among them where there are no more.
    pub(crate) fn two_cpus(&self) -> Self {
        let mut broker = vec![self.broker[0], self.broker[0] + 1];
        broker.retain(|&cpu| cpu <= self.generator[0]);
        Placement {
            broker,
            generator: self.generator.clone(),
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Brokers run on CPU {:?}, the generator on CPU {:?}.",
            self.broker, self.generator
        )
    }
}

/// Which broker, and how it is set up.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Ours, with these arguments to `topicswitch broker`.
    Ours {
        name: &'static str,
        arguments: &'static [&'static str],
        /// Whether it keeps its state in a directory.
        store: bool,
    },
    /// RSMB.
    Rsmb { binary: PathBuf },
}

impl Kind {
    pub(crate) const OURS: Kind = Kind::Ours {
        name: "topicswitch",
        arguments: &[],
        store: false,
    };
    pub(crate) const STORED: Kind = Kind::Ours {
        name: "topicswitch --store",
        arguments: &[],
        store: true,
    };

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Kind::Ours { name, .. } => name,
            Kind::Rsmb { .. } => "RSMB",
        }
    }

    pub(crate) fn describe(&self) -> String {
        match self {
            Kind::Ours { name, .. } => (*name).to_owned(),
            Kind::Rsmb { binary } => format!(
                "RSMB ({}), logging errors only, nothing persisted, queues of a million messages",
                binary.display()
            ),
        }
    }

    /// The command, with its files in `directory`.
    fn command(&self, directory: &Path, port: u16) -> anyhow::Result<Command> {
        match self {
            Kind::Ours {
                arguments, store, ..
            } => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_topicswitch"));
                command
                    .args(["--log", "error", "broker", "--listen"])
                    .arg(format!("127.0.0.1:{port}"))
                    .args(*arguments);
                if *store {
                    command.arg("--store").arg(directory.join("store"));
                }
                Ok(command)
            }
            Kind::Rsmb { binary } => {
                let config = directory.join("rsmb.cfg");
                fs::write(
                    &config,
                    format!(
                        "connection_messages false\nlog_level error\nmax_log_entries 1\n\
                         max_inflight_messages 65535\nmax_queued_messages 1000000\n\
                         retry_interval 60\npersistence false\nlistener {port} 127.0.0.1 mqtts\n"
                    ),
                )?;
                let binary = fs::canonicalize(binary)
                    .with_context(|| format!("PEER_RSMB={}", binary.display()))?;
                let mut command = Command::new(binary);
                command.arg(config);
                Ok(command)
            }
        }
    }
}

/// A running broker. It is killed when dropped.
pub(crate) struct Broker {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    /// From its start to its first answer.
    pub(crate) started_in: Duration,
    child: Child,
    directory: TempDir,
}

impl Broker {
    /// Starts it on its CPUs and waits until it answers.
    pub(crate) fn start(kind: &Kind, placement: &Placement) -> anyhow::Result<Self> {
        Self::start_in(TempDir::new()?, kind, placement)
    }

    /// Kills it and starts it again with the files that it left.
    pub(crate) fn restart(mut self, placement: &Placement) -> anyhow::Result<Self> {
        self.child.kill()?;
        self.child.wait()?;
        let fresh = TempDir::new()?;
        let directory = std::mem::replace(&mut self.directory, fresh);
        Self::start_in(directory, &self.kind, placement)
    }

    fn start_in(directory: TempDir, kind: &Kind, placement: &Placement) -> anyhow::Result<Self> {
        let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let errors = directory.path().join("stderr");
        let mut command = kind.command(directory.path(), port)?;
        command
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors)?);
        pin_to(&placement.broker)?;
        let begun = Instant::now();
        let child = command.spawn();
        pin_to(&placement.generator)?;
        let child = child.with_context(|| format!("cannot start {}", kind.name()))?;
        let mut broker = Broker {
            kind: kind.clone(),
            address: (Ipv4Addr::LOCALHOST, port).into(),
            started_in: Duration::ZERO,
            child,
            directory,
        };
        if let Err(error) = broker.wait_until_it_answers(begun) {
            let said = fs::read_to_string(errors).unwrap_or_default();
            return Err(error.context(format!("{} does not start: {said}", kind.name())));
        }
        broker.started_in = begun.elapsed();
        Ok(broker)
    }

    fn wait_until_it_answers(&mut self, begun: Instant) -> anyhow::Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(self.address)?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let mut buffer = [0; 128];
        let connect = Packet::Connect(Connect {
            will: false,
            clean_session: true,
            protocol_id: PROTOCOL_ID,
            duration: Seconds(0),
            client_id: "probe",
        });
        let disconnect = Packet::Disconnect(Disconnect { duration: None });
        while begun.elapsed() < STARTUP {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended: {status}");
            }
            let length = connect.encode(&mut buffer)?;
            // While nobody listens the system says so, and there is nothing to wait for.
            let _ = socket.send(&buffer[..length]);
            let Ok(length) = socket.recv(&mut buffer) else {
                std::thread::park_timeout(Duration::from_millis(5));
                continue;
            };
            let packet = Frame::decode(&buffer[..length]).and_then(|frame| frame.packet());
            if matches!(packet, Ok(Packet::Connack(_))) {
                let length = disconnect.encode(&mut buffer)?;
                socket.send(&buffer[..length])?;
                return Ok(());
            }
        }
        bail!("no answer within {} s", STARTUP.as_secs())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Octets of the files that it keeps.
    pub(crate) fn stored(&self) -> u64 {
        let files = fs::read_dir(self.directory.path().join("store"));
        let lengths = files.into_iter().flatten().flatten();
        lengths
            .filter_map(|file| file.metadata().ok())
            .map(|metadata| metadata.len())
            .sum()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
