"""A web server and TURN on one port, seen by curl; and TURN behind haproxy and nginx with the PROXY protocol."""

import contextlib
import re
import socket
import ssl
import time
from pathlib import Path

import certificates
import fronts
from case_raw import echo, expect
from harness import PASSWORD, USER, Context, Failure, UdpPeer, case, run_client, tool
from stun_wire import SUCCESS, XOR_MAPPED_ADDRESS, TurnSocket

# Whom the server has to see, and not the proxy, which comes from 127.0.0.1.
CLIENT = "127.0.0.9"
PROXIES = '[listen]\nproxies = ["127.0.0.1"]\n'
# The least that lets the limits of one address be seen.
TWO_EACH = "[limits]\nexempt = []\n[limits.streams]\nper_address = 2\n"


def web_config(backend: str, more: str = "") -> str:
    return certificates.CONFIG + f'[https]\nbackend = "{backend}"\n{more}'


def curl(context: Context, *arguments: str, port: int | None = None, host: str = "127.0.0.1") -> str:
    """What curl says about https on the server's port, or on another."""
    server = context.server
    port = port or server.address("tcp")[1]
    command = [tool("curl"), "--silent", "--show-error", "--max-time", "15", "--cacert", str(server.directory / "root.crt"),
               "--resolve", f"{certificates.NAME}:{port}:{host}", *arguments]
    done = run_client([word.replace("URL", f"https://{certificates.NAME}:{port}") for word in command], 20)
    if done.returncode != 0:
        raise Failure(f"curl ended with {done.returncode}", done.stdout)
    return done.stdout


def relays(turn: TurnSocket, what: str) -> tuple[str, int]:
    """An allocation that works, and the address that the server sees its client at."""
    with UdpPeer() as peer:
        answer = turn.allocate()
        expect(answer, None, f"Allocate {what}")
        expect(turn.permit(peer.address), None, f"CreatePermission {what}")
        echo(turn, peer, 20, what)
        expect(turn.refresh(0), None, f"Refresh 0 {what}")
    return answer.addresses(XOR_MAPPED_ADDRESS)[0]


def is_client(context: Context, turn: TurnSocket, seen: tuple[str, int]):
    """The address in the answer and in the session's line of the log is the client's own."""
    own = turn.socket.getsockname()[:2]
    if seen != own:
        raise Failure(f"the server sees {seen}, and the client is {own}")
    context.server.wait_log(f"client={own[0]}:{own[1]}")


def behind(context: Context, port: int, tls: ssl.SSLContext | None = None) -> str:
    """TURN through a proxy on this port: the client's own address is seen in the answer, the log and the limits."""
    front = ("127.0.0.1", port)
    # Addresses of this call's own: connections that end behind a proxy may be there for a moment more.
    client, neighbour = ("127.0.0.20", "127.0.0.21") if tls else (CLIENT, "127.0.0.10")
    with TurnSocket(front, USER, PASSWORD, tcp=True, tls=tls, source=client) as turn:
        is_client(context, turn, relays(turn, "through the proxy"))
        # One more is within the limit, the next one is not, and a neighbour has places of its own.
        with TurnSocket(front, USER, PASSWORD, tcp=True, tls=tls, source=client) as second:
            expect(second.allocate(), None, "Allocate as the second")
            if answered(front, tls, client):
                raise Failure("a third connection of one address was served where two may be")
            if not answered(front, tls, neighbour):
                raise Failure("a neighbour was refused behind the same proxy")
    return "the client's address in answer, log and limits"


def answered(front: tuple[str, int], tls: ssl.SSLContext | None, source: str) -> bool:
    """Whether an Allocate is answered; a connection that is closed instead fails in one of several ways."""
    try:
        with TurnSocket(front, USER, PASSWORD, tcp=True, tls=tls, source=source) as turn:
            return turn.allocate().kind == SUCCESS
    except (OSError, EOFError, Failure):
        return False


def trusting(directory: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(directory / "root.crt"))


