//! Histories as text: what a failure prints, and what the corpus holds.
//!
//! ```text
//! seed 7
//! clients 3
//! pace links=1 contract=2 switch=5
//! standby 1
//! round
//!   0 client 0 connect clean keep_alive=600 will=a/b:1
//!   3 client 1 publish a/b qos=0 count=4 gap=1
//!   4 fault kill 300
//!   9 fault standby freeze 800
//! ```
//! Lines that begin with `#` say what the history is about.

use std::fmt;
use std::str::FromStr;

use controller::{OnBrokerLoss, Policy};
use mqttsn::types::Qos;

use super::events::{Connecting, Fault, History, Op, Pace, Room, Round, Step, What, WillOf};
use crate::topics::Topic;

fn level(qos: Qos) -> &'static str {
    match qos {
        Qos::MinusOne => "-1",
        Qos::Zero => "0",
        Qos::One => "1",
        Qos::Two => "2",
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "clients {}", self.clients)?;
        for (what, clients) in [("v6", &self.v6), ("tagged", &self.tagged)] {
            if !clients.is_empty() {
                let clients: Vec<String> = clients.iter().map(u8::to_string).collect();
                writeln!(f, "{what} {}", clients.join(" "))?;
            }
        }
        let Pace {
            links,
            contract,
            switch,
        } = self.pace;
        writeln!(f, "pace links={links} contract={contract} switch={switch}")?;
        if let Some(Room { entries, groups }) = self.room {
            writeln!(f, "room entries={entries} groups={groups}")?;
        }
        match &self.policy {
            Policy::All => {}
            Policy::Pinned(filters) => writeln!(f, "pinned {}", filters.join(" "))?,
            Policy::Hot => writeln!(f, "hot")?,
        }
        if self.persistent {
            writeln!(f, "persistent")?;
        }
        if self.on_broker_loss == OnBrokerLoss::Release {
            writeln!(f, "releases")?;
        }
        if let Some(election_id) = self.standby {
            writeln!(f, "standby {election_id}")?;
        }
        for round in &self.rounds {
            writeln!(f, "round")?;
            for step in &round.steps {
                writeln!(f, "  {} {}", step.at, step.what)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Client(n, op) => write!(f, "client {n} {op}"),
            What::Fault(0, fault) => write!(f, "fault {fault}"),
            What::Fault(_, fault) => write!(f, "fault standby {fault}"),
            What::Wait => f.write_str("wait"),
        }
    }
}

impl fmt::Display for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.clean {
            f.write_str(" clean")?;
        }
        write!(f, " keep_alive={}", self.keep_alive)?;
        if let Some(will) = &self.will {
            let retain = if will.retain { ":retain" } else { "" };
            write!(f, " will={}:{}{retain}", will.topic, level(will.qos))?;
        }
        Ok(())
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Connect(how) => write!(f, "connect{how}"),
            Op::Lose(how) => write!(f, "lose{how}"),
            Op::Roam { clean, ip } => {
                let clean = if *clean { " clean" } else { "" };
                let ip = if *ip { " ip" } else { "" };
                write!(f, "roam{clean}{ip}")
            }
            Op::Subscribe(filter, qos) => write!(f, "subscribe {filter} qos={}", level(*qos)),
            Op::Unsubscribe(filter) => write!(f, "unsubscribe {filter}"),
            Op::Publish {
                topic,
                qos,
                retain,
                count,
                gap,
            } => {
                let retain = if *retain { " retain" } else { "" };
                let qos = level(*qos);
                write!(
                    f,
                    "publish {topic} qos={qos} count={count} gap={gap}{retain}"
                )
            }
            Op::Again => f.write_str("again"),
            Op::Long(name) => write!(f, "long {}", Topic::Short(*name)),
            Op::Damaged(name) => write!(f, "damaged {}", Topic::Short(*name)),
            Op::Spoof(whom) => write!(f, "spoof {whom}"),
            Op::Forge { topic, generation } => {
                write!(f, "forge topic={topic} generation={generation}")
            }
            Op::Move => f.write_str("move"),
            Op::Disconnect => f.write_str("disconnect"),
            Op::Sleep => f.write_str("sleep"),
            Op::Wake => f.write_str("wake"),
            Op::Crash => f.write_str("crash"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Kill(ms) => write!(f, "kill {ms}"),
            Fault::Freeze(ms) => write!(f, "freeze {ms}"),
            Fault::CutBroker(ms) => write!(f, "cut-broker {ms}"),
            Fault::StallBroker(ms) => write!(f, "stall-broker {ms}"),
            Fault::CutSwitch(ms) => write!(f, "cut-switch {ms}"),
            Fault::StallSwitch(ms) => write!(f, "stall-switch {ms}"),
            Fault::Refuse(updates) => write!(f, "refuse {updates}"),
            Fault::Restart => f.write_str("restart"),
            Fault::RestartBroker(ms) => write!(f, "restart-broker {ms}"),
        }
    }
}

