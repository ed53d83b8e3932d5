"""Turnwire itself, with what changes from minute to minute, and what is seen of it from outside."""

import collections
import contextlib
import json
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from outside import Application, Clock

TOKEN = "a-token-of-the-operator-of-the-soak"

# What is said above "info" at any time: the certificate is of our own make, and its file is.
ALWAYS = {"certificate_doubted", "certificate_key_exposed", "certificate_expires"}


def free_port() -> int:
    """A port that was free for both transports a moment ago, of those that neither clients nor relays are given: a listener
    that is taken away and put back later finds its port as it was."""
    while True:
        place = ("127.0.0.1", random.randrange(10_000, 19_000))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            with contextlib.suppress(OSError):
                udp.bind(place)
                tcp.bind(place)
                return place[1]


class Log:
    """The server's log, read as it grows: what was said how often, and what nobody expects."""

    def __init__(self, path: Path):
        self.path, self.file = path, open(path)
        self.events: collections.Counter = collections.Counter()
        self.loud: collections.Counter = collections.Counter()
        self.unexpected: list[str] = []
        self.rest = ""
        self.lock = threading.Lock()
        # What is done to the server makes it say this, until then.
        self.expected: dict[str, float] = {}

    def expect(self, *events: str, seconds: float = 45):
        """What is done to the server now is said in the log above "info" with these events."""
        self.expected |= dict.fromkeys(events, time.monotonic() + seconds)

    def expects(self, event: str) -> bool:
        return event in ALWAYS or time.monotonic() < self.expected.get(event, 0)

    def read(self) -> collections.Counter:
        with self.lock:
            *lines, self.rest = (self.rest + self.file.read()).split("\n")
            for line in lines:
                self.take(line)
            return self.events

    def take(self, line: str):
        try:
            told = json.loads(line)
        except ValueError:
            self.unexpected.append(line)
            return
        event = told.get("event", told.get("message"))
        self.events[event] += 1
        if told["level"] in ("WARN", "ERROR"):
            self.loud[f"{told['level']} {event}"] += 1
            if not self.expects(event):
                self.unexpected.append(line)


