"""Credentials over HTTP: each shape asked for as its own documentation does, by curl; and three WebRTC libraries that get
theirs from `/ice` and call each other through the relay."""

import json
import shutil
import urllib.request

from case_raw import echo, expect
from harness import CLIENTS, NODE, VENV, Context, Failure, UdpPeer, case, run_client, run_json_client, tool
from stun_wire import TurnSocket

KEY, SECRET = "meet", "0123456789abcdef-key"
TOKEN = "0123456789abcdef-token"
CONFIG = f"""
[admin]
tokens = ["{TOKEN}"]
[web.keys]
{KEY} = {{ secret = "{SECRET}", label = "calls", max_ttl = "1h" }}
"""
MESSAGES = 100
LIMIT = 20


def curl(context: Context, path: str, *arguments: str, status: int) -> dict:
    """What curl gets there, as JSON."""
    host, port = context.server.address("tcp")
    command = [tool("curl"), "--silent", "--show-error", "--max-time", "15", "--write-out", "\n%{http_code}",
               *arguments, f"http://{host}:{port}{path}"]
    done = run_client(command, 20)
    body, _, code = done.stdout.rpartition("\n")
    if done.returncode or code != str(status):
        raise Failure(f"curl ended with {done.returncode} and status {code}", done.stdout)
    return json.loads(body)


def relays(context: Context, username: str, password: str):
    """A credential lets its holder in, who is known by the key's label."""
    with UdpPeer() as peer, TurnSocket(context.server.address(), username, password) as turn:
        expect(turn.allocate(), None, "Allocate")
        expect(turn.permit(peer.address), None, "CreatePermission")
        echo(turn, peer, 20, "with it")
        expect(turn.refresh(0), None, "Refresh 0")
    name = username.partition(":")[2]
    if not name.startswith("calls"):
        raise Failure(f"the credential is for {username}, and says nothing of its key")
    context.server.wait_log(name)


def live(context: Context, name: str) -> int:
    """How many sessions somebody has now, and ends them."""
    request = urllib.request.Request(f"http://{context.server.listeners['admin']}/v1/sessions",
                                     headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=5) as page:
        found = [session for session in json.load(page)["sessions"] if session["user"].endswith(name)]
    for session in found:
        request.full_url = f"http://{context.server.listeners['admin']}/v1/sessions/{session['id']}"
        request.method = "DELETE"
        urllib.request.urlopen(request, timeout=5).close()
    return len(found)


@case("endpoint-rest", group="endpoint")
def rest(context: Context) -> str:
    """The request of draft-uberti-behave-turn-rest §2.1."""
    got = curl(context, f"/turn?service=turn&username=mbzrxpgjys&key={SECRET}", status=200)
    relays(context, got["username"], got["password"])
    return f"{got['username'].partition(':')[2]}, good for {got['ttl']} s, {len(got['uris'])} URIs"


@case("endpoint-cloudflare", group="endpoint")
def cloudflare(context: Context) -> str:
    """The request of Cloudflare's documentation, with another host."""
    got = curl(context, f"/v1/turn/keys/{KEY}/credentials/generate-ice-servers", "--header", f"Authorization: Bearer {SECRET}",
               "--header", "Content-Type: application/json", "--data", '{"ttl": 86400}', status=201)
    relay = next(entry for entry in got["iceServers"] if "credential" in entry)
    relays(context, relay["username"], relay["credential"])
    return f"{len(got['iceServers'])} iceServers"


@case("endpoint-twilio", group="endpoint")
def twilio(context: Context) -> str:
    """The request of Twilio's documentation, with another host."""
    got = curl(context, f"/2010-04-01/Accounts/{KEY}/Tokens.json", "-X", "POST", "-u", f"{KEY}:{SECRET}", status=201)
    relays(context, got["username"], got["password"])
    return f"{len(got['ice_servers'])} ice_servers, good for {got['ttl']} s"


def call(context: Context, command: list[str]) -> str:
    """Two peers of a library that take `/ice` as it is; nothing but relays will do."""
    servers = curl(context, "/ice?username=alice", "--header", f"Authorization: Bearer {SECRET}", status=200)
    told = {**servers, "messages": MESSAGES, "transport": "udp"}
    before = context.server.log()
    facts = run_json_client([*command, json.dumps(told)], LIMIT, {"INTEROP_NODE": str(NODE)})
    # Some libraries leave their allocations behind.
    ended = context.server.log().removeprefix(before).count("calls/alice")
    if (sessions := live(context, "calls/alice") + ended) != 2:
        raise Failure(f"{sessions} sessions are known by the key's label and the name, and not 2")
    return f"{facts['each_way'][0]} and {facts['each_way'][1]} of {MESSAGES} each way, {facts['pairs'][0]}"


@case("ice-aiortc", group="endpoint")
def aiortc(context: Context) -> str:
    python = VENV / "bin" / "python"
    if not python.exists():
        raise Failure(f"no aiortc in {VENV}: run tests/interop/install")
    return call(context, [str(python), str(CLIENTS / "aiortc_client.py")])


def in_node(context: Context) -> str:
    own = VENV / "bin" / "node"
    program = str(own) if own.exists() else shutil.which("node")
    if not program or not (NODE / "node_modules").is_dir():
        raise Failure(f"no Node.js, or no packages in {NODE}: run tests/interop/install")
    script = {"ice-werift": "werift.cjs", "ice-libjuice": "node_datachannel.cjs"}[context.case.name]
    return call(context, [program, str(CLIENTS / script)])


case("ice-werift", group="endpoint")(in_node)
case("ice-libjuice", group="endpoint")(in_node)
