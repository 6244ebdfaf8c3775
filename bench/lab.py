"""The same load against several servers, and against the last run: `make lab`.

    .venv/bin/python -m bench.lab                      # this project, Kamailio, SIPp's UAS, the generator
    .venv/bin/python -m bench.lab --only set-up --targets softswitch,kamailio
    .venv/bin/python -m bench.lab --target sip:192.0.2.7:5060 --dial 600 --callers 1001:secret
    .venv/bin/python -m bench.lab --save               # keep the figures for the next comparison

Figures are CPU per unit of work from /proc of all processes of the server, and times from the moment a
call was due. A server that is not installed is left out by name. Where the generator was the limit the
row says so: such figures tell nothing of the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from bench.peers import missing, peer
from softswitch.load.plan import Plan, against_itself, local_host, parse_accounts, parse_target
from softswitch.load.result import Result
from softswitch.load.run import run

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "bench" / "lab.json"
RESULTS = ROOT / "bench" / "LAB.md"
NEEDS = {"kamailio": ("kamailio", "kamcmd"), "sipp": ("sipp",)}
NAMES = {
    "softswitch": "Softswitch",
    "kamailio": "Kamailio (proxy)",
    "sipp": "SIPp UAS",
    "self": "the generator alone",
}


@dataclass(frozen=True, slots=True)
class Work:
    """One load; `targets` that can take it."""

    name: str
    title: str
    plan: Plan
    targets: tuple[str, ...]


def programme(seconds: float) -> list[Work]:
    any_target = ("127.0.0.1", 5060)
    through = ("softswitch", "kamailio", "self")

    def plan(**options: Any) -> Plan:
        return Plan(**{"scenario": "uac-uas", "target": any_target, "run": 1, **options})

    calls = {"duration_s": seconds, "hold": "0", "media": False}
    return [
        Work("set-up 50", "set-up and tear-down, 50 a second", plan(rate=50.0, **calls), (*through, "sipp")),
        Work("set-up 150", "set-up and tear-down, 150 a second", plan(rate=150.0, ramp_s=2.0, **calls),
             (*through, "sipp")),
        Work("sound 50", "50 calls with sound",
             plan(rate=25.0, calls=50, hold=str(seconds)), through),
        Work("sound 200", "200 calls with sound",
             plan(rate=50.0, calls=200, hold=str(seconds)), through),
        Work("menu", "20 callers in a menu, digits three ways",
             plan(scenario="ivr", rate=5.0, calls=20, hold="2"), ("softswitch",)),
        Work("conference", "a conference of 20", plan(
            scenario="conference", rate=20.0, calls=20, hold=str(seconds)), ("softswitch",)),
        Work("queue", "30 customers, 10 agents", plan(
            scenario="queue", rate=6.0, calls=30, hold="exp:3", patience="20"), ("softswitch",)),
    ]  # fmt: skip


async def measure(work: Work, target: str, own: Plan | None) -> Result:
    """One load against one target, started for it."""
    if own is not None:
        changes = {"target": own.target, "transport": own.transport, "domain": own.domain,
                   "host": own.host, "dial": own.dial, "callers": own.callers, "scenario": "uac",
                   "pids": own.pids}  # fmt: skip
        return await run(msgspec.structs.replace(work.plan, **changes))
    if target == "self":
        return await run(against_itself(work.plan))
    async with peer(target, work.plan.processes) as server:
        return await run(server.adapt(work.plan))


def row(work: Work, target: str, result: Result) -> dict[str, Any]:
    """What is kept of a run."""
    figures = result.figures
    kept = ("attempted", "answered", "failed", "rate", "setup_p50_ms", "setup_p99_ms", "delay_p50_ms",
            "delay_p99_ms", "loss", "mos_p5", "target_cpu_ms_per_call", "target_cpu_s",
            "target_rss_kb_max", "cpu_peak", "answer_wait_p50_ms", "seconds")  # fmt: skip
    return {
        "work": work.name,
        "title": work.title,
        "target": target,
        "figures": {key: figures[key] for key in kept if key in figures},
        "findings": {entry["code"]: entry["count"] for entry in result.findings},
        "causes": result.causes,
        "saturated": result.saturated,
    }


COLUMNS = ("work", "target", "calls", "answered", "CPU a call", "set-up p50/p99", "sound p50/p99",
           "lost", "MOS p5", "findings")  # fmt: skip


def cells(found: dict[str, Any], earlier: dict[str, Any] | None) -> list[str]:
    figures = found["figures"]
    before = (earlier or {}).get("figures", {})

    def against(key: str, text: str) -> str:
        """With the change since the earlier run, from 10 % on."""
        old, new = before.get(key), figures.get(key)
        if not old or not new or abs(new / old - 1) < 0.1:
            return text
        return f"{text} ({new / old - 1:+.0%})"

    cpu, delay = "", ""
    if "target_cpu_ms_per_call" in figures:
        cpu = against("target_cpu_ms_per_call", f"{figures['target_cpu_ms_per_call']:.2f} ms")
    if figures.get("delay_p50_ms"):
        delay = f"{figures['delay_p50_ms']:.2f} / {figures['delay_p99_ms']:.2f} ms"
    faults = [f"{code} {many}" for code, many in found["findings"].items()]
    if found["saturated"]:
        faults.append("GENERATOR SATURATED")
    setup = f"{figures.get('setup_p50_ms', 0):.1f} / {figures.get('setup_p99_ms', 0):.1f} ms"
    return [
        found["title"],
        NAMES.get(found["target"], found["target"]),
        f"{figures['attempted']:.0f}",
        f"{figures['answered']:.0f}",
        cpu,
        against("setup_p50_ms", setup),
        against("delay_p50_ms", delay),
        f"{figures['loss']:.3%}" if figures.get("delay_p50_ms") else "",
        f"{figures['mos_p5']:.2f}" if "mos_p5" in figures else "",
        ", ".join(faults) or "none",
    ]


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "?")
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


def commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip()


def report(rows: list[dict[str, Any]]) -> str:
    lines = [
        "# The load lab's figures",
        "",
        "The same load against this project, Kamailio (a proxy: sound goes past it), SIPp's UAS, and the",
        "generator alone, all on loopback with generator and server on the same cores: CPU per call is",
        "comparable, times are only where both are far from full. Written by `make lab`.",
        "",
        f"- machine: {machine()}",
        f"- date: {time.strftime('%Y-%m-%d')}, commit {commit()}",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(cells(found, None)) + " |" for found in rows),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="loads whose name begins so")
    parser.add_argument("--targets", default="softswitch,kamailio,sipp,self")
    parser.add_argument("--target", default="", help="any other server instead, sip:host:port")
    parser.add_argument("--dial", default="", help="the number to call there")
    parser.add_argument("--callers", default="", help="accounts there, 1001-1050:secret")
    parser.add_argument("--pid", type=int, action="append", default=[], help="its processes")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument(
        "--save", action="store_true", help=f"write {RESULTS.name} and {FIGURES.name}"
    )
    chosen = parser.parse_args()
    works = [w for w in programme(chosen.seconds) if w.name.startswith(chosen.only)]
    if not works:
        parser.error(f"--only: there are {', '.join(w.name for w in programme(1))}")
    own = None
    targets = chosen.targets.split(",")
    if chosen.target:
        address, transport, host = parse_target(chosen.target)
        own = Plan(
            scenario="uac", target=address, transport=transport, domain=host, pids=chosen.pid,
            host=local_host(address[0]), dial=chosen.dial,
            callers=parse_accounts(chosen.callers, "callers"),
        )  # fmt: skip
        targets = [chosen.target]
    console = Console(width=None if sys.stdout.isatty() else 200)
    saved = json.loads(FIGURES.read_text())["rows"] if FIGURES.exists() else []
    earlier = {(entry["work"], entry["target"]): entry for entry in saved}
    table = Table(*COLUMNS, title="load lab; in brackets the change since the saved run")
    rows = []
    for work in works:
        for target in targets:
            if own is None and target not in work.targets:
                continue
            lacking = missing(*NEEDS.get(target, ()))
            if lacking:
                console.print(f"{target}: left out, {lacking} is not installed")
                continue
            console.print(f"[dim]{work.title}, {target} ...")
            found = row(work, target, asyncio.run(measure(work, target, own)))
            rows.append(found)
            table.add_row(*cells(found, earlier.get((work.name, target))))
    console.print(table)
    if chosen.save and own is None:
        merged = {**earlier, **{(entry["work"], entry["target"]): entry for entry in rows}}
        order = [(w.name, t) for w in programme(1) for t in NAMES if (w.name, t) in merged]
        kept = [merged[key] for key in order]
        text = json.dumps({"machine": machine(), "commit": commit(), "rows": kept}, indent=1)
        FIGURES.write_text(text + "\n")
        RESULTS.write_text(report(kept))
        console.print(f"written: {RESULTS}, {FIGURES}")


if __name__ == "__main__":
    main()
