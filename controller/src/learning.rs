//! Who lives where: stations (MAC learning) and clients (endpoints), from the switch's digests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use crate::constants::SESSION_COPY;
use crate::tables::digests::Learned;
use crate::tables::{Key, Mac, Value, dmac, endpoint, smac};

/// A station of a VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Station {
    /// Its Ethernet address.
    pub mac: Mac,
    /// The VLAN whose tag its frames carry; 0 for none.
    pub vid: u16,
}

/// Where a client lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The port behind which it lives.
    pub port: u16,
    /// The VLAN whose tag its frames carry; 0 for none.
    pub vid: u16,
    /// Its Ethernet address, or that of its router.
    pub mac: Mac,
    /// The Ethernet address by which it calls the broker.
    pub calls: Mac,
    /// The broker's address that it calls, where known.
    pub service: Option<IpAddr>,
}

impl Endpoint {
    /// What frames for the client are sent to.
    pub fn station(&self) -> Station {
        Station {
            mac: self.mac,
            vid: self.vid,
        }
    }

    /// What the client calls the broker.
    fn broker(&self) -> Station {
        Station {
            mac: self.calls,
            vid: self.vid,
        }
    }
}

/// What became new by something learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Stations whose rows changed.
    pub stations: BTreeSet<Station>,
    /// Clients that live elsewhere now, or are known for the first time.
    pub endpoints: BTreeSet<IpAddr>,
    /// The broker's port is another now.
    pub broker_moved: bool,
}

/// The map of the network.
#[derive(Debug, Default)]
pub struct Learning {
    stations: HashMap<Station, u16>,
    clients: HashMap<IpAddr, Endpoint>,
    /// Further Ethernet addresses by which a client at the same place calls the broker.
    also_calls: HashMap<IpAddr, BTreeSet<Mac>>,
    /// How many clients call each station.
    called: BTreeMap<Station, usize>,
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
    pub fn endpoint(&self, address: IpAddr) -> Option<&Endpoint> {
        self.clients.get(&address)
    }

    /// All clients.
    pub fn endpoints(&self) -> impl Iterator<Item = (&IpAddr, &Endpoint)> {
        self.clients.iter()
    }

