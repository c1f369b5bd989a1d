//! Faults on purpose, to test controllers: updates refused, streams dropped, restarts without
//! entries.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tonic::Code;

use super::errors::{Outcome, Refusal};

/// Something that goes wrong again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `write:every=N[,code=NAME]`: every n-th update is refused.
    Refuse {
        /// Counted over all `Write`s.
        every: u64,
        /// What it is refused with (RESOURCE_EXHAUSTED unless given).
        code: Code,
    },
    /// `stream:after=N`: each stream ends with its n-th message, both directions counted.
    EndStreamAfter(u64),
    /// `stream:every=TIME`: all streams end each so often.
    EndStreamsEvery(Duration),
    /// `restart:after=N[,pipeline=lost]`: a restart after each n-th update. The `Write` that meets
    /// it is applied, lost with everything else, and ends with UNAVAILABLE.
    RestartAfter {
        /// Updates from one restart to the next.
        updates: u64,
        /// What is left behind.
        left: Left,
    },
    /// `restart:signal=USR1[,pipeline=lost]`: a restart when the process gets SIGUSR1. Whoever runs
    /// the device has to catch the signal and call [`Device::restart`](super::Device::restart).
    RestartOnSignal(Left),
    /// `restart:every=TIME[,pipeline=lost]`: a restart each so often.
    RestartEvery {
        /// From one restart to the next.
        time: Duration,
        /// What is left behind.
        left: Left,
    },
}

/// What a restart leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Left {
    /// The pipeline runs again, with no entries but the program's own.
    #[default]
    Pipeline,
    /// No pipeline: as a switch that was just switched on.
    Nothing,
}

/// A text that names no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a fault ({reason}): there are write:every=N[,code=NAME], stream:after=N, \
     stream:every=TIME, restart:after=N[,pipeline=lost], restart:every=TIME[,pipeline=lost] and \
     restart:signal=USR1[,pipeline=lost], with TIME as 500ms or 5s"
)]
pub struct FaultError {
    text: String,
    reason: String,
}

/// The names of gRPC's codes, as P4Runtime writes them.
const CODES: [(&str, Code); 16] = [
    ("CANCELLED", Code::Cancelled),
    ("UNKNOWN", Code::Unknown),
    ("INVALID_ARGUMENT", Code::InvalidArgument),
    ("DEADLINE_EXCEEDED", Code::DeadlineExceeded),
    ("NOT_FOUND", Code::NotFound),
    ("ALREADY_EXISTS", Code::AlreadyExists),
    ("PERMISSION_DENIED", Code::PermissionDenied),
    ("RESOURCE_EXHAUSTED", Code::ResourceExhausted),
    ("FAILED_PRECONDITION", Code::FailedPrecondition),
    ("ABORTED", Code::Aborted),
    ("OUT_OF_RANGE", Code::OutOfRange),
    ("UNIMPLEMENTED", Code::Unimplemented),
    ("INTERNAL", Code::Internal),
    ("UNAVAILABLE", Code::Unavailable),
    ("DATA_LOSS", Code::DataLoss),
    ("UNAUTHENTICATED", Code::Unauthenticated),
];

fn code(name: &str) -> Result<Code, String> {
    CODES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, code)| *code)
        .ok_or_else(|| format!("`{name}` is no code of gRPC"))
}

fn number(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("`{text}` is not a number greater than 0")),
        Ok(number) => Ok(number),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    if let Some(ms) = text.strip_suffix("ms") {
        return number(ms).map(Duration::from_millis);
    }
    match text.strip_suffix('s') {
        Some(seconds) => number(seconds).map(Duration::from_secs),
        None => Err(format!("`{text}` has no unit")),
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason: String| FaultError {
            text: text.to_owned(),
            reason,
        };
        parse(text).map_err(fail)
    }
}

fn parse(text: &str) -> Result<Fault, String> {
    let (kind, rest) = text.split_once(':').ok_or("it has no `:`")?;
    let (when, more) = match rest.split_once(',') {
        Some((when, more)) => (when, Some(more)),
        None => (rest, None),
    };
    let (when, value) = when.split_once('=').ok_or("it has no `=`")?;
    let more = match more {
        Some(more) => Some(more.split_once('=').ok_or("it has no second `=`")?),
        None => None,
    };
    let left = || match more {
        None => Ok(Left::Pipeline),
        Some(("pipeline", "lost")) => Ok(Left::Nothing),
        Some((key, value)) => Err(format!("`{key}={value}` means nothing here")),
    };
    match (kind, when, more) {
        ("write", "every", None) => Ok(Fault::Refuse {
            every: number(value)?,
            code: Code::ResourceExhausted,
        }),
        ("write", "every", Some(("code", name))) => Ok(Fault::Refuse {
            every: number(value)?,
            code: code(name)?,
        }),
        ("stream", "after", None) => Ok(Fault::EndStreamAfter(number(value)?)),
        ("stream", "every", None) => Ok(Fault::EndStreamsEvery(time(value)?)),
        ("restart", "after", _) => Ok(Fault::RestartAfter {
            updates: number(value)?,
            left: left()?,
        }),
        ("restart", "signal", _) if value == "USR1" => Ok(Fault::RestartOnSignal(left()?)),
        ("restart", "every", _) => Ok(Fault::RestartEvery {
            time: time(value)?,
            left: left()?,
        }),
        _ => Err("nothing is called that".to_owned()),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = |left: &Left| match left {
            Left::Pipeline => "",
            Left::Nothing => ",pipeline=lost",
        };
        match self {
            Fault::Refuse { every, code } => {
                let name = CODES.iter().find(|(_, known)| known == code);
                let name = name.map_or("OK", |(name, _)| name);
                write!(f, "write:every={every},code={name}")
            }
            Fault::EndStreamAfter(messages) => write!(f, "stream:after={messages}"),
            Fault::EndStreamsEvery(time) => write!(f, "stream:every={}ms", time.as_millis()),
            Fault::RestartAfter { updates, left } => {
                write!(f, "restart:after={updates}{}", lost(left))
            }
            Fault::RestartOnSignal(left) => write!(f, "restart:signal=USR1{}", lost(left)),
            Fault::RestartEvery { time, left } => {
                write!(f, "restart:every={}ms{}", time.as_millis(), lost(left))
            }
        }
    }
}

