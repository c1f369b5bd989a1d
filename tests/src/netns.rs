//! Network namespaces, veth pairs between them, and raw access to an interface.
//!
//! A namespace has no name that could collide or be left behind: it lives as long as somebody
//! holds it open or runs in it, so that nothing remains even of a killed test.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::process::Command;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use sim::ports::{AfPacketPort, Port, PortSender};

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    file: File,
}

/// Whether this process may make network namespaces and has the tool to configure them.
pub fn available() -> bool {
    crate::on_path("ip").is_some() && Namespace::new().is_ok()
}

impl Namespace {
    /// A new namespace with `lo` up and without IPv6, which would talk unasked.
    ///
    /// # Errors
    /// The system's: it takes the rights of root.
    pub fn new() -> std::io::Result<Self> {
        let file = on_thread(|| -> std::io::Result<File> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        })?;
        let namespace = Namespace { file };
        namespace.run(|| -> std::io::Result<()> {
            for kind in ["all", "default"] {
                let switch = format!("/proc/sys/net/ipv6/conf/{kind}/disable_ipv6");
                match std::fs::write(switch, "1") {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(error);
                    }
                    _ => {}
                }
            }
            Ok(())
        })?;
        namespace.ip("link set lo up");
        Ok(namespace)
    }

    /// Runs `work` on a thread in the namespace. Sockets made and processes started there stay in
    /// the namespace.
    ///
    /// # Panics
    /// As `work` does, or when the namespace cannot be entered.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        on_thread(|| {
            setns(&self.file, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
            work()
        })
    }

    /// Runs `ip` with these arguments in the namespace.
    ///
    /// # Panics
    /// When it fails.
    pub fn ip(&self, arguments: &str) {
        let output = self.run(|| {
            Command::new("ip")
                .args(arguments.split_whitespace())
                .output()
        });
        let output = output.expect("ip is on PATH");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip {arguments}: {message}");
    }

    /// Connects `name` here to `other_name` in `other` (which may be this one), both up.
    ///
    /// # Panics
    /// When `ip` fails.
    pub fn veth(&self, name: &str, other: &Namespace, other_name: &str) {
        let other_file = format!("/proc/{}/fd/{}", std::process::id(), other.file.as_raw_fd());
        self.ip(&format!(
            "link add {name} type veth peer name {other_name} netns {other_file}"
        ));
        self.ip(&format!("link set {name} up"));
        other.ip(&format!("link set {other_name} up"));
    }

    /// Lets the kernel compute the checksums of what it sends there: BMv2 passes on as it came what is
    /// left for a NIC to do, and sim does it.
    ///
    /// # Panics
    /// When `ethtool` is not on PATH, or fails.
    pub fn leave_nothing_to_the_nic(&self, interface: &str) {
        let mut ethtool = Command::new("ethtool");
        ethtool.args(["-K", interface, "tx", "off"]);
        let output = self.run(|| ethtool.output()).expect("ethtool is on PATH");
        assert!(output.status.success(), "{output:?}");
    }

    /// Opens an interface for raw frames.
    ///
    /// # Panics
    /// When there is no such interface.
    pub fn open(&self, interface: &str) -> RawInterface {
        let port = self.run(|| AfPacketPort::open(interface));
        let port = port.expect("the interface is there");
        RawInterface {
            sender: port.sender(),
            port,
            waiting: VecDeque::new(),
        }
    }
}

/// Runs `work` on a thread of its own and gives back what it returned, or panics as it did.
pub fn on_thread<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => resume_unwind(panic),
    })
}

/// Raw frames of one interface.
pub struct RawInterface {
    port: AfPacketPort,
    sender: Box<dyn PortSender>,
    waiting: VecDeque<Vec<u8>>,
}

impl std::fmt::Debug for RawInterface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawInterface")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl RawInterface {
    /// Sends a frame.
    pub fn send(&mut self, frame: &[u8]) {
        self.sender.send(frame, &[]);
        self.sender.flush();
    }

    /// The next frame that arrives before the deadline.
    ///
    /// # Panics
    /// When the interface is gone.
    pub fn recv(&mut self, deadline: Instant) -> Option<Vec<u8>> {
        loop {
            if let Some(frame) = self.waiting.pop_front() {
                return Some(frame);
            }
            let waiting = &mut self.waiting;
            let shown = self
                .port
                .receive(64, &mut |frame| waiting.push_back(frame.to_vec()));
            if shown.expect("the interface is there") > 0 {
                continue;
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut descriptors = [PollFd::new(self.port.wake_fd(), PollFlags::POLLIN)];
            // An interrupted or late poll only means another look.
            let _ = poll(&mut descriptors, left);
        }
    }
}
