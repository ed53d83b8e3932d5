"""TURN over DTLS, on the port of plain UDP and on its own: OpenSSL's `s_client`. For `uclient -S` see case_uclient."""

import re
import socket
import subprocess

import certificates
from case_tls import SIGNATURES, Talk, good, s_client
from harness import Context, Failure, case, tool

DTLS = "-dtls1_2"


def shown(talk: Talk) -> str:
    """The names in the certificate that the server has shown."""
    pem = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", talk.text, re.DOTALL)
    if not pem:
        raise Failure("the server has shown no certificate", talk.text)
    command = [tool("openssl"), "x509", "-noout", "-ext", "subjectAltName"]
    return subprocess.run(command, input=pem.group(), capture_output=True, text=True).stdout


def dtls_openssl(context: Context) -> str:
    """A client that takes one kind of signature gets the certificate of that kind, with its chain."""
    kind = context.case.name.rpartition("-")[2]
    algorithms, signed = SIGNATURES[kind]
    talk = good(s_client(context, DTLS, "-sigalgs", algorithms, listener="udp"))
    facts = (talk.find(r"Protocol\s*: (\S+)"), talk.find(r"Peer signature type: (\S+)"))
    if facts != ("DTLSv1.2", signed) or talk.chain != ["leaf", "middle"]:
        raise Failure(f"expected DTLS 1.2, {signed} and a chain of two; got {facts} and {talk.chain}", talk.text)
    return f"{talk.cipher}, {signed}, chain {' '.join(talk.chain)}"


for kind in SIGNATURES:
    case(f"dtls-openssl-{kind}", group="dtls")(dtls_openssl)


@case("dtls-openssl-suites", group="dtls")
def dtls_suites(context: Context) -> str:
    """Each suite that is offered; DHE with RSA among them (RFC 8489 §6.2.3)."""
    suites = [f"ECDHE-{kind}-{cipher}" for kind in ("ECDSA", "RSA")
              for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")]
    suites.append("DHE-RSA-AES128-GCM-SHA256")
    for suite in suites:
        if (agreed := good(s_client(context, DTLS, "-cipher", suite, listener="udp")).cipher) != suite:
            raise Failure(f"expected {suite}, got {agreed}")
    return f"{len(suites)} suites"


@case("dtls-openssl-ipv6", group="dtls", ipv6=True)
def dtls_ipv6(context: Context) -> str:
    """The same over IPv6."""
    return good(s_client(context, DTLS, listener="udp", family=socket.AF_INET6)).cipher


@case("dtls-openssl-own-port", group="dtls")
def dtls_own_port(context: Context) -> str:
    """A listener of `listen.dtls`."""
    return good(s_client(context, DTLS, listener="dtls")).cipher


@case("dtls-openssl-small-datagrams", group="dtls")
def dtls_small(context: Context) -> str:
    """A client whose datagrams have 256 bytes sends its hello in fragments (RFC 6347 §4.2.3)."""
    names = ",".join(["stun.turn", *(f"a-protocol-that-nobody-has-{number:02}" for number in range(20))])
    talk = good(s_client(context, DTLS, "-mtu", "256", "-alpn", names, listener="udp"))
    if talk.find(r"ALPN protocol: (\S+)") != "stun.turn":
        raise Failure("its hello did not come through whole", talk.text)
    return talk.cipher


@case("dtls-names", group="dtls")
def dtls_names(context: Context) -> str:
    """A name gets its certificate, a wildcard's name the wildcard's, and no name the first one."""
    names = {certificates.NAME: certificates.NAME, certificates.OTHER: "*.other.test", None: certificates.NAME}
    for asked, expected in names.items():
        talk = s_client(context, DTLS, name=asked, listener="udp")
        if talk.answer is None or f"DNS:{expected}" not in (got := shown(talk)):
            raise Failure(f"asked for {asked}, got {got}", talk.text)
    return "its own, a wildcard's, the first"


@case("dtls-alpn", group="dtls")
def dtls_alpn(context: Context) -> str:
    """RFC 7443's names, none at all, and no other."""
    for offered in ("stun.turn", "stun.nat-discovery", None):
        talk = good(s_client(context, DTLS, *(["-alpn", offered] if offered else []), listener="udp"))
        if talk.find(r"ALPN protocol: (\S+)") != (offered or ""):
            raise Failure(f"offered {offered}", talk.text)
    talk = s_client(context, DTLS, "-alpn", "coap", listener="udp")
    if talk.answer or "no application protocol" not in talk.text:
        raise Failure("coap alone was not refused with no_application_protocol", talk.text)
    context.server.wait_log("another application protocol than this listener serves")
    return "2 agreed on, none needed, coap refused"


@case("dtls-refused", group="dtls")
def dtls_refused(context: Context) -> str:
    """Who does not know the authority, and who is too old: the log says it in words."""
    certificates.sign(context.server.directory, "stranger", "ecdsa", None, "basicConstraints=critical,CA:TRUE\n")
    if s_client(context, DTLS, root="stranger.crt", listener="udp").answer:
        raise Failure("a client without the root has verified the chain")
    context.server.wait_log("the client does not trust who signed the certificate (alert unknown_ca)")
    talk = s_client(context, "-dtls1", "-cipher", "ALL:@SECLEVEL=0", listener="udp")
    if talk.answer:
        raise Failure("DTLS 1.0 was not refused", talk.text)
    context.server.wait_log("the client offers no version of TLS that is enabled here")
    return "unknown authority, DTLS 1.0"