/// The faults of one device at work.
#[derive(Debug, Default)]
pub(super) struct Faults {
    faults: Vec<Fault>,
    /// Updates that came since the start.
    updates: u64,
    /// By fault: the updates at which, or the time at which it happened last.
    updates_at: Vec<u64>,
    happened_at: Vec<Duration>,
}

/// What is to happen to the device now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mishap {
    EndStreams,
    Restart(Left),
}

impl Faults {
    pub(super) fn new(faults: Vec<Fault>) -> Self {
        Faults {
            updates: 0,
            updates_at: vec![0; faults.len()],
            happened_at: vec![Duration::ZERO; faults.len()],
            faults,
        }
    }

    /// Messages that a stream carries before it ends.
    pub(super) fn stream_messages(&self) -> Option<u64> {
        let of = |fault: &Fault| match fault {
            Fault::EndStreamAfter(messages) => Some(*messages),
            _ => None,
        };
        self.faults.iter().filter_map(of).min()
    }

    /// Counts an update; the error is that it is to be refused.
    pub(super) fn admit(&mut self) -> Outcome {
        self.updates += 1;
        for fault in &self.faults {
            if let Fault::Refuse { every, code } = fault
                && self.updates.is_multiple_of(*every)
            {
                let message = format!("fault on purpose: {fault}");
                return Err(Refusal::new(*code, message));
            }
        }
        Ok(())
    }

    /// After a `Write`: whether the device restarts.
    pub(super) fn after_write(&mut self) -> Option<Left> {
        let mut restart = None;
        for (fault, at) in self.faults.iter().zip(&mut self.updates_at) {
            if let Fault::RestartAfter { updates, left } = fault
                && self.updates - *at >= *updates
            {
                *at = self.updates;
                restart = Some(*left);
            }
        }
        restart
    }

    /// What is due at this time, and when the next is.
    pub(super) fn poll(&mut self, now: Duration) -> (Option<Mishap>, Option<Duration>) {
        let (mut due, mut next) = (None, None::<Duration>);
        for (fault, at) in self.faults.iter().zip(&mut self.happened_at) {
            let (every, mishap) = match fault {
                Fault::EndStreamsEvery(time) => (*time, Mishap::EndStreams),
                Fault::RestartEvery { time, left } => (*time, Mishap::Restart(*left)),
                _ => continue,
            };
            if now >= *at + every {
                *at = now;
                due = Some(match (due, mishap) {
                    (Some(worse @ Mishap::Restart(_)), _) => worse,
                    (_, mishap) => mishap,
                });
            }
            next = Some(next.map_or(*at + every, |next| next.min(*at + every)));
        }
        (due, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_as_it_is_shown() {
        for text in [
            "write:every=3,code=UNAVAILABLE",
            "stream:after=100",
            "stream:every=500ms",
            "restart:after=1000",
            "restart:after=1000,pipeline=lost",
            "restart:every=2000ms,pipeline=lost",
            "restart:signal=USR1",
        ] {
            let fault: Fault = text.parse().expect(text);
            assert_eq!(fault.to_string(), text);
        }
        let fault: Fault = "write:every=3".parse().expect("without a code");
        let code = Code::ResourceExhausted;
        assert_eq!(fault, Fault::Refuse { every: 3, code });
    }

    #[test]
    fn what_is_no_fault_is_named() {
        for (text, reason) in [
            ("write", "no `:`"),
            ("write:every=0", "greater than 0"),
            ("write:every=2,code=NOPE", "no code of gRPC"),
            ("stream:every=5", "no unit"),
            ("restart:after=5,entries=kept", "means nothing"),
            ("fire:every=5s", "nothing is called that"),
        ] {
            let error = text.parse::<Fault>().expect_err(text).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn every_third_update_is_refused() {
        let mut faults = Faults::new(vec!["write:every=3".parse().expect("a fault")]);
        let refused: Vec<bool> = (0..7).map(|_| faults.admit().is_err()).collect();
        assert_eq!(refused, [false, false, true, false, false, true, false]);
    }

    #[test]
    fn a_restart_is_worse_than_the_end_of_streams() {
        let all = ["stream:every=1s", "restart:every=2s"];
        let mut faults = Faults::new(all.iter().map(|f| f.parse().expect("a fault")).collect());
        let at = |seconds| Duration::from_secs(seconds);
        assert_eq!(faults.poll(at(0)), (None, Some(at(1))));
        assert_eq!(faults.poll(at(1)), (Some(Mishap::EndStreams), Some(at(2))));
        let restart = Mishap::Restart(Left::Pipeline);
        assert_eq!(faults.poll(at(2)), (Some(restart), Some(at(3))));
    }
}
