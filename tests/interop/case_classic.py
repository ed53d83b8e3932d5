"""STUN clients: coturn's, and one from the time of RFC 3489, which knows neither the magic cookie nor XOR."""

import contextlib
import re
import select
import socket
import threading

from harness import Context, Failure, case, run_client, tool

LIMIT = 15


class Forwarder:
    """A UDP forwarder for a client that does not tell its own port: the server sees this one's, which is known."""

    def __init__(self, server: tuple[str, int]):
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self._near, self._far, self._wake = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(3))
        self._near.bind((server[0], 0))
        self._far.connect(server)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where the client is to send."""
        return self._near.getsockname()[1]

    @property
    def mapped(self) -> tuple[str, int]:
        """The address that the server must report."""
        return self._far.getsockname()[:2]

    def _run(self):
        client = None
        while not self._stopping:
            for ready in select.select([self._near, self._far], [], [])[0]:
                with contextlib.suppress(ConnectionRefusedError):
                    if ready is self._near:
                        data, client = self._near.recvfrom(2048)
                        self._far.send(data)
                    else:
                        self._near.sendto(self._far.recv(2048), client)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stopping = True
        self._wake.sendto(b"", self._near.getsockname())
        self._thread.join(5)
        for each in (self._near, self._far, self._wake):
            each.close()


def stunclient(context: Context) -> str:
    """`turnutils_stunclient` prints the address that the server saw."""
    family = socket.AF_INET6 if context.case.name.endswith("ipv6") else socket.AF_INET
    server = context.server.address("udp", family)
    with Forwarder(server) as forwarder:
        output = run_client([tool("turnutils_stunclient"), "-p", str(forwarder.port), server[0]], LIMIT).stdout
        host, port = forwarder.mapped
    found = re.search(r"UDP reflexive addr: (\S+)", output)
    if not found or found.group(1) != f"{host}:{port}":
        raise Failure(f"expected {host}:{port}, got {found.group(1) if found else 'no address'}", output)
    return found.group(1)


case("stunclient-udp", limit=LIMIT + 5)(stunclient)
case("stunclient-udp-ipv6", limit=LIMIT + 5, ipv6=True)(stunclient)


@case("stun-rfc3489", limit=LIMIT + 5)
def stun_rfc3489(context: Context) -> str:
    """Debian's `stun`: a request without the magic cookie, with CHANGE-REQUEST 0, is answered with MAPPED-ADDRESS."""
    host, port = context.server.address()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        source = probe.getsockname()[1]
    # Test 1 is "what is my address"; the client binds the port given to it.
    output = run_client([tool("stun"), f"{host}:{port}", "1", "-v", "-p", str(source)], LIMIT).stdout
    found = re.search(r"MappedAddress = (\S+)", output)
    if not found or found.group(1) != f"{host}:{source}":
        raise Failure(f"expected MAPPED-ADDRESS {host}:{source}, got {found.group(1) if found else 'none'}", output)
    return found.group(1)
