"""PTF tests of a switch that runs sim/tests/programs/everything.p4, over P4Runtime and the ports 1
to 4:

    ptf --test-dir tests/clients/ptf -i 1@IFACE … -i 4@IFACE \\
        --test-params="server='HOST:PORT';p4info='FILE';json='FILE';digests=2"
"""

import queue
import threading

import grpc
import ptf
from google.protobuf import text_format
from google.rpc import code_pb2
from p4.config.v1 import p4info_pb2
from p4.v1 import p4runtime_pb2, p4runtime_pb2_grpc
from ptf.base_tests import BaseTest
from ptf.testutils import (
    send_packet,
    simple_arp_packet,
    simple_udp_packet,
    test_params_get,
    verify_no_other_packets,
    verify_packet,
    verify_packets,
)

DEADLINE = 20
DEVICE = 1
HOUR_NS = 3600 * 10**9
HOST_A, HOST_B, EVERYONE = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "ff:ff:ff:ff:ff:ff"
PORTS = [1, 2, 3, 4]


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


class SwitchTest(BaseTest):
    """Each test pushes the pipeline, and so starts with empty tables."""

    def setUp(self):
        super().setUp()
        self.dataplane = ptf.dataplane_instance
        self.dataplane.flush()
        params = test_params_get()
        self.p4info = p4info_pb2.P4Info()
        with open(params["p4info"], encoding="utf-8") as file:
            text_format.Merge(file.read(), self.p4info)
        self.channel = grpc.insecure_channel(params["server"])
        self.stub = p4runtime_pb2_grpc.P4RuntimeStub(self.channel)
        self.requests, self.answers = queue.Queue(), queue.Queue()
        stream = self.stub.StreamChannel(iter(self.requests.get, None))
        threading.Thread(target=self.listen, args=(stream,), daemon=True).start()
        self.become_primary()
        self.push(params["json"])

    def tearDown(self):
        self.requests.put(None)
        self.channel.close()
        super().tearDown()

    def listen(self, stream):
        try:
            for message in stream:
                self.answers.put(message)
        except grpc.RpcError as error:
            self.answers.put(error)

    def answer(self, kind):
        """The next message of the stream, which has to be of this kind."""
        message = self.answers.get(timeout=DEADLINE)
        self.assertEqual(message.WhichOneof("update"), kind, message)
        return getattr(message, kind)

    def become_primary(self):
        bid = p4runtime_pb2.StreamMessageRequest()
        bid.arbitration.device_id = DEVICE
        bid.arbitration.election_id.low = 1
        self.requests.put(bid)
        self.assertEqual(self.answer("arbitration").status.code, code_pb2.OK)

    def push(self, json):
        request = p4runtime_pb2.SetForwardingPipelineConfigRequest(
            device_id=DEVICE,
            election_id=p4runtime_pb2.Uint128(low=1),
            action=p4runtime_pb2.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT,
        )
        request.config.p4info.CopyFrom(self.p4info)
        with open(json, "rb") as file:
            request.config.p4_device_config = file.read()
        self.stub.SetForwardingPipelineConfig(request)

    def id_of(self, kind, alias):
        objects = getattr(self.p4info, kind)
        return next(o.preamble.id for o in objects if o.preamble.alias == alias)

    def entry(self, address, action, value):
        entry = p4runtime_pb2.TableEntry(table_id=self.id_of("tables", "dmac"))
        match = entry.match.add(field_id=1)
        match.exact.value = mac(address)
        entry.action.action.action_id = self.id_of("actions", action)
        entry.action.action.params.add(param_id=1, value=bytes([value]))
        return p4runtime_pb2.Entity(table_entry=entry)

    def insert(self, *entities):
        request = p4runtime_pb2.WriteRequest(
            device_id=DEVICE, election_id=p4runtime_pb2.Uint128(low=1)
        )
        for entity in entities:
            request.updates.add(type=p4runtime_pb2.Update.INSERT, entity=entity)
        self.stub.Write(request)

    def read(self, entity):
        request = p4runtime_pb2.ReadRequest(device_id=DEVICE, entities=[entity])
        return [found for part in self.stub.Read(request) for found in part.entities]

    def packet_out(self, port, payload):
        request = p4runtime_pb2.StreamMessageRequest()
        request.packet.payload = payload
        request.packet.metadata.add(metadata_id=1, value=bytes([port]))
        request.packet.metadata.add(metadata_id=2, value=b"\0")
        self.requests.put(request)


