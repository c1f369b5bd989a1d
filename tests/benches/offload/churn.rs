//! Subscriptions changed in a second: many clients, each waiting for one answer at a time.

use std::time::{Duration, Instant};

use mqttsn::Packet;
use mqttsn::packet::{Subscribe, Unsubscribe};
use mqttsn::types::{MsgId, Qos, TopicRef};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::Plan;
use crate::figures::Times;
use crate::lab::Lab;
use crate::speaker::{Heard, Speaker};

const CLIENTS: usize = 256;
const TOPICS: usize = 64;
/// A request is asked again after this long; none should be.
const AGAIN: Duration = Duration::from_secs(1);

struct Churner {
    speaker: Speaker,
    topic: String,
    subscribed: bool,
    msg_id: MsgId,
    asked: Instant,
}

impl Churner {
    fn ask(&mut self) {
        let topic = TopicRef::Name(&self.topic);
        let packet = match self.subscribed {
            false => Packet::Subscribe(Subscribe {
                dup: false,
                qos: Qos::Zero,
                msg_id: self.msg_id,
                topic,
            }),
            true => Packet::Unsubscribe(Unsubscribe {
                msg_id: self.msg_id,
                topic,
            }),
        };
        self.asked = Instant::now();
        self.speaker.send(&packet);
    }

    fn next(&mut self) {
        self.msg_id = self.speaker.next_msg_id();
        self.ask();
    }
}

pub(crate) fn measure(lab: &Lab, plan: &Plan) {
    let mut publisher = lab.publisher("churn-publisher");
    let topics: Vec<String> = (0..TOPICS).map(|n| format!("fast/churn/{n}")).collect();
    let mut first = None;
    for topic in &topics {
        let alias = publisher.register(topic);
        first.get_or_insert(alias);
    }
    let mut clients: Vec<Churner> = (0..CLIENTS)
        .map(|n| Churner {
            speaker: lab.subscriber(&format!("churn-{n}")),
            topic: topics[n % TOPICS].clone(),
            subscribed: false,
            msg_id: MsgId(1),
            asked: Instant::now(),
        })
        .collect();
    if let Some(alias) = first {
        lab.until_offloaded(&publisher, alias);
    }
    // One thread that sleeps until some answers are there: it shares the machine with what it measures.
    let epoll = Epoll::new(EpollCreateFlags::empty()).expect("epoll");
    for (n, client) in clients.iter().enumerate() {
        let socket = &client.speaker.socket;
        socket.set_nonblocking(true).expect("a socket");
        let readable = EpollEvent::new(EpollFlags::EPOLLIN, n as u64);
        epoll.add(socket, readable).expect("epoll takes it");
    }
    let before = (
        lab.counter("answers_held"),
        lab.counter("answers_released_by_lapse"),
    );
    let cpu_before = lab.cpu();
    let mut times = Times::default();
    let mut again = 0;
    let start = Instant::now();
    let end = start + plan.time;
    for client in &mut clients {
        client.next();
    }
    let mut events = [EpollEvent::empty(); CLIENTS];
    let mut looked = start;
    while Instant::now() < end {
        let count = epoll.wait(&mut events, EpollTimeout::from(100u8));
        for event in &events[..count.expect("epoll waits")] {
            let client = &mut clients[event.data() as usize];
            match client.speaker.hear_now() {
                Some(Heard::Answer(msg_id, _)) if msg_id == client.msg_id => {
                    times.add(client.asked.elapsed());
                    client.subscribed = !client.subscribed;
                    client.next();
                }
                _ => {}
            }
        }
        if looked.elapsed() > AGAIN {
            looked = Instant::now();
            for client in &mut clients {
                if client.asked.elapsed() > AGAIN {
                    again += 1;
                    client.ask();
                }
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let rate = times.count() as f64 / seconds;
    println!("{CLIENTS} clients, {TOPICS} topics: {rate:.0} subscriptions changed a second");
    times.say("request to answer");
    let each = |(after, before): (&(&str, Duration), &(&str, Duration))| {
        let cpu = (after.1 - before.1).as_secs_f64();
        let us = cpu * 1e6 / times.count() as f64;
        format!("{} {us:.1} us", after.0)
    };
    let cpu: Vec<String> = lab.cpu().iter().zip(&cpu_before).map(each).collect();
    println!("CPU time of each change: {}", cpu.join(", "));
    let held = lab.counter("answers_held") - before.0;
    let lapsed = lab.counter("answers_released_by_lapse") - before.1;
    println!(
        "{held} answers waited for the switch, {lapsed} of them until the lease was over; {again} requests were sent again"
    );
}
