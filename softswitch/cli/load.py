"""`softswitch load`: calls in numbers against any SIP system, and whether the right sound arrived."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from softswitch.load.plan import Plan
    from softswitch.load.result import Result

_Many = Annotated[list[str] | None, typer.Option()]


def register(app: typer.Typer) -> None:
    @app.command()
    def load(
        scenario: Annotated[
            str, typer.Argument(help="uac, uac-uas, or a file: scenario.py.")
        ] = "uac-uas",
        target: Annotated[
            str, typer.Option(help="sip:host:port;transport=udp. Without one: a switch of our own.")
        ] = "",
        calls: Annotated[int, typer.Option(min=0, help="How many in all; 0: no limit.")] = 0,
        rate: Annotated[float, typer.Option(min=0.001, help="New calls a second.")] = 10.0,
        ramp: Annotated[float, typer.Option(min=0, help="Seconds until that rate.")] = 0.0,
        concurrent: Annotated[int, typer.Option(min=0, help="Calls at once at most; 0: any.")] = 0,
        hold: Annotated[str, typer.Option(help="Seconds a call: 30, exp:180, uniform:5-10.")] = "5",
        duration: Annotated[float, typer.Option(min=0, help="Seconds in which calls begin.")] = 0.0,
        codec: Annotated[str, typer.Option(help="Offered, best first: PCMA,PCMU.")] = "PCMA,PCMU",
        media: Annotated[bool, typer.Option(help="Send and judge sound.")] = True,
        dial: Annotated[
            str, typer.Option(help="Number to call; {call}, {callee}, {caller}, {process} fit in.")
        ] = "",
        callers: Annotated[str, typer.Option(help="1001-1050:secret, or a .csv file.")] = "",
        callees: Annotated[str, typer.Option(help="Like --callers; they register.")] = "",
        processes: Annotated[int, typer.Option(min=1, max=64, help="Generators.")] = 1,
        seed: Annotated[int, typer.Option(help="The same seed makes the same calls.")] = 1,
        json_file: Annotated[
            Path | None, typer.Option("--json", help="Write all figures there.")
        ] = None,
    ) -> None:
        """Make calls in numbers and say what was wrong with them."""
        import asyncio

        from softswitch.load.plan import Plan, parse_accounts

        plan = Plan(
            scenario=scenario,
            target=("127.0.0.1", 5060),
            calls=calls if calls or duration else 50,
            rate=rate,
            ramp_s=ramp,
            concurrent=concurrent,
            hold=hold,
            duration_s=duration,
            codecs=tuple(part.strip() for part in codec.split(",")),
            media=media,
            dial=dial,
            callers=parse_accounts(callers, "callers"),
            callees=parse_accounts(callees, "callees"),
            register=bool(callees),
            processes=processes,
            seed=seed,
        )
        result = asyncio.run(_run(plan, target))
        if json_file is not None:
            import json

            json_file.write_text(json.dumps(result.as_dict(), indent=1) + "\n")
        raise typer.Exit(0 if result.passed else 1)


async def _run(plan: Plan, target: str) -> Result:
    import secrets

    import msgspec

    from softswitch.load.demo import DemoSwitch
    from softswitch.load.plan import against_itself, local_host, parse_target

    plan = msgspec.structs.replace(plan, run=secrets.randbits(31))
    if not target:
        async with DemoSwitch(plan.processes) as switch:
            return await _show(switch.adapt(plan))
    if target == "self":
        return await _show(against_itself(plan))
    address, transport, host = parse_target(target)
    own = local_host(address[0])
    return await _show(
        msgspec.structs.replace(plan, target=address, transport=transport, domain=host, host=own)
    )


async def _show(plan: Plan) -> Result:
    from rich.console import Console
    from rich.live import Live

    from softswitch.load.console import progress_view, summary_view
    from softswitch.load.run import run

    console = Console()
    title = f"{plan.scenario} against {plan.target[0]}:{plan.target[1]}"
    with Live(console=console, refresh_per_second=2, transient=True) as live:
        result = await run(plan, lambda workers: live.update(progress_view(workers, title)))
    console.print(summary_view(result))
    return result
