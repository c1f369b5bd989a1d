//! What the clients observed, held against what they were promised.

use std::collections::{BTreeMap, BTreeSet};

use mqttsn::topic::matches;

use super::super::{Setup, TRANSIT_US};
use super::{ANYBODY, Client, Clients, FILTERS, Message, NEVER, Receipt, TOPICS, Waiting};

impl Clients {
    /// Holds all that was observed against what was promised.
    pub fn check(&self, setup: Setup) {
        for (c, client) in self.list.iter().enumerate() {
            assert_eq!(
                client.waiting,
                Waiting::Nothing,
                "client {c} was not answered"
            );
            for (number, message) in self.messages.iter().enumerate() {
                self.check_message(c, client, number, message, setup);
            }
            if !setup.transit {
                self.check_order(c, client);
            }
        }
        for (number, message) in self.messages.iter().enumerate() {
            if message.qos == 1 && !self.may_miss_puback(message, setup.transit) {
                assert_eq!(
                    message.pubacks, 1,
                    "PUBACK of message {number}: {message:?}"
                );
            }
        }
    }

    fn may_miss_puback(&self, message: &Message, transit: bool) -> bool {
        let margin = if transit { 4 * TRANSIT_US } else { 0 };
        let publisher = &self.list[message.publisher];
        publisher.is_away(message.sent, margin, margin) || publisher.naps(message.sent, margin)
    }

    fn check_message(
        &self,
        c: usize,
        client: &Client,
        number: usize,
        message: &Message,
        setup: Setup,
    ) {
        let margin = if setup.transit { 4 * TRANSIT_US } else { 0 };
        // How long a message may wait for those before it.
        let patience = if setup.thinking { 2_000_000 } else { margin };
        let sent = message.sent;
        let away = client.is_away(sent, margin.max(patience), margin);
        let what = || format!("message {number} {message:?} at client {c}: {client:?}");
        let name = TOPICS[message.topic];
        let matching = || {
            let all = client.subscriptions.iter();
            all.filter(|subscription| matches(FILTERS[subscription.filter], name))
        };
        let possible = matching().filter(|s| s.asked <= sent + margin && s.ended >= sent);
        let most = possible.map(|s| s.qos.min(message.qos)).max();
        let sure = matching().filter(|s| {
            s.since < sent
                && (s.until == NEVER || (s.until > sent + patience && !client.ever_naps()))
        });
        let least = sure.map(|s| s.qos.min(message.qos)).max();
        let live: Vec<&Receipt> = client
            .receipts
            .iter()
            .filter(|receipt| receipt.message == number && !receipt.retain)
            .collect();
        assert!(live.len() <= 1, "twice: {}", what());
        match live.first() {
            Some(receipt) => {
                let most = most.unwrap_or_else(|| panic!("not subscribed: {}", what()));
                assert!(receipt.qos <= most, "QoS too high: {}", what());
                let settled = matching().all(|s| s.asked > sent + margin || s.since < sent);
                if let Some(least) = least
                    && settled
                    && !away
                {
                    assert!(receipt.qos >= least, "QoS too low: {}", what());
                }
            }
            None => {
                // What waited for a sleeper at QoS 0 may be lost on its way to a client that goes.
                let left = least == Some(0)
                    && (setup.transit || setup.thinking)
                    && client.naps(sent, margin)
                    && client.gaps.iter().any(|&(from, _)| from >= sent);
                // One that its publisher overtook on its way to a new connection has none.
                let overtaken = message.publisher != ANYBODY
                    && self.list[message.publisher].is_away(sent, margin, margin);
                let owed = least.is_some() && !left && !overtaken && !away;
                assert!(!owed, "lost: {}", what());
            }
        }
        for receipt in client
            .receipts
            .iter()
            .filter(|r| r.message == number && r.retain)
        {
            assert!(message.retain && matching().next().is_some(), "{}", what());
            assert!(receipt.qos <= message.qos, "{}", what());
        }
    }

    /// Messages of one publisher, topic and QoS arrive in their order.
    fn check_order(&self, c: usize, client: &Client) {
        let mut last = BTreeMap::new();
        let ordered = client.receipts.iter().filter(|r| !r.retain && !r.early);
        for receipt in ordered {
            let message = &self.messages[receipt.message];
            let key = (message.publisher, message.topic, message.qos);
            if let Some(before) = last.insert(key, receipt.message) {
                assert!(
                    before < receipt.message,
                    "message {} overtook {before} on its way to client {c}: {client:?} {:?}",
                    receipt.message,
                    self.messages
                );
            }
        }
    }

    pub fn check_last_client(&self, last: usize, transit: bool) {
        let mut newest = BTreeMap::new();
        for (number, message) in self.messages.iter().enumerate().filter(|(_, m)| m.retain) {
            newest.insert(message.topic, number);
        }
        let receipts = &self.list[last].receipts;
        assert!(receipts.iter().all(|receipt| receipt.retain));
        let got: BTreeSet<usize> = receipts.iter().map(|receipt| receipt.message).collect();
        assert_eq!(got.len(), receipts.len());
        // Where packets take time, the last one at the broker need not be the last one sent.
        let topic = |number: &usize| self.messages[*number].topic;
        match transit {
            false => assert_eq!(got, newest.into_values().collect()),
            true => assert_eq!(
                got.iter().map(topic).collect::<BTreeSet<_>>(),
                newest.into_keys().collect()
            ),
        }
    }
}
