"""NAT discovery clients: coturn's for RFC 5780, Debian's `stun` for RFC 3489, on two loopback addresses.

There is no NAT between, so every kind of answer has to come: from the other address, from the other port, to
another port, and padded.
"""

import re
import socket

from harness import Context, Failure, case, run_client, tool

LIMIT = 15
SECOND = "127.0.0.2"


def natdiscovery(context: Context, *flags: str) -> str:
    host, port = context.server.address()
    return run_client([tool("turnutils_natdiscovery"), *flags, "-p", str(port), host], LIMIT).stdout


def expect(output: str, *words: str):
    for word in words:
        if word not in output:
            raise Failure(f"the client does not say {word!r}", output)


@case("natdiscovery-mapping", group="nat-discovery", limit=LIMIT + 5)
def mapping(context: Context) -> str:
    """`-m`: requests to the second address, with and without PADDING."""
    for flags in (["-m"], ["-m", "-P"]):
        output = natdiscovery(context, *flags)
        expect(output, "NAT with Endpoint Independent Mapping", "No ALG", f"Response origin: : {SECOND}:")
    return "endpoint independent"


@case("natdiscovery-filtering", group="nat-discovery", limit=LIMIT + 5)
def filtering(context: Context) -> str:
    """`-f`: CHANGE-REQUEST of address and port, with and without PADDING."""
    for flags in (["-f"], ["-f", "-P"]):
        output = natdiscovery(context, *flags)
        expect(output, "NAT with Endpoint Independent Filtering")
        origins = re.findall(r"Response origin: : (\S+)", output)
        other = re.search(r"Other addr: : (\S+)", output)
        if not other or origins[-1] != other.group(1):
            raise Failure(f"the last answer came from {origins[-1:]}, not from the other address", output)
    return "endpoint independent"


@case("natdiscovery-lifetime", group="nat-discovery", limit=LIMIT + 5)
def lifetime(context: Context) -> str:
    """`-t`: an answer to the port that has been quiet (RESPONSE-PORT)."""
    output = natdiscovery(context, "-t", "-T", "1")
    ports = re.findall(r"UDP reflexive addr: \S+:(\d+)", output)
    if len(ports) != 2 or ports[0] == ports[1]:
        raise Failure(f"no second answer for another port: {ports}", output)
    return f"{ports[1]} answered to {ports[0]}"


@case("stunclient-rfc5780", group="nat-discovery", limit=LIMIT + 5)
def stunclient(context: Context) -> str:
    """`turnutils_stunclient -f`: plain, CHANGE-REQUEST, and RESPONSE-PORT with it."""
    host, port = context.server.address()
    output = run_client([tool("turnutils_stunclient"), "-f", "-p", str(port), host], LIMIT).stdout
    expect(output, "RFC 5780 response 3", f"Response origin: : {host}:{port}", f"Response origin: : {SECOND}:")
    return "3 answers"


@case("stun-rfc3489-discovery", group="nat-discovery", limit=25)
def classic(context: Context) -> str:
    """`stun` goes through all of RFC 3489 §10.1 and finds no NAT."""
    host, port = context.server.address()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        source = probe.getsockname()[1]
    output = run_client([tool("stun"), f"{host}:{port}", "-v", "-p", str(source)], 20).stdout
    expect(output, "test I = 1", "test II = 1", "test III = 1", "test I(2) = 1", "Primary: Open")
    return "open"
