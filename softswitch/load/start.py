"""From what was asked for to a run and its reports: what the command does."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from media.wire import srtp
from softswitch.errors import ConfigError
from softswitch.load import kept_reports
from softswitch.load.codecs import codecs_offered
from softswitch.load.demo import DemoSwitch
from softswitch.load.distribution import Distribution
from softswitch.load.faults import parse_faults
from softswitch.load.html import report
from softswitch.load.junit import junit
from softswitch.load.plan import (
    Plan,
    against_itself,
    certificate_name,
    is_loopback,
    local_host,
    parse_target,
)
from softswitch.load.result import Result, known_figures
from softswitch.load.run import Generators, Watch, run
from softswitch.load.scenarios import BUILT_IN, load
from softswitch.load.scenarios.mixed import mix_of
from softswitch.load.settings import check_settings
from softswitch.load.sipp_player import injection_of
from softswitch.load.threshold import Threshold
from softswitch.load.verdict import Limits

ITSELF = "self"
_DIALLING = ("uac", "uac-uas", "conference", "ivr", "queue")
"""Scenarios that call one number or the next callee."""
_HEARING = ("conference", "ivr", "queue", "transfer")
"""Scenarios that go on when somebody is heard."""


@dataclass(frozen=True, slots=True)
class Reports:
    """Where results go; None: nowhere."""

    json: Path | None = None
    html: Path | None = None
    junit: Path | None = None

    @classmethod
    def wanted(
        cls, scenario: str, json: Path | None, html: Path | None, junit: Path | None
    ) -> Reports:
        """What was asked for; the page with plots, where the last few are kept, if nothing was. Raises
        `ConfigError` for what cannot be written: afterwards would be too late to say so."""
        for key, path in (("json", json), ("html", html), ("junit", junit)):
            if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
                raise ConfigError(
                    key, f"{path} cannot be written", "a file in a folder that is there"
                )
        if json is None and html is None and junit is None:
            html = kept_reports.place(scenario)
        return cls(json, html, junit)

    def write(self, result: Result) -> list[Path]:
        """Write what is wanted; the files written. Raises `OSError`."""
        if self.json is not None:
            self.json.write_text(json.dumps(result.as_dict(), indent=1) + "\n")
        if self.html is not None:
            self.html.write_text(report(result), encoding="utf-8")
        if self.junit is not None:
            self.junit.write_bytes(junit(result))
        return [path for path in (self.json, self.html, self.junit) if path is not None]


@dataclass(frozen=True, slots=True)
class Wish:
    """A plan before its target is known: `target` as written, "" for a switch of our own, "self" for
    the generator itself; `fail_if` conditions; `owned` allows floods of others' machines."""

    plan: Plan
    target: str = ""
    fail_if: tuple[str, ...] = ()
    owned: bool = False

    def checked(self) -> tuple[Threshold, ...]:
        """Everything that can be found wrong before a packet is sent. Raises `ConfigError`."""
        thresholds = tuple(Threshold.parse(text) for text in self.fail_if)
        if self.plan.scenario in BUILT_IN:
            for threshold in thresholds:
                threshold.check(known_figures())
        loaded = load(self.plan.scenario)
        if loaded.settings is not None:
            check_settings(loaded.name, loaded.settings, self.plan.options)
        if self.plan.scenario == "mixed":
            mix_of(self.plan)
        injection_of(self.plan.option("inf", ""))
        for pid in self.plan.pids:
            if not Path(f"/proc/{pid}").exists():
                raise ConfigError("pid", f"there is no process {pid} here")
        if 0 < self.plan.concurrent < self.plan.processes:
            raise ConfigError(
                "concurrent", f"{self.plan.concurrent} calls", f"{self.plan.processes} --processes"
            )
        if self.target not in ("", ITSELF):
            address, _, host = parse_target(self.target)
            if self.plan.scenario == "flood" and not (is_loopback(address[0]) or self.owned):
                raise ConfigError(
                    "flood",
                    f"{host} is not this machine; a flood may break what it meets",
                    "loopback targets, or --i-own-this for a system that is yours",
                )
        dials = bool(self.plan.dial or self.plan.callees) or self.target in ("", ITSELF)
        if self.plan.scenario in _DIALLING and not dials:
            raise ConfigError(
                "dial",
                f"whom shall {self.plan.scenario} call at {self.target}?",
                "--dial NUMBER, or --callees 1051-1100:secret (telephones of ours that register)",
            )
        for name in self._scenarios():
            if name in _HEARING and not self.plan.media:
                raise ConfigError("media", f"{name} goes by what is heard", "--media")
        for key in ("hold", "patience", "answer"):
            Distribution.parse(getattr(self.plan, key), key)
        codecs_offered(self.plan.codecs)
        if self.plan.srtp and not srtp.available():
            raise ConfigError("srtp", "pylibsrtp is not installed", "pip install pylibsrtp")
        if self.plan.srtp and self.plan.scenario.endswith(".xml"):
            raise ConfigError("srtp", "a SIPp scenario writes its own session descriptions")
        if self.plan.trusted:
            _check_certificate(self.plan.trusted)
        parse_faults(self.plan.faults)
        return thresholds

    def _scenarios(self) -> list[str]:
        """The scenario, or all that are mixed."""
        if self.plan.scenario != "mixed":
            return [self.plan.scenario]
        return list(mix_of(self.plan))


async def carry_out(
    wish: Wish,
    watch: Callable[[Plan], Watch] | None = None,
    stop: asyncio.Event | None = None,
    tell: Callable[[Result], None] = lambda result: None,
) -> Result:
    """Run it; `watch` makes what is told of the progress, `tell` gets the result before everything is put
    away. Raises `SoftswitchError`."""
    thresholds = wish.checked()
    plan = msgspec.structs.replace(wish.plan, run=secrets.randbits(31))
    async with AsyncExitStack() as stack:
        generators = await stack.enter_async_context(Generators(plan.processes))
        if wish.target == ITSELF:
            plan = against_itself(plan)
        elif wish.target:
            plan = _against(plan, wish)
        else:
            extensions = max(60, min(2000, plan.calls if plan.scenario == "register" else 60))
            switch = await stack.enter_async_context(DemoSwitch(plan.processes, extensions))
            plan = switch.adapt(plan)
        result = await run(plan, watch(plan) if watch is not None else None, stop, generators)
        result.failed_if = [threshold.judge(result.figures) for threshold in thresholds]
        tell(result)
    return result


def _check_certificate(file: str) -> None:
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        words = "no certificate in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError("trust", f"{file}: {words}", "a PEM file") from error


def _against(plan: Plan, wish: Wish) -> Plan:
    address, transport, host = parse_target(wish.target)
    own = plan.host or local_host(address[0])
    return msgspec.structs.replace(
        plan,
        target=address,
        transport=transport,
        server_name=certificate_name(host),
        domain=plan.domain or host,
        host=own,
    )


def parse_limits(texts: list[str]) -> Limits:
    """`delay_ms=50`, `loss=1%`: from where on something is a fault. Raises `ConfigError`."""
    names = Limits.__dataclass_fields__
    found: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        scale = 0.01 if value.endswith("%") else 1.0
        try:
            number = float(value.rstrip("%")) * scale
        except ValueError:
            number = -1.0
        if name not in names or not 0 <= number < 1e9:
            raise ConfigError("limit", f"{text!r}", ", ".join(f"{key}=NUMBER" for key in names))
        found[name] = number
    return Limits(**found)
