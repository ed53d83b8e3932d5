"""TURN over TLS: OpenSSL's `s_client`, our own client through Python's ssl, and headless Chromium."""

import json
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import time
from dataclasses import dataclass

import certificates
from case_raw import echo, expect
from harness import CLIENTS, PASSWORD, USER, VENV, Context, Failure, UdpPeer, case, run_json_client, spawn, stop, tool
from stun_wire import MAGIC, SUCCESS, XOR_MAPPED_ADDRESS, XOR_RELAYED_ADDRESS, TurnSocket, decode

LIMIT = 20


@dataclass
class Talk:
    """One run of s_client: what it printed, and the answer to the Binding request that went through."""

    text: str
    answer: bytes | None

    def find(self, pattern: str) -> str:
        """The first group of a pattern; empty when s_client has not said so."""
        found = re.search(pattern, self.text)
        return found.group(1) if found else ""

    @property
    def cipher(self) -> str:
        """The cipher suite."""
        return self.find(r"Cipher is (\S+)")

    @property
    def chain(self) -> list[str]:
        """The subjects that the server sent, leaf first."""
        return re.findall(r"^ \d+ s:CN = (\S+)$", self.text, re.MULTILINE)


def s_client(context: Context, *flags: str, name: str | None = certificates.NAME, root: str = "root.crt",
             listener: str = "tcp", family: int = socket.AF_INET) -> Talk:
    """Connects, verifies the chain and the name, sends a Binding request and waits for its answer."""
    host, port = context.server.address(listener, family)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    named = ["-servername", name, "-verify_hostname", name] if name else ["-noservername"]
    command = [tool("openssl"), "s_client", "-connect", address, *named, "-verify_return_error", "-CAfile",
               str(context.server.directory / root), *flags]
    transaction = os.urandom(12)
    child = spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = b""
    try:
        child.stdin.write(struct.pack("!HHI", 1, 0, MAGIC) + transaction)
        child.stdin.flush()
        os.set_blocking(child.stdout.fileno(), False)
        deadline = time.monotonic() + 8
        at = -1
        while time.monotonic() < deadline:
            chunk = child.stdout.read()
            output += chunk or b""
            at = output.find(struct.pack("!I", MAGIC) + transaction)
            whole = at >= 4 and len(output) >= at + 16 + struct.unpack("!H", output[at - 2 : at])[0]
            if whole or (chunk == b"" and child.poll() is not None):
                break
            time.sleep(0.01)
        else:
            raise Failure("s_client got no answer within 8 s", output.decode(errors="replace"))
        # It prints what it knows of a TLS 1.3 session when the tickets have come; the end makes it do so.
        child.stdin.close()
        child.wait(5)
        output += child.stdout.read() or b""
    finally:
        stop(child)
    answer = output[at - 4 : at + 16 + struct.unpack("!H", output[at - 2 : at])[0]] if at >= 4 else None
    return Talk(output.decode(errors="replace"), answer)


def good(talk: Talk) -> Talk:
    """The handshake was verified and the Binding request answered through it."""
    if talk.find(r"Verify return code: (\d+)") != "0" or talk.answer is None:
        raise Failure("the handshake or what went through it failed", talk.text)
    answer = decode(talk.answer)
    if answer.kind != SUCCESS or not answer.addresses(XOR_MAPPED_ADDRESS):
        raise Failure("the Binding request was not answered with an address", talk.text)
    return talk


VERSIONS = {"1.2": "-tls1_2", "1.3": "-tls1_3"}
SIGNATURES = {"ecdsa": ("ECDSA+SHA256", "ECDSA"), "rsa": ("RSA-PSS+SHA256:RSA+SHA256", "RSA-PSS")}


def tls_openssl(context: Context) -> str:
    """A version, and a client that takes one kind of signature: the certificate of that kind, with its chain."""
    _, _, version, kind = context.case.name.split("-")
    algorithms, signed = SIGNATURES[kind]
    talk = good(s_client(context, VERSIONS[version], "-sigalgs", algorithms))
    facts = (talk.find(r"Protocol\s*: TLSv(\S+)") or talk.find(r"New, TLSv(\S+),"), talk.find(r"Peer signature type: (\S+)"))
    if facts != (version, signed) or talk.chain != ["leaf", "middle"]:
        raise Failure(f"expected TLS {version}, {signed} and a chain of two; got {facts} and {talk.chain}", talk.text)
    return f"{talk.cipher}, {signed}, chain {' '.join(talk.chain)}"


