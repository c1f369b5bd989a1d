"""Drives p4runtime-shell from PyPI: p4runtime_shell.py HOST PORT, then steps (see steps.py).

The program is sim/tests/programs/everything.p4. Device id and election id are those that the shell
has by default: 1 and (1, 0).
"""

import queue
import sys

import grpc
import p4runtime_sh.shell as sh
import steps
from google.rpc import code_pb2
from p4runtime_sh.p4runtime import P4RuntimeException, P4RuntimeWriteException

DEADLINE = 20
LEARN = "learn_t"


def mac(value):
    return value.rjust(6, b"\0").hex(":")


def number(value):
    return int.from_bytes(value, "big")


def replicas(found):
    """In no particular order, as they were read."""
    return sorted(f"{replica.egress_port}#{replica.instance}" for replica in found)


def field(entry, name):
    """The FieldMatch of an entry that was read; the shell prints it where it gives it."""
    return entry.match[name]


class Steps:
    def __init__(self, host, port):
        self.address = f"{host}:{port}"

    # ---- Session ------------------------------------------------------------------------------

    def connect(self, *pipeline):
        """With P4Info and JSON to be pushed, or without: then it takes the switch's P4Info."""
        config = sh.FwdPipeConfig(*pipeline) if pipeline else None
        sh.setup(grpc_addr=self.address, config=config, verbose=False)
        self.packets = sh.PacketIn()
        self.digests = sh.DigestList()

    def api_version(self):
        print(sh.APIVersion().split(".")[0])

    def disconnect(self):
        sh.teardown()

    def attempt(self, write):
        """Does it, or tells the code of each update that failed, or of the whole request."""
        try:
            write()
        except P4RuntimeWriteException as error:
            for _, of_update in error.errors:
                print("refused", code_pb2.Code.Name(of_update.canonical_code))
        except P4RuntimeException as error:
            print("error", error.grpc_error.code().name)
        except grpc.RpcError as error:
            print("error", error.code().name)

    # ---- Tables -------------------------------------------------------------------------------

    def dmac_entry(self, address, action=None, **params):
        entry = sh.TableEntry("MyIngress.dmac")
        entry.match["dst_addr"] = address
        if action:
            entry.action = sh.Action(f"MyIngress.{action}")
            entry.action.set(**params)
        return entry

    def forward(self, address, port):
        self.attempt(self.dmac_entry(address, "forward", port=port).insert)

    def redirect(self, address, port):
        self.attempt(self.dmac_entry(address, "forward", port=port).modify)

    def broadcast(self, address, group):
        self.attempt(self.dmac_entry(address, "broadcast", group=group).insert)

    def remove(self, address):
        self.attempt(self.dmac_entry(address).delete)

    def dmac(self):
        for entry in sh.TableEntry("MyIngress.dmac").read():
            address = mac(field(entry, "dst_addr").exact.value)
            name = entry.action.action_name.split(".")[-1]
            values = [number(p.value) for p in entry.action.msg().params]
            print(address, name, *values)

    def hits(self, address):
        """The direct counter of an entry of dmac."""
        counter = sh.DirectCounterEntry("MyIngress.dmac_counter")
        counter.table_entry.match["dst_addr"] = address
        for found in counter.read():
            print(found.packet_count, found.byte_count)

    def route(self, prefix, port):
        entry = sh.TableEntry("MyIngress.route")(action="MyIngress.forward")
        entry.match["dst_addr"] = prefix
        entry.action["port"] = port
        self.attempt(entry.insert)

    def routes(self):
        for entry in sh.TableEntry("MyIngress.route").read():
            lpm = field(entry, "dst_addr").lpm
            print(f"{lpm.value.hex()}/{lpm.prefix_len}", number(entry.action["port"].value))

    def acl(self, source, mask, protocol, low, high, priority):
        """Mirrors what matches."""
        entry = sh.TableEntry("MyIngress.acl")(action="MyIngress.mirror", priority=int(priority))
        entry.match["src_addr"] = f"{source}&&&{mask}"
        entry.match["protocol"] = protocol
        entry.match["ttl"] = f"{low}..{high}"
        self.attempt(entry.insert)

    def acls(self):
        for entry in sh.TableEntry("MyIngress.acl").read():
            source = field(entry, "src_addr").ternary
            protocol = field(entry, "protocol").optional.value
            ttl = field(entry, "ttl").range
            print(
                f"{source.value.hex()}&{source.mask.hex()} {number(protocol)}",
                f"{number(ttl.low)}..{number(ttl.high)} at {entry.priority}",
            )

    def spread(self, address, *ports):
        """One-shot: equal shares of an address's traffic to ports."""
        entry = sh.TableEntry("MyIngress.ecmp")
        entry.match["dst_addr"] = address
        oneshot = sh.Oneshot("MyIngress.ecmp")
        for port in ports:
            action = sh.Action("MyIngress.forward")
            action["port"] = port
            oneshot.add(action)
        entry.oneshot = oneshot
        self.attempt(entry.insert)

    def spreads(self):
        for entry in sh.TableEntry("MyIngress.ecmp").read():
            shares = entry.oneshot.msg().action_profile_actions
            print(*(f"{number(s.action.params[0].value)}*{s.weight}" for s in shares))

    # ---- Replication --------------------------------------------------------------------------

    def group(self, group, *ports):
        entry = sh.MulticastGroupEntry(int(group))
        for instance, port in enumerate(ports, 1):
            entry.add(int(port), instance)
        self.attempt(entry.insert)

    def groups(self):
        for entry in sh.MulticastGroupEntry().read():
            print(entry.group_id, *replicas(entry.replicas))

    def session(self, session, port):
        self.attempt(sh.CloneSessionEntry(int(session)).add(int(port), 1).insert)

    def sessions(self):
        for entry in sh.CloneSessionEntry().read():
            print(entry.session_id, *replicas(entry.replicas))

    # ---- Counters and the stream --------------------------------------------------------------

    def count(self, index):
        counter = sh.CounterEntry("MyIngress.port_counter")
        counter.index = int(index)
        for found in counter.read():
            print(found.packet_count, found.byte_count)

    def learn(self, ack_timeout_s):
        entry = sh.DigestEntry(LEARN)
        entry.max_list_size = 1
        entry.ack_timeout_ns = int(ack_timeout_s) * 10**9
        self.attempt(entry.insert)

    def digest(self):
        """The next list; the shell acknowledges it by itself."""
        self.show(self.digests.digest_list_queue.get(timeout=DEADLINE))

    def digest_if_any(self):
        """The next list if it is there already."""
        try:
            self.show(self.digests.digest_list_queue.get_nowait())
        except queue.Empty:
            pass

    def show(self, message):
        for item in message.digest.data:
            source, port = (member.bitstring for member in item.struct.members)
            print(mac(source), number(port))

    def packet_in(self):
        packet = self.packets.packet_in_queue.get(timeout=DEADLINE).packet
        header = sh.P4Objects(sh.P4Type.controller_packet_metadata)["packet_in"]
        names = {md.id: md.name for md in header.metadata}
        metadata = {names[md.metadata_id]: number(md.value) for md in packet.metadata}
        print(metadata["ingress_port"], metadata["reason"], packet.payload.hex())

    def packet_out(self, port, payload):
        sh.PacketOut(bytes.fromhex(payload), egress_port=port, pad="0").send()

    # ---- The end ------------------------------------------------------------------------------

    def clear(self):
        """As the shell's manual says: read, and delete what was read."""
        for table in ["dmac", "route", "acl", "ecmp"]:
            sh.TableEntry(f"MyIngress.{table}").read(lambda entry: entry.delete())
        sh.MulticastGroupEntry().read(lambda entry: entry.delete())
        sh.CloneSessionEntry().read(lambda entry: entry.delete())


steps.run(Steps(*sys.argv[1:]))
