"""A private certificate authority of the run, by the openssl command: root, intermediate, leaves with their chains."""

import os
import subprocess
from pathlib import Path

from harness import Failure, tool

# The name and the addresses in the URIs of clients.
NAME = "turn.example.org"
NAMES = f"DNS:{NAME},IP:127.0.0.1,IP:::1"
# A name that only a wildcard covers.
OTHER = "calls.other.test"
# One whose file has the leaf alone.
GAP = "gap.example.org"
KEYS = {"ecdsa": ("ec", "ec_paramgen_curve:prime256v1"), "rsa": ("rsa", "rsa_keygen_bits:2048")}

# What a server with all of them is configured with.
CONFIG = """
[tls]
certificates = ["turn.ecdsa.pem", "turn.rsa.pem", "wild.ecdsa.pem", "gap.ecdsa.pem"]
keys = ["turn.ecdsa.key", "turn.rsa.key", "wild.ecdsa.key", "gap.ecdsa.key"]
"""


def openssl(*arguments: str, directory: Path):
    done = subprocess.run([tool("openssl"), *arguments], cwd=directory, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"openssl {arguments[0]} failed", done.stderr)


def sign(directory: Path, name: str, kind: str, issuer: str | None, extensions: str):
    """Makes `name.key` and `name.crt`, signed by `issuer` or by itself."""
    algorithm, option = KEYS[kind]
    (directory / "extensions").write_text(extensions)
    openssl("req", "-newkey", algorithm, "-pkeyopt", option, "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
            "-out", "request", directory=directory)
    by = ["-CA", f"{issuer}.crt", "-CAkey", f"{issuer}.key"] if issuer else ["-signkey", f"{name}.key"]
    openssl("x509", "-req", "-in", "request", *by, "-days", "30", "-extfile", "extensions", "-out", f"{name}.crt",
            directory=directory)


def issue(directory: Path, name: str, kind: str, names: str, whole: bool = True):
    """A leaf with its chain, if it is to be whole, in `name.kind.pem`, its key beside it, each put in place at once."""
    sign(directory, "leaf", kind, "middle", f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n")
    chain = (directory / "leaf.crt").read_text() + ((directory / "middle.crt").read_text() if whole else "")
    (directory / "leaf.pem").write_text(chain)
    os.rename(directory / "leaf.pem", directory / f"{name}.{kind}.pem")
    os.rename(directory / "leaf.key", directory / f"{name}.{kind}.key")


def issue_all(directory: Path):
    """Everything that CONFIG names, and `root.crt` for the clients."""
    authority = "basicConstraints=critical,CA:TRUE\n"
    sign(directory, "root", "ecdsa", None, authority)
    sign(directory, "middle", "ecdsa", "root", authority)
    issue(directory, "turn", "ecdsa", NAMES)
    issue(directory, "turn", "rsa", NAMES)
    issue(directory, "wild", "ecdsa", "DNS:*.other.test")
    issue(directory, "gap", "ecdsa", f"DNS:{GAP}", whole=False)
