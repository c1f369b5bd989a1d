//! What holds for every packet and for every sequence of octets.

mod any_packet;

use any_packet::{ingredients, with_long_length};
use mqttsn::{DecodeError, Encapsulation, EncodeError, Frame, Packet, Tag};
use proptest::prelude::*;

/// Decoding and encoding never panic, and what decodes has one canonical form.
fn check_octets(octets: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(packet) = Packet::decode(octets) {
        let mut buffer = vec![0; octets.len()];
        let length = packet
            .encode(&mut buffer)
            .expect("canonical is never longer");
        let canonical = &buffer[..length];
        prop_assert_eq!(Packet::decode(canonical), Ok(packet));
        // Encoding loses nothing but unused flag bits and the 3-octet form of a short Length.
        let long = if octets[0] == 0x01 {
            with_long_length(canonical)
        } else {
            None
        };
        let same_form = long.as_deref().unwrap_or(canonical);
        prop_assert_eq!(same_form.len(), octets.len());
        let differing: Vec<usize> = (0..octets.len())
            .filter(|&at| same_form[at] != octets[at])
            .collect();
        let flags_at = if octets[0] == 0x01 { 4 } else { 2 };
        prop_assert!(
            differing.iter().all(|&at| at == flags_at),
            "differs at {:?}",
            differing
        );
    }
    if let Ok(frame) = Frame::decode(octets) {
        let layers: usize = frame.layers().map(|layer| layer.encoded_len()).sum();
        prop_assert_eq!(layers, frame.encapsulation().len());
        prop_assert_eq!(layers + frame.message().len(), octets.len());
        let mut buffer = vec![0; layers];
        let mut at = 0;
        for layer in frame.layers() {
            at += layer
                .encode(&mut buffer[at..])
                .expect("it came from as many octets");
            let tag = Tag::from_encapsulation(&layer);
            prop_assert!(tag.is_none_or(|tag| tag.to_node_id() == layer.wireless_node_id));
        }
        prop_assert_eq!(&buffer[..], frame.encapsulation());
        prop_assert_ne!(frame.packet(), Err(DecodeError::Encapsulated));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_packet_survives_the_wire(made in ingredients()) {
        let packet = made.packet();
        match made.octets() {
            Some(octets) => {
                prop_assert_eq!(packet.msg_type(), made.msg_type);
                prop_assert_eq!(Packet::decode(&octets), Ok(packet));
                let frame = Frame::decode(&octets).expect("no encapsulation");
                prop_assert_eq!(frame.packet(), Ok(packet));
                prop_assert_eq!(octets[0] == 0x01, octets.len() > 255, "the shortest Length");
            }
            None => prop_assert!(packet.encoded_len() > 65_535),
        }
    }

    #[test]
    fn the_three_octet_length_means_the_same(made in ingredients()) {
        let long = made.octets().and_then(|octets| with_long_length(&octets));
        prop_assume!(long.is_some());
        let long = long.unwrap_or_default();
        prop_assert_eq!(Packet::decode(&long), Ok(made.packet()));
    }

    #[test]
    fn a_buffer_one_octet_short_is_refused_and_untouched(made in ingredients()) {
        let needed = made.packet().encoded_len();
        prop_assume!(needed <= 65_535);
        let available = needed - 1;
        let mut buffer = vec![0xEE; available];
        let error = EncodeError::BufferTooSmall { needed, available };
        prop_assert_eq!(made.packet().encode(&mut buffer), Err(error));
        prop_assert!(buffer.iter().all(|&octet| octet == 0xEE));
    }

    #[test]
    fn no_prefix_and_no_extension_of_a_message_is_a_message(
        made in ingredients(),
        cut in any::<prop::sample::Index>(),
        extra in 1_u8..,
    ) {
        let octets = made.octets();
        prop_assume!(octets.is_some());
        let mut octets = octets.unwrap_or_default();
        prop_assert!(Packet::decode(&octets[..cut.index(octets.len())]).is_err());
        octets.push(extra);
        let length = octets.len();
        let error = DecodeError::LengthMismatch { declared: length - 1, actual: length };
        prop_assert_eq!(Packet::decode(&octets), Err(error));
    }

    #[test]
    fn arbitrary_octets_never_panic(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        check_octets(&octets)?;
    }

    #[test]
    fn arbitrary_bodies_of_every_type_never_panic(
        type_code in prop_oneof![0_u8..=0x1E, Just(0xFE), any::<u8>()],
        body in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut octets = vec![body.len() as u8 + 2, type_code];
        octets.extend(&body);
        check_octets(&octets)?;
    }

    #[test]
    fn mutated_messages_never_panic(
        made in ingredients(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        near_start in any::<bool>(),
        long in any::<bool>(),
    ) {
        let octets = made.octets();
        prop_assume!(octets.is_some());
        let mut octets = octets.unwrap_or_default();
        if long {
            octets = with_long_length(&octets).unwrap_or(octets);
        }
        for (at, octet) in changes {
            let range = if near_start { octets.len().min(8) } else { octets.len() };
            octets[at.index(range)] = octet;
        }
        check_octets(&octets)?;
    }

    #[test]
    fn layers_survive_the_wire(
        layers in prop::collection::vec(
            (any::<u8>(), prop::collection::vec(any::<u8>(), 0..20)), 0..5),
        made in ingredients(),
    ) {
        let message = made.octets();
        prop_assume!(message.is_some());
        let message = message.unwrap_or_default();
        let mut datagram = Vec::new();
        let layers: Vec<Encapsulation<'_>> = layers
            .iter()
            .map(|(ctrl, id)| Encapsulation { ctrl: *ctrl, wireless_node_id: id })
            .collect();
        for layer in &layers {
            let start = datagram.len();
            datagram.resize(start + layer.encoded_len(), 0);
            prop_assert_eq!(layer.encode(&mut datagram[start..]), Ok(layer.encoded_len()));
        }
        datagram.extend(&message);
        let frame = Frame::decode(&datagram).expect("every layer is whole");
        prop_assert_eq!(frame.layers().collect::<Vec<_>>(), layers);
        prop_assert_eq!(frame.message(), &message[..]);
        prop_assert_eq!(frame.packet(), Ok(made.packet()));
        check_octets(&datagram)?;
    }

    #[test]
    fn every_tag_survives_the_wire(topic_index in any::<u32>(), generation in any::<u32>()) {
        let tag = Tag { topic_index, generation };
        prop_assert_eq!(Tag::from_node_id(&tag.to_node_id()), Some(tag));
        let octets = tag.to_encapsulation();
        let frame = Frame::decode(&octets).expect("one layer");
        let tags: Vec<_> = frame.layers().map(|l| Tag::from_encapsulation(&l)).collect();
        prop_assert_eq!(tags, vec![Some(tag)]);
    }
}
