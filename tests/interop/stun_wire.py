"""A small STUN and TURN client over raw sockets (RFC 8489, RFC 8656), written for these tests and using
nothing but the standard library: what it says about the server does not depend on anyone's client."""

import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
import time
from dataclasses import dataclass, field

MAGIC = 0x2112A442
BINDING, ALLOCATE, REFRESH, SEND, DATA, CREATE_PERMISSION, CHANNEL_BIND = 1, 3, 4, 6, 7, 8, 9
REQUEST, INDICATION, SUCCESS, ERROR = 0x000, 0x010, 0x100, 0x110
USERNAME, MESSAGE_INTEGRITY, ERROR_CODE, CHANNEL_NUMBER, LIFETIME = 0x0006, 0x0008, 0x0009, 0x000C, 0x000D
XOR_PEER_ADDRESS, DATA_ATTRIBUTE, REALM_ATTRIBUTE, NONCE, XOR_RELAYED_ADDRESS = 0x0012, 0x0013, 0x0014, 0x0015, 0x0016
REQUESTED_TRANSPORT, XOR_MAPPED_ADDRESS, ADDITIONAL_ADDRESS_FAMILY = 0x0019, 0x0020, 0x8000
UDP_TRANSPORT = struct.pack("!BBH", 17, 0, 0)
IPV6_FAMILY = struct.pack("!BBH", 2, 0, 0)

Address = tuple[str, int]


def rest_credential(secret: str, user: str, lifetime: int) -> tuple[str, str]:
    """A REST user name `expiry:user` good for `lifetime` seconds (negative: expired), and its password."""
    username = f"{int(time.time()) + lifetime}:{user}"
    mac = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(mac).decode()


@dataclass
class Message:
    """A decoded STUN message; `attributes` keeps the order and the duplicates."""

    method: int
    kind: int
    transaction: bytes
    attributes: list[tuple[int, bytes]] = field(default_factory=list)

    def get(self, wanted: int) -> bytes | None:
        """The first value of an attribute."""
        return next((value for kind, value in self.attributes if kind == wanted), None)

    @property
    def error(self) -> int | None:
        """The code of an error response (RFC 8489 section 14.8)."""
        value = self.get(ERROR_CODE)
        return value[2] % 8 * 100 + value[3] if value else None

    def addresses(self, wanted: int) -> list[Address]:
        """All values of a XOR'ed address attribute (RFC 8489 section 14.2)."""
        mask = struct.pack("!I", MAGIC) + self.transaction
        found = []
        for kind, value in self.attributes:
            if kind == wanted:
                port = struct.unpack("!H", value[2:4])[0] ^ (MAGIC >> 16)
                raw = bytes(a ^ b for a, b in zip(value[4:], mask))
                found.append((socket.inet_ntop(socket.AF_INET6 if value[1] == 2 else socket.AF_INET, raw), port))
        return found


def decode(packet: bytes) -> Message:
    """Reads one whole STUN message."""
    kind, length, magic = struct.unpack("!HHI", packet[:8])
    assert magic == MAGIC and len(packet) == 20 + length, f"not a STUN message: {packet[:20].hex()}"
    # The two class bits sit in the middle of the method's bits.
    method = (kind & 0x000F) | (kind & 0x00E0) >> 1 | (kind & 0x3E00) >> 2
    message = Message(method, kind & 0x0110, packet[8:20])
    at = 20
    while at < len(packet):
        name, size = struct.unpack("!HH", packet[at : at + 4])
        message.attributes.append((name, packet[at + 4 : at + 4 + size]))
        at += 4 + size + -size % 4
    return message


def xor_address(address: Address, transaction: bytes) -> bytes:
    """The value of a XOR'ed address attribute."""
    host, port = address
    family, code = (socket.AF_INET6, 2) if ":" in host else (socket.AF_INET, 1)
    mask = struct.pack("!I", MAGIC) + transaction
    raw = bytes(a ^ b for a, b in zip(socket.inet_pton(family, host), mask))
    return struct.pack("!BBH", 0, code, port ^ (MAGIC >> 16)) + raw