/// A text that is no history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoHistory {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for NoHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for NoHistory {}

/// The words of a line.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<&'a str, String> {
        match self.0.is_empty() {
            true => Err("a word is missing".to_owned()),
            false => Ok(self.0.remove(0)),
        }
    }

    fn number<T: FromStr>(&mut self) -> Result<T, String> {
        let word = self.next()?;
        word.parse()
            .map_err(|_| format!("`{word}` is no such number"))
    }

    fn numbers(&mut self) -> Result<Vec<u8>, String> {
        let mut numbers = Vec::new();
        while !self.0.is_empty() {
            numbers.push(self.number()?);
        }
        Ok(numbers)
    }

    /// Takes out the word, if it is there.
    fn flag(&mut self, word: &str) -> bool {
        let at = self.0.iter().position(|it| *it == word);
        at.map(|at| self.0.remove(at)).is_some()
    }

    /// Takes out `key=value`, if it is there.
    fn text(&mut self, key: &str) -> Option<&'a str> {
        let of = |it: &&'a str| {
            let (found, value) = it.split_once('=')?;
            (found == key).then_some(value)
        };
        let at = self.0.iter().position(|it| of(it).is_some())?;
        of(&self.0.remove(at))
    }

    fn value<T: FromStr>(&mut self, key: &str) -> Result<T, String> {
        let text = self.text(key).ok_or_else(|| format!("{key}= is missing"))?;
        text.parse()
            .map_err(|_| format!("{key}={text}: no such number"))
    }

    fn qos(&mut self) -> Result<Qos, String> {
        qos(self.text("qos").unwrap_or("0"))
    }

    fn topic(&mut self) -> Result<Topic, String> {
        let word = self.next()?;
        match word.split_once(':') {
            None => Ok(Topic::Name(word.to_owned())),
            Some(("predefined", id)) => {
                let id = id.parse().map_err(|_| format!("`{word}` has no id"))?;
                Ok(Topic::Predefined(id))
            }
            Some(("short", name)) => {
                let name = name.as_bytes().try_into();
                let name = name.map_err(|_| format!("`{word}` has not two octets"))?;
                Ok(Topic::Short(name))
            }
            Some(_) => Err(format!("`{word}` is no topic")),
        }
    }

    fn short(&mut self) -> Result<[u8; 2], String> {
        match self.topic()? {
            Topic::Short(name) => Ok(name),
            other => Err(format!("`{other}` is no short name")),
        }
    }

    fn connecting(&mut self) -> Result<Connecting, String> {
        let will = match self.text("will") {
            None => None,
            Some(text) => {
                let mut parts = text.split(':');
                let topic = parts.next().unwrap_or_default().to_owned();
                Some(WillOf {
                    topic,
                    qos: qos(parts.next().unwrap_or("0"))?,
                    retain: parts.next() == Some("retain"),
                })
            }
        };
        Ok(Connecting {
            clean: self.flag("clean"),
            keep_alive: self.value("keep_alive")?,
            will,
        })
    }

    fn end(&self) -> Result<(), String> {
        match self.0.first() {
            None => Ok(()),
            Some(word) => Err(format!("`{word}` has no meaning here")),
        }
    }
}

fn qos(text: &str) -> Result<Qos, String> {
    match text {
        "-1" => Ok(Qos::MinusOne),
        "0" => Ok(Qos::Zero),
        "1" => Ok(Qos::One),
        "2" => Ok(Qos::Two),
        _ => Err(format!("there is no QoS {text}")),
    }
}

