"""Drives mqtt-sn-12 from PyPI: mqtt_sn_12.py HOST PORT, then steps (see steps.py).

What it leaves out: it never acknowledges a PUBLISH that it gets, so it subscribes at QoS 0.
"""

import select
import sys

import steps
from mqttsn12.client.MqttSnClient import MqttSnClient, MqttSnListener
from mqttsn12.MqttSnConstants import MqttSnConstants
from mqttsn12.packets import PingReqPacket

DEADLINE = 20


class Steps(MqttSnListener):
    def __init__(self, host, port):
        self.count = 0
        self.client = MqttSnClient()
        self.client.set_timeout(DEADLINE)
        self.client.open(host, int(port))

    def message_arrived(self, msg):
        self.count += 1
        topic = msg.get_topic_name() or f"#{msg.get_topic_id()}"
        retained = " retained" if msg.get_retain() else ""
        print(f"message {topic} {msg.get_payload().decode()}{retained}", flush=True)

    def search(self):
        self.client.send_search_gateway(0)

    def will(self, topic, qos, message):
        self.client.set_will(topic, message, int(qos), False)

    def connect(self, client_id, keep_alive="0", session="clean"):
        self.client.set_client_id(client_id)
        self.client.set_keep_alive(int(keep_alive))
        self.client.set_clean_session(session == "clean")
        self.client.send_connect()

    def update_will(self, topic, message):
        self.client.send_will_topic_update(topic)
        self.client.send_will_message_update(message)

    def subscribe(self, topic):
        """A name, or #ID of a pre-defined topic."""
        if topic.startswith("#") and topic[1:].isdigit():
            self.client.send_subscribe_predefined(int(topic[1:]), 0, self)
        else:
            self.client.send_subscribe(topic, 0, self)

    def expect(self, topic):
        """Of an earlier life's subscription, which it knows nothing of."""
        self.client.add_mqtt_sn_callback(topic, self)

    def unsubscribe(self, topic):
        self.client.send_unsubscribe(topic)

    def publish(self, topic, qos, payload="", retain=""):
        """At QoS -1 to 2; to a name, or #ID of a pre-defined topic."""
        data, qos, retain = payload.encode(), int(qos), retain == "retain"
        if topic.startswith("#"):
            self.client.send_publish_predefined(int(topic[1:]), data, qos, retain)
        else:
            self.client.send_publish(topic, data, qos, retain)

    def delete_retained(self, topic):
        self.client.send_publish(topic, b"", 1, True)

    def ping(self):
        self.client.send_ping_req()

    def receive(self, count):
        """Waits until so many messages have come in all."""
        while self.count < int(count):
            self.poll()

    def poll(self):
        # polling() looks once and does not wait.
        ready, _, _ = select.select([self.client.datagram_socket], [], [], DEADLINE)
        if not ready:
            sys.exit("nothing came")
        self.client.polling()

    def wake(self, count):
        """From sleep: fetches so many messages, and no more."""
        ping = PingReqPacket()
        ping.client_id = self.client.client_id
        self.client.send_packet(ping.encode())
        self.receive(count)
        if self.client.wait_for(True, MqttSnConstants.TYPE_PINGRESP) is None:
            sys.exit("no PINGRESP")

    def disconnect(self, sleep="0"):
        self.client.send_disconnect(int(sleep))


if __name__ == "__main__":
    steps.run(Steps(*sys.argv[1:]))
