//! The lab that a newcomer runs first.

use std::process::Command;

use system_tests::data_plane::Target;
use system_tests::network::topicswitch;
use system_tests::{on_path, repository, require};

#[test]
fn the_first_lab_runs_on_mininet() {
    let has_mininet = on_path("mnexec").is_some()
        && Command::new("/usr/bin/python3")
            .args(["-c", "import mininet"])
            .output()
            .is_ok_and(|output| output.status.success());
    if !require("mininet", has_mininet) {
        return;
    }
    for target in Target::selected() {
        let name = if target == Target::Bmv2 {
            "bmv2"
        } else {
            "sim"
        };
        let output = Command::new("/usr/bin/python3")
            .arg(repository().join("tests/mininet/first_lab.py"))
            .args(["--target", name, "--topicswitch"])
            .arg(topicswitch())
            .output()
            .expect("python runs");
        let printed = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {printed}\n{errors}");
        for subscriber in ["sub1", "sub2", "sub3"] {
            assert!(
                printed.contains(&format!("{subscriber}: 400 messages")),
                "{name}: {printed}"
            );
        }
        // Of each of the two publishers' 200 messages one worker got each.
        let workers = "workers: 400 messages, 400 different";
        assert!(printed.contains(workers), "{name}: {printed}");
        eprintln!("{name}: {printed}");
    }
}
