//! Who may connect, publish and subscribe.

/// Decides about permissions. Asked when a right is acquired (CONNECT, REGISTER, SUBSCRIBE, the
/// first PUBLISH with an alias), not for each message: the answer must hold until the session ends.
pub trait Access: Send {
    /// Whether this client may open a session.
    fn may_connect(&self, client_id: &str) -> bool {
        let _ = client_id;
        true
    }

    /// Whether this client may publish to the topic; `None` is anybody, at QoS −1.
    fn may_publish(&self, client_id: Option<&str>, topic: &str) -> bool {
        let _ = (client_id, topic);
        true
    }

    /// Whether this client may subscribe to the filter.
    fn may_subscribe(&self, client_id: &str, filter: &str) -> bool {
        let _ = (client_id, filter);
        true
    }
}

/// Everybody may do everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Access for AllowAll {}