@case("web-curl")
def web_curl(context: Context) -> str:
    """HTTPS goes to the backend, two requests on one connection, a body both ways; TURN stays on the same port."""
    with fronts.Web() as web:
        server = context.enter_own(web_config(web.endpoint), certificates.issue_all)
        written = curl(context, "--write-out", " %{http_version} %{num_connects}\n", "URL/one", "URL/two")
        if written != "behind /one 1.1 1\nbehind /two 1.1 0\n":
            raise Failure(f"expected two answers on one connection, got {written!r}")
        body = server.directory / "body"
        body.write_bytes(bytes(range(256)) * (20 << 12))
        back = server.directory / "back"
        curl(context, "--data-binary", f"@{body}", "--output", str(back), "URL/body")
        if back.read_bytes() != body.read_bytes():
            raise Failure("20 MiB did not come back as they were sent")
        trust = trusting(server.directory)
        with TurnSocket(server.address("tcp"), USER, PASSWORD, tcp=True, tls=trust) as turn:
            relays(turn, "beside the web server")
    return "h1, keep-alive, 20 MiB both ways, TURN beside it"


@case("web-curl-ipv6", ipv6=True)
def web_curl_ipv6(context: Context) -> str:
    """The same over IPv6, to a backend on a Unix socket."""
    path = context.directory / "web.sock"
    with fronts.Web(path) as web:
        server = context.enter_own(web_config(web.endpoint), certificates.issue_all)
        port = next(int(text.rpartition(":")[2]) for text in server.listeners["tcp"] if text.startswith("["))
        if (got := curl(context, "URL/six", port=port, host="[::1]")) != "behind /six":
            raise Failure(f"got {got!r}")
    return "IPv6 in, a Unix socket behind"


@case("web-curl-502")
def web_down(context: Context) -> str:
    """Without a backend the client is answered in words, and the log says what is wrong."""
    context.enter_own(web_config(f"127.0.0.1:{fronts.free_port()}"), certificates.issue_all)
    written = curl(context, "--write-out", " %{http_code}", "URL/")
    if not written.endswith(" 502") or "cannot be reached" not in written:
        raise Failure(f"got {written!r}")
    context.server.wait_log("Connection refused")
    return "502 and a line in the log"


def web_nginx_behind(context: Context) -> str:
    """nginx as the backend is told by the PROXY protocol who the client is, and by which port it came."""
    version, port = context.case.name.rpartition("-")[2], fronts.free_port()
    with fronts.nginx_backend(context.directory, port):
        config = web_config(f"127.0.0.1:{port}", f'proxy_protocol = "{version}"\n')
        server = context.enter_own(config, certificates.issue_all)
        got = curl(context, "--interface", CLIENT, "URL/")
    if got != (expected := f"{CLIENT} {server.address('tcp')[1]}\n"):
        raise Failure(f"nginx sees {got!r}, and should see {expected!r}")
    return got.strip()


for version in ("v1", "v2"):
    case(f"web-nginx-behind-{version}")(web_nginx_behind)


def proxy_haproxy(context: Context) -> str:
    """TURN over TCP and TLS through haproxy, and nothing in the log about its health checks."""
    version, port = context.case.name.rpartition("-")[2], fronts.free_port()
    server = context.enter_own(PROXIES + TWO_EACH + certificates.CONFIG, certificates.issue_all)
    send, to = {"v1": "send-proxy", "v2": "send-proxy-v2"}[version], server.address("tcp")[1]
    sections = f"""
listen turn
    bind 127.0.0.1:{port}
    server turnwire 127.0.0.1:{to} {send} check check-send-proxy inter 100ms
"""
    with fronts.haproxy(context.directory, port, sections):
        facts = behind(context, port)
        behind(context, port, trusting(server.directory))
        # Some of its checks.
        time.sleep(0.5)
    if found := re.search(r".*connection closed.*", server.log()):
        raise Failure(f"the log complains: {found.group()}")
    return facts


for version in ("v1", "v2"):
    case(f"proxy-haproxy-{version}")(proxy_haproxy)


