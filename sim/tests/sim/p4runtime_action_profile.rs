//! Members, groups and one-shot action sets (P4Runtime specification, "ActionProfileMember &
//! ActionProfileGroup").

use crate::p4runtime_fixture::Fixture;
use p4runtime::v1;
use p4runtime::v1::Update;
use p4runtime::v1::action_profile_group::Member;
use p4runtime::v1::entity::Entity as Kind;
use p4runtime::v1::table_action::Type as TableActionType;
use tonic::Code;

fn forward(fixture: &Fixture, port: u8) -> v1::Action {
    v1::Action {
        action_id: fixture.p4info.action("forward").expect("there").id,
        params: vec![v1::action::Param {
            param_id: 1,
            value: vec![port],
        }],
    }
}

fn selector(fixture: &Fixture) -> u32 {
    fixture
        .p4info
        .action_profile("ecmp_selector")
        .expect("there")
        .id
}

fn member(fixture: &Fixture, member_id: u32, port: u8) -> v1::ActionProfileMember {
    v1::ActionProfileMember {
        action_profile_id: selector(fixture),
        member_id,
        action: Some(forward(fixture, port)),
    }
}

fn group(fixture: &Fixture, group_id: u32, members: &[(u32, i32)]) -> v1::ActionProfileGroup {
    let one = |&(member_id, weight): &(u32, i32)| Member {
        member_id,
        weight,
        watch_kind: None,
    };
    v1::ActionProfileGroup {
        action_profile_id: selector(fixture),
        group_id,
        members: members.iter().map(one).collect(),
        max_size: 8,
    }
}

fn ecmp(fixture: &Fixture, action: TableActionType) -> v1::TableEntry {
    let entry = fixture.p4info.table("ecmp").expect("there").entry();
    let key = entry
        .exact("dst_addr", [10, 0, 0, 1])
        .expect("valid")
        .build_key()
        .expect("valid");
    v1::TableEntry {
        action: Some(v1::TableAction {
            r#type: Some(action),
        }),
        ..key
    }
}

fn one_shot(fixture: &Fixture, ports: &[u8]) -> v1::TableEntry {
    let action = |&port: &u8| v1::ActionProfileAction {
        action: Some(forward(fixture, port)),
        weight: 1,
        watch_kind: None,
    };
    let set = v1::ActionProfileActionSet {
        action_profile_actions: ports.iter().map(action).collect(),
        ..Default::default()
    };
    ecmp(fixture, TableActionType::ActionProfileActionSet(set))
}

/// An IPv4 frame to 10.0.0.1 through the switch; gives the ports it left on.
fn ports_left(fixture: &mut Fixture) -> Vec<usize> {
    let mut frame = crate::p4runtime_fixture::frame(1, 9);
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    frame[14] = 0x45;
    frame[30..34].copy_from_slice(&[10, 0, 0, 1]);
    fixture.inject(1, &frame);
    fixture.left().into_iter().map(|(port, _)| port).collect()
}

#[test]
fn members_and_groups_read_back_as_written() {
    let (fixture, _stream) = Fixture::ready();
    fixture.must([1, 2].map(|id| Update::insert(member(&fixture, id, id as u8))));
    fixture.must([Update::insert(group(&fixture, 1, &[(1, 1), (2, 3)]))]);
    assert_eq!(fixture.read(v1::ActionProfileMember::default()).len(), 2);
    let read = fixture.read(v1::ActionProfileGroup::default());
    assert_eq!(
        read,
        [Kind::ActionProfileGroup(group(
            &fixture,
            1,
            &[(1, 1), (2, 3)]
        ))]
    );
    let one = v1::ActionProfileMember {
        action: None,
        ..member(&fixture, 2, 2)
    };
    assert_eq!(
        fixture.read(one),
        [Kind::ActionProfileMember(member(&fixture, 2, 2))]
    );
    let missing = v1::ActionProfileMember {
        action: None,
        ..member(&fixture, 3, 2)
    };
    assert_eq!(fixture.try_read(missing), Err(Code::NotFound));
}

