"""A Kamailio (Debian's package) as a carrier: registrar and proxy, with a digest challenge for everybody."""

from __future__ import annotations

from pathlib import Path

from .ports import HOST, free_port, listening
from .process import Process, require, wait_until

PASSWORD = "carrier-secret"
OFFICE = "office"

CONFIG = """\
#!KAMAILIO
debug=0
log_stderror=yes
fork=no
children=1
disable_tcp=yes
listen=udp:{address}
loadmodule "pv.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "xlog.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
modparam("registrar", "max_expires", 120)
request_route {{
    if (has_totag()) {{
        if (loose_route()) t_relay();
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
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
}}
"""


class Kamailio:
    """One carrier. With `refuse` it answers every INVITE with that status, `options` is its answer to
    OPTIONS. Whoever registers as "office" gets all calls to numbers that nobody has registered."""

    def __init__(self, directory: Path, *, refuse: int = 0, options: int = 200) -> None:
        program = require("kamailio", "kamailio")
        self.port = free_port()
        self.address = f"{HOST}:{self.port}"
        directory.mkdir(parents=True, exist_ok=True)
        config = directory / "kamailio.cfg"
        config.write_text(
            CONFIG.format(
                address=self.address,
                realm=HOST,
                password=PASSWORD,
                office=OFFICE,
                refuse=refuse,
                options=options,
            )
        )
        command = [program, "-f", config, "-m", "16", "-M", "4"]
        self.process = Process(f"kamailio-{self.port}", command, directory)
        try:
            wait_until(lambda: listening(self.port), lambda: f"Kamailio:\n{self.process.tail()}")
        except BaseException:
            self.close()
            raise

    def trunk(self, more: str = "") -> str:
        """Further lines of the ``[[trunk]]`` that leads here."""
        return f'username = "{OFFICE}"\npassword = "{PASSWORD}"\n{more}'

    def close(self) -> None:
        self.process.stop()