class TurnSocket:
    """One client transport address: a UDP socket, a TCP or a TLS connection to the server, and its credentials."""

    def __init__(self, server: Address, username: str, password: str, tcp: bool = False,
                 tls: ssl.SSLContext | None = None, source: str | None = None):
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        self.socket.settimeout(5)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect(server)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname=server[0])
        self.username, self.password, self.tcp = username, password, tcp
        self.realm = self.nonce = b""
        self._inbox: list[bytes] = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def reset(self):
        """Drops a TCP connection with RST, as a client does that goes away in a hurry."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _encode(self, method: int, kind: int, transaction: bytes, attributes: list, signed: bool) -> bytes:
        kind |= (method & 0x000F) | (method & 0x0070) << 1 | (method & 0x0F80) << 2
        attributes = list(attributes)
        if signed:
            attributes += [(USERNAME, self.username.encode()), (REALM_ATTRIBUTE, self.realm), (NONCE, self.nonce)]
        body = b"".join(
            struct.pack("!HH", name, len(value)) + value + bytes(-len(value) % 4) for name, value in attributes
        )
        if signed:
            header = struct.pack("!HHI", kind, len(body) + 24, MAGIC) + transaction
            key = hashlib.md5(b":".join((self.username.encode(), self.realm, self.password.encode()))).digest()
            mac = hmac.new(key, header + body, hashlib.sha1).digest()
            body += struct.pack("!HH", MESSAGE_INTEGRITY, 20) + mac
        return struct.pack("!HHI", kind, len(body), MAGIC) + transaction + body

    def _receive(self) -> bytes:
        if not self.tcp:
            return self.socket.recv(65536)
        head = self._exactly(4)
        size = struct.unpack("!H", head[2:])[0]
        # Streams pad ChannelData; a STUN message's length is a multiple of four and leaves its header out.
        return head + self._exactly(size + -size % 4 if head[0] & 0xC0 else size + 16)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise ConnectionError("the server closed the connection")
            data += more
        return data

    def exchange(self, method: int, attributes: list, signed: bool = True) -> Message:
        """Sends one request (over UDP up to four times, RFC 8489 section 6.2.1) and returns its response."""
        transaction = os.urandom(12)
        built = [(name, xor_address(value, transaction) if isinstance(value, tuple) else value)
                 for name, value in attributes]
        packet = self._encode(method, REQUEST, transaction, built, signed)
        for wait in (5.0,) if self.tcp else (0.5, 1.0, 2.0, 2.0):
            self.socket.send(packet)
            deadline = time.monotonic() + wait
            while (left := deadline - time.monotonic()) > 0:
                self.socket.settimeout(left)
                try:
                    data = self._receive()
                except TimeoutError:
                    break
                if data[0] < 0x40 and data[8:20] == transaction:
                    return decode(data)
                self._inbox.append(data)
        raise TimeoutError(f"no answer to method {method:#x}")

    def request(self, method: int, attributes: list) -> Message:
        """A signed request; takes the realm and the nonce from a first 401, a new nonce from each 438."""
        if not self.nonce:
            challenge = self.exchange(method, attributes, signed=False)
            assert challenge.error == 401, f"an unsigned request was answered with {challenge.error}, not 401"
            self.realm, self.nonce = challenge.get(REALM_ATTRIBUTE), challenge.get(NONCE)
        answer = self.exchange(method, attributes)
        if answer.error == 438:
            self.nonce = answer.get(NONCE)
            answer = self.exchange(method, attributes)
        return answer

    def allocate(self, *extra: tuple[int, bytes]) -> Message:
        """Allocate with UDP as the relay's transport."""
        return self.request(ALLOCATE, [(REQUESTED_TRANSPORT, UDP_TRANSPORT), *extra])

    def refresh(self, lifetime: int) -> Message:
        """Refresh; zero deletes the allocation."""
        return self.request(REFRESH, [(LIFETIME, struct.pack("!I", lifetime))])

    def permit(self, *peers: Address) -> Message:
        """CreatePermission for all peers at once."""
        return self.request(CREATE_PERMISSION, [(XOR_PEER_ADDRESS, peer) for peer in peers])

    def bind_channel(self, number: int, peer: Address) -> Message:
        """ChannelBind."""
        return self.request(CHANNEL_BIND, [(CHANNEL_NUMBER, struct.pack("!HH", number, 0)), (XOR_PEER_ADDRESS, peer)])

    def send_indication(self, peer: Address, payload: bytes):
        """One Send indication."""
        transaction = os.urandom(12)
        attributes = [(XOR_PEER_ADDRESS, xor_address(peer, transaction)), (DATA_ATTRIBUTE, payload)]
        self.socket.send(self._encode(SEND, INDICATION, transaction, attributes, signed=False))

    def next_data(self, wait: float = 2.0) -> tuple[Address, bytes] | None:
        """The next Data indication's peer and payload; nothing after `wait` seconds."""
        deadline = time.monotonic() + wait
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                packet = self._inbox.pop(0) if self._inbox else self._receive()
            except TimeoutError:
                return None
            if packet[0] < 0x40 and (message := decode(packet)).method == DATA:
                return message.addresses(XOR_PEER_ADDRESS)[0], message.get(DATA_ATTRIBUTE)
        return None
