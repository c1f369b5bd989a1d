//! Who lives where: stations (MAC learning) and clients, from the switch's digests.
//!
//! A client's place is believed of the broker alone: what its host sends to a client is addressed to
//! the station that ARP or ND told it, and the station is where its own frames were seen. So the
//! data plane's copies go where the broker's own would. What a client sends says nothing: anybody
//! can forge its address.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use crate::constants::{ANY_PORT, SESSION_COPY};
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

impl Station {
    /// A group address is nobody's.
    fn is_somebody(self) -> bool {
        self.mac.0[0] & 1 == 0
    }
}

/// Where a client lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The port behind which its station was seen last.
    pub port: u16,
    /// The VLAN whose tag its frames carry; 0 for none.
    pub vid: u16,
    /// Its Ethernet address, or that of its router.
    pub mac: Mac,
    /// The Ethernet address from which the broker speaks to it.
    pub calls: Mac,
    /// The broker's address from which it does, where known.
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

/// A client of which the broker's host knows the station.
#[derive(Debug)]
struct Client {
    endpoint: Endpoint,
    /// The station was seen, so that the port is known.
    seen: bool,
    /// Further Ethernet addresses from which the broker speaks to it.
    also_calls: BTreeSet<Mac>,
}

/// The map of the network.
#[derive(Debug, Default)]
pub struct Learning {
    stations: HashMap<Station, u16>,
    clients: HashMap<IpAddr, Client>,
    /// The clients that frames to a station are for.
    behind: HashMap<Station, HashSet<IpAddr>>,
    /// What the broker's host calls itself; empty with a configured port.
    broker: BTreeSet<Station>,
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
        let client = self.clients.get(&address)?;
        client.seen.then_some(&client.endpoint)
    }

    /// All clients whose place is known.
    pub fn endpoints(&self) -> impl Iterator<Item = (&IpAddr, &Endpoint)> {
        let seen = self.clients.iter().filter(|(_, client)| client.seen);
        seen.map(|(address, client)| (address, &client.endpoint))
    }

    /// The clients that frames to the station are for.
    pub fn behind(&self, station: Station) -> impl Iterator<Item = IpAddr> {
        self.behind.get(&station).into_iter().flatten().copied()
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

    /// The only port from which packets are believed to be the broker's. None while every port is:
    /// without a configured one, before the broker has spoken, and once it was silent for so long
    /// that it may have been replaced by another.
    pub fn believed_port(&self) -> Option<u16> {
        let alive = || {
            let mut stations = self.broker.iter();
            stations.any(|station| self.stations.contains_key(station))
        };
        self.configured_port
            .or_else(|| self.broker_port.filter(|_| alive()))
    }

    /// Takes over a row that the switch holds already: of stations first, of clients last.
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
                let broker = Station {
                    mac: key.eth_src,
                    vid: key.vid,
                };
                let client = Station {
                    mac: key.eth_dst,
                    vid: key.vid,
                };
                let elsewhere = |port| Some(port) != self.broker_port;
                if self.configured_port.is_none() && !self.station(broker).is_some_and(elsewhere) {
                    self.broker.insert(broker);
                }
                // A controller was stopped while a client moved. Which of two places is the old one
                // cannot be told, so neither is believed: the broker's next packet tells.
                if self
                    .clients
                    .get(&key.ip_dst)
                    .is_some_and(|known| known.endpoint.station() != client)
                {
                    self.forget_client(key.ip_dst);
                    return;
                }
                self.place(key.ip_dst, client, broker.mac, action.ip_src);
                if let Some(known) = self.clients.get_mut(&key.ip_dst)
                    && !known.seen
                    && action.port != ANY_PORT
                {
                    known.endpoint.port = action.port;
                    known.seen = true;
                }
            }
            (Key::CloneSession(SESSION_COPY), Value::Replicas(replicas)) => {
                self.broker_port = self
                    .configured_port
                    .or(replicas.first().map(|replica| replica.port));
            }
            _ => {}
        }
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
                let broker = Station { mac: eth_src, vid };
                let client = Station { mac: eth_dst, vid };
                let believed = self.believed_port().is_none_or(|believed| believed == port);
                if !believed || !broker.is_somebody() || !client.is_somebody() {
                    return; // The switch asked before it knew better.
                }
                self.learn_broker(broker, port, news);
                // BMv2 sends one digest a packet, and this one overrides the other.
                self.learn_mac(broker, port, news);
                if self.place(ip_dst, client, eth_src, Some(ip_src)) {
                    news.endpoints.insert(ip_dst);
                }
            }
        }
    }

    fn learn_broker(&mut self, station: Station, port: u16, news: &mut News) {
        if self.configured_port.is_some() {
            return;
        }
        if self.broker_port != Some(port) {
            self.broker.clear();
            self.broker_port = Some(port);
            news.broker_moved = true;
        }
        self.broker.insert(station);
    }

    fn learn_mac(&mut self, station: Station, port: u16, news: &mut News) {
        if !station.is_somebody() || self.stations.insert(station, port) == Some(port) {
            return;
        }
        news.stations.insert(station);
        if self.broker.contains(&station) && self.broker_port != Some(port) {
            self.broker_port = Some(port);
            news.broker_moved = true;
        }
        for address in self.behind.get(&station).into_iter().flatten() {
            if let Some(client) = self.clients.get_mut(address)
                && (!client.seen || client.endpoint.port != port)
            {
                client.seen = true;
                client.endpoint.port = port;
                news.endpoints.insert(*address);
            }
        }
    }

    /// True when the place of the client changed, or became known, or is addressed otherwise.
    fn place(
        &mut self,
        address: IpAddr,
        station: Station,
        calls: Mac,
        service: Option<IpAddr>,
    ) -> bool {
        if let Some(known) = self.clients.get_mut(&address)
            && known.endpoint.station() == station
        {
            let endpoint = &mut known.endpoint;
            let before = *endpoint;
            endpoint.service = endpoint.service.or(service);
            if endpoint.calls != calls {
                // Both stay known: it may have two.
                known.also_calls.remove(&calls);
                known.also_calls.insert(endpoint.calls);
                endpoint.calls = calls;
            }
            return known.seen && known.endpoint != before;
        }
        self.forget_client(address);
        let port = self.station(station);
        let client = Client {
            endpoint: Endpoint {
                port: port.unwrap_or(ANY_PORT),
                vid: station.vid,
                mac: station.mac,
                calls,
                service,
            },
            seen: port.is_some(),
            also_calls: BTreeSet::new(),
        };
        self.clients.insert(address, client);
        self.behind.entry(station).or_default().insert(address);
        true
    }

    /// Forgets a station that was silent for too long: frames to it are flooded again. Clients
    /// behind it stay known, for they may be served without a word from them.
    pub fn forget_station(&mut self, station: Station) -> bool {
        self.stations.remove(&station).is_some()
    }

    /// Forgets a client; true if it was known.
    pub fn forget_client(&mut self, address: IpAddr) -> bool {
        let Some(client) = self.clients.remove(&address) else {
            return false;
        };
        let station = client.endpoint.station();
        if let Some(behind) = self.behind.get_mut(&station) {
            behind.remove(&address);
            if behind.is_empty() {
                self.behind.remove(&station);
            }
        }
        true
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

    /// The rows of a client: none before its station was seen.
    pub fn client_rows(&self, address: IpAddr) -> Vec<(Key, Value)> {
        let Some(client) = self.clients.get(&address).filter(|client| client.seen) else {
            return Vec::new();
        };
        let endpoint = &client.endpoint;
        let also = client.also_calls.iter();
        also.chain([&endpoint.calls])
            .map(|&eth_src| {
                let key = endpoint::Key {
                    vid: endpoint.vid,
                    eth_src,
                    eth_dst: endpoint.mac,
                    ip_dst: address,
                };
                let action = endpoint::Action {
                    ip_src: endpoint.service,
                    port: endpoint.port,
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
    const SPOOFER: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const BROKER: Mac = Mac([2, 0, 0, 0, 0, 9]);
    const CLIENT_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn untagged(mac: Mac) -> Station {
        Station { mac, vid: 0 }
    }

    fn seen(mac: Mac, port: u16) -> Learned {
        Learned::Mac { mac, vid: 0, port }
    }

    fn spoken(port: u16, eth_src: Mac, eth_dst: Mac) -> Learned {
        Learned::Endpoint {
            port,
            vid: 0,
            eth_src,
            eth_dst,
            ip_src: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9)),
            ip_dst: CLIENT_IP,
        }
    }

    fn learn(learning: &mut Learning, learned: Learned) -> News {
        let mut news = News::default();
        learning.learn(learned, &mut news);
        news
    }

    fn port_of(learning: &Learning) -> Option<u16> {
        learning.endpoint(CLIENT_IP).map(|endpoint| endpoint.port)
    }

    #[test]
    fn a_client_lives_where_the_station_was_seen_that_the_broker_addresses_in_either_order() {
        let told = [seen(CLIENT, 1), spoken(9, BROKER, CLIENT)];
        for order in [[0, 1], [1, 0]] {
            let mut learning = Learning::new(None);
            learn(&mut learning, told[order[0]]);
            assert_eq!(port_of(&learning), None);
            assert!(learning.client_rows(CLIENT_IP).is_empty());
            let news = learn(&mut learning, told[order[1]]);
            assert_eq!(news.endpoints, BTreeSet::from([CLIENT_IP]));
            assert_eq!(port_of(&learning), Some(1));
            assert_eq!(learning.client_rows(CLIENT_IP).len(), 1);
        }
    }

    #[test]
    fn who_speaks_as_the_broker_teaches_its_station_and_its_port() {
        let mut learning = Learning::new(None);
        let news = learn(&mut learning, spoken(9, BROKER, CLIENT));
        assert_eq!(learning.station(untagged(BROKER)), Some(9));
        assert_eq!(news.stations, BTreeSet::from([untagged(BROKER)]));
        assert!(news.broker_moved);
        assert_eq!(learning.broker_port(), Some(9));
        assert_eq!(learning.believed_port(), Some(9));
    }

    #[test]
    fn nobody_else_is_believed_to_be_the_broker_while_it_is_alive() {
        let mut learning = Learning::new(None);
        learn(&mut learning, seen(CLIENT, 1));
        learn(&mut learning, seen(SPOOFER, 2));
        learn(&mut learning, spoken(9, BROKER, CLIENT));
        let news = learn(&mut learning, spoken(2, SPOOFER, SPOOFER));
        assert_eq!(news, News::default());
        assert_eq!(port_of(&learning), Some(1));
        // Silent for long enough it may have been replaced, and is the broker still if it was not.
        assert!(learning.forget_station(untagged(BROKER)));
        assert_eq!(learning.believed_port(), None);
        assert_eq!(learning.broker_port(), Some(9));
        learn(&mut learning, seen(BROKER, 9));
        assert_eq!(learning.believed_port(), Some(9));
        assert!(learning.forget_station(untagged(BROKER)));
        assert!(learn(&mut learning, spoken(7, SPOOFER, CLIENT)).broker_moved);
        assert_eq!(learning.believed_port(), Some(7));
        assert!(!learn(&mut learning, seen(BROKER, 5)).broker_moved);
    }

    #[test]
    fn a_configured_port_is_the_brokers_whoever_says_what() {
        let mut learning = Learning::new(Some(9));
        assert_eq!(learning.believed_port(), Some(9));
        let news = learn(&mut learning, spoken(2, SPOOFER, SPOOFER));
        assert_eq!(news, News::default());
        learn(&mut learning, spoken(9, BROKER, CLIENT));
        assert!(!learn(&mut learning, seen(BROKER, 2)).broker_moved);
        learning.forget_station(untagged(BROKER));
        assert_eq!(learning.believed_port(), Some(9));
    }

    #[test]
    fn clients_move_with_their_station() {
        let mut learning = Learning::new(Some(9));
        learn(&mut learning, seen(CLIENT, 1));
        learn(&mut learning, spoken(9, BROKER, CLIENT));
        let news = learn(&mut learning, seen(CLIENT, 2));
        assert_eq!(news.endpoints, BTreeSet::from([CLIENT_IP]));
        assert_eq!(port_of(&learning), Some(2));
    }

    #[test]
    fn a_client_whose_address_is_at_another_station_now_has_rows_of_that_one_only() {
        let mut learning = Learning::new(Some(9));
        learn(&mut learning, seen(CLIENT, 1));
        learn(&mut learning, seen(SPOOFER, 2));
        learn(&mut learning, spoken(9, BROKER, CLIENT));
        let news = learn(&mut learning, spoken(9, BROKER, SPOOFER));
        assert_eq!(news.endpoints, BTreeSet::from([CLIENT_IP]));
        let rows = learning.client_rows(CLIENT_IP);
        assert!(matches!(
            rows[..],
            [(
                Key::Endpoint(endpoint::Key {
                    eth_dst: SPOOFER,
                    ..
                }),
                _
            )]
        ));
        assert_eq!(learn(&mut learning, seen(CLIENT, 5)).endpoints.len(), 0);
    }

    #[test]
    fn a_client_is_reached_where_its_station_was_seen_last_while_that_is_silent() {
        let mut learning = Learning::new(Some(9));
        learn(&mut learning, seen(CLIENT, 1));
        learn(&mut learning, spoken(9, BROKER, CLIENT));
        learning.forget_station(untagged(CLIENT));
        assert_eq!(port_of(&learning), Some(1));
        // Also by a controller that starts anew.
        let mut anew = Learning::new(Some(9));
        for (key, value) in learning.client_rows(CLIENT_IP) {
            anew.adopt(&key, &value);
        }
        assert_eq!(port_of(&anew), Some(1));
        assert_eq!(anew.endpoint(CLIENT_IP), learning.endpoint(CLIENT_IP));
    }

    #[test]
    fn a_broker_that_was_silent_while_its_controller_was_stopped_is_known_by_its_station() {
        let mut learning = Learning::new(None);
        learn(&mut learning, seen(CLIENT, 1));
        learn(&mut learning, spoken(9, BROKER, CLIENT));
        let mut anew = Learning::new(None);
        let copies = crate::tables::replication::replicas([crate::tables::Replica {
            port: 9,
            rid: crate::constants::RID_COPY,
        }]);
        anew.adopt(&Key::CloneSession(SESSION_COPY), &Value::Replicas(copies));
        for (key, value) in learning.client_rows(CLIENT_IP) {
            anew.adopt(&key, &value);
        }
        assert_eq!((anew.broker_port(), anew.believed_port()), (Some(9), None));
        learn(&mut anew, seen(BROKER, 9));
        assert_eq!(anew.believed_port(), Some(9));
    }

    #[test]
    fn of_two_places_that_a_controller_finds_neither_is_believed() {
        let mut anew = Learning::new(Some(9));
        for mac in [CLIENT, SPOOFER] {
            let mut learning = Learning::new(Some(9));
            learn(&mut learning, seen(mac, 1));
            learn(&mut learning, spoken(9, BROKER, mac));
            for (key, value) in learning.client_rows(CLIENT_IP) {
                anew.adopt(&key, &value);
            }
        }
        assert_eq!(anew.endpoint(CLIENT_IP), None);
    }

    #[test]
    fn group_addresses_are_nobodys() {
        let mut learning = Learning::new(None);
        let group = Mac([1, 0, 0x5e, 0, 0, 1]);
        assert_eq!(learn(&mut learning, seen(group, 1)), News::default());
        let news = learn(&mut learning, spoken(9, BROKER, group));
        assert_eq!(news, News::default());
        assert_eq!(learning.broker_port(), None);
    }
}