@case("proxy-haproxy-uclient")
def proxy_uclient(context: Context) -> str:
    """coturn's client through haproxy: each of its connections is seen as its own."""
    port, peer = fronts.free_port(), context.coturn_peer.port
    server = context.enter_own(PROXIES + "[turn]\nrfc5766_channels = true\n")
    sections = f"""
listen turn
    bind 127.0.0.1:{port}
    server turnwire 127.0.0.1:{server.address("tcp")[1]} send-proxy-v2
"""
    with fronts.haproxy(context.directory, port, sections):
        command = [tool("turnutils_uclient"), "-v", "-t", "-c", "-n", "20", "-m", "4", "-L", CLIENT, "-u", USER, "-w", PASSWORD,
                   "-e", "127.0.0.1", "-r", str(peer), "-p", str(port), "127.0.0.1"]
        output = run_client(command, 30).stdout
    if "tot_send_msgs=80, tot_recv_msgs=80" not in output:
        raise Failure("not all of 80 messages came back", output)
    server.wait_log("session ended")
    sessions = set(re.findall(r"session ended.* client=(\S+):\d+ ", server.log()))
    if sessions != {CLIENT}:
        raise Failure(f"the sessions in the log are of {sessions}", output)
    return f"80 of 80 messages, all sessions of {CLIENT}"


@case("proxy-nginx-stream")
def proxy_nginx(context: Context) -> str:
    """nginx passes TCP on, and TLS by the name asked for (ssl_preread); other names go elsewhere."""
    plain, sealed = fronts.free_port(), fronts.free_port()
    with fronts.Web() as elsewhere:
        server = context.enter_own(PROXIES + TWO_EACH + certificates.CONFIG, certificates.issue_all)
        to = f"127.0.0.1:{server.address('tcp')[1]}"
        block = f"""stream {{
            map $ssl_preread_server_name $behind {{ {certificates.OTHER} {elsewhere.endpoint}; default {to}; }}
            server {{ listen 127.0.0.1:{plain}; proxy_pass {to}; proxy_protocol on; }}
            server {{ listen 127.0.0.1:{sealed}; ssl_preread on; proxy_pass $behind; proxy_protocol on; }}
        }}"""
        with fronts.nginx(context.directory, plain, block):
            facts = behind(context, plain)
            trust = trusting(server.directory)
            behind(context, sealed, trust)
            # This server has a certificate for that name too, and the other speaks no TLS.
            with socket.create_connection(("127.0.0.1", sealed), 5) as other, contextlib.suppress(OSError):
                trust.wrap_socket(other, server_hostname=certificates.OTHER)
                raise Failure("what was for another server came here")
    return facts


@case("proxy-nginx-tls")
def proxy_nginx_tls(context: Context) -> str:
    """nginx ends TLS, and what it passes on is TURN over TCP."""
    port = fronts.free_port()
    server = context.enter_own(PROXIES + TWO_EACH, certificates.issue_all)
    block = f"""stream {{ server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {server.directory}/turn.ecdsa.pem;
        ssl_certificate_key {server.directory}/turn.ecdsa.key;
        proxy_pass 127.0.0.1:{server.address("tcp")[1]};
        proxy_protocol on;
    }} }}"""
    with fronts.nginx(context.directory, port, block):
        return behind(context, port, trusting(server.directory))


@case("proxy-both-ends")
def proxy_both_ends(context: Context) -> str:
    """haproxy in front and nginx behind: the web client's own address goes through both."""
    front, back = fronts.free_port(), fronts.free_port()
    with fronts.nginx_backend(context.directory, back):
        config = PROXIES + web_config(f"127.0.0.1:{back}", 'proxy_protocol = "v2"\n')
        server = context.enter_own(config, certificates.issue_all)
        sections = f"""
listen web
    bind 127.0.0.1:{front}
    server turnwire 127.0.0.1:{server.address("tcp")[1]} send-proxy-v2
"""
        with fronts.haproxy(context.directory, front, sections):
            got = curl(context, "--interface", CLIENT, "URL/", port=front)
    if got != (expected := f"{CLIENT} {front}\n"):
        raise Failure(f"nginx sees {got!r}, and should see {expected!r}")
    return got.strip()
