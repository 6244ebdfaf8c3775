"""What a run is to do, as plain data: made by the command line, handed to every generator process."""

from __future__ import annotations

import csv
import ipaddress
import re
import socket
from pathlib import Path
from typing import Any

import msgspec

from softswitch.errors import ConfigError
from softswitch.load.agent import Account
from softswitch.load.verdict import Limits
from softswitch.transport.targets import DEFAULT_PORTS

ACCOUNTS_MAX = 1_000_000
_TARGET = re.compile(
    r"(?:(sips?):)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?"
    r"(?:;transport=(udp|tcp|tls|wss?))?",
    re.IGNORECASE,
)
_SECURED = {"": "tls", "tcp": "tls", "tls": "tls", "ws": "wss", "wss": "wss"}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All options of a run. Texts such as `hold` are read by `Distribution.parse` and the like.

    `target` is (host, port) with an IP address; `callers` and `callees` are `(number, password)`
    pairs, `dial` the number to call with `{call}`, `{process}` and `{callee}` filled in.
    """

    scenario: str
    target: tuple[str, int]
    transport: str = "udp"
    trusted: str = ""
    server_name: str = ""
    srtp: bool = False
    domain: str = ""
    calls: int = 0
    rate: float = 10.0
    ramp_s: float = 0.0
    concurrent: int = 0
    hold: str = "5"
    duration_s: float = 0.0
    patience: str = "exp:30"
    answer: str = "0"
    codecs: tuple[str, ...] = ("PCMA", "PCMU")
    media: bool = True
    poisson: bool = False
    callers: list[tuple[str, str | None]] = []
    callees: list[tuple[str, str | None]] = []
    dial: str = ""
    register: bool = False
    expires_s: int = 300
    processes: int = 1
    seed: int = 1
    faults: list[str] = []
    host: str = "127.0.0.1"
    callee_host: str = ""
    phone_host: str = ""
    callee_ports: list[int] = []
    streams_max: int = 4096
    limits: Limits = Limits()
    options: dict[str, str] = {}
    pids: list[int] = []
    run: int = 0
    timeout_s: float = 60.0
    samples: int = 0

    @property
    def caller_accounts(self) -> list[Account]:
        """Who calls."""
        return [Account(number, password) for number, password in self.callers]

    @property
    def callee_accounts(self) -> list[Account]:
        """Who is called."""
        return [Account(number, password) for number, password in self.callees]

    def option(self, name: str, default: str) -> str:
        """A setting of the scenario itself (`--set name=value`)."""
        return self.options.get(name, default)


def encode(plan: Plan) -> bytes:
    """JSON."""
    return msgspec.json.encode(plan)


def decode(data: bytes) -> Plan:
    """What `encode` has written."""
    return msgspec.json.decode(data, type=Plan)


def parse_target(text: str) -> tuple[tuple[str, int], str, str]:
    """`sip:host:port;transport=udp` to (address, port), transport and host as written; `sips:` is TLS.

    Looks the host up. Raises `ConfigError`.
    """
    found = _TARGET.fullmatch(text.strip())
    if found is None:
        raise ConfigError(
            "target", f"{text!r}", "sip:host, sip:host:port, ...;transport=tcp (udp, tls, ws, wss)"
        )
    scheme, host, transport = (found[1] or "").lower(), found[2], (found[4] or "").lower()
    if scheme == "sips":
        if transport not in _SECURED:
            raise ConfigError("target", f"{text!r}: sips is TLS", "sips:host, or sip:")
        transport = _SECURED[transport]
    transport = transport or "udp"
    port = int(found[3] or DEFAULT_PORTS[transport])
    if not 0 < port < 65_536:
        raise ConfigError("target", f"{text!r}: no port", "1 to 65535")
    try:
        answers = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise ConfigError("target", f"{host!r} cannot be found: {error.strerror}") from error
    return (str(answers[0][4][0]), port), transport, host


def certificate_name(host: str) -> str:
    """Whom the certificate of a target must name: its `host` as written; "" for an address, which is checked
    as such."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host
    return ""


def is_loopback(host: str) -> bool:
    """Whether an IP address is this machine's own."""
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def local_host(target: str) -> str:
    """Our own address on the way to `target`."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((target, 9))
        except OSError as error:
            raise ConfigError("target", f"no route to {target}: {error.strerror}") from error
        return str(probe.getsockname()[0])


def parse_accounts(text: str, key: str) -> list[tuple[str, str | None]]:
    """Accounts: `1001:secret`, `1001-1050:secret`, `1001,1002:secret,7000:other`, or a CSV file of
    number;password.

    A password is that of the numbers before it that have none; in it `{}` stands for the number. Raises
    `ConfigError`.
    """
    if not text:
        return []
    path = Path(text)
    if path.suffix == ".csv":
        try:
            with path.open(newline="") as file:
                rows = [row for row in csv.reader(file, delimiter=";") if row and row[0]]
        except OSError as error:
            raise ConfigError(key, f"{text}: {error.strerror}") from error
        return [(row[0].strip(), row[1].strip() if len(row) > 1 else None) for row in rows]
    found: list[tuple[str, str | None]] = []
    waiting: list[str] = []
    for part in text.split(","):
        numbers, _, secret = part.strip().partition(":")
        waiting += _numbers(numbers, key)
        if len(found) + len(waiting) > ACCOUNTS_MAX:
            raise ConfigError(key, f"more than {ACCOUNTS_MAX} accounts")
        if secret:
            found += [(name, secret.replace("{}", name)) for name in waiting]
            waiting = []
    return [*found, *((name, None) for name in waiting)]


def _numbers(text: str, key: str) -> list[str]:
    first, dash, last = text.partition("-")
    whole = first.isdecimal() and last.isdecimal() and len(text) < 64
    if not dash:
        if not re.fullmatch(r"[A-Za-z0-9+*#._-]{1,64}", first):
            raise ConfigError(key, f"{first!r} is no number")
        return [first]
    if whole and 0 <= int(last) - int(first) < ACCOUNTS_MAX:
        return [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)]
    raise ConfigError(key, f"{text!r}", "1001, 1001-1050, with :password, or a .csv file")


def parse_options(texts: list[str]) -> dict[str, str]:
    """`name=value` pairs. Raises `ConfigError`."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ConfigError("set", f"{text!r}", "name=value")
        found[name] = value
    return found


def against_itself(plan: Plan) -> Plan:
    """`plan` with the generator's own answering side as its target: what the generator can do.

    In each process the callers call the callees directly.
    """
    ports = []
    for _ in range(plan.processes):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(int(probe.getsockname()[1]))
    return msgspec.structs.replace(
        plan,
        target=("127.0.0.1", ports[0]),
        callee_ports=ports,
        dial=plan.dial or "{call}",
        options={**plan.options, "self": "yes"},
    )