for version in VERSIONS:
    for kind in SIGNATURES:
        case(f"tls-openssl-{version}-{kind}", group="tls")(tls_openssl)


@case("tls-openssl-ipv6", group="tls", ipv6=True)
def tls_ipv6(context: Context) -> str:
    """The same over IPv6."""
    return good(s_client(context, family=socket.AF_INET6)).cipher


@case("tls-names", group="tls")
def tls_names(context: Context) -> str:
    """A name gets its certificate, a wildcard's name the wildcard's, and no name the first one."""
    names = {certificates.NAME: certificates.NAME, certificates.OTHER: r"\*.other.test", None: certificates.NAME}
    for asked, expected in names.items():
        talk = s_client(context, name=asked)
        if talk.answer is None:
            raise Failure(f"no answer as {asked}", talk.text)
        pem = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", talk.text, re.DOTALL).group()
        der = context.server.directory / "seen.pem"
        der.write_text(pem)
        shown = subprocess.run([tool("openssl"), "x509", "-in", str(der), "-noout", "-ext", "subjectAltName"],
                               capture_output=True, text=True).stdout
        if not re.search(f"DNS:{expected}", shown):
            raise Failure(f"asked for {asked}, got {shown}", talk.text)
    return "its own, a wildcard's, the first"


@case("tls-alpn", group="tls")
def tls_alpn(context: Context) -> str:
    """RFC 7443's names, the one that Firefox uses behind a proxy, none at all; and no other."""
    for offered, agreed in {"stun.turn": "stun.turn", "stun.nat-discovery": "stun.nat-discovery", "http/1.1": "http/1.1",
                            "h2,stun.turn": "stun.turn", None: ""}.items():
        talk = good(s_client(context, *(["-alpn", offered] if offered else [])))
        if talk.find(r"ALPN protocol: (\S+)") != agreed:
            raise Failure(f"offered {offered}, expected {agreed}", talk.text)
    talk = s_client(context, "-alpn", "h2")
    if talk.answer or "no application protocol" not in talk.text:
        raise Failure("h2 alone was not refused with no_application_protocol", talk.text)
    context.server.wait_log("another application protocol than this listener serves")
    return "4 agreed on, none needed, h2 refused"


@case("tls-resumed", group="tls")
def tls_resumed(context: Context) -> str:
    """A ticket makes the second handshake a short one."""
    ticket = str(context.server.directory / "ticket")
    for version, flag in VERSIONS.items():
        good(s_client(context, flag, "-sess_out", ticket))
        if not good(s_client(context, flag, "-sess_in", ticket)).find(r"(Reused), TLSv"):
            raise Failure(f"TLS {version} was not resumed")
    return "TLS 1.2 and 1.3"


