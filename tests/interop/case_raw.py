"""Refusals, deletion and both address families, by our own client over raw sockets."""

import socket

from harness import PASSWORD, REST_SECRET, USER, Context, Failure, UdpPeer, case
from stun_wire import (
    ADDITIONAL_ADDRESS_FAMILY,
    IPV6_FAMILY,
    SUCCESS,
    XOR_RELAYED_ADDRESS,
    Message,
    TurnSocket,
    rest_credential,
)


def expect(answer: Message, error: int | None, what: str):
    """Success (None) or exactly this error code."""
    if answer.error != error or (error is None and answer.kind != SUCCESS):
        raise Failure(f"{what}: expected {error or 'success'}, got {answer.error or 'success'}")


def client(context: Context, username: str = USER, password: str = PASSWORD, tcp: bool = False) -> TurnSocket:
    return TurnSocket(context.server.address("tcp" if tcp else "udp"), username, password, tcp)


def echo(turn: TurnSocket, peer: UdpPeer, count: int, what: str):
    """`count` Send indications come back as Data indications with the peer's address, one by one."""
    for number in range(count):
        payload = f"{what} {number}".encode()
        turn.send_indication(peer.address, payload)
        if (got := turn.next_data()) != (peer.address, payload):
            raise Failure(f"{what}: message {number} of {count} came back as {got}")


def raw_echo(context: Context):
    """Send and Data indications reach a peer and come back (RFC 8656 sections 11.1 to 11.4)."""
    tcp = context.case.name.endswith("tcp")
    with client(context, tcp=tcp) as turn, UdpPeer() as peer:
        answer = turn.allocate()
        expect(answer, None, "Allocate")
        relayed = answer.addresses(XOR_RELAYED_ADDRESS)[0]
        expect(turn.permit(peer.address), None, "CreatePermission")
        echo(turn, peer, 50, "indication")
        if peer.senders != {relayed: 50}:
            raise Failure(f"the peer saw {peer.senders}, not 50 from {relayed}")
        expect(turn.refresh(0), None, "Refresh 0")
    return "50 messages, lost 0, from the relayed address"


case("raw-echo-udp")(raw_echo)
case("raw-echo-tcp")(raw_echo)


def refused_then_good(context: Context, username: str, password: str):
    """401 for these credentials and success for alice from the very same socket: only they differ."""
    with client(context, username, password) as turn:
        expect(turn.allocate(), 401, f"Allocate as {username!r}")
        turn.username, turn.password = USER, PASSWORD
        expect(turn.allocate(), None, "Allocate with good credentials on the same socket")
        expect(turn.refresh(0), None, "Refresh 0")


@case("raw-wrong-password")
def wrong_password(context: Context):
    """RFC 8489 section 9.2.4."""
    refused_then_good(context, USER, "not" + PASSWORD)
    return "401, then good"


@case("raw-unknown-user")
def unknown_user(context: Context):
    """RFC 8489 section 9.2.4."""
    refused_then_good(context, "nobody", PASSWORD)
    return "401, then good"


@case("raw-rest-secret")
def rest_secret(context: Context):
    """A REST credential is good until its time, in the same server as static users; forged and expired ones are not."""
    with client(context, *rest_credential(REST_SECRET, "bob", 600)) as turn, UdpPeer() as peer:
        expect(turn.allocate(), None, "Allocate with a good REST credential")
        expect(turn.permit(peer.address), None, "CreatePermission")
        echo(turn, peer, 5, "rest")
        expect(turn.refresh(0), None, "Refresh 0")
    refused_then_good(context, *rest_credential(REST_SECRET, "bob", -60))
    refused_then_good(context, *rest_credential("not" + REST_SECRET, "bob", 600))
    username, password = rest_credential(REST_SECRET, "bob", -60)
    refused_then_good(context, "9" + username, password)
    return "good relays 5; expired, forged, stretched: 401"


