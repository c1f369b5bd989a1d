//! Who lives where: stations (MAC learning) and clients (endpoints), from the switch's digests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

use crate::constants::SESSION_COPY;
use crate::tables::digests::Learned;
use crate::tables::{Key, Mac, Value, dmac, endpoint, smac};

/// Where a client lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The port behind which it lives.
    pub port: u16,
    /// Its Ethernet address, or that of its router.
    pub mac: Mac,
    /// The Ethernet address by which it calls the broker.
    pub calls: Mac,
    /// The broker's address that it calls, where known.
    pub service: Option<Ipv4Addr>,
}

/// What became new by something learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Stations whose rows changed.
    pub macs: BTreeSet<Mac>,
    /// Clients that live elsewhere now, or are known for the first time.
    pub endpoints: BTreeSet<Ipv4Addr>,
    /// The broker's port is another now.
    pub broker_moved: bool,
}

/// The map of the network.
#[derive(Debug, Default)]
pub struct Learning {
    stations: HashMap<Mac, u16>,
    clients: HashMap<Ipv4Addr, Endpoint>,
    /// Further Ethernet addresses by which a client at the same place calls the broker.
    also_calls: HashMap<Ipv4Addr, BTreeSet<Mac>>,
    /// How many clients call each Ethernet address.
    called: BTreeMap<Mac, usize>,
    configured_port: Option<u16>,
    broker_port: Option<u16>,
}

impl Learning {
    /// Nothing known; `broker_port` is known if configured.
    pub fn new(broker_port: Option<u16>) -> Self {
        Self {
            configured_port: broker_port,
            broker_port,
            ..Self::default()
        }
    }

    /// Where the client lives.
    pub fn endpoint(&self, address: Ipv4Addr) -> Option<&Endpoint> {
        self.clients.get(&address)
    }

    /// All clients.
    pub fn endpoints(&self) -> impl Iterator<Item = (&Ipv4Addr, &Endpoint)> {
        self.clients.iter()
    }

    /// The port behind which the station lives.
    pub fn station(&self, mac: Mac) -> Option<u16> {
        self.stations.get(&mac).copied()
    }

    /// The port behind which the broker lives. Once known it stays until the broker is seen
    /// elsewhere: a broker that is silent for a while is not gone.
    pub fn broker_port(&self) -> Option<u16> {
        self.broker_port
    }

    /// Takes over a row that the switch holds already.
    pub fn adopt(&mut self, key: &Key, value: &Value) {
        match (key, value) {
            (Key::Dmac(key), Value::Dmac(action)) => {
                self.stations.insert(key.eth_dst, action.port);
            }
            (Key::Endpoint(key), Value::Endpoint(action)) => {
                // Of two places, where a controller was stopped while a client moved, the one
                // counts to which frames for it go. So stations are to be adopted first.
                if self.clients.contains_key(&key.ip_src)
                    && self.station(key.eth_src) != Some(key.ingress_port)
                {
                    return;
                }
                self.place(
                    key.ip_src,
                    Endpoint {
                        port: key.ingress_port,
                        mac: key.eth_src,
                        calls: key.eth_dst,
                        service: action.ip_dst,
                    },
                );
            }
            (Key::CloneSession(SESSION_COPY), Value::Replicas(replicas)) => {
                self.broker_port = self
                    .configured_port
                    .or(replicas.first().map(|replica| replica.port));
            }
            _ => return,
        }
        self.find_broker();
    }

    /// Takes in one digest message.
    pub fn learn(&mut self, learned: Learned, news: &mut News) {
        match learned {
            Learned::Mac { mac, port } => self.learn_mac(mac, port, news),
            Learned::Endpoint {
                port,
                eth_src,
                eth_dst,
                ip_src,
                ip_dst,
            } => {
                // BMv2 sends one digest a packet, and this one overrides the other.
                self.learn_mac(eth_src, port, news);
                let endpoint = Endpoint {
                    port,
                    mac: eth_src,
                    calls: eth_dst,
                    service: Some(ip_dst),
                };
                if self.place(ip_src, endpoint) {
                    news.endpoints.insert(ip_src);
                }
            }
        }
        news.broker_moved |= self.find_broker();
    }

    fn learn_mac(&mut self, mac: Mac, port: u16, news: &mut News) {
        // A group address is nobody's.
        if mac.0[0] & 1 == 0 && self.stations.insert(mac, port) != Some(port) {
            news.macs.insert(mac);
        }
    }

    /// True when the client moved or is new.
    fn place(&mut self, address: Ipv4Addr, endpoint: Endpoint) -> bool {
        match self.clients.get(&address) {
            Some(known) if (known.port, known.mac) == (endpoint.port, endpoint.mac) => {
                let (calls, had_service) = (known.calls, known.service.is_some());
                if calls != endpoint.calls {
                    let also = self.also_calls.entry(address).or_default();
                    return also.insert(endpoint.calls);
                }
                if !had_service && let Some(known) = self.clients.get_mut(&address) {
                    known.service = endpoint.service;
                }
                !had_service && endpoint.service.is_some()
            }
            Some(known) => {
                let calls = known.calls;
                self.uncall(calls);
                self.also_calls.remove(&address);
                self.clients.insert(address, endpoint);
                *self.called.entry(endpoint.calls).or_default() += 1;
                true
            }
            None => {
                self.clients.insert(address, endpoint);
                *self.called.entry(endpoint.calls).or_default() += 1;
                true
            }
        }
    }

