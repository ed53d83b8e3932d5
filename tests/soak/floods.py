"""Strangers that want the server's attention, each at a stated rate and for a bounded time, from addresses of their own
(127.0.0.2 and on): the limits per address hold for them and not for the load's."""

import os
import random
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator

from server import Server
from stun_wire import ALLOCATE, MAGIC, REQUESTED_TRANSPORT, UDP_TRANSPORT, TurnSocket

# Each flood ends after so many seconds.
SECONDS = 12


def paced(rate: int, seconds: float = SECONDS) -> Iterator[int]:
    """Counts up at this rate."""
    begun = time.monotonic()
    number = 0
    while (passed := time.monotonic() - begun) < seconds:
        while number < passed * rate:
            yield number
            number += 1
        time.sleep(0.005)


def datagrams(server: Server, last: int) -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((f"127.0.0.{last}", 0))
    udp.connect(("127.0.0.1", server.port))
    udp.setblocking(False)
    return udp


def emptied(udp: socket.socket) -> list[bytes]:
    """What has come."""
    found = []
    while select.select([udp], [], [], 0)[0]:
        found.append(udp.recv(4096))
    return found


def garbage(server: Server) -> int:
    """2,000 datagrams a second of random bytes and lengths, some of which begin like STUN, DTLS or ChannelData."""
    begins = [b"", b"", b"\x00\x03\x00\x10\x21\x12\xa4\x42", b"\x16\xfe\xfd", b"\x40\x00\x00\x04", b"\x17\xfe\xfd"]
    with datagrams(server, 2) as udp:
        for sent in paced(2000):
            udp.send(random.choice(begins) + random.randbytes(random.randrange(1, 1200)))
            emptied(udp)
    return sent


def allocates(server: Server) -> int:
    """2,000 Allocate requests a second without credentials, from two addresses."""
    sockets = [datagrams(server, 3 + number) for number in range(2)]
    body = struct.pack("!HH", REQUESTED_TRANSPORT, 4) + UDP_TRANSPORT
    for sent in paced(2000):
        udp = sockets[sent % 2]
        udp.send(struct.pack("!HHI", ALLOCATE, len(body), MAGIC) + os.urandom(12) + body)
        emptied(udp)
    for udp in sockets:
        udp.close()
    return sent


def wrong_passwords(server: Server) -> int:
    """200 requests a second that know a user's name and not the password."""
    with TurnSocket(("127.0.0.1", server.port), "load", "guess", source="127.0.0.7") as client:
        client.allocate()
        for sent in paced(200):
            client.password = str(sent)
            signed = client._encode(ALLOCATE, 0, os.urandom(12), [(REQUESTED_TRANSPORT, UDP_TRANSPORT)], signed=True)
            client.socket.send(signed)
            emptied(client.socket)
    return sent


def hello(cookie: bytes = b"", random_bytes: bytes = b"") -> bytes:
    """A ClientHello of DTLS 1.2 (RFC 6347 §4.2)."""
    extensions = b"".join(struct.pack("!HH", kind, len(value)) + value for kind, value in (
        (10, b"\x00\x04\x00\x1d\x00\x17"), (11, b"\x01\x00"), (13, b"\x00\x06\x04\x03\x08\x04\x04\x01"), (23, b"")))
    body = b"\xfe\xfd" + random_bytes + b"\x00" + bytes([len(cookie)]) + cookie + b"\x00\x04\xc0\x2b\xc0\x2f\x01\x00"
    body += struct.pack("!H", len(extensions)) + extensions
    number = 1 if cookie else 0
    length = len(body).to_bytes(3)
    handshake = b"\x01" + length + struct.pack("!H", number) + bytes(3) + length + body
    return b"\x16\xfe\xfd" + bytes(2) + number.to_bytes(6) + struct.pack("!H", len(handshake)) + handshake


def hellos(server: Server) -> int:
    """400 hellos of DTLS a second, each from another port; each tenth proves its address and then falls silent."""
    waiting: list[tuple[socket.socket, bytes]] = []
    for sent in paced(400):
        udp, once = datagrams(server, 8), os.urandom(32)
        udp.send(hello(b"", once))
        if sent % 10:
            udp.close()
            continue
        waiting.append((udp, once))
        if len(waiting) > 5:
            udp, once = waiting.pop(0)
            for answer in emptied(udp):
                udp.send(hello(answer[28:28 + answer[27]], once))
            udp.close()
    for udp, _ in waiting:
        udp.close()
    return sent


def connections(server: Server) -> int:
    """100 TCP connections a second that say nothing or nonsense and stay, to the plain port and to that of TLS."""
    kept, made = [], 0
    for number in paced(100):
        tcp = socket.socket()
        tcp.bind((f"127.0.0.{9 + number % 2}", 0))
        tcp.settimeout(5)
        try:
            tcp.connect(("127.0.0.1", (server.port, server.tls)[number % 2]))
            if number % 3 == 0:
                tcp.send(random.randbytes(300))
            made += 1
        except OSError:
            pass
        kept.append(tcp)
    for tcp in kept:
        tcp.close()
    return made


def slow(server: Server) -> int:
    """150 connections that say one byte of something sensible a second, and never come to its end: the server shows each of
    them the door, at the latest when it has been without an allocation for `limits.streams.idle`."""
    sensible = [
        struct.pack("!HHI", ALLOCATE, 1000, MAGIC) + bytes(20),
        b"GET /ice HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20),
    ]
    slows = []
    for number in range(150):
        tcp = socket.socket()
        tcp.bind(("127.0.0.11", 0))
        tcp.connect(("127.0.0.1", server.tls if number % 3 == 2 else server.port))
        slows.append((tcp, sensible[number % 3]))
    gone: set[int] = set()
    for at in range(36):
        for number, (tcp, says) in enumerate(slows):
            try:
                if number not in gone and select.select([tcp], [], [], 0)[0] and not tcp.recv(4096):
                    gone.add(number)
                elif number not in gone:
                    tcp.send(says[at:at + 1] or b"\0")
            except OSError:
                gone.add(number)
        time.sleep(1)
    for tcp, _ in slows:
        tcp.close()
    if len(gone) != len(slows):
        raise RuntimeError(f"{len(slows) - len(gone)} of {len(slows)} slow connections are still there")
    return len(gone)


# Each flood, the counters that have to go up by what it did, and by how much of it at least (the rest is lost before).
FLOODS: list[tuple[Callable[[Server], int], tuple[str, ...], float]] = [
    (garbage, ("turnwire_drops_total", "turnwire_refusals_total"), 0.9),
    (allocates, ('turnwire_refusals_total{cause="challenge"', 'turnwire_drops_total{reason="rate_limited"'), 0.9),
    (wrong_passwords, ('turnwire_refusals_total{cause="wrong_password"',), 0.9),
    (hellos, ("turnwire_dtls_cookies_sent_total", 'turnwire_drops_total{reason="rate_limited"'), 0.9),
    (connections, ("turnwire_streams_accepted_total", "turnwire_streams_refused_total"), 1),
    (slow, ('turnwire_streams_unfit_total{cause="too_slow"', "turnwire_streams_idle_total",
            "turnwire_streams_http_total"), 1),
]