@case("tls-refused", group="tls")
def tls_refused(context: Context) -> str:
    """Who does not know the authority, who misses an intermediate, who is too old: the log says it in words."""
    certificates.sign(context.server.directory, "stranger", "ecdsa", None, "basicConstraints=critical,CA:TRUE\n")
    if s_client(context, root="stranger.crt").answer:
        raise Failure("a client without the root has verified the chain")
    context.server.wait_log("the client does not trust who signed the certificate (alert unknown_ca)")
    talk = s_client(context, name=certificates.GAP)
    if talk.answer or talk.chain != ["leaf"] or "unable to get local issuer certificate" not in talk.text:
        raise Failure("a client that has the root alone was content with a leaf alone", talk.text)
    context.server.wait_log("the certificate file must have the intermediates behind the leaf (fullchain.pem;", 2)
    context.server.wait_log('gap.ecdsa.pem: the chain may be incomplete: "CN=middle" issued its last certificate')
    talk = s_client(context, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    if talk.answer:
        raise Failure("TLS 1.1 was not refused", talk.text)
    context.server.wait_log("the client offers no version of TLS that is enabled here")
    return "unknown authority, incomplete chain, TLS 1.1"


def python_client(context: Context) -> TurnSocket:
    trust = ssl.create_default_context(cafile=str(context.server.directory / "root.crt"))
    return TurnSocket(context.server.address("tcp"), USER, PASSWORD, tcp=True, tls=trust)


@case("tls-swap", group="tls")
def tls_swap(context: Context) -> str:
    """A certificate is renewed in the middle of a relay: the relay loses nothing, the next handshake has the new one."""
    def serial() -> str:
        talk = good(s_client(context))
        pem = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", talk.text, re.DOTALL).group()
        return ssl.PEM_cert_to_DER_cert(pem).hex()

    with python_client(context) as turn, UdpPeer() as peer:
        expect(turn.allocate(), None, "Allocate")
        expect(turn.permit(peer.address), None, "CreatePermission")
        echo(turn, peer, 20, "before")
        before = serial()
        certificates.issue(context.server.directory, "turn", "ecdsa", certificates.NAMES)
        deadline = time.monotonic() + 10
        rounds = 0
        while serial() == before:
            echo(turn, peer, 5, "meanwhile")
            rounds += 1
            if time.monotonic() > deadline:
                raise Failure("the new certificate is not in use after 10 s")
        echo(turn, peer, 20, "after")
        expect(turn.refresh(0), None, "Refresh 0")
    return f"{40 + 5 * rounds} messages, lost 0, new certificate in use"


def tls_raw(context: Context) -> str:
    """The same client as over TCP: 50 messages to a peer and back."""
    with python_client(context) as turn, UdpPeer() as peer:
        answer = turn.allocate()
        expect(answer, None, "Allocate")
        relayed = answer.addresses(XOR_RELAYED_ADDRESS)[0]
        expect(turn.permit(peer.address), None, "CreatePermission")
        echo(turn, peer, 50, "indication")
        if peer.senders != {relayed: 50}:
            raise Failure(f"the peer saw {peer.senders}, not 50 from {relayed}")
        expect(turn.refresh(0), None, "Refresh 0")
    return "50 messages, lost 0"


case("tls-raw-echo", group="tls")(tls_raw)


@dataclass(frozen=True)
class Browser:
    """What it is called, and where in its home the data base of certificates is."""

    programs: tuple[str, ...]
    store: str


BROWSERS = {
    "chromium": Browser(("chromium", "chromium-browser"), ".pki/nssdb"),
    "firefox": Browser(("firefox-esr", "firefox"), ""),
}
# Seconds; a machine with nothing else to do takes three, and six for Firefox.
BROWSER_LIMIT = 65


def browser(context: Context) -> str:
    """Two peer connections of one page, relay candidates only, over each transport; `turns:` with the run's own root."""
    name = context.case.name
    kind = BROWSERS[name]
    program = next(filter(None, map(shutil.which, kind.programs)), None)
    own = VENV / "bin" / "node"
    node = str(own) if own.exists() else shutil.which("node")
    if not program or not node:
        raise Failure(f"no {name} or no Node.js: run tests/interop/install")
    home = context.server.directory / name
    store = home / kind.store
    store.mkdir(parents=True)
    certutil = [tool("certutil"), "-d", f"sql:{store}"]
    root = str(context.server.directory / "root.crt")
    for flags in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "root", "-i", root]):
        subprocess.run([*certutil, *flags], check=True, capture_output=True)
    (_, udp), (_, tcp) = (context.server.address(transport) for transport in ("udp", "tcp"))
    uris = {"udp": f"turn:127.0.0.1:{udp}", "tcp": f"turn:127.0.0.1:{tcp}?transport=tcp",
            "tls": f"turns:{certificates.NAME}:{tcp}"}
    told = {"browser": program, "directory": str(home), "name": certificates.NAME, "uris": list(uris.values()),
            "user": USER, "password": PASSWORD, "messages": 200}
    facts = run_json_client([node, str(CLIENTS / f"{name}.cjs"), json.dumps(told)], BROWSER_LIMIT)
    for transport, seen in zip(uris, facts, strict=True):
        ways = [(way["type"], way["protocol"]) for way in seen["ways"]]
        if seen["back"] != 200 or ways != [("relay", transport)] * 2:
            raise Failure(f"over {transport} {seen['back']} of 200 messages came back, by {ways}")
    return f"200 of 200 messages over each of {', '.join(uris)}, both ends relayed"


for name in BROWSERS:
    case(name, group="tls", limit=BROWSER_LIMIT + 5)(browser)