class ForwardsWhatIsWritten(SwitchTest):
    def runTest(self):
        self.insert(self.entry(HOST_A, "forward", 2), self.entry(HOST_B, "forward", 3))
        for address, port in [(HOST_A, 2), (HOST_B, 3)]:
            packet = simple_udp_packet(eth_dst=address)
            send_packet(self, 1, packet)
            verify_packet(self, packet, port)
        verify_no_other_packets(self)
        table = p4runtime_pb2.TableEntry(table_id=self.id_of("tables", "dmac"))
        found = self.read(p4runtime_pb2.Entity(table_entry=table))
        found = {e.table_entry.match[0].exact.value: e.table_entry for e in found}
        self.assertEqual(set(found), {mac(HOST_A).lstrip(b"\0"), mac(HOST_B).lstrip(b"\0")})
        params = found[mac(HOST_B)].action.action.params
        self.assertEqual([p.value for p in params], [b"\x03"])


class FloodsToTheReplicasOfAGroup(SwitchTest):
    def runTest(self):
        group = p4runtime_pb2.Entity()
        entry = group.packet_replication_engine_entry.multicast_group_entry
        entry.multicast_group_id = 7
        for port in [2, 3, 4]:
            entry.replicas.add(egress_port=port, instance=port)
        self.insert(group)
        self.insert(self.entry(EVERYONE, "broadcast", 7))
        packet = simple_arp_packet()
        send_packet(self, 1, packet)
        verify_packets(self, packet, [2, 3, 4])


class LearnsFromADigest(SwitchTest):
    def runTest(self):
        learn = self.id_of("digests", "learn_t")
        digest = p4runtime_pb2.Entity()
        digest.digest_entry.digest_id = learn
        digest.digest_entry.config.max_list_size = 1
        digest.digest_entry.config.ack_timeout_ns = HOUR_NS
        self.insert(digest, self.entry(HOST_A, "forward", 2))
        packet = simple_udp_packet(eth_src=HOST_B, eth_dst=HOST_A)
        send_packet(self, 3, packet)
        verify_packet(self, packet, 2)
        for _ in range(test_params_get()["digests"]):
            learned = self.answer("digest")
            self.assertEqual((learned.digest_id, len(learned.data)), (learn, 1))
            source, port = (m.bitstring for m in learned.data[0].struct.members)
            self.assertEqual((source, port), (mac(HOST_B), b"\x03"))
            # Acknowledged, it may be told again.
            ack = p4runtime_pb2.StreamMessageRequest()
            ack.digest_ack.digest_id, ack.digest_ack.list_id = learn, learned.list_id
            self.requests.put(ack)
            # Behind the acknowledgement on the same stream, so it is handled after it.
            self.packet_out(3, bytes(simple_udp_packet()))
            verify_packet(self, simple_udp_packet(), 3)
            send_packet(self, 3, packet)
            verify_packet(self, packet, 2)


class HandsPacketsToTheControllerAndBack(SwitchTest):
    def runTest(self):
        packet = simple_udp_packet(eth_dst=HOST_A)
        send_packet(self, 4, packet)
        packet_in = self.answer("packet")
        self.assertEqual(packet_in.payload, bytes(packet))
        metadata = {m.metadata_id: m.value for m in packet_in.metadata}
        self.assertEqual(metadata, {1: b"\x04", 2: b"\x01"})
        for port in PORTS:
            self.packet_out(port, packet_in.payload)
            verify_packet(self, packet, port)
        verify_no_other_packets(self)
