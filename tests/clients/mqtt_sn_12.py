"""Drives mqtt-sn-12, an MQTT-SN client from PyPI, for the tests.

    mqtt_sn_12.py HOST PORT subscribe FILTER QOS COUNT   prints "subscribed", then "TOPIC PAYLOAD"
    mqtt_sn_12.py HOST PORT publish TOPIC QOS PAYLOAD…   prints "published"
"""

import select
import sys

from mqttsn12.client.MqttSnClient import MqttSnClient, MqttSnListener


class Printer(MqttSnListener):
    """Prints what arrives and counts it."""

    def __init__(self):
        self.count = 0

    def message_arrived(self, msg):
        self.count += 1
        print(msg.get_topic_name(), msg.get_payload().decode(), flush=True)


def main(host, port, what, topic, qos, *rest):
    client = MqttSnClient()
    client.set_client_id(f"py-{what}")
    client.set_timeout(20)
    client.open(host, int(port))
    client.send_connect()
    if what == "subscribe":
        printer = Printer()
        client.send_subscribe(topic, int(qos), printer)
        print("subscribed", flush=True)
        while printer.count < int(rest[0]):
            # polling() looks once and does not wait.
            select.select([client.datagram_socket], [], [], 20)
            client.polling()
    else:
        for payload in rest:
            client.send_publish(topic, payload, int(qos))
        client.send_disconnect()
        print("published", flush=True)
    client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
