//! The rows that no topic asks for: bridging, limits, the broker's addresses.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::Config;
use crate::constants::{
    ANY_PORT, GROUP_FLOOD, GROUP_VLAN, RID_ACK, RID_COPY, RID_FLOOD, SESSION_ACK, SESSION_COPY,
};
use crate::places::View;
use crate::plan::Plan;
use crate::tables::{Key, Replica, Value, answer, digests, meters, replication, service, vlan};

impl Plan {
    /// What does not depend on the intent: digests, the flood group, clone sessions.
    pub(crate) fn infrastructure(&mut self, config: &Config, broker_port: Option<u16>) {
        let delivery = digests::Delivery {
            max_timeout: Duration::from_millis(5),
            max_list_size: 64,
            ack_timeout: Duration::from_secs(1),
        };
        for kind in digests::Kind::ALL {
            self.set(Key::Digest(kind), Value::Digest(delivery));
        }
        let flood = config.ports.iter().map(|&port| Replica {
            port,
            rid: RID_FLOOD,
        });
        let flood = replication::replicas(flood);
        self.set(Key::Group(GROUP_FLOOD), Value::Replicas(flood));
        for &port in &config.ports {
            let ack = replication::replicas([Replica { port, rid: RID_ACK }]);
            let session = Key::CloneSession(SESSION_ACK + u32::from(port));
            self.set(session, Value::Replicas(ack));
        }
        for (group, vlan) in (GROUP_VLAN..).zip(&config.vlans) {
            let flood = vlan.ports.iter().map(|&port| Replica {
                port,
                rid: RID_FLOOD,
            });
            let flood = replication::replicas(flood);
            self.set(Key::Group(group), Value::Replicas(flood));
            for &ingress_port in &config.ports {
                let key = vlan::Key {
                    vid: vlan.vid,
                    ingress_port,
                };
                let action = match vlan.ports.contains(&ingress_port) {
                    true => vlan::Action::Member { flood_group: group },
                    false => vlan::Action::Refuse,
                };
                self.set(Key::Vlan(key), Value::Vlan(action));
            }
        }
        for (kind, rate) in [
            (meters::Kind::Open, config.open_rate),
            (meters::Kind::Software, config.software_rate),
        ] {
            // What the broker sends is not limited: it calls no service.
            for &port in &config.ports {
                if let Some(rate) = rate {
                    self.set(Key::Meter(kind, port), Value::Rate(rate));
                }
            }
        }
        if let Some(port) = broker_port {
            let copy = replication::replicas([Replica {
                port,
                rid: RID_COPY,
            }]);
            self.set(Key::CloneSession(SESSION_COPY), Value::Replicas(copy));
        }
    }

    pub(crate) fn services(&mut self, view: &View<'_>) {
        let wanted: BTreeSet<service::Key> = view
            .intent
            .services
            .iter()
            .map(|address| service::Key {
                ip_dst: address.ip(),
                udp_dst: address.port(),
            })
            .collect();
        let answers = |wanted: &service::Key| answer::Key {
            ip_src: wanted.ip_dst,
            udp_src: wanted.udp_dst,
        };
        let answering: BTreeSet<answer::Key> = wanted.iter().map(answers).collect();
        let old: Vec<Key> = self
            .rows()
            .keys()
            .filter(|key| match key {
                Key::Service(key) => !wanted.contains(key),
                Key::Answer(key) => !answering.contains(key),
                _ => false,
            })
            .copied()
            .collect();
        for key in old {
            self.unset(key);
        }
        for key in wanted {
            let action = service::Action {
                max_length: view.config.mtu,
            };
            self.set(Key::Service(key), Value::Service(action));
        }
        let port = view.learning.believed_port().unwrap_or(ANY_PORT);
        for key in answering {
            self.set(Key::Answer(key), Value::Answer(answer::Action { port }));
        }
    }
}
