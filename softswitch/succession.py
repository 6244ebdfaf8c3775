"""From one office to the next while calls go on: who keeps something of his own is told, all others read the
new office at once (`FromOffice`). What a call stands on stays until it ends."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from softswitch.call.wiring import MediaPolicy
from softswitch.config.problems import InvalidOffice, Problem
from softswitch.errors import ConfigError
from softswitch.hep import HepExporter
from softswitch.transport.listeners import check_tls, use_tls

if TYPE_CHECKING:
    from softswitch.config import Extension, Office, Trunk
    from softswitch.environment import Environment
    from softswitch.switch import Switch
    from softswitch.transport.interface import Transport

_log = logging.getLogger("softswitch")


def check_next(wanted: Office, transports: list[Transport], environment: Environment) -> None:
    """Whether this machine can go on with an office. Raises `InvalidOffice`; nothing is changed."""
    try:
        check_tls(wanted, transports, environment.clock)
    except ConfigError as error:
        raise InvalidOffice([Problem(error.key_path, error.problem, error.allowed)]) from None


def go_on_with(switch: Switch, office: Office, environment: Environment) -> None:
    """Have every part of the exchange use another office."""
    before = switch.office
    switch.office = switch.wiring.office = switch.desk.office = office
    if (office.mail, office.tls.trusted) != (before.mail, before.tls.trusted):
        switch.desk.send_mail = environment.mail(office)
    if office.look_up != before.look_up:
        switch.desk.ask = environment.asker(office)
    if office.trace != before.trace:
        switch.trace.keep(office.trace.messages)
        switch.copy_to(exporter_of(office))
    if office.telemetry != before.telemetry:
        switch.trace_by(environment.telemetry(office))
    use_tls(office, switch.driver.transports)
    switch.desk.prompts.use_language(office.office.language)
    switch.catalogue.mailboxes.keep_for(office.recording.retain_days)
    switch.wiring.media = media_policies(office)
    switch.wiring.codecs = codecs_of(office)
    switch.dialplan.use_office(office)
    switch.lines.use_office(office)
    for extension in switch.gatekeeper.use_office(office):
        switch.registrar.revoke(extension)
    switch.registrar.use_office(office)
    switch.trunk_care.use_trunks(*switch.trunks.use_office(office))
    switch.centre.use_office(office)
    if switch.clerk is not None:
        switch.clerk.use_office(office)
    switch.driver.pump()


def exporter_of(office: Office) -> HepExporter | None:
    """What copies SIP messages to the collector of ``[trace]``."""
    if office.trace.hep is None:
        return None
    collector = (office.trace.hep.host, office.trace.hep.port)
    return HepExporter(collector, agent=office.trace.agent, key=office.trace.password or "")


def codecs_of(office: Office) -> tuple[str, ...]:
    """What the office wants to speak, without what this machine cannot."""
    from media.dsp import g729

    wanted = tuple(dict.fromkeys(office.media.codecs))
    if "G729" in wanted and not g729.available():
        _log.warning("[media] codecs: G729 is left out: %s", g729.INSTALL)
        wanted = tuple(name for name in wanted if name != "G729")
    return wanted or ("PCMA",)


def media_policies(office: Office) -> dict[str, MediaPolicy]:
    """How the sound of each telephone and trunk is treated, by its endpoint. A telephone's comes from wherever
    the telephone is; a trunk's from where its carrier says, unless the office knows better."""
    peers: list[tuple[str, Extension | Trunk, bool]] = [
        *((f"extension:{e.number}", e, True) for e in office.extensions),
        *((f"trunk:{t.name}", t, t.media_from == "source") for t in office.trunks),
    ]
    return {
        endpoint: MediaPolicy(
            peer.srtp,
            by_source=by_source,
            inband=peer.dtmf == "inband",
            by_info=peer.dtmf == "info",
        )
        for endpoint, peer, by_source in peers
    }