fn op(words: &mut Words<'_>) -> Result<Op, String> {
    Ok(match words.next()? {
        "connect" => Op::Connect(words.connecting()?),
        "lose" => Op::Lose(words.connecting()?),
        "roam" => Op::Roam {
            clean: words.flag("clean"),
            ip: words.flag("ip"),
        },
        "subscribe" => Op::Subscribe(words.topic()?, words.qos()?),
        "unsubscribe" => Op::Unsubscribe(words.topic()?),
        "publish" => Op::Publish {
            topic: words.topic()?,
            qos: words.qos()?,
            retain: words.flag("retain"),
            count: words.value("count")?,
            gap: words.value("gap")?,
        },
        "again" => Op::Again,
        "long" => Op::Long(words.short()?),
        "damaged" => Op::Damaged(words.short()?),
        "spoof" => Op::Spoof(words.number()?),
        "forge" => Op::Forge {
            topic: words.value("topic")?,
            generation: words.value("generation")?,
        },
        "move" => Op::Move,
        "disconnect" => Op::Disconnect,
        "sleep" => Op::Sleep,
        "wake" => Op::Wake,
        "crash" => Op::Crash,
        other => return Err(format!("no client can `{other}`")),
    })
}

fn fault(words: &mut Words<'_>) -> Result<What, String> {
    let who = u8::from(words.flag("standby"));
    let fault = match words.next()? {
        "kill" => Fault::Kill(words.number()?),
        "freeze" => Fault::Freeze(words.number()?),
        "cut-broker" => Fault::CutBroker(words.number()?),
        "stall-broker" => Fault::StallBroker(words.number()?),
        "cut-switch" => Fault::CutSwitch(words.number()?),
        "stall-switch" => Fault::StallSwitch(words.number()?),
        "refuse" => Fault::Refuse(words.number()?),
        "restart" => Fault::Restart,
        "restart-broker" => Fault::RestartBroker(words.number()?),
        other => return Err(format!("there is no fault `{other}`")),
    };
    Ok(What::Fault(who, fault))
}

fn line(history: &mut History, text: &str) -> Result<(), String> {
    let mut words = Words(text.split_whitespace().collect());
    match words.next()? {
        "seed" => history.seed = words.number()?,
        "clients" => history.clients = words.number()?,
        "v6" => history.v6 = words.numbers()?,
        "tagged" => history.tagged = words.numbers()?,
        "pace" => {
            history.pace = Pace {
                links: words.value("links")?,
                contract: words.value("contract")?,
                switch: words.value("switch")?,
            };
        }
        "pinned" => {
            let filters = std::mem::take(&mut words.0);
            let filters = filters.into_iter().map(str::to_owned).collect();
            history.policy = Policy::Pinned(filters);
        }
        "hot" => history.policy = Policy::Hot,
        "persistent" => history.persistent = true,
        "releases" => history.on_broker_loss = OnBrokerLoss::Release,
        "standby" => history.standby = Some(words.number()?),
        "room" => {
            history.room = Some(Room {
                entries: words.value("entries")?,
                groups: words.value("groups")?,
            });
        }
        "round" => history.rounds.push(Round::default()),
        at => {
            let at = at
                .parse()
                .map_err(|_| format!("`{at}` has no meaning here"))?;
            let what = match words.next()? {
                "client" => What::Client(words.number()?, op(&mut words)?),
                "fault" => fault(&mut words)?,
                "wait" => What::Wait,
                other => return Err(format!("`{other}` is not what happens")),
            };
            let round = history.rounds.last_mut().ok_or("no round has begun")?;
            round.steps.push(Step { at, what });
        }
    }
    words.end()
}

impl FromStr for History {
    type Err = NoHistory;

    fn from_str(text: &str) -> Result<Self, NoHistory> {
        let mut history = History {
            seed: 0,
            clients: 0,
            v6: Vec::new(),
            tagged: Vec::new(),
            pace: Pace {
                links: 0,
                contract: 0,
                switch: 0,
            },
            room: None,
            policy: Policy::All,
            persistent: false,
            on_broker_loss: OnBrokerLoss::Keep,
            standby: None,
            rounds: Vec::new(),
        };
        for (number, text) in text.lines().enumerate() {
            let text = text.trim();
            if !text.is_empty() && !text.starts_with('#') {
                line(&mut history, text).map_err(|why| NoHistory {
                    line: number + 1,
                    why,
                })?;
            }
        }
        let too_far = history
            .rounds
            .iter()
            .flat_map(|round| &round.steps)
            .any(|step| matches!(step.what, What::Client(n, _) if n >= history.clients));
        let wrong = |why| Err(NoHistory { line: 0, why });
        if too_far {
            return wrong(format!("there are only {} clients", history.clients));
        }
        let mut steps = history.rounds.iter().flat_map(|round| &round.steps);
        if history.standby.is_none() && steps.any(|step| matches!(step.what, What::Fault(1.., _))) {
            return wrong("there is no standby".to_owned());
        }
        Ok(history)
    }
}
