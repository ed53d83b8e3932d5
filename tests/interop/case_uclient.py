"""coturn's own load client, `turnutils_uclient`, against `turnutils_peer`.

Debian's 4.6.1 takes channel numbers up to 0x7FFF (RFC 5766), hence the group `old-channels`. Two figures of uclient are
read, and compared with what was asked for: what it sent and what came back.
"""

import re
import shlex
import socket
from dataclasses import dataclass

import certificates
from harness import PASSWORD, REST_SECRET, USER, Context, Failure, Server, case, run_client, tool

LIMIT = 30

# uclient binds two peers in each allocation, to channels that it draws from 16,384 with no look at what it has drawn: now
# and then they are one, and it gives up at the answer that this must have (RFC 8656 §12.2).
DRAWN_TWICE = "channel bind: error 400 (the channel or the peer is bound already)"


@dataclass(frozen=True)
class Run:
    """How one case differs from the plainest run: one client, 20 messages, RTP and RTCP, by UDP to 127.0.0.1."""

    flags: tuple[str, ...] = ()
    clients: int = 1
    messages: int = 20
    # Sessions of one client: RTP and RTCP make two, `-c` one; `-y` has both ends inside uclient.
    sessions: int = 2
    rest: bool = False
    # An access token in place of a password (`-J`).
    token: bool = False
    server_family: int = socket.AF_INET
    peer: str = "127.0.0.1"
    # What part of it comes back: with `-P`, uclient reads one of its two ends only (against coturn as well).
    answered: float = 1
    # MOBILITY-TICKET (`-M`): the client comes back from another port with each Refresh (RFC 8016).
    mobile: bool = False
    # What kinds of relayed addresses uclient must report, in words of `relayed_kinds`.
    relayed: frozenset[str] = frozenset({"IPv4"})


RUNS = {
    "uclient-udp": Run(relayed=frozenset({"IPv4", "pair"})),
    "uclient-udp-send": Run(("-s",)),
    "uclient-tcp": Run(("-t",)),
    "uclient-tcp-send": Run(("-t", "-s")),
    "uclient-udp-no-rtcp": Run(("-c",), sessions=1),
    "uclient-tcp-no-rtcp": Run(("-t", "-c"), sessions=1),
    "uclient-client-to-client": Run(("-y",), sessions=4),
    "uclient-dont-fragment": Run(("-g",)),
    "uclient-padded-channels": Run(("-D", "-l", "101")),
    "uclient-1400-bytes": Run(("-l", "1400")),
    "uclient-1400-bytes-tcp": Run(("-t", "-l", "1400")),
    "uclient-rest-udp": Run(rest=True),
    "uclient-rest-tcp": Run(("-t",), rest=True),
    "uclient-access-token-udp": Run(("-J",), token=True),
    "uclient-access-token-tcp": Run(("-J", "-t"), token=True),
    "uclient-tls": Run(("-t", "-S")),
    "uclient-tls-send": Run(("-t", "-S", "-s")),
    "uclient-tls-no-rtcp": Run(("-t", "-S", "-c"), sessions=1),
    "uclient-tls-1400-bytes": Run(("-t", "-S", "-l", "1400")),
    "uclient-tls-20-clients": Run(("-t", "-S", "-c"), clients=20, messages=50, sessions=1),
    "uclient-tls-client-to-client": Run(("-t", "-S", "-y"), sessions=4),
    "uclient-tls-relay-ipv6": Run(("-t", "-S", "-c", "-x"), sessions=1, peer="::1", relayed=frozenset({"IPv6"})),
    "uclient-tls-tcp-relay": Run(("-t", "-S", "-T", "-c")),
    "uclient-dtls": Run(("-S",), relayed=frozenset({"IPv4", "pair"})),
    "uclient-dtls-send": Run(("-S", "-s")),
    "uclient-dtls-client-to-client": Run(("-S", "-y"), sessions=4),
    "uclient-dtls-20-clients": Run(("-S", "-c"), clients=20, messages=50, sessions=1),
    "uclient-dtls-relay-ipv6": Run(("-S", "-c", "-x"), sessions=1, peer="::1", relayed=frozenset({"IPv6"})),
    "uclient-dtls-all-ipv6": Run(("-S", "-x"), peer="::1", server_family=socket.AF_INET6, relayed=frozenset({"IPv6"})),
    "uclient-20-clients": Run(("-c",), clients=20, messages=50, sessions=1),
    "uclient-relay-ipv6": Run(("-x",), peer="::1", relayed=frozenset({"IPv6"})),
    "uclient-all-ipv6": Run(("-x",), peer="::1", server_family=socket.AF_INET6, relayed=frozenset({"IPv6"})),
    # RFC 6062: each end has a TCP relay, and connects to the other's (`-T`) or waits to be connected to (`-P`).
    "uclient-tcp-relay": Run(("-t", "-T", "-c")),
    "uclient-tcp-relay-6-clients": Run(("-t", "-T", "-c"), clients=6, sessions=1),
    "uclient-tcp-relay-rest": Run(("-t", "-T", "-c"), rest=True),
    "uclient-tcp-relay-passive": Run(("-t", "-P", "-c"), answered=0.5),
    "uclient-tcp-relay-ipv6": Run(("-t", "-T", "-c", "-x"), server_family=socket.AF_INET6, relayed=frozenset({"IPv6"})),
    "uclient-ipv6-to-ipv4": Run(("-X",), server_family=socket.AF_INET6),
    "uclient-mobility-udp": Run(("-M",), mobile=True),
    "uclient-mobility-udp-send": Run(("-M", "-s"), mobile=True),
    "uclient-mobility-tcp": Run(("-M", "-t"), mobile=True),
    "uclient-mobility-6-clients": Run(("-M", "-c"), clients=6, sessions=1, mobile=True),
}

