//! The contract says the same over gRPC as within one process.

#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use offload::{
    Activity, Alias, AliasType, Change, Delta, FromBroker, FromController, Generation, Intent,
    Member, Publication, PublicationKey, Refusal, RefusedItem, Revision, Serve, SessionId,
    ShareMember, Topic, TopicIndex, wire,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc::channel;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Server};

fn intent() -> Intent {
    let publisher: SocketAddr = "10.0.0.1:4000".parse().unwrap();
    let home = Alias {
        id_type: AliasType::Normal,
        id: 7,
    };
    let short = Alias {
        id_type: AliasType::Short,
        id: 0x6162,
    };
    let topic = Topic {
        name: "sensors/1".into(),
        generation: Generation(9),
        home_alias: home,
        served_q0: [SessionId(1), SessionId(2)].into(),
        served_q1: [SessionId(2)].into(),
        copy_q0: false,
        copy_q1: true,
        ack_q1: false,
        shared: [(
            SessionId(1),
            ShareMember {
                generation: Generation(10),
                serve_q1: true,
                alias: Some(short),
            },
        )]
        .into(),
        aliases: [(SessionId(2), short)].into(),
    };
    Intent::from_changes(
        Revision(4),
        [
            Change::Services(["[2001:db8::1]:1884".parse().unwrap()].into()),
            Change::Session(SessionId(1), Some(publisher)),
            Change::Topic(TopicIndex(3), Some(topic)),
            Change::Publication(
                PublicationKey {
                    address: publisher,
                    alias: home,
                },
                Some(Publication {
                    session: SessionId(1),
                    topic: TopicIndex(3),
                }),
            ),
            Change::OpenPublication(short, Some(TopicIndex(3))),
        ],
    )
}

#[tokio::test]
async fn every_message_arrives_as_it_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (links, mut accepted) = channel(1);
    tokio::spawn(
        Server::builder()
            .add_service(wire::service(links))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let channel = Endpoint::new(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut controller = wire::connect(channel).await.unwrap();
    let mut broker = accepted.recv().await.unwrap();

    let key = PublicationKey {
        address: "10.0.0.1:4000".parse().unwrap(),
        alias: Alias {
            id_type: AliasType::Predefined,
            id: 65535,
        },
    };
    let upward = [
        FromController::Hello {
            controller: "c1".into(),
            election_id: (3 << 64) + 7,
            reachable: vec!["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        },
        FromController::Standby {
            controller: "c2".into(),
        },
        FromController::RequestLease { request: u64::MAX },
        FromController::Installed {
            revision: Revision(12),
        },
        FromController::Refused {
            item: RefusedItem::Topic(TopicIndex(1)),
            why: Some(Refusal::Capacity("topic".into())),
        },
        FromController::Refused {
            item: RefusedItem::Session(SessionId(1)),
            why: Some(Refusal::Unreachable),
        },
        FromController::Refused {
            item: RefusedItem::Publication(key),
            why: Some(Refusal::Unsupported("IPv6".into())),
        },
        FromController::Refused {
            item: RefusedItem::Topic(TopicIndex(2)),
            why: Some(Refusal::Policy),
        },
        FromController::Refused {
            item: RefusedItem::Topic(TopicIndex(2)),
            why: Some(Refusal::Failing("INTERNAL".into())),
        },
        FromController::Refused {
            item: RefusedItem::Publication(key),
            why: Some(Refusal::Idle),
        },
        FromController::Refused {
            item: RefusedItem::Topic(TopicIndex(2)),
            why: None,
        },
        FromController::Reachable {
            address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
            reachable: true,
        },
        FromController::AskRates { query: 9 },
        FromController::Activity {
            query: 5,
            sessions: vec![
                Activity {
                    session: SessionId(1),
                    idle: Some(Duration::from_nanos(1_500_000_001)),
                },
                Activity {
                    session: SessionId(2),
                    idle: None,
                },
            ],
        },
    ];
    for message in upward {
        controller.tx.send(message.clone()).unwrap();
        assert_eq!(broker.rx.recv().await, Some(message));
    }

    let step = Serve {
        generation: Generation(10),
        copy_q0: true,
        copy_q1: false,
        ack_q1: true,
        members: vec![
            (SessionId(2), None),
            (
                SessionId(8),
                Some(Member {
                    q0: true,
                    q1: false,
                    alias: Some(key.alias),
                }),
            ),
        ],
        shared: vec![
            (SessionId(1), None),
            (
                SessionId(9),
                Some(ShareMember {
                    generation: Generation(11),
                    serve_q1: false,
                    alias: None,
                }),
            ),
        ],
    };
    let downward = [
        FromBroker::Snapshot(intent()),
        FromBroker::Delta(Delta {
            base: Revision(4),
            revision: Revision(6),
            changes: vec![
                Change::Session(SessionId(1), None),
                Change::Serve(TopicIndex(3), step),
                Change::Topic(TopicIndex(3), None),
                Change::Publication(key, None),
                Change::OpenPublication(key.alias, None),
                Change::OpenPublication(key.alias, Some(TopicIndex(0))),
            ],
        }),
        FromBroker::Grant {
            request: 1,
            lease: Duration::from_millis(300),
        },
        FromBroker::Rates {
            query: 9,
            topics: vec![(TopicIndex(3), u64::MAX)],
            publications: vec![(key, 7)],
        },
        FromBroker::AskActivity {
            query: 5,
            sessions: vec![SessionId(1), SessionId(2)],
        },
        FromBroker::Led(true),
        FromBroker::Led(false),
    ];
    for message in downward {
        broker.tx.send(message.clone()).unwrap();
        assert_eq!(controller.rx.recv().await, Some(message));
    }

    drop(controller);
    assert_eq!(
        broker.rx.recv().await,
        None,
        "the broker notices that the link has ended"
    );
}

#[tokio::test]
async fn a_controller_notices_that_the_broker_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (links, mut accepted) = channel(1);
    tokio::spawn(
        Server::builder()
            .add_service(wire::service(links))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let channel = Endpoint::new(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut controller = wire::connect(channel).await.unwrap();
    drop(accepted.recv().await.unwrap());
    assert_eq!(controller.rx.recv().await, None);
}
