//! Setting and reading the forwarding pipeline configuration.

use crate::p4runtime_fixture::{Fixture, config, frame};
use p4runtime::v1;
use p4runtime::v1::Update;
use p4runtime::v1::get_forwarding_pipeline_config_request::ResponseType;
use p4runtime::v1::set_forwarding_pipeline_config_request::Action;
use sim::runtime::RuntimeConfig;
use tonic::Code;

fn get(fixture: &Fixture, response_type: ResponseType) -> Option<v1::ForwardingPipelineConfig> {
    let request = v1::GetForwardingPipelineConfigRequest {
        device_id: 1,
        response_type: response_type.into(),
    };
    fixture
        .runtime
        .device()
        .get_pipeline(request)
        .expect("the device exists")
        .config
}

fn unconfigured() -> (Fixture, sim::server::ControllerStream) {
    let fixture = Fixture::bare(RuntimeConfig::default());
    let stream = fixture.primary(1);
    (fixture, stream)
}

#[test]
fn nothing_can_be_read_or_written_before_a_pipeline_is_set() {
    let (fixture, _stream) = unconfigured();
    let device = fixture.runtime.device();
    let write = v1::WriteRequest {
        device_id: 1,
        election_id: Some(1.into()),
        ..Default::default()
    };
    let status = device.write(fixture.now, &write).expect_err("no pipeline");
    assert_eq!(status.code(), Code::FailedPrecondition);
    let read = v1::ReadRequest {
        device_id: 1,
        ..Default::default()
    };
    let status = device.read(fixture.now, &read).expect_err("no pipeline");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(get(&fixture, ResponseType::All), None);
}

#[test]
fn the_config_is_returned_in_the_parts_asked_for() {
    let (fixture, _stream) = Fixture::ready();
    assert_eq!(get(&fixture, ResponseType::All), Some(config()));
    let cookie = get(&fixture, ResponseType::CookieOnly).expect("set");
    assert_eq!(cookie.cookie, config().cookie);
    assert_eq!((cookie.p4info, cookie.p4_device_config.len()), (None, 0));
    let info = get(&fixture, ResponseType::P4infoAndCookie).expect("set");
    assert!(info.p4info.is_some() && info.p4_device_config.is_empty());
    let program = get(&fixture, ResponseType::DeviceConfigAndCookie).expect("set");
    assert!(program.p4info.is_none() && !program.p4_device_config.is_empty());
}

#[test]
fn verify_changes_nothing() {
    let (fixture, _stream) = unconfigured();
    fixture
        .configure(Action::Verify, Some(config()))
        .expect("good");
    assert_eq!(get(&fixture, ResponseType::All), None);
}

#[test]
fn a_saved_config_runs_after_commit() {
    let (fixture, _stream) = unconfigured();
    let status = fixture
        .configure(Action::Commit, None)
        .expect_err("nothing saved");
    assert_eq!(status.code(), Code::NotFound);
    fixture
        .configure(Action::VerifyAndSave, Some(config()))
        .expect("good");
    assert_eq!(get(&fixture, ResponseType::All), None);
    let status = fixture
        .configure(Action::Commit, Some(config()))
        .expect_err("with a config");
    assert_eq!(status.code(), Code::InvalidArgument);
    fixture.configure(Action::Commit, None).expect("saved");
    assert!(get(&fixture, ResponseType::All).is_some());
}

#[test]
fn commit_clears_and_reconcile_keeps_the_entries() {
    let (fixture, _stream) = Fixture::ready();
    fixture.must([Update::insert(fixture.dmac(1, 1))]);
    let all = || v1::TableEntry {
        table_id: fixture.dmac(1, 1).table_id,
        ..Default::default()
    };
    fixture
        .configure(Action::ReconcileAndCommit, Some(config()))
        .expect("the same program");
    assert_eq!(fixture.entries(all()).len(), 1);
    fixture.set_pipeline(config()).expect("good");
    assert_eq!(fixture.entries(all()).len(), 0);
}

#[test]
fn a_bad_config_is_refused_with_the_reason_and_the_old_one_stays() {
    let (fixture, _stream) = Fixture::ready();
    let no_json = v1::ForwardingPipelineConfig {
        p4_device_config: vec![],
        ..config()
    };
    let not_json = v1::ForwardingPipelineConfig {
        p4_device_config: b"{\"program\":".to_vec(),
        ..config()
    };
    let no_p4info = v1::ForwardingPipelineConfig {
        p4info: None,
        ..config()
    };
    let mut other_table = config();
    if let Some(preamble) = &mut other_table.p4info.as_mut().expect("set").tables[0].preamble {
        preamble.name = "MyIngress.elsewhere".into();
    }
    let mut other_width = config();
    other_width.p4info.as_mut().expect("set").tables[0].match_fields[0].bitwidth = 47;
    let mut other_size = config();
    other_size.p4info.as_mut().expect("set").counters[0].size = 17;
    let mut huge_header = config();
    let packet_in = &mut huge_header
        .p4info
        .as_mut()
        .expect("set")
        .controller_packet_metadata[0];
    packet_in.metadata[0].bitwidth = i32::MAX;
    for (bad, wanted) in [
        (other_size, "size is 17 in P4Info and 16"),
        (huge_header, "packet_in"),
        (no_json, "p4_device_config"),
        (not_json, "p4_device_config"),
        (no_p4info, "P4Info"),
        (other_table, "MyIngress.elsewhere"),
        (other_width, "bit width is 47 in P4Info and 48"),
    ] {
        let status = fixture.set_pipeline(bad).expect_err(wanted);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(wanted), "{}", status.message());
    }
    let status = fixture
        .configure(Action::VerifyAndCommit, None)
        .expect_err("no config");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(get(&fixture, ResponseType::All), Some(config()));
}