    fn uncall(&mut self, mac: Mac) {
        if let Some(count) = self.called.get_mut(&mac) {
            *count -= 1;
            if *count == 0 {
                self.called.remove(&mac);
            }
        }
    }

    /// The broker lives behind the port of the station that most clients call.
    fn find_broker(&mut self) -> bool {
        let seen = self
            .called
            .iter()
            .filter_map(|(mac, count)| Some((*count, self.station(*mac)?)))
            .max_by_key(|(count, _)| *count)
            .map(|(_, port)| port);
        let port = self.configured_port.or(seen).or(self.broker_port);
        let moved = port != self.broker_port;
        self.broker_port = port;
        moved
    }

    /// Forgets a station that was silent for too long: frames to it are flooded again. Clients
    /// behind it stay known, for they may be served without a word from them.
    pub fn forget_station(&mut self, mac: Mac) -> bool {
        self.stations.remove(&mac).is_some()
    }

    /// Forgets a client; true if it was known.
    pub fn forget_client(&mut self, address: Ipv4Addr) -> bool {
        self.also_calls.remove(&address);
        match self.clients.remove(&address) {
            Some(endpoint) => {
                self.uncall(endpoint.calls);
                true
            }
            None => false,
        }
    }

    /// The rows of a station.
    pub fn station_rows(&self, mac: Mac, idle_timeout: std::time::Duration) -> Vec<(Key, Value)> {
        let Some(port) = self.station(mac) else {
            return Vec::new();
        };
        let smac = smac::Key {
            eth_src: mac,
            ingress_port: port,
        };
        vec![
            (Key::Smac(smac), Value::Smac(smac::Action { idle_timeout })),
            (
                Key::Dmac(dmac::Key { eth_dst: mac }),
                Value::Dmac(dmac::Action { port }),
            ),
        ]
    }

    /// The rows of a client.
    pub fn client_rows(&self, address: Ipv4Addr) -> Vec<(Key, Value)> {
        let Some(endpoint) = self.clients.get(&address) else {
            return Vec::new();
        };
        let also = self.also_calls.get(&address).into_iter().flatten();
        also.chain([&endpoint.calls])
            .map(|&eth_dst| {
                let key = endpoint::Key {
                    ingress_port: endpoint.port,
                    eth_src: endpoint.mac,
                    eth_dst,
                    ip_src: address,
                };
                let action = endpoint::Action {
                    ip_dst: endpoint.service,
                };
                (Key::Endpoint(key), Value::Endpoint(action))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const BROKER: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn calls(port: u16) -> Learned {
        Learned::Endpoint {
            port,
            eth_src: CLIENT,
            eth_dst: BROKER,
            ip_src: Ipv4Addr::new(10, 0, 0, 1),
            ip_dst: Ipv4Addr::new(10, 0, 0, 9),
        }
    }

    #[test]
    fn an_endpoint_digest_also_teaches_its_station() {
        let mut learning = Learning::new(None);
        let mut news = News::default();
        learning.learn(calls(1), &mut news);
        assert_eq!(learning.station(CLIENT), Some(1));
        assert_eq!(news.macs, BTreeSet::from([CLIENT]));
        assert_eq!(news.endpoints.len(), 1);
        assert_eq!(learning.broker_port(), None);
    }

    #[test]
    fn the_broker_lives_where_the_station_that_clients_call_was_seen_and_stays_there() {
        let mut learning = Learning::new(None);
        let mut news = News::default();
        learning.learn(calls(1), &mut news);
        learning.learn(
            Learned::Mac {
                mac: BROKER,
                port: 9,
            },
            &mut news,
        );
        assert!(news.broker_moved);
        assert_eq!(learning.broker_port(), Some(9));
        assert!(learning.forget_station(BROKER));
        let mut news = News::default();
        learning.learn(calls(1), &mut news);
        assert_eq!(learning.broker_port(), Some(9));
        assert_eq!(news, News::default(), "nothing new was said");
    }

    #[test]
    fn a_client_that_moved_has_rows_at_its_new_place_only() {
        let mut learning = Learning::new(Some(9));
        learning.learn(calls(1), &mut News::default());
        let mut news = News::default();
        learning.learn(calls(2), &mut news);
        assert_eq!(news.endpoints.len(), 1);
        let rows = learning.client_rows(Ipv4Addr::new(10, 0, 0, 1));
        assert!(matches!(
            rows[..],
            [(
                Key::Endpoint(endpoint::Key {
                    ingress_port: 2,
                    ..
                }),
                _
            )]
        ));
    }

    #[test]
    fn group_addresses_are_nobodys() {
        let mut learning = Learning::new(None);
        let mut news = News::default();
        let mac = Mac([1, 0, 0x5e, 0, 0, 1]);
        learning.learn(Learned::Mac { mac, port: 1 }, &mut news);
        assert_eq!(news, News::default());
    }
}
