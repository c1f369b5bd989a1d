//! MQTT-SN messages as octets, written down here once more and without the codec: what the data
//! plane must do with odd ones is tested too.

/// DUP (MQTT-SN 1.2 §5.3.4).
pub const DUP: u8 = 0x80;
/// QoS 1.
pub const QOS_1: u8 = 0x20;
/// QoS 2.
pub const QOS_2: u8 = 0x40;
/// QoS −1.
pub const QOS_MINUS_ONE: u8 = 0x60;
/// Retain.
pub const RETAIN: u8 = 0x10;
/// TopicIdType of a predefined topic id.
pub const PREDEFINED: u8 = 0x01;
/// TopicIdType of a short topic name.
pub const SHORT: u8 = 0x02;

/// A PUBLISH (§5.4.12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The octet of flags.
    pub flags: u8,
    /// TopicId.
    pub topic_id: u16,
    /// MsgId.
    pub msg_id: u16,
    /// Payload.
    pub data: Vec<u8>,
    /// Whether the Length takes three octets although one would do.
    pub long: bool,
}

impl Publish {
    /// A PUBLISH with the Length in the shortest form.
    pub fn new(flags: u8, topic_id: u16, msg_id: u16, data: impl Into<Vec<u8>>) -> Self {
        Publish {
            flags,
            topic_id,
            msg_id,
            data: data.into(),
            long: false,
        }
    }

    /// The message.
    pub fn octets(&self) -> Vec<u8> {
        let behind_length = 6 + self.data.len();
        let mut message = if self.long || behind_length + 1 > 255 {
            let length = u16::try_from(behind_length + 3).expect("fits a datagram");
            let [high, low] = length.to_be_bytes();
            vec![0x01, high, low]
        } else {
            vec![u8::try_from(behind_length + 1).expect("at most 255")]
        };
        message.extend([0x0c, self.flags]);
        message.extend(self.topic_id.to_be_bytes());
        message.extend(self.msg_id.to_be_bytes());
        message.extend(&self.data);
        message
    }
}

/// A PUBACK that accepts (§5.4.13).
pub fn puback(topic_id: u16, msg_id: u16) -> Vec<u8> {
    let ([t1, t0], [m1, m0]) = (topic_id.to_be_bytes(), msg_id.to_be_bytes());
    vec![7, 0x0d, t1, t0, m1, m0, 0x00]
}

/// A message behind the tag of a broker's copy: a forwarder encapsulation (§5.5) whose Wireless
/// Node Id is magic, version, topic index and generation.
pub fn tagged(topic_index: u32, generation: u32, message: &[u8]) -> Vec<u8> {
    let mut tagged = vec![14, 0xfe, 0x00, 0x54, 0x53, 1];
    tagged.extend(topic_index.to_be_bytes());
    tagged.extend(generation.to_be_bytes());
    tagged.extend(message);
    tagged
}