@case("raw-denied-peer")
def denied_peer(context: Context):
    """403 for a private peer, alone, among good ones and by ChannelBind; the good peer goes on (RFC 8656 section 10.2)."""
    with client(context) as turn, UdpPeer() as peer:
        denied = ("10.0.0.1", 7)
        expect(turn.allocate(), None, "Allocate")
        expect(turn.permit(denied), 403, "CreatePermission for 10.0.0.1")
        expect(turn.permit(peer.address, denied), 403, "CreatePermission for a good peer and 10.0.0.1")
        turn.send_indication(peer.address, b"no permission yet")
        if turn.next_data(0.3) is not None:
            raise Failure("a refused CreatePermission installed the good one of its two peers")
        expect(turn.bind_channel(0x4000, denied), 403, "ChannelBind to 10.0.0.1")
        expect(turn.permit(peer.address), None, "CreatePermission for the good peer")
        echo(turn, peer, 5, "good peer")
        expect(turn.refresh(0), None, "Refresh 0")
    return "403 three times, good peer 5 of 5"


@case("raw-delete-12-one-socket")
def delete_12_one_socket(context: Context):
    """Refresh 0 deletes at once: the same five-tuple may allocate again in the next packet (RFC 8656 section 7.2)."""
    with client(context) as turn:
        for number in range(12):
            expect(turn.allocate(), None, f"Allocate {number + 1}")
            expect(turn.refresh(0), None, f"Refresh 0 {number + 1}")
    return "12 of 12"


@case("raw-delete-12-sockets", group="small-quota")
def delete_12_sockets(context: Context):
    """A deleted allocation gives its place in the user's quota (10 here) back at once, as 12 per call need it."""
    for number in range(12):
        with client(context) as turn:
            expect(turn.allocate(), None, f"Allocate {number + 1}")
            expect(turn.refresh(0), None, f"Refresh 0 {number + 1}")
    return "12 of 12 with a quota of 10"


@case("raw-quota", group="small-quota")
def quota(context: Context):
    """The quota of the two cases around this one is real: the eleventh live allocation is refused with 486."""
    sockets = [client(context) for _ in range(11)]
    try:
        for number, turn in enumerate(sockets):
            expect(turn.allocate(), 486 if number == 10 else None, f"Allocate {number + 1}")
        for turn in sockets[:10]:
            expect(turn.refresh(0), None, "Refresh 0")
    finally:
        for turn in sockets:
            turn.socket.close()
    return "10 live, the eleventh 486"


@case("raw-reset-12-tcp", group="small-quota")
def reset_12_tcp(context: Context):
    """A TCP client that is gone (RST) leaves no allocation behind that counts against its user."""
    for number in range(12):
        with client(context, tcp=True) as turn:
            expect(turn.allocate(), None, f"Allocate {number + 1}")
            turn.reset()
    return "12 of 12 with a quota of 10"


@case("raw-dual-allocation", ipv6=True)
def dual_allocation(context: Context):
    """ADDITIONAL-ADDRESS-FAMILY: one allocation relays to an IPv4 and to an IPv6 peer (RFC 8656 section 7.2).

    Not by `turnutils_uclient -Z`: 4.6.1 still asks with the draft's attribute number, 0x8032."""
    with client(context) as turn, UdpPeer() as peer4, UdpPeer("::1") as peer6:
        answer = turn.allocate((ADDITIONAL_ADDRESS_FAMILY, IPV6_FAMILY))
        expect(answer, None, "Allocate")
        relayed = answer.addresses(XOR_RELAYED_ADDRESS)
        families = sorted(socket.AF_INET6 if ":" in host else socket.AF_INET for host, _ in relayed)
        if families != [socket.AF_INET, socket.AF_INET6]:
            raise Failure(f"expected one relayed address of each family, got {relayed}")
        expect(turn.permit(peer4.address, peer6.address), None, "CreatePermission for both peers")
        echo(turn, peer4, 10, "IPv4")
        echo(turn, peer6, 10, "IPv6")
        expect(turn.refresh(0), None, "Refresh 0")
    return "10 by each family, lost 0"