# The same, begun at a server that sends everybody to the group's (ALTERNATE-SERVER, RFC 8489 §10).
REDIRECTED = {
    "uclient-redirected-udp": Run(),
    "uclient-redirected-tcp": Run(("-t",)),
    "uclient-redirected-tls": Run(("-t", "-S")),
    "uclient-redirected-dtls": Run(("-S",)),
    "uclient-redirected-ipv6": Run(("-x",), peer="::1", server_family=socket.AF_INET6, relayed=frozenset({"IPv6"})),
}

MOVED = "session moved to another client address"


def relayed_kinds(output: str) -> set[str]:
    """Which families uclient's relayed addresses have, and `pair` if two of them are an even port and the next."""
    found = re.findall(r"(IPv[46])\. Received relay addr: (\S+):(\d+)", output)
    ports = {int(port) for _, _, port in found}
    kinds = {family for family, _, _ in found}
    if any(port % 2 == 0 and port + 1 in ports for port in ports):
        kinds.add("pair")
    return kinds


def last(pattern: str, output: str) -> tuple[int, ...]:
    """The numbers of the last line that matches: uclient prints running totals before the final ones."""
    found = re.findall(pattern, output)
    if not found:
        raise Failure("uclient printed no totals: it got no allocation, permission or channel", output)
    return tuple(int(number) for number in found[-1])


def printed(command: list[str]) -> str:
    """What uclient prints. It may draw its channels again, once."""
    output = run_client(command, LIMIT).stdout
    return run_client(command, LIMIT).stdout if DRAWN_TWICE in output else output


