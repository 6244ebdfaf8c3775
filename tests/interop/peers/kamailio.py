"""Kamailio (Debian's package) as a carrier that registers and challenges, and as a proxy that passes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.certificates import Issued

from .ports import HOST, free_port, listening
from .process import Process, require, wait_until

PASSWORD = "carrier-secret"
OFFICE = "office"

_MODULES = ("pv", "tm", "sl", "rr", "siputils", "textops", "xlog")

# What every one of them does first: note what comes, and leave to the route set what belongs to a dialog.
_ROUTE = """\
request_route {{
    xlog("L_ALERT", "heard: $rm by $proto\\n");
    if (has_totag()) {{
        if (loose_route()) {{
            xlog("L_ALERT", "within the dialog: $rm\\n");
            t_relay();
        }}
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
{rest}}}
"""

_CARRIER = """\
    if (is_method("OPTIONS")) {{
        sl_send_reply("{options}", "Options");
        exit;
    }}
    if (is_method("REGISTER")) {{
        if (!pv_www_authenticate("$td", "{password}", "0")) {{
            www_challenge("$td", "0");
            exit;
        }}
        xlog("L_ALERT", "registered: $tU\\n");
        save("location");
        exit;
    }}
    if (is_method("INVITE")) {{
        xlog("L_ALERT", "invited: $rU by $fU\\n");
        if ("{refuse}" != "0") {{
            sl_send_reply("{refuse}", "Refused");
            exit;
        }}
        if (!pv_proxy_authenticate("{realm}", "{password}", "0")) {{
            proxy_challenge("{realm}", "0");
            exit;
        }}
        consume_credentials();
        record_route();
        $var(number) = $rU;
        if (!lookup("location")) {{
            $rU = "{office}";
            if (!lookup("location")) {{
                sl_send_reply("404", "Not Found");
                exit;
            }}
            $du = "sip:" + $rd + ":" + $rp;
            $rU = $var(number);
        }}
        t_relay();
        exit;
    }}
    sl_send_reply("501", "Not Implemented");
"""

_PROXY = """\
    record_route();
    $du = "sip:{next_hop}";
    t_relay();
"""

_EDGE = """\
    if (!is_present_hf("Route") && $rp != {office}) {
        sl_send_reply("404", "Not through here");
        exit;
    }
    loose_route();
    if (is_method("REGISTER")) add_path();
    else record_route();
    t_relay();
"""

_STATELESS = """\
request_route {{
    xlog("L_ALERT", "heard: $rm of $si:$sp\\n");
{rest}}}
onreply_route {{
    xlog("L_ALERT", "heard: $rs of $si:$sp\\n");
{rest}}}
"""


def configuration(
    rest: str,
    listen: Sequence[str],
    *,
    settings: Sequence[str] = (),
    modules: Sequence[str] = (),
    parameters: Sequence[tuple[str, str, str | int]] = (),
    route: str = _ROUTE,
) -> str:
    """A kamailio.cfg.

    Parameters: `rest` is what ``request_route`` does with a request outside of a dialog that is no CANCEL;
    `listen` like "udp:127.0.0.1:5060"; `settings` are lines of the core; `modules` come on top of those for
    a stateful proxy; `parameters` are (module, name, value); `route` is what
    `rest` is set into.
    """
    lines = ["#!KAMAILIO", "debug=0", "log_stderror=yes", "children=1", *settings]
    lines += [f"listen={address}" for address in listen]
    lines += [f'loadmodule "{module}.so"' for module in (*_MODULES, *modules)]
    for module, name, value in parameters:
        shown = value if isinstance(value, int) else f'"{value}"'
        lines.append(f'modparam("{module}", "{name}", {shown})')
    return "\n".join([*lines, route.format(rest=rest)])


class Kamailio:
    """A Kamailio on a UDP port of its own, with the configuration that a subclass makes."""

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        program = require("kamailio", "kamailio")
        self.port = free_port() if port is None else port
        self.address = f"{HOST}:{self.port}"
        directory.mkdir(parents=True, exist_ok=True)
        config = directory / "kamailio.cfg"
        config.write_text(self._configuration())
        command = [program, *self._options(), "-f", config]
        self.process = Process(f"kamailio-{self.port}", command, directory)
        try:
            wait_until(lambda: listening(self.port), lambda: f"Kamailio:\n{self.tail()}")
        except BaseException:
            self.close()
            raise

    def _configuration(self) -> str:
        raise NotImplementedError

    def _options(self) -> Sequence[str]:
        return ("-m", "16", "-M", "4")

    def heard(self, method: str, by: str = "udp") -> bool:
        """Whether a request came over this transport."""
        return f"heard: {method} by {by}" in self.log()

    def log(self) -> str:
        return self.process.log()

    def tail(self) -> str:
        return self.process.tail()

    def close(self) -> None:
        self.process.stop()


class Carrier(Kamailio):
    """Registrar and proxy with a digest challenge for everybody. With `refuse` it answers every INVITE with
    that status, `options` is its answer to OPTIONS. Whoever registers as "office" gets all calls to numbers
    that nobody has registered."""

    def __init__(self, directory: Path, *, refuse: int = 0, options: int = 200) -> None:
        self._refuse, self._answer = refuse, options
        super().__init__(directory)

    def _configuration(self) -> str:
        rest = _CARRIER.format(
            realm=HOST,
            password=PASSWORD,
            office=OFFICE,
            refuse=self._refuse,
            options=self._answer,
        )
        return configuration(
            rest,
            [f"udp:{self.address}"],
            settings=("fork=no", "disable_tcp=yes"),
            modules=("maxfwd", "usrloc", "registrar", "auth"),
            parameters=[("registrar", "max_expires", 120)],
        )

    def trunk(self, more: str = "") -> str:
        """Further lines of the ``[[trunk]]`` that leads here."""
        return f'username = "{OFFICE}"\npassword = "{PASSWORD}"\n{more}'


class Proxy(Kamailio):
    """A record-routing proxy that passes everything on to `next_hop`, "host:port". With a certificate it
    speaks TLS at `secure` too."""

    def __init__(self, directory: Path, next_hop: str, *, issued: Issued | None = None) -> None:
        self._next_hop, self._issued = next_hop, issued
        if issued and not list(Path("/usr/lib").glob("*/kamailio/modules/tls.so")):
            require("kamailio's tls.so", "kamailio-tls-modules")
        self.secure = free_port() if issued else 0
        super().__init__(directory)

    def _configuration(self) -> str:
        rest = _PROXY.format(next_hop=self._next_hop)
        listen = [f"udp:{self.address}"]
        if self._issued is None:
            return configuration(rest, listen, settings=("fork=no", "disable_tcp=yes"))
        return configuration(
            rest,
            [*listen, f"tls:{HOST}:{self.secure}"],
            settings=("fork=yes", "tcp_children=1", "enable_tls=yes"),
            modules=("tls",),
            parameters=[
                ("tls", "tls_method", "TLSv1.2+"),
                ("tls", "certificate", str(self._issued.certificate)),
                ("tls", "private_key", str(self._issued.key)),
            ],
        )

    def _options(self) -> Sequence[str]:
        return ("-DD", "-m", "32", "-M", "8") if self._issued else super()._options()


class Edge(Kamailio):
    """A proxy before the telephones of an exchange, "host:port": it says in Path how they are reached
    (RFC 3327), and passes nothing on to them that does not name it in Route."""

    def __init__(self, directory: Path, office: str) -> None:
        self._office = office.rpartition(":")[2]
        super().__init__(directory)

    def _configuration(self) -> str:
        return configuration(
            _EDGE.replace("{office}", self._office),
            [f"udp:{self.address}"],
            settings=("fork=no", "disable_tcp=yes"),
            modules=("path",),
        )


class Collector(Kamailio):
    """Reads copies of messages that come as HEP 3, and notes them as if they had come from where they did."""

    def __init__(self, directory: Path, *, port: int) -> None:
        self._database = directory / "database"
        self._database.mkdir(parents=True)
        version = "table_name(string) table_version(int)\nsip_capture:4\n"
        (self._database / "version").write_text(version)
        (self._database / "sip_capture").write_text("id(int,auto)\n")
        super().__init__(directory, port=port)

    def _configuration(self) -> str:
        return configuration(
            "    drop;\n",
            [f"udp:{self.address}"],
            settings=("fork=no", "disable_tcp=yes"),
            modules=("db_text", "sipcapture"),
            parameters=[
                ("sipcapture", "db_url", f"text://{self._database}"),
                ("sipcapture", "capture_on", 1),
                ("sipcapture", "hep_capture_on", 1),
            ],
            route=_STATELESS,
        )


class Pinged(Kamailio):
    """Takes OPTIONS over TCP, and answers pings there by CRLF (RFC 5626)."""

    def _configuration(self) -> str:
        return configuration(
            '    sl_send_reply("200", "OK");\n',
            [f"udp:{self.address}", f"tcp:{self.address}"],
            settings=("fork=yes", "tcp_children=1", "tcp_crlf_ping=yes"),
        )

    def _options(self) -> Sequence[str]:
        return ("-DD", "-m", "32", "-M", "8")
