#!/usr/bin/python3
"""A first lab: one switch, a broker, two publishers, three subscribers and two workers, on Mininet.

    sudo python3 first_lab.py --target sim|bmv2 --topicswitch target/debug/topicswitch

The second publisher and the second subscriber speak IPv6, the others IPv4. The workers are one share
group: each message goes to one of them, besides to every subscriber. The lab prints what everybody
received and how much of it the broker saw, and fails when a message is missing or the switch did not
serve nearly all that it could. Needs Mininet, but neither Open vSwitch nor a Mininet controller.
"""

import argparse
import json
import sys
import tempfile
import time

from mininet.link import Link
from mininet.net import Mininet
from mininet.node import Host, Node

BROKER = "10.0.0.1"
BROKER_V6 = "fd00::1"
MESSAGES = 200


class TopicSwitch(Node):
    """A host whose interfaces are the ports of a P4 switch that runs on it."""

    def __init__(self, name, **params):
        super().__init__(name, inNamespace=True, **params)
        self.process = None

    def start_target(self, target, topicswitch):
        ports = {n: intf.name for n, intf in enumerate(self.intfList()[:-1], start=1)}
        if target == "bmv2":
            attach = [word for n, name in ports.items() for word in ("-i", f"{n}@{name}")]
            command = ["simple_switch_grpc", "--no-p4", *attach, "--",
                       "--grpc-server-addr", "127.0.0.1:9559", "--cpu-port", "510"]
        else:
            attach = [f"--port={n}=af-packet:{name}" for n, name in ports.items()]
            command = [topicswitch, "sim", "run", "--device-id", "0",
                       "--p4runtime", "127.0.0.1:9559", *attach]
        self.process = start(self, command)
        return ports


class WithoutOffload(Host):
    """BMv2 passes on the checksums that the kernel left for a NIC to compute."""

    def config(self, **params):
        result = super().config(**params)
        for intf in self.intfList():
            self.cmd(f"ethtool -K {intf} tx off")
        return result


def start(node, command, **pipes):
    """Starts a process on a node; its output goes nowhere unless asked for."""
    from subprocess import DEVNULL

    pipes = {"stdout": DEVNULL, "stderr": DEVNULL, "stdin": DEVNULL, **pipes}
    return node.popen(command, **pipes)


def broker_status(broker, topicswitch):
    out, _, code = broker.pexec([topicswitch, "status", "--json", "--at", "127.0.0.1:9561"])
    return json.loads(out)["broker"] if code == 0 else None


def publishes_seen(status):
    counters = status["counters"]
    return counters["publish_untagged"] + counters["publish_tagged"]


def wait(what, is_so, deadline=20.0):
    """Asks until it is so."""
    end = time.monotonic() + deadline
    while not is_so():
        if time.monotonic() > end:
            sys.exit(f"{what}: not within {deadline} s")
        time.sleep(0.05)


