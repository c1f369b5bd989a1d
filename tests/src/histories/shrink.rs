//! From a history that fails to a short one that fails.

use super::events::{Fault, History, Op, Pace, What};

/// Other seeds that are tried where a shorter history does not fail with its own: the scheduler's
/// choices shift when something is left out.
const SEEDS: u64 = 4;

/// The shortest history found that `fails`, which `history` does. It is asked at most `budget` times.
pub fn shrink(
    history: &History,
    budget: usize,
    mut fails: impl FnMut(&History) -> bool,
) -> History {
    let mut best = history.clone();
    let mut left = budget;
    let mut better = |best: &mut History, candidate: History| {
        if candidate == *best {
            return false;
        }
        for seed in std::iter::once(candidate.seed).chain(0..SEEDS) {
            if left == 0 {
                return false;
            }
            left -= 1;
            let candidate = History {
                seed,
                ..candidate.clone()
            };
            if fails(&candidate) {
                *best = candidate;
                return true;
            }
        }
        false
    };
    loop {
        let mut progress = leave_out_rounds(&mut best, &mut better);
        progress |= leave_out_steps(&mut best, &mut better);
        progress |= simplify(&mut best, &mut better);
        if !progress {
            return best;
        }
    }
}

type Better<'a> = dyn FnMut(&mut History, History) -> bool + 'a;

/// Halves first, then smaller parts.
fn leave_out_rounds(best: &mut History, better: &mut Better<'_>) -> bool {
    let mut progress = false;
    let mut size = best.rounds.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < best.rounds.len() {
            let mut candidate = best.clone();
            candidate
                .rounds
                .drain(at..(at + size).min(best.rounds.len()));
            match better(best, candidate) {
                true => progress = true,
                false => at += size,
            }
        }
        size /= 2;
    }
    progress
}

fn leave_out_steps(best: &mut History, better: &mut Better<'_>) -> bool {
    let mut progress = false;
    let mut round = 0;
    while round < best.rounds.len() {
        let mut step = 0;
        while step < best.rounds[round].steps.len() {
            let mut candidate = best.clone();
            candidate.rounds[round].steps.remove(step);
            match better(best, candidate) {
                true => progress = true,
                false => step += 1,
            }
        }
        // Two rounds as one may do as well.
        if round + 1 < best.rounds.len() {
            let mut candidate = best.clone();
            let next = candidate.rounds.remove(round + 1);
            let last = candidate.rounds[round].steps.last().map_or(0, |s| s.at);
            let later = next.steps.into_iter().map(|mut step| {
                step.at = step.at.saturating_add(last);
                step
            });
            candidate.rounds[round].steps.extend(later);
            if candidate.rounds[round].steps.is_empty() && better(best, candidate) {
                progress = true;
                continue;
            }
        }
        round += 1;
    }
    progress
}

fn simplify(best: &mut History, better: &mut Better<'_>) -> bool {
    let mut progress = false;
    let Pace {
        links,
        contract,
        switch,
    } = best.pace;
    let mut plainer = [(); 7].map(|()| best.clone());
    plainer[3].policy = controller::Policy::All;
    plainer[4].persistent = false;
    plainer[5].on_broker_loss = controller::OnBrokerLoss::Keep;
    plainer[0].room = None;
    plainer[1].v6.clear();
    plainer[2].tagged.clear();
    plainer[6].standby = None;
    for round in &mut plainer[6].rounds {
        let of_standby = |what: &What| matches!(what, What::Fault(1.., _));
        round.steps.retain(|step| !of_standby(&step.what));
    }
    for candidate in plainer {
        progress |= better(best, candidate);
    }
    for pace in [
        Pace {
            links: 0,
            contract: 0,
            switch: 0,
        },
        Pace {
            links: 0,
            contract,
            switch,
        },
        Pace {
            links,
            contract: 0,
            switch,
        },
        Pace {
            links,
            contract,
            switch: 0,
        },
    ] {
        let candidate = History {
            pace,
            ..best.clone()
        };
        if best.pace != pace {
            progress |= better(best, candidate);
        }
    }
    for round in 0..best.rounds.len() {
        for step in 0..best.rounds[round].steps.len() {
            let earlier = match step {
                0 => 0,
                step => best.rounds[round].steps[step - 1].at,
            };
            let mut candidate = best.clone();
            candidate.rounds[round].steps[step].at = earlier;
            if best.rounds[round].steps[step].at != earlier {
                progress |= better(best, candidate);
            }
            for what in simpler(&best.rounds[round].steps[step].what) {
                let mut candidate = best.clone();
                candidate.rounds[round].steps[step].what = what;
                progress |= better(best, candidate);
            }
        }
    }
    // Clients that do nothing.
    let used = best.rounds.iter().flat_map(|round| &round.steps);
    let used = used.filter_map(|step| match step.what {
        What::Client(n, _) => Some(n + 1),
        _ => None,
    });
    let clients = used.max().unwrap_or(1);
    if clients < best.clients {
        let candidate = History {
            clients,
            ..best.clone()
        };
        progress |= better(best, candidate);
    }
    progress
}

/// The same with less to it.
fn simpler(what: &What) -> Vec<What> {
    let mut simpler = Vec::new();
    match what {
        What::Client(n, op) => {
            let mut add = |op| simpler.push(What::Client(*n, op));
            match op {
                Op::Connect(how) | Op::Lose(how) => {
                    let with = |how| match op {
                        Op::Connect(_) => Op::Connect(how),
                        _ => Op::Lose(how),
                    };
                    if how.will.is_some() {
                        let mut how = how.clone();
                        how.will = None;
                        add(with(how));
                    }
                    if how.keep_alive != super::client::LONG {
                        let mut how = how.clone();
                        how.keep_alive = super::client::LONG;
                        add(with(how));
                    }
                    if !how.clean {
                        let mut how = how.clone();
                        how.clean = true;
                        add(with(how));
                    }
                }
                Op::Publish {
                    topic,
                    qos,
                    retain,
                    count,
                    gap,
                } => {
                    let with = |retain, count, gap| Op::Publish {
                        topic: topic.clone(),
                        qos: *qos,
                        retain,
                        count,
                        gap,
                    };
                    if *retain {
                        add(with(false, *count, *gap));
                    }
                    if *count > 1 {
                        add(with(*retain, 1, *gap));
                        add(with(*retain, count / 2, *gap));
                        add(with(*retain, count - 1, *gap));
                    }
                    if *gap > 0 {
                        add(with(*retain, *count, 0));
                    }
                }
                _ => {}
            }
        }
        What::Fault(who, fault) => {
            let shorter = match fault {
                Fault::Refuse(updates) if *updates > 1 => Some(Fault::Refuse(updates / 2)),
                _ => None,
            };
            simpler.extend(shorter.map(|fault| What::Fault(*who, fault)));
        }
        What::Wait => {}
    }
    simpler
}
