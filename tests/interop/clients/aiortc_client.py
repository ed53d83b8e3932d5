"""aiortc: two peer connections, relay candidates only, messages both ways over a data channel; `aiortc_client.py JSON`.

Facts as the last line, exit status 1 with the reason otherwise."""

import asyncio
import json
import sys

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcconfiguration import RTCIceTransportPolicy

DEADLINE = 15


def peer(told: dict) -> RTCPeerConnection:
    """A peer with the servers as they were given to a browser, but for IPv6: aiortc 1.16 takes no address in brackets."""
    servers = [RTCIceServer(**{**entry, "urls": [url for url in entry["urls"] if "[" not in url]})
               for entry in told["iceServers"]]
    return RTCPeerConnection(RTCConfiguration(iceServers=servers, iceTransportPolicy=RTCIceTransportPolicy.RELAY))


def kinds(connection: RTCPeerConnection) -> str:
    """What the nominated pair is made of: aiortc shows it nowhere, so the ICE agent below is asked."""
    agent = connection.sctp.transport.transport._connection
    pair = next(iter(agent._nominated.values()))
    return f"{pair.local_candidate.type}-{pair.remote_candidate.type}"


async def call(told: dict) -> dict:
    a, b = peer(told), peer(told)
    count, got, done = told["messages"], {"a": [], "b": []}, asyncio.Event()

    def begin(name: str, channel):
        def received(message):
            got[name].append(message)
            if all(len(messages) == count for messages in got.values()):
                done.set()

        channel.on("message", received)
        for number in range(count):
            channel.send(f"{number} from {name}")

    channel = a.createDataChannel("interop")
    channel.on("open", lambda: begin("a", channel))
    b.on("datachannel", lambda other: begin("b", other))
    await a.setLocalDescription(await a.createOffer())
    await b.setRemoteDescription(RTCSessionDescription(a.localDescription.sdp, a.localDescription.type))
    await b.setLocalDescription(await b.createAnswer())
    await a.setRemoteDescription(RTCSessionDescription(b.localDescription.sdp, b.localDescription.type))
    await done.wait()
    for name, other in (("a", "b"), ("b", "a")):
        assert got[name] == [f"{number} from {other}" for number in range(count)], "messages were lost or mixed up"
    pairs = [kinds(a), kinds(b)]
    assert pairs == ["relay-relay"] * 2, f"not relayed at both ends: {pairs}"
    await asyncio.gather(a.close(), b.close())
    return {"each_way": [len(got["b"]), len(got["a"])], "pairs": pairs}


def main():
    try:
        facts = asyncio.run(asyncio.wait_for(call(json.loads(sys.argv[1])), DEADLINE))
    except TimeoutError:
        sys.exit(f"not done within {DEADLINE} s")
    except (AssertionError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(json.dumps(facts))


main()