def main():
    from subprocess import PIPE

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", choices=["sim", "bmv2"], default="sim")
    parser.add_argument("--topicswitch", default="topicswitch")
    args = parser.parse_args()

    net = Mininet(controller=None, link=Link, host=WithoutOffload, build=False)
    processes = []
    try:
        broker = net.addHost("broker", ip=f"{BROKER}/24")
        publishers = [net.addHost(f"pub{n}", ip=f"10.0.0.{10 + n}/24") for n in (1, 2)]
        subscribers = [net.addHost(f"sub{n}", ip=f"10.0.0.{20 + n}/24") for n in (1, 2, 3)]
        workers = [net.addHost(f"worker{n}", ip=f"10.0.0.{30 + n}/24") for n in (1, 2)]
        switch = net.addHost("s1", cls=TopicSwitch)
        for host in [broker, *publishers, *subscribers, *workers]:
            net.addLink(switch, host)
        # The controller, beside the switch, reaches the broker over a link of its own.
        net.addLink(switch, broker)
        net.build()
        for host, last in [(broker, 1), (publishers[1], 12), (subscribers[1], 22)]:
            host.cmd(f"ip -6 addr add fd00::{last}/64 dev {host.intfList()[0]} nodad")
        v6 = {publishers[1], subscribers[1]}

        def of_broker(host):
            """Where this host finds the broker."""
            return f"[{BROKER_V6}]:1884" if host in v6 else f"{BROKER}:1884"

        control, broker_control = switch.intfList()[-1], broker.intfList()[-1]
        control.setIP("10.9.0.2/24")
        broker_control.setIP("10.9.0.1/24")

        ports = switch.start_target(args.target, args.topicswitch)
        processes.append(switch.process)
        processes.append(start(broker, [
            args.topicswitch, "broker", "--listen", f"{BROKER}:1884", "--listen", f"[{BROKER_V6}]:1884",
            "--offload", "10.9.0.1:9560", "--contract-insecure", "--status", "127.0.0.1:9561"]))
        processes.append(start(switch, [
            args.topicswitch, "controller", "--switch", "127.0.0.1:9559", "--device-id", "0",
            "--broker", "10.9.0.1:9560", "--contract-insecure", "--ports", ",".join(map(str, ports))]))

        def granted():
            status = broker_status(broker, args.topicswitch)
            return status is not None and status["counters"]["grants"] >= 2

        wait("the controller has no lease", granted)

        def listen(host, out, *what):
            process = start(host, [
                args.topicswitch, "sub", "--broker", of_broker(host), "--client-id", host.name,
                "--verbose", *what], stdout=out)
            processes.append(process)
            return process

        listening = [listen(host, PIPE, "--topic", "lab/+", "--count", str(2 * MESSAGES))
                     for host in subscribers]
        # Who works on how many is not known beforehand.
        logs = [tempfile.NamedTemporaryFile() for _ in workers]
        working = [listen(host, log, "--topic", "$share/workers/lab/+")
                   for host, log in zip(workers, logs)]
        wait("the subscribers are not connected",
             lambda: broker_status(broker, args.topicswitch)["state"]["active"] == 5)
        wait("the switch does not have what the broker wants",
             lambda: (lambda state: state["installed"] == state["revision"])(
                 broker_status(broker, args.topicswitch)["state"]))
        def publish(number, host, lines):
            process = start(host, [
                args.topicswitch, "pub", "--broker", of_broker(host), "--client-id", host.name,
                "--topic", f"lab/{number}", "--qos", "1", "--lines"], stdin=PIPE)
            process.communicate("".join(f"{line}\n" for line in lines).encode(), timeout=60)
            if process.returncode != 0:
                sys.exit(f"{host.name} could not publish")

        # The wildcard learns of a topic with its first message; then the switch can serve it.
        for number, host in enumerate(publishers, start=1):
            publish(number, host, range(1))

        def served():
            status = broker_status(broker, args.topicswitch)
            state, topics = status["state"], status["topics"]
            return (len(topics) == 2
                    and not any(topic["copy_q1"] or topic["refusal"] for topic in topics)
                    and state["installed"] == state["revision"])

        wait("the switch does not serve the topics", served)
        before = publishes_seen(broker_status(broker, args.topicswitch))
        for number, host in enumerate(publishers, start=1):
            publish(number, host, range(1, MESSAGES))
        for host, process in zip(subscribers, listening):
            out, _ = process.communicate(timeout=60)
            print(f"{host.name}: {len(out.splitlines())} messages")

        def worked():
            return [line for log in logs for line in open(log.name).read().splitlines()]

        wait("the workers did not get all", lambda: len(worked()) >= 2 * MESSAGES)
        for process in working:
            process.terminate()
            process.wait()
        done = worked()
        print(f"workers: {len(done)} messages, {len(set(done))} different")
        seen = publishes_seen(broker_status(broker, args.topicswitch)) - before
        sent = 2 * (MESSAGES - 1)
        print(f"broker: saw {seen} of {sent} PUBLISH messages that the switch could serve")
        if seen > sent // 20:
            sys.exit("the switch served less than nearly all that it could")
    finally:
        for process in processes:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        net.stop()


if __name__ == "__main__":
    main()
