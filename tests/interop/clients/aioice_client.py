"""aioice as a TURN client: `aioice_client.py WHAT JSON`, facts as the last line, exit status 1 with the reason otherwise."""

import asyncio
import json
import logging
import sys
from collections import Counter

import aioice
from aioice import stun, turn

IN_FLIGHT = 16
DEADLINE = 15


class Echoes(asyncio.DatagramProtocol):
    """Collects what comes back by the relay."""

    def __init__(self):
        self.received: asyncio.Queue = asyncio.Queue()

    def datagram_received(self, data, address):
        self.received.put_nowait((data, address))

    def error_received(self, error):
        self.received.put_nowait((error, None))


class Steps(logging.Handler):
    """Counts aioice's own log lines by their words before the figures: what it did with the server."""

    def __init__(self):
        super().__init__()
        self.seen: Counter = Counter()

    def emit(self, record):
        self.seen[str(record.msg).split("%")[0].strip()] += 1


def way(transport: str, prefix: str = "") -> dict:
    """aioice's two words for a transport: TLS is TCP with a switch."""
    secure = transport == "tls"
    return {f"{prefix}transport": "tcp" if secure else transport, f"{prefix}ssl": True if secure else None}


def allocate(told: dict, **more):
    """An allocation with the credentials and the transport that the run told us."""
    return turn.create_turn_endpoint(
        Echoes, server_addr=tuple(told["server"]), username=told["user"], password=told["password"],
        **way(told["transport"]), **more)


async def exchange(relay, echoes: Echoes, peer: tuple, payloads: list[bytes], pause: float = 0):
    """Sends all payloads with few in flight; each must come back once, from the peer."""
    waiting: set[bytes] = set()
    todo = iter(payloads)
    back = 0
    while back < len(payloads):
        while len(waiting) < IN_FLIGHT and (payload := next(todo, None)) is not None:
            waiting.add(payload)
            relay.sendto(payload, peer)
            if pause:
                await asyncio.sleep(pause)
        try:
            data, sender = await asyncio.wait_for(echoes.received.get(), 3)
        except TimeoutError:
            raise AssertionError(f"{back} of {len(payloads)} messages came back, then none for 3 s") from None
        assert sender is not None, f"sending failed: {data}"
        assert tuple(sender) == peer and data in waiting, f"unexpected message from {sender}"
        waiting.remove(data)
        back += 1


async def echo(told: dict) -> dict:
    """Messages of many sizes to a UDP peer and back, over one channel."""
    steps = Steps()
    logging.getLogger("aioice.turn").addHandler(steps)
    relay, echoes = await allocate(told, channel_refresh_time=told.get("channel_refresh_time", 500))
    payloads = [b"%d " % number + bytes(number * 6 % 1200) for number in range(told["messages"])]
    await exchange(relay, echoes, tuple(told["peer"]), payloads, told.get("pause", 0))
    relayed = relay.get_extra_info("sockname")
    relay.close()
    while not (steps.seen["TURN allocation deleted"] or steps.seen["TURN allocation deletion failed"]):
        await asyncio.sleep(0.01)
    assert not steps.seen["TURN allocation deletion failed"], "Refresh 0 was refused"
    return {"back": len(payloads), "relayed": relayed, "channel_binds": steps.seen["TURN channel bound"]}


async def refused(told: dict) -> dict:
    """The error code of an Allocate that must fail."""
    try:
        relay, _ = await allocate(told)
    except stun.TransactionFailed as error:
        return {"code": error.response.error_code}
    relay.close()
    raise AssertionError("the allocation was granted")


async def pair(told: dict) -> dict:
    """Two ICE agents with nothing but relay candidates find each other and exchange messages both ways."""
    agents = [
        aioice.Connection(
            ice_controlling=controlling, turn_server=tuple(told["servers"][transport]), turn_username=told["user"],
            turn_password=told["password"], **way(transport, "turn_"),
            transport_policy=aioice.TransportPolicy.RELAY)
        for controlling, transport in zip((True, False), told["transports"])
    ]
    for agent in agents:
        await agent.gather_candidates()
        kinds = {candidate.type for candidate in agent.local_candidates}
        assert kinds == {"relay"}, f"expected relay candidates only, got {kinds}"
    for agent, other in (agents, reversed(agents)):
        for candidate in other.local_candidates:
            await agent.add_remote_candidate(candidate)
        await agent.add_remote_candidate(None)
        agent.remote_username, agent.remote_password = other.local_username, other.local_password
    await asyncio.gather(*(agent.connect() for agent in agents))
    counts = []
    for sender, receiver in (agents, reversed(agents)):
        wanted = [b"%d of the pair" % number for number in range(told["messages"])]
        got = []
        for payload in wanted:
            await sender.send(payload)
            got.append(await asyncio.wait_for(receiver.recv(), 3))
        assert got == wanted, "messages were lost or mixed up"
        counts.append(len(got))
    for agent in agents:
        await agent.close()
    return {"each_way": counts}


def main():
    what, told = sys.argv[1], json.loads(sys.argv[2])
    logging.getLogger("aioice.turn").setLevel(logging.INFO)
    try:
        facts = asyncio.run(asyncio.wait_for({"echo": echo, "refused": refused, "pair": pair}[what](told), DEADLINE))
    except TimeoutError:
        sys.exit(f"not done within {DEADLINE} s")
    except (AssertionError, OSError, stun.TransactionError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(json.dumps(facts))


main()
