"""`softswitch load`: calls in numbers against any SIP system, and whether the right sound arrived."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from softswitch.load.plan import Plan
    from softswitch.load.result import Result
    from softswitch.load.start import Wish

_CALLS = 50
_TOLD_EVERY_S = 5
_SHAPE, _WHO, _JUDGE, _NET = "Shape of the load", "Who calls whom", "Judgement", "Network"


def register(app: typer.Typer) -> None:
    @app.command()
    def load(
        scenario: Annotated[
            str,
            typer.Argument(
                help="uac-uas, uac, register, queue, ivr, conference, transfer, flood, mixed; or a "
                "file: scenario.py, a SIPp scenario.xml. `list` tells what each does."
            ),
        ] = "uac-uas",
        target: Annotated[
            str,
            typer.Option(
                "--target",
                "-t",
                help="sip:host:port;transport=udp. Left out: a switch of our own is started; `self`: "
                "what the generator can do.",
            ),
        ] = "",
        demo: Annotated[bool, typer.Option("--demo", help="Start a switch of our own.")] = False,
        calls: Annotated[
            int, typer.Option(min=0, help="How many in all.", rich_help_panel=_SHAPE)
        ] = 0,
        rate: Annotated[
            float,
            typer.Option(min=0.001, max=1e5, help="New calls a second.", rich_help_panel=_SHAPE),
        ] = 10.0,
        ramp: Annotated[
            float, typer.Option(min=0, help="Seconds to reach the rate.", rich_help_panel=_SHAPE)
        ] = 0.0,
        poisson: Annotated[
            bool, typer.Option(help="Calls come at random times.", rich_help_panel=_SHAPE)
        ] = False,
        concurrent: Annotated[
            int, typer.Option(min=0, help="At once at most; 0: any.", rich_help_panel=_SHAPE)
        ] = 0,
        hold: Annotated[
            str,
            typer.Option(
                help="Seconds a call: 30, exp:180, uniform:5-10, normal:60,15, erlang:20,3, "
                "lognormal:120,0.8.",
                rich_help_panel=_SHAPE,
            ),
        ] = "4",
        answer: Annotated[
            str, typer.Option(help="Seconds until we answer.", rich_help_panel=_SHAPE)
        ] = "0",
        patience: Annotated[
            str, typer.Option(help="Seconds a queue is waited in.", rich_help_panel=_SHAPE)
        ] = "exp:30",
        duration: Annotated[
            float, typer.Option(min=0, help="Seconds in which calls begin.", rich_help_panel=_SHAPE)
        ] = 0.0,
        processes: Annotated[
            int, typer.Option(min=1, max=64, help="Generators.", rich_help_panel=_SHAPE)
        ] = 1,
        seed: Annotated[
            int, typer.Option(help="The same one, the same calls.", rich_help_panel=_SHAPE)
        ] = 1,
        dial: Annotated[
            str,
            typer.Option(
                help="What to call; {call}, {callee}, {caller}, {process} are filled in.",
                rich_help_panel=_WHO,
            ),
        ] = "",
        callers: Annotated[
            str,
            typer.Option(
                help="Who calls: 1001-1050:secret ({} in it is the number), or a .csv file.",
                rich_help_panel=_WHO,
            ),
        ] = "",
        callees: Annotated[
            str, typer.Option(help="Telephones of ours that are called.", rich_help_panel=_WHO)
        ] = "",
        register: Annotated[
            int,
            typer.Option(
                min=-1, help="So many callees register first; -1: all.", rich_help_panel=_WHO
            ),
        ] = -1,
        expires: Annotated[
            int, typer.Option(min=1, help="Seconds of a registration.", rich_help_panel=_WHO)
        ] = 300,
        domain: Annotated[
            str, typer.Option(help="In URIs instead of the target's host.", rich_help_panel=_WHO)
        ] = "",
        settings: Annotated[
            list[str] | None,
            typer.Option("--set", help="name=value for the scenario.", rich_help_panel=_WHO),
        ] = None,
        codec: Annotated[
            str,
            typer.Option(help="Offered, best first: PCMA, PCMU, G722, opus.", rich_help_panel=_NET),
        ] = "PCMA,PCMU",
        media: Annotated[
            bool, typer.Option(help="Send sound and judge it.", rich_help_panel=_NET)
        ] = True,
        samples: Annotated[
            int,
            typer.Option(
                min=0,
                help="So many calls speak and are compared (PESQ where it is installed).",
                rich_help_panel=_NET,
            ),
        ] = 0,
        trust: Annotated[
            Path | None,
            typer.Option(
                help="PEM file: the authority or the certificate of a target over TLS.",
                rich_help_panel=_NET,
            ),
        ] = None,
        srtp: Annotated[
            bool,
            typer.Option(
                help="Offer SRTP with keys in SDP, and take it where it is offered.",
                rich_help_panel=_NET,
            ),
        ] = False,
        own: Annotated[str, typer.Option(help="Our own IP address.", rich_help_panel=_NET)] = "",
        fault: Annotated[
            list[str] | None,
            typer.Option(
                help="A bad network: up:loss=2%,delay=40ms (up, down, both; loss, burst, duplicate, "
                "reorder, delay, jitter, bandwidth), rebind=20s, rebind-sip=20s.",
                rich_help_panel=_NET,
            ),
        ] = None,
        owned: Annotated[
            bool,
            typer.Option(
                "--i-own-this", help="Allow a flood of another machine.", rich_help_panel=_NET
            ),
        ] = False,
        fail_if: Annotated[
            list[str] | None,
            typer.Option(
                help='Exit with 1 if so: "setup_p99_ms > 200 | loss > 1%".', rich_help_panel=_JUDGE
            ),
        ] = None,
        limit: Annotated[
            list[str] | None,
            typer.Option(help="What is a fault: delay_ms=30, loss=0.5%.", rich_help_panel=_JUDGE),
        ] = None,
        pid: Annotated[
            list[int] | None,
            typer.Option(help="Processes of the target to watch.", rich_help_panel=_JUDGE),
        ] = None,
        json_file: Annotated[
            Path | None, typer.Option("--json", help="All figures.", rich_help_panel=_JUDGE)
        ] = None,
        html: Annotated[
            Path | None,
            typer.Option(
                help="The report with plots; written anyhow where no report is named.",
                rich_help_panel=_JUDGE,
            ),
        ] = None,
        browse: Annotated[
            bool, typer.Option("--open", help="Show the report.", rich_help_panel=_JUDGE)
        ] = False,
        junit: Annotated[
            Path | None, typer.Option(help="For a CI system.", rich_help_panel=_JUDGE)
        ] = None,
    ) -> None:
        """Make calls in numbers against any SIP system and say what was wrong with them."""
        from softswitch.errors import ConfigError
        from softswitch.load.plan import Plan, parse_accounts, parse_options
        from softswitch.load.start import Reports, Wish, parse_limits

        if scenario == "list":
            _list()
            return
        if demo and target:
            raise ConfigError("demo", "a target was named too", "one of both")
        called = parse_accounts(callees, "callees")
        if register > len(called):
            raise ConfigError("register", f"{register} of {len(called)} --callees")
        plan = Plan(
            scenario=scenario,
            target=("127.0.0.1", 5060),
            domain=domain,
            calls=calls if calls or duration else _CALLS,
            rate=rate,
            ramp_s=ramp,
            concurrent=concurrent,
            hold=hold,
            answer=answer,
            patience=patience,
            duration_s=duration,
            poisson=poisson,
            codecs=tuple(part.strip() for part in codec.split(",")),
            media=media and scenario not in ("register", "flood"),
            dial=dial,
            callers=parse_accounts(callers, "callers"),
            callees=called if register < 0 else called[:register],
            register=bool(called) and register != 0,
            expires_s=expires,
            processes=processes,
            seed=seed,
            host=own or ("" if target and target != "self" else "127.0.0.1"),
            samples=samples,
            trusted=str(trust.resolve()) if trust is not None else "",
            srtp=srtp,
            faults=fault or [],
            limits=parse_limits(limit or []),
            options=parse_options(settings or []),
            pids=pid or [],
        )
        wish = Wish(plan, target, tuple(fail_if or ()), owned)
        wish.checked()
        reports = Reports.wanted(scenario, json_file, html, junit)

        def written(result: Result) -> None:
            for path in reports.write(result):
                page = path.suffix == ".html"
                typer.echo(f"written: {path.resolve().as_uri() if page else path}")
                if page and browse:
                    typer.launch(str(path))

        raise typer.Exit(0 if _run(wish, written).passed else 1)


def _list() -> None:
    from softswitch.load.scenarios import BUILT_IN
    from softswitch.load.scenarios import load as load_scenario

    for name in BUILT_IN:
        scenario = load_scenario(name)
        typer.echo(f"{name:12} {scenario.about}")
        if name == "mixed":
            continue  # those of all
        for key, setting in (scenario.settings or {}).items():
            typer.echo(f"{'':12}   --set {key}= {setting.allowed} ({setting.default})")


def _run(wish: Wish, written: Callable[[Result], None]) -> Result:
    import asyncio

    from rich.console import Console
    from rich.live import Live

    from softswitch.load.console import progress_line, progress_view, summary_view
    from softswitch.load.run import Watch
    from softswitch.load.start import carry_out

    console = Console()
    starting = f"Starting {'' if wish.target else 'a switch of our own and '}the generator ..."

    def tell(result: Result) -> None:
        console.print(summary_view(result))
        written(result)

    async def main() -> Result:
        stop = asyncio.Event()
        _stop_on_signal(stop)
        if not console.is_terminal:
            typer.echo(starting)

            def watch_lines(plan: Plan) -> Watch:
                typer.echo(_title(plan))
                said = 0

                def told(workers: list[dict[str, Any]]) -> None:
                    nonlocal said
                    said += 1
                    if said % _TOLD_EVERY_S == 0:
                        typer.echo(progress_line(workers))

                return told

            return await carry_out(wish, watch_lines, stop, tell)
        with Live(console=console, refresh_per_second=2, transient=True) as live:
            live.update(starting)

            def watch(plan: Plan) -> Watch:
                title = f"{_title(plan)} (Ctrl-C ends it)"
                return lambda workers: live.update(progress_view(workers, title))

            def told(result: Result) -> None:
                live.stop()
                tell(result)

            return await carry_out(wish, watch, stop, told)

    return asyncio.run(main())


def _title(plan: Plan) -> str:
    return f"{plan.scenario} against {plan.target[0]}:{plan.target[1]}"


def _stop_on_signal(stop: asyncio.Event) -> None:
    """The first Ctrl-C lets calls end; the second one ends everything."""
    import asyncio
    import signal

    loop = asyncio.get_running_loop()

    def first() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, first)
