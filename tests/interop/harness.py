"""What every case needs: the server under test, the echo peer, child processes that never outlive the run."""

import contextlib
import ctypes
import fnmatch
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

REALM = "example.org"
USER, PASSWORD = "alice", "secret"
REST_SECRET = "SECRET"
ROOT = Path(__file__).resolve().parents[2]
VENV = Path(os.environ.get("INTEROP_VENV", ROOT / "target" / "interop-venv")).resolve()
NODE = Path(os.environ.get("INTEROP_NODE", ROOT / "target" / "interop-node")).resolve()
CLIENTS = Path(__file__).resolve().parent / "clients"


class Failure(Exception):
    """Why a case failed, in one line, and the text of the client that failed."""

    def __init__(self, why: str, output: str = ""):
        super().__init__(why)
        self.output = output


class Skip(Exception):
    """Why a case cannot be run on this machine (never: a client is missing)."""


@dataclass(frozen=True)
class Case:
    """One line of the run: `check` returns the facts to print or raises."""

    name: str
    group: str
    limit: float
    check: Callable
    needs_ipv6: bool


CASES: list[Case] = []


def case(name: str, group: str = "plain", limit: float = 20, ipv6: bool = False):
    """Registers a case; the order of registration is the order of the run."""

    def register(check):
        CASES.append(Case(name, group, limit, check, ipv6))
        return check

    return register


def select(patterns: list[str]) -> list[Case]:
    """The cases whose name matches one of the shell patterns; all without any."""
    return [c for c in CASES if not patterns or any(fnmatch.fnmatch(c.name, p) for p in patterns)]


def has_ipv6() -> bool:
    """Whether this machine can bind ::1."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def host_port(text: str) -> tuple[str, int]:
    """`127.0.0.1:5` and `[::1]:5` as (host, port)."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _die_with_parent():
    # PR_SET_PDEATHSIG: the last resort when the run itself is killed with SIGKILL.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def spawn(command: list[str], stdin: int = subprocess.DEVNULL, **options) -> subprocess.Popen:
    """Starts a child in its own process group that dies with this process."""
    return subprocess.Popen(command, stdin=stdin, start_new_session=True, preexec_fn=_die_with_parent, **options)