#[test]
fn a_packet_takes_the_action_of_the_member_and_of_the_group() {
    let (mut fixture, _stream) = Fixture::ready();
    fixture.must([Update::insert(member(&fixture, 1, 2))]);
    let by_member = ecmp(&fixture, TableActionType::ActionProfileMemberId(1));
    fixture.must([Update::insert(by_member.clone())]);
    assert_eq!(ports_left(&mut fixture), [2]);
    fixture.must([Update::modify(member(&fixture, 1, 3))]);
    assert_eq!(ports_left(&mut fixture), [3]);
    fixture.must([Update::insert(group(&fixture, 7, &[(1, 1)]))]);
    let by_group = ecmp(&fixture, TableActionType::ActionProfileGroupId(7));
    fixture.must([Update::modify(by_group.clone())]);
    assert_eq!(ports_left(&mut fixture), [3]);
    assert_eq!(
        fixture.entries(v1::TableEntry {
            table_id: by_group.table_id,
            ..Default::default()
        }),
        [by_group]
    );
}

#[test]
fn what_is_in_use_is_not_deleted() {
    let (fixture, _stream) = Fixture::ready();
    fixture.must([Update::insert(member(&fixture, 1, 1))]);
    fixture.must([Update::insert(group(&fixture, 1, &[(1, 1)]))]);
    let entry = ecmp(&fixture, TableActionType::ActionProfileGroupId(1));
    fixture.must([Update::insert(entry.clone())]);
    let delete_group = || Update::delete(group(&fixture, 1, &[]));
    let delete_member = || Update::delete(member(&fixture, 1, 1));
    assert_eq!(fixture.code(delete_group()), Code::FailedPrecondition);
    assert_eq!(fixture.code(delete_member()), Code::FailedPrecondition);
    fixture.must([Update::delete(entry)]);
    fixture.must([delete_group()]);
    fixture.must([delete_member()]);
}

#[test]
fn wrong_members_and_groups_are_refused() {
    let (fixture, _stream) = Fixture::ready();
    fixture.must([Update::insert(member(&fixture, 1, 1))]);
    fixture.must([Update::insert(group(&fixture, 1, &[(1, 1)]))]);
    let no_action = v1::ActionProfileMember {
        action: None,
        ..member(&fixture, 5, 1)
    };
    let other_size = v1::ActionProfileGroup {
        max_size: 4,
        ..group(&fixture, 1, &[])
    };
    let in_qos = v1::ActionProfileGroup {
        action_profile_id: fixture
            .p4info
            .action_profile("qos_profile")
            .expect("there")
            .id,
        ..group(&fixture, 1, &[])
    };
    for (update, code) in [
        (Update::insert(member(&fixture, 1, 1)), Code::AlreadyExists),
        (Update::modify(member(&fixture, 2, 1)), Code::NotFound),
        (
            Update::insert(member(&fixture, 0, 1)),
            Code::InvalidArgument,
        ),
        (Update::insert(no_action), Code::InvalidArgument),
        (
            Update::insert(group(&fixture, 2, &[(9, 1)])),
            Code::NotFound,
        ),
        (
            Update::insert(group(&fixture, 2, &[(1, 0)])),
            Code::InvalidArgument,
        ),
        (
            Update::insert(group(&fixture, 2, &[(1, 1), (1, 1)])),
            Code::InvalidArgument,
        ),
        (
            Update::insert(group(&fixture, 2, &[(1, 9)])),
            Code::ResourceExhausted,
        ),
        (Update::modify(other_size), Code::InvalidArgument),
        (Update::insert(in_qos), Code::InvalidArgument),
    ] {
        assert_eq!(fixture.code(update.clone()), code, "{update:?}");
    }
    let missing = ecmp(&fixture, TableActionType::ActionProfileMemberId(9));
    assert_eq!(fixture.code(Update::insert(missing)), Code::NotFound);
}

#[test]
fn a_one_shot_reads_back_as_written_and_leaves_nothing_behind() {
    let (mut fixture, _stream) = Fixture::ready();
    let (first, second) = (one_shot(&fixture, &[2, 2]), one_shot(&fixture, &[3]));
    let all = v1::TableEntry {
        table_id: first.table_id,
        ..Default::default()
    };
    fixture.must([Update::insert(first.clone())]);
    assert_eq!(fixture.entries(all.clone()), std::slice::from_ref(&first));
    assert_eq!(ports_left(&mut fixture), [2]);
    assert_eq!(
        fixture.code(Update::insert(second.clone())),
        Code::AlreadyExists
    );
    fixture.must([Update::modify(second.clone())]);
    assert_eq!(fixture.entries(all.clone()), std::slice::from_ref(&second));
    assert_eq!(ports_left(&mut fixture), [3]);
    assert_eq!(
        fixture.read(v1::ActionProfileGroup::default()),
        [],
        "not shown as a group"
    );
    fixture.must([Update::delete(second)]);

    let control = fixture.runtime.switch().control().expect("a pipeline runs");
    let profile = control
        .pipeline()
        .profile("MyIngress.ecmp_selector")
        .expect("there");
    assert_eq!(control.members(profile), []);
    assert_eq!(control.groups(profile), []);
}

