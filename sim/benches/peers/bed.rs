//! The network and the processes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::unistd::Pid;
use sim::ports::{Port, PortConfig, open_all};
use sim::runtime::{Runtime, RuntimeConfig};
use sim::server::serve_tcp;

/// Where every switch serves P4Runtime, in the namespace.
pub(crate) const GRPC: &str = "127.0.0.1:9559";
const GENERATOR_CPU: usize = 0;
const SWITCH_CPU: &str = "1";

/// Runs a command and says whether it worked.
fn run(command: &str) -> bool {
    let mut words = command.split_whitespace();
    let program = words.next().expect("a command");
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Binds this thread, and those it starts later, to the generator's CPU.
pub(crate) fn pin_generator() {
    let mut cpus = CpuSet::new();
    cpus.set(GENERATOR_CPU).expect("a CPU number");
    sched_setaffinity(Pid::from_raw(0), &cpus).expect("two CPUs");
}

/// A namespace of this process's own with two veth pairs, gen1-sw1 and gen2-sw2.
pub(crate) struct Bed;

impl Bed {
    pub(crate) fn new() -> Option<Self> {
        let tools = ["ip -V", "ethtool --version", "taskset --version"];
        let cpus = std::thread::available_parallelism().is_ok_and(|n| n.get() > 1);
        if !cpus
            || !tools.iter().all(|tool| run(tool))
            || unshare(CloneFlags::CLONE_NEWNET).is_err()
        {
            return None;
        }
        for kind in ["all", "default"] {
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{kind}/disable_ipv6"), "1");
        }
        let mut made = run("ip link set lo up");
        for pair in ["1", "2"] {
            made &= run(&format!(
                "ip link add gen{pair} type veth peer name sw{pair}"
            ));
            for end in ["gen", "sw"] {
                let name = format!("{end}{pair}");
                made &= run(&format!(
                    "ethtool -K {name} tx off rx off gso off gro off tso off"
                ));
                made &= run(&format!("ip link set {name} up"));
            }
        }
        pin_generator();
        made.then_some(Bed)
    }
}

/// Set for a switch that is to spin.
const SPINS: &str = "SIM_SPINS";

/// Who is measured.
pub(crate) enum Peer {
    Sim,
    /// That never sleeps while frames come, as testpmd never does.
    SpinningSim,
    Bmv2(PathBuf),
    Testpmd(PathBuf),
}

impl Peer {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Peer::Sim => "sim",
            Peer::SpinningSim => "spinning sim",
            Peer::Bmv2(_) => "bmv2",
            Peer::Testpmd(_) => "testpmd",
        }
    }

    /// Its device id, if it is programmed.
    pub(crate) fn device(&self) -> Option<u64> {
        match self {
            Peer::Sim | Peer::SpinningSim => Some(1),
            Peer::Bmv2(_) => Some(0),
            Peer::Testpmd(_) => None,
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", SWITCH_CPU]);
        match self {
            Peer::Sim | Peer::SpinningSim => {
                if matches!(self, Peer::SpinningSim) {
                    command.env(SPINS, "1");
                }
                let own = std::env::current_exe().expect("this program has a path");
                command
                    .arg(own)
                    .args(["--switch", "1=af-packet:sw1", "2=af-packet:sw2"]);
            }
            Peer::Bmv2(path) => {
                command
                    .arg(path)
                    .args(["-i", "1@sw1", "-i", "2@sw2", "--no-p4", "--"]);
                command.args(["--grpc-server-addr", GRPC, "--cpu-port", "510"]);
            }
            Peer::Testpmd(path) => {
                command.arg(path).args([
                    "--lcores",
                    "0@1,1@1",
                    "--no-pci",
                    "--no-huge",
                    "-m",
                    "512",
                ]);
                command.arg(format!("--file-prefix=peers{}", std::process::id()));
                command.args(["--vdev", "net_af_packet0,iface=sw1"]);
                command.args(["--vdev", "net_af_packet1,iface=sw2"]);
                command.args([
                    "--",
                    "--forward-mode=io",
                    "--auto-start",
                    "--stats-period=3600",
                ]);
                command.arg("--total-num-mbufs=16384");
            }
        }
        command
    }
}

/// A switch that runs; ended when dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(_bed: &Bed, peer: &Peer) -> Self {
        let mut command = peer.command();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Process(command.spawn().expect("taskset was there a moment ago"))
    }

    /// User and system time of all its threads so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()));
        let stat = stat.expect("the switch runs");
        // Behind the name, which is in parentheses, utime and stime are the 12th and 13th.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
        (ticks(11) + ticks(12)) / 100.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The switch of this crate as a process of its own: until its standard input ends.
pub(crate) fn serve(ports: Vec<String>) {
    let ports: Vec<PortConfig> = ports
        .iter()
        .map(|port| port.parse().expect("a port"))
        .collect();
    let ports = open_all(&ports).expect("they open");
    let running = start(ports, 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drop(stop);
    });
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(GRPC).await.expect("free");
        let ended = async {
            let _ = stopped.await;
        };
        let served = serve_tcp(running.service(), listener, ended).await;
        served.expect("serves");
    });
}

/// Gives a switch with these ports its threads.
pub(crate) fn start(
    ports: Vec<(u32, Box<dyn Port>)>,
    workers: usize,
) -> sim::runtime::RunningRuntime {
    let config = RuntimeConfig {
        workers,
        spin: std::env::var_os(SPINS).map(|_| std::time::Duration::from_millis(100)),
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::new(config, ports).expect("distinct ports");
    runtime.start().expect("threads")
}

/// A file of this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Makes the calling thread yield the CPU to any other that wants it.
pub(crate) fn give_way() {
    let thread = nix::unistd::gettid();
    // It may have inherited a real-time policy, under which niceness means nothing.
    run(&format!("chrt --other --pid 0 {thread}"));
    assert!(run(&format!("renice -n 19 -p {thread}")), "renice");
}