def _signal_group(child: subprocess.Popen, number: int):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def stop(child: subprocess.Popen):
    """Ends a child and all it started: SIGINT, three seconds, SIGKILL."""
    _signal_group(child, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(3)
    # Also when the leader is gone: what it started may still run.
    _signal_group(child, signal.SIGKILL)
    child.wait()


def tool(name: str) -> str:
    """The path of a client, or the failure that says how to get it."""
    found = shutil.which(name)
    if not found:
        raise Failure(f"{name} is not installed: run tests/interop/install")
    return found


def run_client(command: list[str], limit: float, env: dict | None = None) -> subprocess.CompletedProcess:
    """Runs a client to its end and returns its merged output; a client that outlives `limit` is a failure."""
    child = spawn(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                  env={**os.environ, **(env or {})})
    timer = threading.Timer(limit, _signal_group, (child, signal.SIGKILL))
    timer.start()
    try:
        output, _ = child.communicate()
        expired = not timer.is_alive()
    finally:
        timer.cancel()
        stop(child)
    if expired:
        raise Failure(f"{Path(command[0]).name} did not end within {limit:.0f} s", output)
    return subprocess.CompletedProcess(command, child.returncode, output)


def run_json_client(command: list[str], limit: float, env: dict | None = None) -> dict:
    """Runs one of `clients/`: its last line is a JSON object of facts, its exit status tells success."""
    done = run_client(command, limit, env)
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0:
        raise Failure(lines[-1] if lines else f"exit status {done.returncode}", done.stdout)
    try:
        return json.loads(lines[-1])
    except (IndexError, ValueError):
        raise Failure("the client printed no facts", done.stdout) from None


class Server:
    """The server under test, started on free ports with one configuration."""

    def __init__(self, binary: str, directory: Path, config: str, ipv6: bool):
        self.directory = directory
        self.log_path = directory / "server.log"
        self._log_read = 0
        ready = directory / "ready.json"
        command = [binary, "--listen", "127.0.0.1:0", "--relay-ip", "127.0.0.1", "--allow-peer", "127.0.0.0/8",
                   "--realm", REALM, "--user", f"{USER}:{PASSWORD}", "--secret", REST_SECRET,
                   "--admin", "127.0.0.1:0", "--ready-file", str(ready)]
        if ipv6:
            command += ["--listen", "[::1]:0", "--relay-ip", "::1", "--allow-peer", "::1/128"]
        if config:
            (directory / "server.toml").write_text(config)
            command += ["--config", str(directory / "server.toml")]
        # Whatever the server keeps by default (state, secrets) stays inside the run's own directory.
        home = {"HOME": str(directory), "XDG_STATE_HOME": str(directory), "STATE_DIRECTORY": str(directory)}
        with open(self.log_path, "wb") as log:
            self.process = spawn(command, stdout=log, stderr=log, cwd=directory, env={**os.environ, **home})
        try:
            self.listeners = self._wait_ready(ready, time.monotonic() + 15)
        except Exception:
            stop(self.process)
            raise

    def _wait_ready(self, ready: Path, deadline: float) -> dict:
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failure(f"the server ended at start with status {self.process.returncode}")
            with contextlib.suppress(OSError, ValueError):
                return json.loads(ready.read_text())
            time.sleep(0.02)
        raise Failure("the server wrote no ready file within 15 s")

    def address(self, transport: str = "udp", family: int = socket.AF_INET) -> tuple[str, int]:
        """The first listener of a kind (`udp`, `tcp`; `tls`, `dtls` for nothing else) and family."""
        for text in self.listeners[transport]:
            host, port = host_port(text)
            if (":" in host) == (family == socket.AF_INET6):
                return host, port
        raise Failure(f"the ready file names no {transport} listener of that family: {self.listeners}")

    def drops(self) -> dict[str, int]:
        """How many packets it has dropped so far, by reason."""
        with urllib.request.urlopen(f"http://{self.listeners['admin']}/metrics", timeout=5) as page:
            found = re.findall(r'^turnwire_drops_total\{reason="(\w+)"\} (\d+)$', page.read().decode(), re.MULTILINE)
        if not found:
            raise Failure("the server's metrics name no drops")
        return {reason: int(count) for reason, count in found}

    def wait_alive(self, place: str, wait: float = 5):
        """Waits until this server sends clients to another one's place, named by labels of the metric."""
        deadline = time.monotonic() + wait
        while True:
            with urllib.request.urlopen(f"http://{self.listeners['admin']}/metrics", timeout=5) as page:
                text = page.read().decode()
            if re.search(rf"^turnwire_alternate_alive\{{.*{re.escape(place)}\}} 1$", text, re.MULTILINE):
                return
            if time.monotonic() > deadline:
                raise Failure(f"no client is sent to {place}")
            time.sleep(0.02)

    def trouble(self) -> str | None:
        """Whether the server panicked since the last call or is dead: fails a case whose client was content."""
        with open(self.log_path, "rb") as log:
            log.seek(self._log_read)
            text = log.read().decode(errors="replace")
            self._log_read = log.tell()
        if (found := re.search(r".*panicked at.*", text)) is not None:
            return f"the server panicked: {found.group()}"
        if self.process.poll() is not None:
            return f"the server ended with status {self.process.returncode}"
        return None

    def wait_log(self, words: str, wait: float = 5):
        """Waits until the log says this."""
        deadline = time.monotonic() + wait
        while words not in self.log():
            if time.monotonic() > deadline:
                raise Failure(f"the log does not say: {words}")
            time.sleep(0.02)

    def log(self) -> str:
        """The whole log; whoever prints it takes the end."""
        return self.log_path.read_text(errors="replace")


class UdpPeer:
    """A UDP peer in a thread of this process: returns each datagram, and remembers who sent how many."""

    def __init__(self, host: str = "127.0.0.1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self.address = self._socket.getsockname()[:2]
        self.senders: dict[tuple[str, int], int] = {}
        self._closing = False
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with self._socket:
            while True:
                data, sender = self._socket.recvfrom(65536)
                if self._closing:
                    return
                self.senders[sender[:2]] = self.senders.get(sender[:2], 0) + 1
                self._socket.sendto(data, sender)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A datagram wakes the thread; closing the socket here would not.
        self._closing = True
        self._socket.sendto(b"", self.address)


class CoturnPeer:
    """`turnutils_peer` on a free port and the one after it (uclient's RTCP goes there)."""

    def __init__(self, ipv6: bool):
        self.hosts = ["127.0.0.1"] + (["::1"] if ipv6 else [])
        for _ in range(20):
            # Below the ephemeral and the relay ports, so that nobody takes it between the probe and the start.
            self.port = random.randrange(10000, 30000, 2)
            if not self._free():
                continue
            flags = [word for host in self.hosts for word in ("-L", host)]
            self.process = spawn([tool("turnutils_peer"), "-p", str(self.port), *flags],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if self._echoes():
                return
            stop(self.process)
        raise Failure("turnutils_peer did not start on any of 20 ports")

    def _free(self) -> bool:
        try:
            for host in self.hosts:
                for port in (self.port, self.port + 1):
                    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
                        probe.bind((host, port))
            return True
        except OSError:
            return False

    def _echoes(self) -> bool:
        for host in self.hosts:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.settimeout(0.05)
                deadline = time.monotonic() + 5
                answered = False
                while not answered and time.monotonic() < deadline and self.process.poll() is None:
                    with contextlib.suppress(OSError):
                        probe.sendto(b"ready?", (host, self.port))
                        answered = probe.recv(16) == b"ready?"
                if not answered:
                    return False
        return True


class Context:
    """One run: the binary, the scratch directory, the server of the current group, the echo peer of uclient."""

    def __init__(self, binary: str, configs: dict[str, str], prepare: dict[str, Callable[[Path], None]]):
        """`prepare` puts into a group's directory what its configuration names."""
        self.binary, self.configs, self.prepare = binary, configs, prepare
        self.ipv6 = has_ipv6()
        self.directory = Path(tempfile.mkdtemp(prefix="turnwire-interop-"))
        self.server: Server | None = None
        self._group: str | None = None
        self._peer: CoturnPeer | None = None
        self._starts = 0

    def enter(self, group: str):
        """Has the group's server running: a new one when the group changes or the old one died."""
        if self.server and self._group == group and self.server.process.poll() is None:
            return
        self._start(group, self.configs[group], self.prepare.get(group))
        self._group = group

    def enter_own(self, config: str, prepare: Callable[[Path], None] | None = None) -> Server:
        """Starts a server for this one case, whose configuration names what the case has started."""
        self._start(self.case.name, config, prepare)
        self._group = None
        return self.server

    def _start(self, name: str, config: str, prepare: Callable[[Path], None] | None):
        self.leave()
        self._starts += 1
        directory = self.directory / f"{self._starts}-{name}"
        directory.mkdir()
        if prepare:
            prepare(directory)
        try:
            self.server = Server(self.binary, directory, config, self.ipv6)
        except Failure as failure:
            log = directory / "server.log"
            raise Failure(str(failure), log.read_text(errors="replace") if log.exists() else "") from None

    @contextlib.contextmanager
    def second_server(self, config: str, prepare: Callable[[Path], None] | None = None):
        """Another server beside the group's, for as long as the case needs it."""
        self._starts += 1
        directory = self.directory / f"{self._starts}-second"
        directory.mkdir()
        if prepare:
            prepare(directory)
        server = Server(self.binary, directory, config, self.ipv6)
        try:
            yield server
        finally:
            stop(server.process)

    def leave(self):
        """Stops the current group's server."""
        if self.server:
            stop(self.server.process)
            self.server = None

    @property
    def coturn_peer(self) -> CoturnPeer:
        """Started when first needed."""
        if self._peer is None or self._peer.process.poll() is not None:
            self._peer = CoturnPeer(self.ipv6)
        return self._peer

    def close(self):
        """Ends every process of the run and removes its files."""
        self.leave()
        if self._peer:
            stop(self._peer.process)
        shutil.rmtree(self.directory, ignore_errors=True)
