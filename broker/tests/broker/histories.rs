//! Whatever happens: no panic, limits hold, and what the broker says is MQTT-SN.

use proptest::prelude::*;

use crate::history::play;
use crate::world::cases;

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn no_history_brings_the_broker_beyond_its_limits(
        octets in prop::collection::vec(any::<u8>(), 0..1500),
    ) {
        play(&octets);
    }
}