class Server:
    """The process."""

    def __init__(self, binary: Path, place: Path, application: Application, clock: Clock, minute: int):
        self.binary, self.place, self.application, self.clock = binary, place, application, clock
        self.port, self.tls, self.admin, self.extra = (free_port() for _ in range(4))
        self.events = place / "disk" / "events.jsonl"
        self.descriptor_limit = 20_000
        self.certify()
        self.configure(minute)
        with open(place / "log", "w") as log:
            self.child = subprocess.Popen(
                [binary, "--config", place / "turnwire.toml"], stderr=log, stdout=log, env=os.environ | clock.environment,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptor_limit,) * 2))
        self.log = Log(place / "log")
        self.wait_for("ready")

    def certify(self):
        """Another certificate in the place of the one that is used."""
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9",
                "-subj", "/CN=soak", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.place / "new.key",
                "-out", self.place / "new.pem"]
        subprocess.run(made, check=True, capture_output=True)
        with open(self.place / "new.pem", "a") as pem:
            pem.write((self.place / "new.key").read_text())
        os.rename(self.place / "new.pem", self.place / "soak.pem")

    def secret(self, number: int) -> str:
        """The secret of a minute, which is good in the next one too."""
        return f"the shared secret of minute {number}"

    def configure(self, number: int):
        more = f', "127.0.0.1:{self.extra}"' if number % 2 else ""
        text = f"""
[listen]
addresses = ["127.0.0.1:{self.port}"{more}]
tls = ["127.0.0.1:{self.tls}"]
[tls]
certificates = ["soak.pem"]
[relay]
addresses = ["127.0.0.1"]
ports = "{19000 if number % 4 < 2 else 20000}-60000"
[auth]
secrets = ["{self.secret(number)}", "{self.secret(number - 1)}"]
[auth.users]
load = "load"
vanish = "vanish"
uclient = "uclient"
probe = "probe"
round{number} = "password"
[stores]
keep = "5s"
[stores.ask]
app = {{ kind = "http", url = "{self.application.url}/turn", timeout_milliseconds = 1000 }}
red = {{ kind = "redis", url = "redis+unix://{self.place}/redis?db=0", timeout_milliseconds = 1000 }}
[peers]
allow = ["127.0.0.0/8"]
deny = ["198.51.100.{number % 250}/32"]
[turn]
default_lifetime = "90s"
max_lifetime = "90s"
mobility = true
rfc5766_channels = true
[limits]
allocations_per_user = 0
exempt = ["127.0.0.1/32", "127.0.0.20/31"]
[admin]
listen = "127.0.0.1:{self.admin}"
tokens = ["{TOKEN}"]
[events]
usage_interval = "10s"
[events.file]
path = "{self.events}"
[events.webhook]
url = "{self.application.url}/events"
secret = "what the webhook's batches are signed with"
timeout = "2s"
kinds = ["began", "ended"]
[log]
format = "json"
level = "{('info', 'debug', 'info')[number % 3]}"
[process]
state_directory = "{self.place}/state"
drain = "30s"
"""
        new = self.place / "new.toml"
        new.touch(0o600)
        new.write_text(text)
        new.rename(self.place / "turnwire.toml")

    def wait_for(self, event: str, beyond: int = 0, limit: float = 30):
        end = time.monotonic() + limit
        while self.log.read()[event] <= beyond:
            if self.child.poll() is not None or self.log.unexpected or time.monotonic() > end:
                sys.exit(f"no {event}:\n" + "\n".join(self.log.unexpected or (self.place / "log").read_text().splitlines()[-5:]))
            time.sleep(0.1)

    def reload(self, number: int):
        before = self.log.read()["reloaded"]
        self.configure(number)
        self.child.send_signal(signal.SIGHUP)
        self.wait_for("reloaded", before)

    def ask(self, path: str) -> bytes:
        """What the admin endpoint answers with 200."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin}{path}", headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=20) as page:
            return page.read()

    def metrics(self) -> dict[str, float]:
        lines = self.ask("/metrics").decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}

    def resident(self) -> int:
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.child.pid}/status").read_text())[1]) * 1024

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.child.pid}/task"))

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def limit_descriptors(self, count: int):
        _, hard = resource.prlimit(self.child.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.child.pid, resource.RLIMIT_NOFILE, (count, hard))


def total(metrics: dict[str, float], name: str) -> float:
    """The sum of a family, or of those of its members that a longer name begins."""
    return sum(value for key, value in metrics.items() if key.startswith(name))


class Watch:
    """Somebody who looks at the server all the time: every page answers, and no counter ever goes back."""

    PATHS = ("/healthz", "/v1/status", "/v1/sessions?limit=100", "/v1/counters", "/readyz", "/v1/config")

    def __init__(self, server: Server):
        self.server, self.stopped = server, threading.Event()
        self.looks, self.faults, self.last = 0, [], {}
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped.wait(2):
            path = self.PATHS[self.looks % len(self.PATHS)]
            self.looks += 1
            try:
                self.server.ask(path)
                path = "/metrics"
                self.compare(self.server.metrics())
                self.server.log.read()
            except OSError as error:
                # A server that does not relay to itself says so on the pages about its health as well.
                if path not in ("/healthz", "/readyz") or not self.server.log.expects("self_check_failed"):
                    self.faults.append(f"{path}: {error}")

    def compare(self, seen: dict[str, float]):
        for name, value in seen.items():
            if "_total" in name and value < self.last.get(name, 0):
                self.faults.append(f"{name} went from {self.last[name]:.0f} to {value:.0f}")
        self.last = seen

    def stop(self):
        self.stopped.set()
        self.thread.join()