def talk(context: Context, run: Run, server: Server) -> str:
    """One run, begun at `server`: everything sent came back, neither side dropped any, and the relay was of the kind
    asked for."""
    before = context.server.drops()
    host, port = server.address("tcp" if "-t" in run.flags else "udp", run.server_family)
    credentials = ["-u", "bob", "-W", REST_SECRET] if run.rest else ["-u", USER, "-w", PASSWORD]
    if run.token:
        credentials = []
    command = [tool("turnutils_uclient"), "-v", "-n", str(run.messages), "-m", str(run.clients), *run.flags, *credentials,
               "-e", run.peer, "-r", str(context.coturn_peer.port), "-p", str(port), host]
    output = printed(command)
    sent, received = last(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", output)
    lost, dropped = last(r"Total lost packets (-?\d+) .* total send dropped (-?\d+)", output)
    expected = run.clients * run.messages * run.sessions
    back = int(expected * run.answered)
    by_server = {reason: count - before[reason] for reason, count in context.server.drops().items() if count > before[reason]}
    if by_server:
        raise Failure(f"the server dropped {by_server} (sent {sent}, came back {received} of {back})", output)
    if (sent, received, lost, dropped) != (expected, back, expected - back, 0):
        raise Failure(f"expected {back} of {expected} messages; sent {sent}, came back {received}, lost {lost}, "
                      f"dropped {dropped}", output)
    kinds = relayed_kinds(output)
    if missing := run.relayed - kinds:
        raise Failure(f"no relayed address of this kind: {', '.join(missing)}; got {', '.join(sorted(kinds))}", output)
    return f"{received} of {sent} messages, relays {' '.join(sorted(kinds))}"


def uclient(context: Context) -> str:
    """One run against the group's server."""
    run = RUNS[context.case.name]
    moves = context.server.log().count(MOVED)
    facts = talk(context, run, context.server)
    if not run.mobile:
        return facts
    moves = context.server.log().count(MOVED) - moves
    if moves < run.clients:
        raise Failure(f"{run.clients} clients moved {moves} times")
    return f"{facts}, {moves} moves"


@case("uclient-minted-line", limit=2 * LIMIT)
def minted(context: Context) -> str:
    """The line that `turnwire credentials` prints for this tool works as it is."""
    host, port = context.server.address("udp")
    mint = [str(context.binary), "credentials", f"turn:{host}:{port}", "--user", "bob", "--secret", REST_SECRET]
    line = run_client(mint, LIMIT).stdout.splitlines()[-1]
    name, *words = shlex.split(line)
    output = printed([tool(name), "-n", "10", "-c", *words])
    sent, received = last(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", output)
    if sent == 0 or received != sent:
        raise Failure(f"sent {sent}, came back {received}", output)
    return f"{received} of {sent} messages"


def redirected(context: Context) -> str:
    """One run that begins at another server."""
    run = REDIRECTED[context.case.name]
    hosts = [socket.AF_INET] + ([socket.AF_INET6] if context.ipv6 else [])
    addresses = [context.server.address("udp", family) for family in hosts]
    listed = ", ".join(f'"[{host}]:{port}"' if ":" in host else f'"{host}:{port}"' for host, port in addresses)
    secure = "-S" in run.flags
    places = f"addresses = [{listed}]" + (f", tls_addresses = [{listed}]" if secure else "")
    config = (certificates.CONFIG if secure else "") + f"""
[redirect]
when = "always"
interval = "1s"
credentials = "{USER}:{PASSWORD}"
[redirect.servers]
next = {{ {places} }}
"""
    stream = "-t" in run.flags
    transport = ("tls" if stream else "dtls") if secure else ("tcp" if stream else "udp")
    with context.second_server(config, certificates.issue_all if secure else None) as door:
        host, port = context.server.address("udp", run.server_family)
        place = f'address="[{host}]:{port}"' if ":" in host else f'address="{host}:{port}"'
        door.wait_alive(f'{place},transport="{transport}"')
        facts = talk(context, run, door)
        if trouble := door.trouble():
            raise Failure(trouble)
        if "session ended" in door.log():
            raise Failure("the first server has relayed itself")
    return facts


def group(run: Run) -> str:
    """The server's configuration that a run needs."""
    if run.token:
        return "access-tokens"
    if run.mobile:
        return "mobility"
    return "tls" if "-S" in run.flags else "old-channels"


for runs, check in ((RUNS, uclient), (REDIRECTED, redirected)):
    for name, run in runs.items():
        ipv6 = "IPv6" in run.relayed or run.server_family == socket.AF_INET6
        case(name, group=group(run), limit=2 * LIMIT + 5, ipv6=ipv6)(check)
