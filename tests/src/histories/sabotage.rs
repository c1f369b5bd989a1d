//! The system broken on purpose, to see that the fuzzer sees it.

use p4runtime::v1;
use p4runtime::v1::stream_message_request::Update as Request;

use super::rpc::Ask;

/// One thing that the system does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A change counts as installed when the broker has told it: answers come before the switch
    /// holds what they say.
    InstalledTooEarly,
    /// The broker does not learn which copies the data plane has served.
    NoGenerations,
    /// The data plane offloads on when its lease is over.
    EternalLease,
    /// What publishes through the data plane is silent to the broker.
    NobodyPublishes,
    /// The switch says yes to every change of an entry, and leaves it as it was.
    ForgottenModify,
    /// The switch says yes to every DELETE, and deletes nothing.
    ForgottenDelete,
}

impl Sabotage {
    /// Those that few histories find out.
    pub const SOON: [Sabotage; 5] = [
        Sabotage::InstalledTooEarly,
        Sabotage::NoGenerations,
        Sabotage::EternalLease,
        Sabotage::NobodyPublishes,
        Sabotage::ForgottenModify,
    ];
    /// Those that need rarer ones.
    pub const RARE: [Sabotage; 1] = [Sabotage::ForgottenDelete];

    /// Changes what reaches the switch.
    pub(super) fn spoil(self, ask: &mut Ask) {
        let forget = |updates: &mut Vec<v1::Update>, kind: v1::update::Type| {
            updates.retain(|update| update.r#type != i32::from(kind));
        };
        match (self, ask) {
            (Sabotage::EternalLease, Ask::Stream(_, Request::Packet(packet))) => {
                // {operation, egress_port, deadline, request}
                if let Some(deadline) = packet.metadata.get_mut(2) {
                    deadline.value = vec![0x7f; 6];
                }
            }
            (Sabotage::ForgottenModify, Ask::Write(_, updates, _)) => {
                forget(updates, v1::update::Type::Modify);
            }
            (Sabotage::ForgottenDelete, Ask::Write(_, updates, _)) => {
                forget(updates, v1::update::Type::Delete);
            }
            _ => {}
        }
    }
}
