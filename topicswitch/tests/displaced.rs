//! A client whose session moves to another address.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing left to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn topicswitch(arguments: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_topicswitch"));
    let command = command
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Process(command.spawn().unwrap())
}

#[test]
fn sub_ends_at_once_and_says_so_when_another_client_takes_its_client_id() {
    let free = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap().to_string();
    drop(free);
    let _broker = topicswitch(&["broker", "--listen", &listen]);
    let retain = ["pub", "--broker", &listen, "-t", "a", "-m", "x", "--retain"];
    assert!(topicswitch(&retain).0.wait().unwrap().success());
    let subscribe = ["sub", "--broker", &listen, "--client-id", "same", "-t", "a"];
    let mut first = topicswitch(&subscribe);
    let first = &mut first.0;
    // The retained message follows the SUBACK.
    let mut line = String::new();
    let mut messages = BufReader::new(first.stdout.take().unwrap());
    messages.read_line(&mut line).unwrap();
    assert_eq!(line, "x\n");

    let _second = topicswitch(&subscribe);
    // It is told, and ends. Who is not told learns of it by PINGREQ, after half of 60 s, and says that.
    let mut rest = String::new();
    messages.read_to_string(&mut rest).unwrap();
    let status = first.wait().unwrap();
    assert!(!status.success());
    let said = std::io::read_to_string(first.stderr.take().unwrap()).unwrap();
    assert!(said.contains("the same client id"), "{said}");
}
