"""Who uses the server: `turnwire load` over UDP, TCP and TLS, coturn's `turnutils_uclient` over DTLS and from port to port
(RFC 8016), and single clients of `tests/interop/stun_wire.py`."""

import base64
import hashlib
import hmac
import json
import re
import select
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from server import Server

sys.path.append(str(Path(__file__).parents[1] / "interop"))

from stun_wire import LIFETIME, TurnSocket  # noqa: E402

WAYS = ("to_peer", "to_client")
SIZE = 200


@dataclass
class Counted:
    """What the clients of one user have seen pass: bytes that arrived, and how many more may have passed the server."""

    arrived: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WAYS, 0))
    astray: int = 0

    def add(self, other: "Counted"):
        for way in WAYS:
            self.arrived[way] += other.arrived[way]
        self.astray += other.astray


@dataclass
class Result:
    """How a group of clients has fared."""

    counted: Counted
    failures: list[str]


class Load:
    """One `turnwire load` beside the others."""

    def __init__(self, server: Server, transport: str, clients: int, seconds: int, rate: int, user: str = "load",
                 mode: str = "channel", secret: str | None = None):
        port = server.tls if transport == "tls" else server.port
        scheme, kind = ("turns", "tcp") if transport == "tls" else ("turn", transport)
        words = [server.binary, "load", f"{scheme}:127.0.0.1:{port}?transport={kind}", "--user", user, "--clients", clients,
                 "--rate", rate, "--duration", f"{seconds}s", "--mode", mode, "--json", "--quiet"]
        words += ["--secret", secret] if secret else ["--password", user]
        words += ["--size", SIZE] if mode != "churn" else []
        words += ["--insecure"] if transport == "tls" else []
        self.name, self.user, self.limit = f"{transport} {mode} {user}", user, seconds + 60
        self.child = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def result(self) -> Result:
        output, errors = self.child.communicate(timeout=self.limit)
        try:
            told = json.loads(output)
        except ValueError:
            return Result(Counted(), [f"{self.name}: {errors.strip()[-300:]}"])
        load, counted = told.get("load", {}), Counted()
        for way in WAYS:
            counted.arrived[way] = SIZE * load.get(way, {}).get("received", 0)
        counted.astray = SIZE * sum(load.get(name, 0) for name in ("lost", "unsent", "receive_drops"))
        return Result(counted, [] if told["ok"] else [f"{self.name}: {told['failures']}"])


class Echo:
    """A peer that sends everything back and counts it."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.bytes, self.ended = 0, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ended:
            if select.select([self.socket], [], [], 0.5)[0]:
                data, sender = self.socket.recvfrom(65536)
                self.bytes += len(data)
                self.socket.sendto(data, sender)

    def close(self) -> int:
        self.ended = True
        self.thread.join()
        self.socket.close()
        return self.bytes


class Uclient:
    """coturn's own client, over DTLS (`-S`) or from one port to another with each Refresh (`-M`).

    It makes an allocation for each client that it then forgets, and so comes from an address of its own: a port that the
    server still knows would else be drawn by some other client."""

    def __init__(self, server: Server, flags: str, clients: int, seconds: int, user: str = "uclient", source: str = "127.0.0.20"):
        self.echo, self.name, self.user = Echo(), f"{user} {flags}", user
        words = ["turnutils_uclient", *flags.split(), "-c", "-m", clients, "-n", seconds * 5 // 2, "-z", 200, "-l", SIZE, "-u", user,
                 "-w", user, "-L", source, "-e", "127.0.0.1", "-r", self.echo.port, "-p", server.port, "127.0.0.1"]
        self.limit = seconds + 60
        self.child = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def kill(self):
        self.child.kill()
        self.child.communicate()
        self.echo.close()

    def result(self) -> Result:
        try:
            output, _ = self.child.communicate(timeout=self.limit)
        except subprocess.TimeoutExpired:
            self.child.kill()
            output, _ = self.child.communicate()
        counted = Counted()
        counted.arrived["to_peer"] = self.echo.close()
        totals = re.findall(r"tot_send_bytes ~ (\d+), tot_recv_bytes ~ (\d+)", output)
        lost = re.findall(r"Total lost packets (-?\d+)", output)
        if not totals or not lost:
            # It does not say what has come back: at most what was echoed.
            counted.astray = counted.arrived["to_peer"]
            # It has drawn a port from which it has an allocation that it forgot, and gives up.
            own = "error 437" in output
            return Result(counted, [] if own else [f"{self.name}: no totals: {output[-300:]}"])
        sent, received = map(int, totals[-1])
        counted.arrived["to_client"] = received
        counted.astray = max(0, sent - received)
        return Result(counted, [] if received else [f"{self.name}: nothing came back"])


class Probe:
    """Single clients that ask one thing and know what the answer has to be."""

    def __init__(self, server: Server):
        self.server, self.faults, self.asked = server, [], 0

    def minted(self, expires: float, secret: str) -> tuple[str, str]:
        """A credential that ends at this second."""
        name = f"{int(expires)}:probe"
        return name, base64.b64encode(hmac.new(secret.encode(), name.encode(), hashlib.sha1).digest()).decode()

    def socket(self, credential: tuple[str, str] = ("probe", "probe")) -> TurnSocket:
        return TurnSocket(("127.0.0.1", self.server.port), *credential)

    def must(self, what: str, found, wanted):
        self.asked += 1
        if found != wanted:
            self.faults.append(f"{what}: {found} in place of {wanted}")

    def allocates(self, what: str, credential: tuple[str, str], wanted: int | None):
        """Whether a new client comes in (None), or by which error it does not."""
        with self.socket(credential) as client:
            answer = client.allocate()
            self.must(what, answer.error, wanted)
            if answer.error is None:
                client.refresh(0)

    def secrets(self, number: int):
        """The secrets of this minute and the one before are good, the one before that is not any more."""
        later = self.server.clock.now() + 600
        for back, wanted in (0, None), (1, None), (2, 401):
            credential = self.minted(later, self.server.secret(number - back))
            self.allocates(f"minute {number}, the secret of {back} minutes ago", credential, wanted)

    def step(self, number: int, hours: int, hold: float):
        """The wall clock jumps, stays there for a while, and jumps back: allocations stay as they are, and ephemeral
        credentials are judged by what the clock shows."""
        clock, secret, what = self.server.clock, self.server.secret(number), f"minute {number}, {hours:+} h"
        # One that is over there but not here, or here but not there.
        between = self.minted(clock.now() + hours * 1800, secret)
        here, there = (None, 401) if hours > 0 else (401, None)
        self.allocates(f"{what}: the credential before", between, here)
        with self.socket(between if hours > 0 else self.minted(clock.now() + 600, secret)) as lives:
            self.must(f"{what}: an allocation before", lives.allocate().error, None)
            clock.step(hours * 3600)
            try:
                self.allocates(f"{what}: the credential", between, there)
                self.allocates(f"{what}: a credential of that time", self.minted(clock.now() + 600, secret), None)
                self.lifetime(f"{what}: the allocation lives", lives)
                time.sleep(hold)
                self.lifetime(f"{what}: the allocation still lives", lives)
            finally:
                clock.step(0)
            self.lifetime(f"{what}: back again, the allocation lives", lives)
            self.allocates(f"{what}: back again, the credential", between, here)
            self.must(f"{what}: the allocation ends", lives.refresh(0).error, None)

    def lifetime(self, what: str, client: TurnSocket):
        """A Refresh is granted, for as long as the server grants it."""
        answer = client.refresh(60)
        value = answer.get(LIFETIME)
        self.must(what, (answer.error, value and int.from_bytes(value)), (None, 90))
