//! Any datagram: decoding does not panic, and what decodes has one canonical form.
//!
//! `cargo fuzz run decode` in `mqttsn/`, on a nightly toolchain or with `RUSTC_BOOTSTRAP=1`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mqttsn::{Frame, Packet, Tag, topic};

fuzz_target!(|datagram: &[u8]| {
    if let Ok(frame) = Frame::decode(datagram) {
        let mut at = 0;
        let mut layers = vec![0; frame.encapsulation().len()];
        for layer in frame.layers() {
            at += layer
                .encode(&mut layers[at..])
                .expect("it came from as many octets");
            if let Some(tag) = Tag::from_encapsulation(&layer) {
                assert_eq!(tag.to_node_id(), layer.wireless_node_id);
            }
        }
        assert_eq!(layers, frame.encapsulation());
        check(frame.message());
    }
    check(datagram);
    if let Ok(text) = core::str::from_utf8(datagram)
        && let Some((filter, name)) = text.split_once('\n')
    {
        let valid = topic::validate_filter(filter).is_ok() && topic::validate_name(name).is_ok();
        if topic::matches(filter, name) && valid && !topic::has_wildcards(filter) {
            assert_eq!(filter, name);
        }
    }
});

fn check(message: &[u8]) {
    let Ok(packet) = Packet::decode(message) else {
        return;
    };
    let mut canonical = vec![0; message.len()];
    let length = packet
        .encode(&mut canonical)
        .expect("canonical is never longer");
    assert_eq!(length, packet.encoded_len());
    assert_eq!(Packet::decode(&canonical[..length]), Ok(packet));
}
