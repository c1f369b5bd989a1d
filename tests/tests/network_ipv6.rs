//! Both families in one network, over the kernel's sockets: sensors on one, subscribers on the other.

use std::time::Instant;

use system_tests::network::{BROKER, BROKER_V6, Network, targets};
use system_tests::octets::Client;
use system_tests::system::DEADLINE;

const TOPIC: &str = "lab/humidity";

#[test]
fn every_pair_of_families_is_offloaded_and_the_broker_sees_nothing_of_it() {
    for target in targets() {
        eprintln!("target: {target:?}");
        let network = Network::start_dual_stack(target);
        let subscribers = [BROKER, BROKER_V6].map(|broker| {
            let subscriber = Client::connect(&network.subscriber, broker, &format!("s{broker}"));
            let subscribe = [&[0x12, 0, 0, 1], TOPIC.as_bytes()].concat();
            subscriber.ask(&subscribe, 0x13);
            subscriber
        });
        for broker in [BROKER, BROKER_V6] {
            let publisher = Client::connect(&network.publisher, broker, &format!("p{broker}"));
            let register = [&[0x0a, 0, 0, 0, 1], TOPIC.as_bytes()].concat();
            let answer = publisher.ask(&register, 0x0b);
            let (topic, mut msg_id) = ([answer[2], answer[3]], 0_u8);
            let deadline = Instant::now() + DEADLINE;
            loop {
                let before = network.seen_by_broker();
                for qos in [0x00, 0x20] {
                    msg_id += 1;
                    let data = [qos, msg_id, 0x55];
                    let publish = [&[0x0c, qos, topic[0], topic[1], 0, msg_id], &data[..]].concat();
                    if qos == 0 {
                        publisher.send(&publish);
                    } else {
                        let puback = publisher.ask(&publish, 0x0d);
                        assert_eq!(puback, [7, 0x0d, topic[0], topic[1], 0, msg_id, 0]);
                    }
                    // The kernel hands over what has the right checksum only.
                    for subscriber in &subscribers {
                        let received = subscriber.next();
                        assert_eq!(received[1], 0x0c);
                        assert_eq!(received[2] & 0x60, 0, "granted QoS 0");
                        assert_eq!(received[7..], data);
                    }
                }
                if network.seen_by_broker() == before {
                    break;
                }
                assert!(Instant::now() < deadline, "{:#}", network.status());
                std::thread::yield_now();
            }
        }
        for subscriber in &subscribers {
            subscriber.ping();
        }
    }
}
