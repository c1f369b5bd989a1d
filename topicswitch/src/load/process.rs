//! What a process uses, and what the machine is: from `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::Serialize;

use super::LoadError;

/// Clock ticks of `/proc/PID/stat` in a second: USER_HZ, which Linux keeps at 100 (proc(5)).
const USER_HZ: u64 = 100;

/// What a process has used so far, all its threads together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUse {
    /// CPU time, user and system, to a hundredth of a second.
    pub cpu: Duration,
    /// Resident memory now, in octets.
    pub resident: u64,
}

impl ProcessUse {
    /// Of this process.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of(pid: u32) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Process { pid, source };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(failed)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(failed)?;
        let malformed = || failed(io::Error::other("its stat is not what proc(5) says"));
        Ok(ProcessUse {
            cpu: cpu(&stat).ok_or_else(malformed)?,
            resident: resident(&status).ok_or_else(malformed)?,
        })
    }
}

/// utime and stime are the fields 14 and 15; the name, field 2, may hold spaces and parentheses.
fn cpu(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / USER_HZ))
}

fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// What a figure was taken on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// Model name of the first CPU.
    pub cpu: String,
    /// CPUs that this process may use.
    pub cores: usize,
    /// Kernel release.
    pub kernel: String,
    /// Processes that wanted to run, as means over 1, 5 and 15 minutes.
    pub load_average: String,
}

impl Machine {
    /// This machine, now.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn here() -> Result<Self, LoadError> {
        let read =
            |file: &'static str| fs::read_to_string(file).map_err(|e| LoadError::Machine(file, e));
        let model = read("/proc/cpuinfo")?
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or_else(
                || "unknown".to_owned(),
                |(_, model)| model.trim().to_owned(),
            );
        let load = read("/proc/loadavg")?;
        Ok(Machine {
            cpu: model,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load_average: load
                .split_ascii_whitespace()
                .take(3)
                .collect::<Vec<_>>()
                .join(" "),
        })
    }
}

/// Lets this thread, and what it starts from now on, run on these CPUs only; returns those before.
///
/// # Errors
/// There are no such CPUs.
pub fn pin_to(cpus: &[usize]) -> Result<Vec<usize>, LoadError> {
    let failed = |errno: nix::Error| LoadError::Machine("CPU affinity", errno.into());
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this).map_err(failed)?;
    let mut wanted = CpuSet::new();
    for &cpu in cpus {
        wanted.set(cpu).map_err(failed)?;
    }
    sched_setaffinity(this, &wanted).map_err(failed)?;
    let were = (0..CpuSet::count()).filter(|&cpu| before.is_set(cpu).unwrap_or(false));
    Ok(were.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0 1 0 5";
        assert_eq!(cpu(stat), Some(Duration::from_secs(4)));
    }

    #[test]
    fn resident_memory_is_told_in_octets() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1234 kB\n"), Some(1_263_616));
    }

    #[test]
    fn this_process_has_used_memory() {
        let usage = ProcessUse::of(std::process::id()).unwrap();
        assert!(usage.resident > 100_000);
    }
}
