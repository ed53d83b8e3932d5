"""haproxy, nginx and a small web server of our own: in front of the server under test, or behind it."""

import contextlib
import hashlib
import http.server
import socket
import socketserver
import threading
import time
from pathlib import Path

from harness import Failure, spawn, stop, tool

NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"

HAPROXY = """
global
    log stderr format raw local0
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
"""

NGINX = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log warn;
{modules}
events {{ worker_connections 256; }}
"""


def free_port(host: str = "127.0.0.1") -> int:
    """A port of TCP that nobody has now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def program(name: str, command: list[str], log: Path, port: int):
    """Has a program run that listens on a port; its log stands in the failure when it does not."""
    with open(log, "ab") as output:
        child = spawn(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if child.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"{name} did not start", log.read_text(errors="replace"))
            time.sleep(0.02)
        yield
    finally:
        stop(child)


@contextlib.contextmanager
def haproxy(directory: Path, port: int, sections: str):
    """haproxy with these sections, one of which listens on the port."""
    config = directory / "haproxy.cfg"
    config.write_text(HAPROXY + sections)
    with program("haproxy", [tool("haproxy"), "-db", "-f", str(config)], directory / "haproxy.log", port):
        yield


@contextlib.contextmanager
def nginx(directory: Path, port: int, block: str):
    """nginx with a block `stream` or `http`, which listens on the port."""
    modules = f"load_module {NGINX_STREAM};" if block.startswith("stream") else ""
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(directory=directory, modules=modules) + block)
    command = [tool("nginx"), "-p", str(directory), "-e", str(directory / "nginx.log"), "-c", str(config)]
    with program("nginx", command, directory / "nginx.log", port):
        yield


def nginx_backend(directory: Path, port: int):
    """nginx as a web server that takes the PROXY protocol from the server under test, and tells whom it sees."""
    temporary = "".join(f"{what}_temp_path {directory}/{what};\n" for what in
                        ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return nginx(directory, port, f"""http {{
        access_log off;
        {temporary}
        set_real_ip_from 127.0.0.1;
        real_ip_header proxy_protocol;
        server {{
            listen 127.0.0.1:{port} proxy_protocol;
            location / {{ return 200 "$remote_addr $proxy_protocol_server_port\\n"; }}
        }}
    }}""")


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):  # noqa: N802 (the name is the library's)
        self._answer(b"behind " + self.path.encode())

    def do_POST(self):  # noqa: N802
        body = self.rfile.read(int(self.headers["Content-Length"]))
        # Sent back as it came, so that both ways are seen.
        self._answer(body, hashlib.sha256(body).hexdigest())

    def _answer(self, body: bytes, digest: str = ""):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Digest", digest)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Web:
    """A small web server in threads of this process, on TCP or on a Unix socket."""

    def __init__(self, path: Path | None = None):
        if path:
            self._server = socketserver.ThreadingUnixStreamServer(str(path), _UnixHandler)
            self.endpoint = f"unix:{path}"
        else:
            self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
            self.endpoint = f"127.0.0.1:{self._server.server_address[1]}"
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


class _UnixHandler(_Handler):
    # A client on a Unix socket has no name, and the base class wants one.
    def address_string(self) -> str:
        return "unix"
