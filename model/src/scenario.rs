//! The worlds that are checked. Each is small; together they take every step of the model.

use crate::rules::{Op, Rules};

const QUIET: Rules = Rules {
    name: "",
    scripts: [&[], &[], &[]],
    done: [0; 3],
    covers: [0b01; 3],
    granted_q1: 0,
    unknown: 0,
    messages: &[(0, false), (0, false)],
    grants: 1,
    begins_live: true,
    crashes: 0,
    unlinks: 0,
    failures: 0,
    ages: false,
    mutant: None,
};

const JOIN: &[Op] = &[Op::Subscribe];
const JOIN_LEAVE: &[Op] = &[Op::Subscribe, Op::Unsubscribe];
const JOIN_LEAVE_JOIN: &[Op] = &[Op::Subscribe, Op::Unsubscribe, Op::Subscribe];
const SLEEP_PING_CONNECT: &[Op] = &[Op::Subscribe, Op::Sleep, Op::Ping, Op::Connect];
const SLEEP_CONNECT: &[Op] = &[Op::Subscribe, Op::Sleep, Op::Connect];

/// One client joins a topic that is offloaded.
pub fn first_subscriber() -> Rules {
    Rules {
        name: "first subscriber",
        scripts: [JOIN, &[], &[]],
        ..QUIET
    }
}

/// One leaves and comes back while another joins and leaves; the lease may end.
pub fn joining_and_leaving() -> Rules {
    Rules {
        name: "joining and leaving",
        scripts: [JOIN_LEAVE_JOIN, JOIN_LEAVE, &[]],
        done: [1, 0, 0],
        messages: &[(0, false)],
        ..QUIET
    }
}

/// One leaves, another joins, a third stays: replication ids and groups change hands.
pub fn numbers_change_hands() -> Rules {
    Rules {
        name: "numbers change hands",
        scripts: [JOIN_LEAVE, JOIN, JOIN],
        done: [1, 0, 1],
        ..QUIET
    }
}

/// One sleeps, fetches what was buffered and comes back, beside one that stays awake.
pub fn sleeping() -> Rules {
    Rules {
        name: "sleeping",
        scripts: [SLEEP_PING_CONNECT, JOIN, &[]],
        done: [1, 1, 0],
        ..QUIET
    }
}

/// QoS 1 to one that was granted QoS 0 and one that was granted QoS 1.
pub fn split_qos_1() -> Rules {
    Rules {
        name: "split QoS 1",
        scripts: [JOIN_LEAVE, JOIN_LEAVE, &[]],
        done: [1, 0, 0],
        granted_q1: 0b10,
        messages: &[(0, true)],
        ..QUIET
    }
}

/// One that was granted QoS 1 sleeps while another joins.
pub fn sleeping_at_qos_1() -> Rules {
    Rules {
        name: "sleeping at QoS 1",
        scripts: [SLEEP_CONNECT, JOIN, &[]],
        done: [1, 0, 0],
        granted_q1: 0b01,
        messages: &[(0, true), (0, false)],
        ..QUIET
    }
}

/// Two topics with the same subscribers share their group and replication ids.
pub fn shared_groups() -> Rules {
    Rules {
        name: "shared groups",
        scripts: [JOIN_LEAVE, JOIN_LEAVE, &[]],
        done: [1, 0, 0],
        covers: [0b11, 0b10, 0],
        messages: &[(0, false), (1, false)],
        ..QUIET
    }
}

/// The controller crashes and comes back while subscribers change.
pub fn crash() -> Rules {
    Rules {
        name: "crash",
        scripts: [JOIN_LEAVE, &[], &[]],
        done: [1, 0, 0],
        crashes: 1,
        grants: 2,
        messages: &[(0, false)],
        ..QUIET
    }
}

/// The same while another joins.
pub fn crash_among_two() -> Rules {
    Rules {
        name: "crash among two",
        scripts: [JOIN_LEAVE, JOIN, &[]],
        ..crash()
    }
}

/// The link is lost and comes back.
pub fn lost_link() -> Rules {
    Rules {
        name: "lost link",
        scripts: [JOIN_LEAVE, &[], &[]],
        done: [1, 0, 0],
        unlinks: 1,
        grants: 2,
        messages: &[(0, false)],
        ..QUIET
    }
}

/// The same while another joins.
pub fn lost_link_among_two() -> Rules {
    Rules {
        name: "lost link among two",
        scripts: [JOIN_LEAVE, JOIN, &[]],
        ..lost_link()
    }
}

/// Leases end and are granted anew, however late the renewals are.
pub fn leases() -> Rules {
    Rules {
        name: "leases",
        scripts: [JOIN_LEAVE, JOIN, &[]],
        done: [1, 0, 0],
        grants: 3,
        messages: &[(0, false)],
        ..QUIET
    }
}

/// A client becomes reachable: it moves from the software path to the data plane, unasked.
pub fn becoming_reachable() -> Rules {
    Rules {
        name: "becoming reachable",
        scripts: [JOIN_LEAVE, JOIN, &[]],
        done: [1, 1, 0],
        unknown: 0b01,
        ..QUIET
    }
}

/// Revisions become overdue and generations are forgotten.
pub fn forgetting() -> Rules {
    Rules {
        name: "forgetting",
        scripts: [JOIN, JOIN, &[]],
        done: [1, 1, 0],
        unknown: 0b01,
        grants: 2,
        ages: true,
        ..QUIET
    }
}

/// The same while the link is lost and comes back.
pub fn forgetting_without_a_link() -> Rules {
    Rules {
        name: "forgetting without a link",
        messages: &[(0, false)],
        unlinks: 1,
        ..forgetting()
    }
}

/// A copy is under way while one that had it from the data plane falls asleep and another joins.
pub fn many_generations() -> Rules {
    Rules {
        name: "many generations",
        scripts: [SLEEP_CONNECT, JOIN, JOIN],
        done: [1, 1, 0],
        granted_q1: 0b010,
        messages: &[(0, true)],
        ..QUIET
    }
}

/// There is no room for a row or a group.
pub fn no_room() -> Rules {
    Rules {
        name: "no room",
        scripts: [JOIN_LEAVE, JOIN, &[]],
        done: [1, 0, 0],
        messages: &[(0, false)],
        failures: 1,
        ..QUIET
    }
}

/// The same world with another message.
#[must_use]
pub fn with_another_message(mut rules: Rules) -> Rules {
    rules.messages = match rules.messages {
        [(_, true)] => &[(0, true), (0, false)],
        [_] => &[(0, false), (0, false)],
        [_, (1, _)] => &[(0, false), (1, false), (1, false)],
        [(_, true), _] => &[(0, true), (0, false), (0, true)],
        _ => &[(0, false), (0, false), (0, false)],
    };
    rules
}
