"""Three independent TURN clients from WebRTC libraries: aioice (Python), libjuice (C) and werift (TypeScript)."""

import json
import shutil
import socket

from harness import CLIENTS, NODE, PASSWORD, USER, VENV, Context, Failure, UdpPeer, case, run_json_client

LIMIT = 20
MESSAGES = 100


def trust(context: Context) -> dict[str, str]:
    """What makes Python and Node.js take the run's own root, where it has one."""
    root = str(context.server.directory / "root.crt")
    return {"SSL_CERT_FILE": root, "NODE_EXTRA_CA_CERTS": root} if context.case.group == "tls" else {}


def aioice(context: Context, what: str, **told) -> dict:
    """Runs the aioice client in its virtual environment."""
    python = VENV / "bin" / "python"
    if not python.exists():
        raise Failure(f"no aioice in {VENV}: run tests/interop/install")
    told = {"user": USER, "password": PASSWORD, "transport": "udp", **told}
    return run_json_client([str(python), str(CLIENTS / "aioice_client.py"), what, json.dumps(told)], LIMIT, trust(context))


def node(context: Context, script: str, **told) -> dict:
    """Runs one of the Node.js clients with the packages of their own directory."""
    own = VENV / "bin" / "node"
    program = str(own) if own.exists() else shutil.which("node")
    if not program or not (NODE / "node_modules").is_dir():
        raise Failure(f"no Node.js, or no packages in {NODE}: run tests/interop/install")
    told = {"user": USER, "password": PASSWORD, "messages": MESSAGES, **told}
    return run_json_client([program, str(CLIENTS / script), json.dumps(told)], LIMIT,
                           {"INTEROP_NODE": str(NODE), **trust(context)})


def aioice_echo(context: Context) -> str:
    """An allocation, a channel, and 200 messages of 2 to 1200 bytes to a peer and back."""
    transport = next((word for word in ("tcp", "tls") if word in context.case.name), "udp")
    family = socket.AF_INET6 if context.case.name.endswith("ipv6") else socket.AF_INET
    server = context.server.address("udp" if transport == "udp" else "tcp", family)
    with UdpPeer() as peer:
        facts = aioice(context, "echo", server=server, transport=transport, peer=peer.address, messages=200)
        if peer.senders != {tuple(facts["relayed"]): 200}:
            raise Failure(f"the peer saw {peer.senders}, not 200 from {facts['relayed']}")
    return f"{facts['back']} of 200 messages, lost 0"


case("aioice-udp")(aioice_echo)
case("aioice-tcp")(aioice_echo)
case("aioice-udp-ipv6", ipv6=True)(aioice_echo)


@case("aioice-wrong-password")
def aioice_wrong_password(context: Context) -> str:
    """The client gives up with the server's 401."""
    facts = aioice(context, "refused", server=context.server.address(), password="not" + PASSWORD)
    if facts["code"] != 401:
        raise Failure(f"expected 401, got {facts['code']}")
    return "401"


@case("aioice-channel-refresh")
def aioice_channel_refresh(context: Context) -> str:
    """The channel is bound again and again while data flows: the same number to the same peer is always granted."""
    with UdpPeer() as peer:
        facts = aioice(context, "echo", server=context.server.address(), peer=peer.address, messages=100, pause=0.01,
                       channel_refresh_time=0.1)
    if facts["channel_binds"] < 4:
        raise Failure(f"the channel was bound {facts['channel_binds']} times, expected at least 4")
    return f"{facts['channel_binds']} ChannelBinds under way, {facts['back']} of 100 messages, lost 0"


def aioice_pair(context: Context) -> str:
    """Two agents that have only relay candidates: each one's peer is the other's relayed address."""
    servers = {transport: context.server.address(transport) for transport in ("udp", "tcp")}
    servers["tls"] = servers["tcp"]
    transports = context.case.name.split("-")[-2:]
    facts = aioice(context, "pair", servers=servers, transports=transports, messages=MESSAGES)
    return f"{facts['each_way'][0]} and {facts['each_way'][1]} of {MESSAGES} each way, relay to relay"


for both in ("udp-udp", "tcp-tcp", "udp-tcp"):
    case(f"aioice-pair-{both}")(aioice_pair)


def data_channel(context: Context) -> str:
    """DTLS and SCTP over two allocations that have each other as peers."""
    if context.case.name == "libjuice-udp":
        facts = node(context, "node_datachannel.cjs", server=context.server.address())
    else:
        transport = context.case.name.removeprefix("werift-")
        server = context.server.address("udp" if transport == "udp" else "tcp")
        facts = node(context, "werift.cjs", server=server, transport=transport)
    return f"{facts['each_way'][0]} and {facts['each_way'][1]} of {MESSAGES} each way, {facts['pairs'][0]}"


for name in ("libjuice-udp", "werift-udp", "werift-tcp"):
    case(name)(data_channel)

# Those over TLS together: another group is another server.
case("aioice-tls", group="tls")(aioice_echo)
case("aioice-tls-ipv6", group="tls", ipv6=True)(aioice_echo)
case("aioice-pair-udp-tls", group="tls")(aioice_pair)
case("werift-tls", group="tls")(data_channel)
