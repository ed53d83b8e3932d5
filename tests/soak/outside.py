"""What the server leans on, and what can fail it: an application that knows users, a webhook, a database, a disk and the clock."""

import contextlib
import hashlib
import http.server
import json
import mmap
import os
import struct
import subprocess
import threading
import time
from pathlib import Path

REALM = "turnwire"


class Application(http.server.ThreadingHTTPServer):
    """The store `/turn`, which knows one user, and the webhook `/events`; both can be away (503) or hang."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.mood = {"/turn": "well", "/events": "well"}
        self.delivered: set[str] = set()
        self.twice, self.refused = 0, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @contextlib.contextmanager
    def in_mood(self, path: str, mood: str):
        self.mood[path] = mood
        try:
            yield
        finally:
            self.mood[path] = "well"

    def handle_error(self, *_):
        """Whoever waits for one that hangs gives up in the middle; that is no news."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        mood = self.server.mood[self.path]
        if mood == "hangs":
            time.sleep(12)
        if mood != "well":
            self.server.refused += 1
            return self.answer(503, {})
        if self.path == "/turn":
            known = json.loads(body).get("username") == "hooked"
            return self.answer(200 if known else 404, {"password": "hooked"} if known else {})
        for record in json.loads(body)["records"]:
            self.server.twice += record["id"] in self.server.delivered
            self.server.delivered.add(record["id"])
        return self.answer(200, {})

    def answer(self, status: int, what: dict):
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Database:
    """A Redis with coturn's keys; `away` kills it, and another one with the same data takes its place."""

    def __init__(self, place: Path):
        self.place = place
        self.child = None
        self.start()

    def start(self):
        (self.place / "redis").unlink(missing_ok=True)
        self.child = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.place / "redis", "--save", "", "--dir", self.place],
            stdout=subprocess.DEVNULL)
        key = hashlib.md5(f"database:{REALM}:database".encode()).hexdigest()
        command = ["redis-cli", "-s", self.place / "redis", "set", f"turn/realm/{REALM}/user/database/key", key]
        end = time.monotonic() + 10
        while subprocess.run(command, capture_output=True).stdout.strip() != b"OK":
            if time.monotonic() > end:
                raise SystemExit("redis-server does not come up")
            time.sleep(0.1)

    @contextlib.contextmanager
    def away(self):
        self.stop()
        try:
            yield
        finally:
            self.start()

    def stop(self):
        self.child.kill()
        self.child.wait()


class Disk:
    """A small disk of its own (tmpfs), which can be full."""

    ROOM = "2g"

    def __init__(self, place: Path):
        self.place = place
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.ROOM},mode=700", "soak", place], check=True)

    @contextlib.contextmanager
    def full(self):
        """No more room than what is taken now."""
        for _ in range(50):
            taken = os.statvfs(self.place)
            blocks = taken.f_blocks - taken.f_bfree
            shrunk = ["mount", "-o", f"remount,nr_blocks={blocks}", self.place]
            if subprocess.run(shrunk, capture_output=True).returncode == 0:
                break
        else:
            raise SystemExit("the disk cannot be made full")
        try:
            yield
        finally:
            subprocess.run(["mount", "-o", f"remount,size={self.ROOM}", self.place], check=True)

    def gone(self):
        subprocess.run(["umount", "--lazy", self.place], check=False)


class Clock:
    """The server's wall clock, by `clock.c`: it shows so many seconds more or less than this machine's."""

    def __init__(self, place: Path):
        self.library, self.file = place / "clock.so", place / "clock"
        source = Path(__file__).with_name("clock.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", self.library, source, "-ldl"], check=True)
        self.file.write_bytes(bytes(8))
        with open(self.file, "r+b") as file:
            self.mapped = mmap.mmap(file.fileno(), 8)
        self.offset = 0
        # When which offset began, by this machine's clock.
        self.steps = [(time.time(), 0)]

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "SOAK_CLOCK": str(self.file)}

    def now(self) -> float:
        return time.time() + self.offset

    def step(self, offset: int):
        self.offset = offset
        self.mapped[:] = struct.pack("=q", offset)
        self.steps.append((time.time(), offset))

    def has_shown(self, shown: float, slack: float = 5) -> bool:
        """Whether the server's clock may have shown this."""
        ends = [when for when, _ in self.steps[1:]] + [time.time()]
        return any(begun - slack <= shown - offset <= end + slack for (begun, offset), end in zip(self.steps, ends))
