"""Drives mqttsn from PyPI: mqttsn_0.py HOST PORT, then steps (see steps.py).

What it leaves out: it does not answer REGISTER, so it takes no wildcards; it cannot read a QoS 0
PUBLISH on a topic id, so it subscribes at QoS 1 and 2, or to short names; it names no topic in what
it gets; it fails to write DISCONNECT, so it just ends.
"""

import contextlib
import os
import sys
import threading

import steps
from mqttsn.client import Callback, Client, publish

DEADLINE = 20


class Steps(Callback):
    def __init__(self, host, port):
        super().__init__()
        self.address = {"host": host, "port": int(port)}
        self.count = 0
        self.counted = threading.Condition()
        self.client = None
        self.topic_ids = {}

    def message_arrived(self, topic_name, payload, qos, retained, msgid):
        with self.counted:
            self.count += 1
            print("message", payload.decode(), "QoS", qos, flush=True)
            self.counted.notify_all()
        return True

    def connect(self, client_id, session="clean"):
        self.client = Client(client_id.encode(), **self.address)
        self.client.register_callback(self)
        self.client.connect(clean_session=session == "clean")

    def subscribe(self, topic, qos):
        """A name, or #ID of a pre-defined topic."""
        predefined = topic.startswith("#")
        answer = self.client.subscribe(int(topic[1:]) if predefined else topic, int(qos))
        if answer is None or answer[0] != 0:
            sys.exit(f"SUBACK: {answer}")

    def register(self, topic):
        self.topic_ids[topic] = self.client.register(topic.encode())

    def publish(self, topic, qos, payload):
        """To a name that is registered, or to a short one."""
        # It prints what it sends.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            self.client.publish(self.topic_ids.get(topic, topic), payload, int(qos))

    def publish_without_connection(self, short_topic, payload):
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            publish(short_topic, payload, **self.address)

    def receive(self, count):
        """Waits until so many messages have come in all."""
        with self.counted:
            if not self.counted.wait_for(lambda: self.count >= int(count), DEADLINE):
                sys.exit(f"only {self.count} messages came")


if __name__ == "__main__":
    steps.run(Steps(*sys.argv[1:]))
