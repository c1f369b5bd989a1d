//! The controllers: one that leads, and others that wait to.
//!
//! A link begins with Hello, from a controller that is primary at its switch, or with Standby. Who says
//! Hello replaces the one before, unless it was primary before that one (`Broker::takes_controller`);
//! standbys hear whether somebody leads.

use std::convert::Infallible;
use std::time::Duration;

use offload::{BrokerEnd, FromBroker, FromController};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::shared::Shared;

/// How long a link may stay without its first word.
const GREETING: Duration = Duration::from_secs(5);
/// Links that may be without their first word, and standbys. Beyond that new ones are closed.
const MOST: usize = 64;

/// The link of who leads.
struct Leader {
    number: u64,
    rx: mpsc::UnboundedReceiver<FromController>,
}

/// Those who wait.
#[derive(Default)]
struct Standbys {
    links: Vec<BrokerEnd>,
}

impl Standbys {
    fn tell(&mut self, led: bool) {
        let tell = |link: &BrokerEnd| link.tx.send(FromBroker::Led(led)).is_ok();
        self.links.retain(tell);
    }
}

/// Passes the words of who leads to the core.
pub(super) async fn follow(shared: &Shared, mut links: mpsc::Receiver<BrokerEnd>) -> Infallible {
    let mut greetings = JoinSet::new();
    let mut standbys = Standbys::default();
    let mut leader: Option<Leader> = None;
    let mut told = false;
    loop {
        if told != leader.is_some() {
            told = leader.is_some();
            standbys.tell(told);
        }
        tokio::select! {
            Some(link) = links.recv() => {
                if greetings.len() < MOST {
                    greetings.spawn(greeted(link));
                }
            }
            Some(greeted) = greetings.join_next() => {
                let Ok(Some((hello, link))) = greeted else {
                    continue;
                };
                match hello {
                    FromController::Hello { .. } => {
                        let Some(linked) = lead(shared, hello, link) else {
                            return stopped().await;
                        };
                        leader = linked.or(leader);
                    }
                    FromController::Standby { controller } => {
                        standbys.links.retain(|link| !link.tx.is_closed());
                        let first = link.tx.send(FromBroker::Led(leader.is_some()));
                        if first.is_ok() && standbys.links.len() < MOST {
                            tracing::info!(%controller, "a standby waits");
                            standbys.links.push(link);
                        }
                    }
                    _ => tracing::warn!("a controller speaks before its Hello"),
                }
            }
            message = receive(&mut leader) => {
                let Some(Leader { number, .. }) = leader else {
                    continue;
                };
                let linked = shared.act(|core, now| match message {
                    Some(message) if core.is_linked(number) => {
                        core.broker.handle_offload(now, message);
                    }
                    Some(_) => {}
                    None => core.link_down(now, number),
                });
                let linked = linked.and_then(|()| shared.act(|core, _| core.is_linked(number)));
                match linked {
                    None => return stopped().await,
                    Some(true) => {}
                    Some(false) => leader = None,
                }
            }
            else => return stopped().await,
        }
    }
}

/// No controller can come any more, or nobody listens to it.
async fn stopped() -> Infallible {
    std::future::pending().await
}

/// The first word of a link.
async fn greeted(mut link: BrokerEnd) -> Option<(FromController, BrokerEnd)> {
    let hello = tokio::time::timeout(GREETING, link.rx.recv()).await;
    Some((hello.ok()??, link))
}

/// Lets who says Hello lead, if it may. `None` when the broker has stopped.
fn lead(shared: &Shared, hello: FromController, link: BrokerEnd) -> Option<Option<Leader>> {
    let FromController::Hello {
        controller,
        election_id,
        ..
    } = &hello
    else {
        return Some(None);
    };
    let BrokerEnd { tx, rx } = link;
    let admitted = shared.act(|core, now| {
        if !core.broker.takes_controller(now, *election_id) {
            tracing::warn!(
                %controller,
                election_id,
                "a controller with a higher election id leads; this one is not listened to"
            );
            return None;
        }
        let number = core.link_up(now, tx);
        core.broker.handle_offload(now, hello.clone());
        Some(number)
    })?;
    Some(admitted.map(|number| Leader { number, rx }))
}

/// The next message of who leads.
async fn receive(leader: &mut Option<Leader>) -> Option<FromController> {
    match leader {
        Some(leader) => leader.rx.recv().await,
        None => std::future::pending().await,
    }
}
