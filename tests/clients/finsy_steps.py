"""Drives finsy from PyPI: finsy_steps.py HOST PORT, then steps (see steps.py).

The program is sim/tests/programs/everything.p4. Device id and election id are those that finsy has
by default: 1 and 10.
"""

import asyncio
import sys
import threading
from pathlib import Path

import finsy as fy
import steps

DEADLINE = 20
LEARN = "learn_t"


def mac(value):
    return int(value).to_bytes(6, "big").hex(":")


def replicas(found):
    """In no particular order, as they were read."""
    return sorted(f"{replica.port}#{replica.instance}" for replica in found)


class Steps:
    def __init__(self, host, port):
        self.address = f"{host}:{port}"
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(DEADLINE)

    # ---- Session ------------------------------------------------------------------------------

    def connect(self, *pipeline):
        """With P4Info and JSON to be pushed if it is primary, or without: then it takes the
        switch's P4Info."""
        self.do(self.open(*(Path(file) for file in pipeline)))

    async def open(self, p4info=None, p4blob=None):
        self.packets, self.digests, self.changes = (asyncio.Queue() for _ in range(3))
        options = fy.SwitchOptions(p4info=p4info, p4blob=p4blob)
        self.switch = fy.Switch("switch", self.address, options)
        for event in [fy.SwitchEvent.BECOME_PRIMARY, fy.SwitchEvent.BECOME_BACKUP]:
            self.switch.ee.on(event, lambda _, name=event.value: self.changes.put_nowait(name))
        await self.switch.__aenter__()
        self.switch.create_task(self.take_packets(), background=True)
        self.switch.create_task(self.take_digests(), background=True)

    async def take_packets(self):
        async for packet in self.switch.read_packets():
            self.packets.put_nowait(packet)

    async def take_digests(self):
        async for digest in self.switch.read_digests(LEARN):
            self.digests.put_nowait(digest)

    def api_version(self):
        print(self.switch.p4runtime_version.major)

    def standing(self):
        print("primary" if self.switch.is_primary else "backup", self.switch.primary_id)

    def change(self):
        print(self.do(self.changes.get()))

    def disconnect(self):
        self.do(self.switch.__aexit__(None, None, None))

    def write(self, *updates):
        """Writes, or tells the code of each update that failed, or of the whole request."""
        try:
            self.do(self.switch.write(list(updates)))
        except fy.P4ClientError as error:
            for _, of_update in sorted(error.details.items()):
                print("refused", of_update.canonical_code.name)
            if not error.details:
                print(error, file=sys.stderr)
                print("error", error.code.name)

    def read(self, entity):
        async def read():
            return [found async for found in self.switch.read(entity)]

        return self.do(read())

    # ---- Tables -------------------------------------------------------------------------------

    def dmac_entry(self, address, action=None, **params):
        return fy.P4TableEntry(
            "dmac",
            match=fy.Match(dst_addr=address),
            action=fy.Action(action, **params) if action else None,
        )

    def forward(self, address, port):
        self.write(+self.dmac_entry(address, "forward", port=int(port)))

    def redirect(self, address, port):
        self.write(~self.dmac_entry(address, "forward", port=int(port)))

    def broadcast(self, address, group):
        self.write(+self.dmac_entry(address, "broadcast", group=int(group)))

    def remove(self, address):
        self.write(-self.dmac_entry(address))

    def dmac(self):
        for entry in self.read(fy.P4TableEntry("dmac")):
            print(mac(entry["dst_addr"]), entry.action.name, *entry.action.args.values())

    def hits(self, address):
        """The direct counter of an entry of dmac."""
        entry = self.dmac_entry(address)
        for found in self.read(fy.P4DirectCounterEntry("dmac_counter", table_entry=entry)):
            print(found.packet_count, found.byte_count)

    def route(self, prefix, port):
        self.write(
            +fy.P4TableEntry(
                "route",
                match=fy.Match(dst_addr=prefix),
                action=fy.Action("forward", port=int(port)),
            )
        )

    def routes(self):
        for entry in self.read(fy.P4TableEntry("route")):
            value, length = entry["dst_addr"]
            print(f"{int(value):08x}/{length}", entry.action.args["port"])

    def acl(self, source, mask, protocol, low, high, priority):
        """Mirrors what matches."""
        match = fy.Match(
            src_addr=f"{source}/&{mask}", protocol=protocol, ttl=f"{low}...{high}"
        )
        self.write(
            +fy.P4TableEntry(
                "acl", match=match, action=fy.Action("mirror"), priority=int(priority)
            )
        )

    def acls(self):
        for entry in self.read(fy.P4TableEntry("acl")):
            value, mask = entry["src_addr"]
            low, high = entry["ttl"]
            print(
                f"{value:08x}&{mask:08x} {entry['protocol']}",
                f"{low}..{high} at {entry.priority}",
            )

    def spread(self, address, *ports):
        """One-shot: equal shares of an address's traffic to ports."""
        shares = [1 * fy.Action("forward", port=int(port)) for port in ports]
        self.write(
            +fy.P4TableEntry(
                "ecmp",
                match=fy.Match(dst_addr=address),
                action=fy.IndirectAction(shares),
            )
        )

    def spreads(self):
        for entry in self.read(fy.P4TableEntry("ecmp")):
            print(*(f"{action.args['port']}*{weight}" for weight, action in entry.action.action_set))

    # ---- Replication --------------------------------------------------------------------------

    def group(self, group, *ports):
        members = [(int(port), instance) for instance, port in enumerate(ports, 1)]
        self.write(+fy.P4MulticastGroupEntry(int(group), replicas=members))

    def groups(self):
        for entry in self.read(fy.P4MulticastGroupEntry()):
            print(entry.multicast_group_id, *replicas(entry.replicas))

    def session(self, session, port):
        self.write(+fy.P4CloneSessionEntry(int(session), replicas=[(int(port), 1)]))

    def sessions(self):
        for entry in self.read(fy.P4CloneSessionEntry()):
            print(entry.session_id, *replicas(entry.replicas))

    # ---- Counters and the stream --------------------------------------------------------------

    def count(self, index):
        for found in self.read(fy.P4CounterEntry("port_counter", index=int(index))):
            print(found.packet_count, found.byte_count)

    def learn(self, ack_timeout_s):
        timeout = int(ack_timeout_s) * 10**9
        self.write(+fy.P4DigestEntry(LEARN, max_list_size=1, ack_timeout_ns=timeout))

    def digest(self):
        """The next list, acknowledged here: finsy lets two tasks write to the stream at the same
        time, which grpc refuses."""
        digest = self.do(self.digests.get())
        self.write(digest.ack())
        for item in digest:
            print(mac(item["src_addr"]), item["port"])

    def digest_if_any(self):
        """The next list if it is there already."""
        if not self.digests.empty():
            self.digest()

    def packet_in(self):
        packet = self.do(self.packets.get())
        print(packet["ingress_port"], packet["reason"], packet.payload.hex())

    def packet_out(self, port, payload):
        self.write(fy.P4PacketOut(bytes.fromhex(payload), egress_port=int(port), pad=0))

    # ---- Only here: what the shell cannot name -------------------------------------------------

    def register(self, index, value):
        self.write(~fy.P4RegisterEntry("scratch", index=int(index), data=int(value)))

    def registers(self):
        print(*(entry.data for entry in self.read(fy.P4RegisterEntry("scratch"))))

    def trust(self, *types):
        """The members of the value set."""
        members = [fy.p4entity.P4ValueSetMember(int(value, 16)) for value in types]
        self.write(~fy.P4ValueSetEntry("trusted_types", members=members))

    def trusted(self):
        for entry in self.read(fy.P4ValueSetEntry("trusted_types", members=[])):
            print(*(format(member.value, "x") for member in entry.members))

    # ---- The end ------------------------------------------------------------------------------

    def clear(self):
        """finsy's own way; where a program has a table of constant entries, as this one, it leaves
        replication alone."""
        self.do(self.switch.delete_all())
        for wildcard in [fy.P4MulticastGroupEntry(), fy.P4CloneSessionEntry()]:
            self.write(*(-entry for entry in self.read(wildcard)))


steps.run(Steps(*sys.argv[1:]))
