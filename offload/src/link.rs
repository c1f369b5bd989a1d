//! The two ends of the conversation between one broker and one controller.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::status::{FromBroker, FromController};

/// The broker's end of a link. Dropping it ends the link.
#[derive(Debug)]
pub struct BrokerEnd {
    /// To the controller.
    pub tx: UnboundedSender<FromBroker>,
    /// From the controller; ends with the link.
    pub rx: UnboundedReceiver<FromController>,
}

/// The controller's end of a link. Dropping it ends the link.
#[derive(Debug)]
pub struct ControllerEnd {
    /// To the broker.
    pub tx: UnboundedSender<FromController>,
    /// From the broker; ends with the link.
    pub rx: UnboundedReceiver<FromBroker>,
}

/// A link inside one process: messages arrive in order, none is lost.
///
/// The channels are not bounded: each message stands for a state change that must not be lost, and
/// the number in flight is bounded by the requests of clients that wait for their revision.
pub fn link() -> (BrokerEnd, ControllerEnd) {
    let (to_controller, from_broker) = unbounded_channel();
    let (to_broker, from_controller) = unbounded_channel();
    (
        BrokerEnd {
            tx: to_controller,
            rx: from_controller,
        },
        ControllerEnd {
            tx: to_broker,
            rx: from_broker,
        },
    )
}
