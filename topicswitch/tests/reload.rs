//! SIGHUP and a running process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::UdpSocket;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use mqttsn::packet::{Connect, Puback, Publish};
use mqttsn::types::PROTOCOL_ID;
use mqttsn::{Alias, MsgId, Packet, Qos, ReturnCode, Seconds};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const DEADLINE: Duration = Duration::from_secs(30);

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing left to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks until the answer is accepted.
fn ask_until(socket: &UdpSocket, request: &Packet<'_>, wanted: impl Fn(&Packet<'_>) -> bool) {
    let end = Instant::now() + DEADLINE;
    let mut bytes = vec![0; request.encoded_len()];
    request.encode(&mut bytes).unwrap();
    let mut answer = [0; 1500];
    while Instant::now() < end {
        // Before the process listens, the system refuses.
        let _ = socket.send(&bytes);
        let Ok(length) = socket.recv(&mut answer) else {
            continue;
        };
        if Packet::decode(&answer[..length]).is_ok_and(|packet| wanted(&packet)) {
            return;
        }
    }
    panic!("no answer to {request:?} as it should be");
}

#[test]
fn a_hangup_brings_the_predefined_topics_that_the_file_has_now() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("topicswitch.yaml");
    std::fs::write(&file, "{}").unwrap();
    let listen = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let process = Command::new(env!("CARGO_BIN_EXE_topicswitch"))
        .args(["--config", file.to_str().unwrap(), "broker"])
        .args(["--listen", &listen.to_string()])
        .spawn()
        .unwrap();
    let process = Process(process);

    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(listen).unwrap();
    let patience = Some(Duration::from_millis(200));
    client.set_read_timeout(patience).unwrap();
    let connect = Packet::Connect(Connect {
        will: false,
        clean_session: true,
        protocol_id: PROTOCOL_ID,
        duration: Seconds(60),
        client_id: "c",
    });
    let accepted = Packet::Connack(ReturnCode::Accepted);
    ask_until(&client, &connect, |answer| *answer == accepted);
    let publish = Packet::Publish(Publish {
        dup: false,
        qos: Qos::One,
        retain: false,
        alias: Alias::predefined(5),
        msg_id: MsgId(1),
        data: b"x",
    });
    let answered = |wanted| move |answer: &Packet<'_>| matches!(answer, Packet::Puback(Puback { return_code, .. }) if *return_code == wanted);
    ask_until(&client, &publish, answered(ReturnCode::InvalidTopicId));

    std::fs::write(&file, "broker: {predefined_topics: {5: a/b}}").unwrap();
    let pid = Pid::from_raw(process.0.id().try_into().unwrap());
    kill(pid, Signal::SIGHUP).unwrap();
    ask_until(&client, &publish, answered(ReturnCode::Accepted));
}