#[test]
fn capabilities_tell_the_version() {
    let fixture = Fixture::bare(RuntimeConfig::default());
    let device = fixture.runtime.device();
    let answer = device
        .capabilities(v1::CapabilitiesRequest { device_id: 1 })
        .expect("known");
    assert!(answer.p4runtime_api_version.starts_with("1.4"));
    let status = device
        .capabilities(v1::CapabilitiesRequest { device_id: 3 })
        .expect_err("other");
    assert_eq!(status.code(), Code::NotFound);
}

#[test]
fn between_save_and_commit_writes_and_reads_are_about_the_saved_config() {
    let (mut fixture, _stream) = Fixture::ready();
    fixture.must([Update::insert(fixture.dmac(1, 1))]);
    fixture
        .configure(Action::VerifyAndSave, Some(config()))
        .expect("good");
    assert_eq!(
        fixture.code(Update::delete(fixture.dmac(1, 1))),
        Code::NotFound,
        "the saved config has no entries yet"
    );
    fixture.must([Update::insert(fixture.dmac(1, 2))]);
    fixture.inject(3, &frame(1, 9));
    assert_eq!(fixture.left(), [(1, frame(1, 9))], "packets see the old");
    fixture.configure(Action::Commit, None).expect("saved");
    fixture.inject(3, &frame(1, 9));
    assert_eq!(fixture.left(), [(2, frame(1, 9))], "and now the new");
}

/// `everything.p4` with another size of its table `dmac`: another program.
fn resized(size: u64) -> v1::ForwardingPipelineConfig {
    let mut config = config();
    let mut json: serde_json::Value =
        serde_json::from_slice(&config.p4_device_config).expect("JSON");
    let tables = json["pipelines"][0]["tables"]
        .as_array_mut()
        .expect("tables");
    let dmac = tables.iter_mut().find(|t| t["name"] == "MyIngress.dmac");
    dmac.expect("dmac")["max_size"] = size.into();
    config.p4_device_config = json.to_string().into_bytes();
    let tables = &mut config.p4info.as_mut().expect("set").tables;
    let is_dmac = |t: &&mut p4runtime::config::Table| {
        t.preamble
            .as_ref()
            .is_some_and(|p| p.name == "MyIngress.dmac")
    };
    tables.iter_mut().find(is_dmac).expect("dmac").size = size as i64;
    config
}

#[test]
fn reconcile_moves_all_state_into_another_program() {
    let (mut fixture, _stream) = Fixture::ready();
    fixture.must(everywhere(&fixture));
    fixture.inject(3, &frame(1, 9));
    assert_eq!(fixture.left(), [(1, frame(1, 9))]);
    let before = fixture.everything();
    let counted = before
        .iter()
        .any(|e| format!("{e:?}").contains("packet_count: 1"));
    assert!(counted, "counts are among the state");
    fixture
        .configure(Action::ReconcileAndCommit, Some(resized(16)))
        .expect("there is room");
    assert_eq!(fixture.everything(), before);
    fixture.inject(3, &frame(1, 9));
    assert_eq!(fixture.left(), [(1, frame(1, 9))]);
    for mac in 2..=16 {
        fixture.must([Update::insert(fixture.dmac(mac, 1))]);
    }
}

#[test]
fn a_program_without_room_for_the_state_is_refused_and_the_old_one_stays() {
    let (fixture, _stream) = Fixture::ready();
    fixture.must((1..=3).map(|mac| Update::insert(fixture.dmac(mac, 1))));
    let before = fixture.everything();
    let status = fixture
        .configure(Action::ReconcileAndCommit, Some(resized(2)))
        .expect_err("no room");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("dmac"), "{}", status.message());
    assert_eq!(fixture.everything(), before);
    assert_eq!(get(&fixture, ResponseType::All), Some(config()));
}

/// State of every kind.
fn everywhere(fixture: &Fixture) -> Vec<Update> {
    let p4info = &fixture.p4info;
    let replicas = vec![v1::Replica {
        instance: 7,
        port_kind: Some(v1::replica::PortKind::Port(vec![2])),
        ..Default::default()
    }];
    let register = v1::RegisterEntry {
        register_id: p4info.register("scratch").expect("there").id,
        index: Some(v1::Index { index: 3 }),
        data: Some(v1::P4Data {
            data: Some(v1::p4_data::Data::Bitstring(vec![9])),
        }),
    };
    let meter = v1::MeterEntry {
        meter_id: p4info.meter("port_meter").expect("there").id,
        index: Some(v1::Index { index: 2 }),
        config: Some(v1::MeterConfig {
            cir: 1,
            cburst: 2,
            pir: 3,
            pburst: 4,
            eburst: 0,
        }),
        counter_data: None,
    };
    let digest = v1::DigestEntry {
        digest_id: p4info.digest("learn_t").expect("there").id,
        config: Some(v1::digest_entry::Config {
            max_timeout_ns: 1,
            max_list_size: 2,
            ack_timeout_ns: 3,
        }),
    };
    vec![
        Update::insert(v1::TableEntry {
            metadata: b"mine".to_vec(),
            ..fixture.dmac(1, 1)
        }),
        Update::insert(v1::MulticastGroupEntry {
            multicast_group_id: 5,
            replicas: replicas.clone(),
            metadata: b"ours".to_vec(),
        }),
        Update::insert(v1::CloneSessionEntry {
            session_id: 6,
            replicas,
            ..Default::default()
        }),
        Update::modify(register),
        Update::modify(meter),
        Update::insert(digest),
    ]
}