    /// The port behind which the station lives.
    pub fn station(&self, station: Station) -> Option<u16> {
        self.stations.get(&station).copied()
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
                let station = Station {
                    mac: key.eth_dst,
                    vid: key.vid,
                };
                self.stations.insert(station, action.port);
            }
            (Key::Endpoint(key), Value::Endpoint(action)) => {
                // Of two places, where a controller was stopped while a client moved, the one
                // counts to which frames for it go. So stations are to be adopted first.
                let endpoint = Endpoint {
                    port: key.ingress_port,
                    vid: key.vid,
                    mac: key.eth_src,
                    calls: key.eth_dst,
                    service: action.ip_dst,
                };
                if self.clients.contains_key(&key.ip_src)
                    && self.station(endpoint.station()) != Some(key.ingress_port)
                {
                    return;
                }
                self.place(key.ip_src, endpoint);
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
            Learned::Mac { mac, vid, port } => self.learn_mac(Station { mac, vid }, port, news),
            Learned::Endpoint {
                port,
                vid,
                eth_src,
                eth_dst,
                ip_src,
                ip_dst,
            } => {
                // BMv2 sends one digest a packet, and this one overrides the other.
                let endpoint = Endpoint {
                    port,
                    vid,
                    mac: eth_src,
                    calls: eth_dst,
                    service: Some(ip_dst),
                };
                self.learn_mac(endpoint.station(), port, news);
                if self.place(ip_src, endpoint) {
                    news.endpoints.insert(ip_src);
                }
            }
        }
        news.broker_moved |= self.find_broker();
    }

    fn learn_mac(&mut self, station: Station, port: u16, news: &mut News) {
        // A group address is nobody's.
        if station.mac.0[0] & 1 == 0 && self.stations.insert(station, port) != Some(port) {
            news.stations.insert(station);
        }
    }

    /// True when the client moved or is new.
    fn place(&mut self, address: IpAddr, endpoint: Endpoint) -> bool {
        match self.clients.get(&address) {
            Some(known) if (known.port, known.station()) == (endpoint.port, endpoint.station()) => {
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
                let called = known.broker();
                self.uncall(called);
                self.also_calls.remove(&address);
                self.clients.insert(address, endpoint);
                *self.called.entry(endpoint.broker()).or_default() += 1;
                true
            }
            None => {
                self.clients.insert(address, endpoint);
                *self.called.entry(endpoint.broker()).or_default() += 1;
                true
            }
        }
    }

    fn uncall(&mut self, station: Station) {
        if let Some(count) = self.called.get_mut(&station) {
            *count -= 1;
            if *count == 0 {
                self.called.remove(&station);
            }
        }
    }

    /// The broker lives behind the port of the station that most clients call.
    fn find_broker(&mut self) -> bool {
        let seen = self
            .called
            .iter()
            .filter_map(|(station, count)| Some((*count, self.station(*station)?)))
            .max_by_key(|(count, _)| *count)
            .map(|(_, port)| port);
        let port = self.configured_port.or(seen).or(self.broker_port);
        let moved = port != self.broker_port;
        self.broker_port = port;
        moved
    }

    /// Forgets a station that was silent for too long: frames to it are flooded again. Clients
    /// behind it stay known, for they may be served without a word from them.
    pub fn forget_station(&mut self, station: Station) -> bool {
        self.stations.remove(&station).is_some()
    }

    /// Forgets a client; true if it was known.
    pub fn forget_client(&mut self, address: IpAddr) -> bool {
        self.also_calls.remove(&address);
        match self.clients.remove(&address) {
            Some(endpoint) => {
                self.uncall(endpoint.broker());
                true
            }
            None => false,
        }
    }

    /// The rows of a station.
    pub fn station_rows(
        &self,
        station: Station,
        idle_timeout: std::time::Duration,
    ) -> Vec<(Key, Value)> {
        let Some(port) = self.station(station) else {
            return Vec::new();
        };
        let Station { mac, vid } = station;
        let smac = smac::Key {
            eth_src: mac,
            vid,
            ingress_port: port,
        };
        vec![
            (Key::Smac(smac), Value::Smac(smac::Action { idle_timeout })),
            (
                Key::Dmac(dmac::Key { eth_dst: mac, vid }),
                Value::Dmac(dmac::Action { port }),
            ),
        ]
    }

    /// The rows of a client.
    pub fn client_rows(&self, address: IpAddr) -> Vec<(Key, Value)> {
        let Some(endpoint) = self.clients.get(&address) else {
            return Vec::new();
        };
        let also = self.also_calls.get(&address).into_iter().flatten();
        also.chain([&endpoint.calls])
            .map(|&eth_dst| {
                let key = endpoint::Key {
                    ingress_port: endpoint.port,
                    vid: endpoint.vid,
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
    use std::net::Ipv4Addr;

    use super::*;

    const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const BROKER: Mac = Mac([2, 0, 0, 0, 0, 9]);
    const CLIENT_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn untagged(mac: Mac) -> Station {
        Station { mac, vid: 0 }
    }

    fn calls(port: u16) -> Learned {
        Learned::Endpoint {
            port,
            vid: 0,
            eth_src: CLIENT,
            eth_dst: BROKER,
            ip_src: CLIENT_IP,
            ip_dst: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9)),
        }
    }

    #[test]
    fn an_endpoint_digest_also_teaches_its_station() {
        let mut learning = Learning::new(None);
        let mut news = News::default();
        learning.learn(calls(1), &mut news);
        assert_eq!(learning.station(untagged(CLIENT)), Some(1));
        assert_eq!(news.stations, BTreeSet::from([untagged(CLIENT)]));
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
                vid: 0,
                port: 9,
            },
            &mut news,
        );
        assert!(news.broker_moved);
        assert_eq!(learning.broker_port(), Some(9));
        assert!(learning.forget_station(untagged(BROKER)));
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
        let rows = learning.client_rows(CLIENT_IP);
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
        let learned = Learned::Mac {
            mac,
            vid: 0,
            port: 1,
        };
        learning.learn(learned, &mut news);
        assert_eq!(news, News::default());
    }
}