#[test]
fn one_shots_and_members_are_not_mixed() {
    let (fixture, _stream) = Fixture::ready();
    fixture.must([Update::insert(one_shot(&fixture, &[1]))]);
    assert_eq!(
        fixture.code(Update::insert(member(&fixture, 1, 1))),
        Code::InvalidArgument
    );
    fixture.must([Update::delete(one_shot(&fixture, &[1]))]);
    fixture.must([Update::insert(member(&fixture, 1, 1))]);
    assert_eq!(
        fixture.code(Update::insert(one_shot(&fixture, &[1]))),
        Code::InvalidArgument
    );
}

#[test]
fn a_member_is_not_chosen_while_its_watch_port_is_down() {
    use v1::action_profile_action::WatchKind;
    let (mut fixture, _stream) = Fixture::ready();
    let mut entry = one_shot(&fixture, &[2, 3]);
    if let Some(TableActionType::ActionProfileActionSet(set)) = entry
        .action
        .as_mut()
        .and_then(|action| action.r#type.as_mut())
    {
        for (action, port) in set.action_profile_actions.iter_mut().zip([2, 3]) {
            action.watch_kind = Some(WatchKind::WatchPort(vec![port]));
        }
    }
    fixture.must([Update::insert(entry.clone())]);
    let all = v1::TableEntry {
        table_id: entry.table_id,
        ..Default::default()
    };
    assert_eq!(fixture.entries(all), [entry]);
    for (down, up) in [(2, 3), (3, 2)] {
        let device = fixture.runtime.device().clone();
        device.switch().set_port_up(down, false);
        assert_eq!(ports_left(&mut fixture), [up as usize]);
        device.switch().set_port_up(down, true);
    }
}

#[test]
fn a_selector_may_count_members_or_disallow_weights() {
    use p4runtime::config::action_profile::{SelectorSizeSemantics, SumOfMembers};
    let (fixture, _stream) = Fixture::ready();
    let set = |change: &dyn Fn(&mut p4runtime::config::ActionProfile)| {
        let mut config = crate::p4runtime_fixture::config();
        let profiles = &mut config.p4info.as_mut().expect("set").action_profiles;
        profiles.iter_mut().for_each(change);
        fixture.set_pipeline(config).expect("good");
        fixture.must((1..=9).map(|id| Update::insert(member(&fixture, id, id as u8))));
    };
    let heavy = group(&fixture, 1, &[(1, 6), (2, 6)]);
    let many: Vec<(u32, i32)> = (1..=9).map(|id| (id, 1)).collect();
    let many = group(&fixture, 2, &many);
    let write = |group: &v1::ActionProfileGroup| fixture.code(Update::insert(group.clone()));

    set(&|_| ());
    assert_eq!(write(&heavy), Code::ResourceExhausted);
    set(&|profile| {
        let members = SumOfMembers {
            max_member_weight: 6,
        };
        profile.selector_size_semantics = Some(SelectorSizeSemantics::SumOfMembers(members));
    });
    assert_eq!(write(&heavy), Code::Ok);
    assert_eq!(write(&many), Code::ResourceExhausted);
    let read = fixture.read(v1::ActionProfileGroup::default());
    assert_eq!(read, [Kind::ActionProfileGroup(heavy.clone())]);
    let heavier = group(&fixture, 3, &[(1, 7)]);
    assert_eq!(write(&heavier), Code::InvalidArgument);
    set(&|profile| profile.weights_disallowed = true);
    assert_eq!(write(&heavy), Code::InvalidArgument);
    let weightless = group(&fixture, 1, &[(1, 0), (2, 0)]);
    assert_eq!(write(&weightless), Code::Ok);
    let read = fixture.read(v1::ActionProfileGroup::default());
    assert_eq!(read, [Kind::ActionProfileGroup(weightless)]);
}
