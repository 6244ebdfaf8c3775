"""Plans, thresholds and reports of the load lab."""

from __future__ import annotations

import contextlib
import html.parser
import io
import json
import random
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from softswitch.errors import ConfigError
from softswitch.load import Plan, plot
from softswitch.load.console import progress_view, summary_view
from softswitch.load.html import report, thinned
from softswitch.load.junit import junit
from softswitch.load.measure import Meter
from softswitch.load.plan import decode, encode, parse_accounts, parse_target
from softswitch.load.result import Result, known_figures, saturation, summarise
from softswitch.load.scenarios import BUILT_IN, load
from softswitch.load.start import Wish, carry_out, parse_limits
from softswitch.load.streams import StreamFacts
from softswitch.load.threshold import DEPTH_MAX, LENGTH_MAX, Threshold
from softswitch.load.verdict import Finding, callee_identity, caller_identity, name

FIGURES = {"setup_p99_ms": 250.0, "loss": 0.01, "failed": 0.0}


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("setup_p99_ms > 200", True),
        ("setup_p99_ms > 200 & failed > 0", False),
        ("loss > 0.5% | failed > 0", True),
        ("!(loss <= 1%)", False),
        ("200 < setup_p99_ms & !(failed != 0)", True),
        ("loss = 1%", True),
    ],
)
def test_thresholds_mean_what_they_say(text: str, failed: bool) -> None:
    assert Threshold.parse(text).judge(FIGURES)["failed"] is failed


def test_what_was_not_measured_has_failed() -> None:
    found = Threshold.parse("mos_p5 < 3").judge(FIGURES)
    assert found["failed"]
    assert "mos_p5 was not measured" in str(found["text"])


def test_mistakes_in_thresholds_are_named_before_anything_is_sent() -> None:
    with pytest.raises(ConfigError, match="setup_p99_ms"):
        Threshold.parse("setup_99_ms > 1").check(known_figures())
    for text in ("", "loss", "loss >", "loss > 1 loss", "(loss > 1", "1 > > 2", "loss ~ 2"):
        with pytest.raises(ConfigError, match="fail-if"):
            Threshold.parse(text)
    Threshold.parse("!" * (DEPTH_MAX - 1) + "loss > 1")
    with pytest.raises(ConfigError, match="nested"):
        Threshold.parse("!" * DEPTH_MAX + "loss > 1")
    with pytest.raises(ConfigError, match="longer"):
        Threshold.parse("loss > 1" + " " * LENGTH_MAX)


def test_any_text_is_read_or_refused() -> None:
    rng = random.Random(3)
    for _ in range(2000):
        text = "".join(rng.choice("ab1.%()!&|<>= _") for _ in range(rng.randint(0, 30)))
        with contextlib.suppress(ConfigError):
            Threshold.parse(text).judge({})


def test_plans_travel_and_accounts_are_read(tmp_path: Path) -> None:
    assert parse_accounts("0998-1001:s{}", "callers") == [
        ("0998", "s0998"),
        ("0999", "s0999"),
        ("1000", "s1000"),
        ("1001", "s1001"),
    ]
    assert parse_accounts("7,8:s{}, 9:t,10", "callers") == [
        ("7", "s7"), ("8", "s8"), ("9", "t"), ("10", None),
    ]  # fmt: skip
    file = tmp_path / "accounts.csv"
    file.write_text("2001;secret\n2002\n")
    assert parse_accounts(str(file), "callees") == [("2001", "secret"), ("2002", None)]
    for text in ("1002-x", "10 01", "1-99999999", "9-1", "1:x,,2", ":x"):
        with pytest.raises(ConfigError, match="callers"):
            parse_accounts(text, "callers")
    with pytest.raises(ConfigError, match="more than 1000000 accounts"):
        parse_accounts("0-999999,1", "callers")
    plan = Plan(scenario="uac", target=("127.0.0.1", 5060), callers=[("1", None)], seed=9)
    assert decode(encode(plan)) == plan


def test_targets_are_read() -> None:
    assert parse_target("sip:127.0.0.1:5070;transport=tcp") == (
        ("127.0.0.1", 5070),
        "tcp",
        "127.0.0.1",
    )
    assert parse_target("127.0.0.1")[0] == ("127.0.0.1", 5060)
    for text in ("http://x", "sip:", "127.0.0.1:99999", "no.such.host.invalid"):
        with pytest.raises(ConfigError, match="target"):
            parse_target(text)


async def test_others_are_not_flooded_and_mistakes_stop_before_a_packet() -> None:
    plan = Plan(scenario="flood", target=("127.0.0.1", 5060))
    with pytest.raises(ConfigError, match="i-own-this"):
        await carry_out(Wish(plan, "sip:192.0.2.1"))
    with pytest.raises(ConfigError, match="fail-if"):
        await carry_out(Wish(plan, "sip:127.0.0.1", ("nothing > 1",)))
    with pytest.raises(ConfigError, match="scenario"):
        await carry_out(Wish(Plan(scenario="nonsense", target=("127.0.0.1", 5060)), "self"))


def test_limits_are_read() -> None:
    assert parse_limits(["delay_ms=50", "loss=1%"]).delay_ms == 50
    assert parse_limits(["loss=1%"]).loss == 0.01
    with pytest.raises(ConfigError, match="limit"):
        parse_limits(["delay=50"])


def test_each_built_in_scenario_says_what_it_does() -> None:
    for scenario in BUILT_IN:
        assert len(load(scenario).about) > 20


def test_scenarios_in_files_are_checked(tmp_path: Path) -> None:
    for text, problem in (
        ("x = 1", "no `async def"),
        ("1/0", "ZeroDivisionError"),
        ("a b", "SyntaxError"),
    ):
        file = tmp_path / "own.py"
        file.write_text(text)
        with pytest.raises(ConfigError, match=problem):
            load(str(file))


def test_identities_are_told_in_words() -> None:
    caller = caller_identity(7)
    assert name(caller) == "the caller of call 7"
    assert name(callee_identity(caller)) == "the callee of call 7"
    assert callee_identity(caller, 1) != callee_identity(caller)
    assert name(callee_identity(caller, 1)) == "the callee of call 7"


def meters(seed: int, halves: int) -> Meter:
    """The same measurements, made by one generator or shared by several."""
    rng = random.Random(seed)
    found = [Meter() for _ in range(halves)]
    for number in range(200):
        meter, at_s = found[number % halves], number / 20
        meter.count("attempted", at_s)
        if rng.random() < 0.1:
            meter.count("failed", at_s)
            meter.failure(
                "486 Busy Here", [{"at_ms": 0.0, "way": "out", "line": "INVITE <x> SIP/2.0"}]
            )
            continue
        meter.count("answered", at_s)
        meter.time("setup", rng.expovariate(1 / 20_000), at_s)
        meter.second(at_s).live += 1
        facts = StreamFacts(2, 3, sent=250, received=250, stamped=250, delay_ms=1.0, codec="PCMU")
        meter.stream(facts, at_s)
        if rng.random() < 0.2:
            meter.faults([Finding("loss", "2 %")], f"call {number}")
    whole = Meter.from_dict(found[0].as_dict())
    for other in found[1:]:
        whole.merge(Meter.from_dict(other.as_dict()))
    return whole


def result(processes: int = 1) -> Result:
    plan = Plan(scenario="uac", target=("127.0.0.1", 5060), callers=[("1001", "TOPSECRET")])
    return summarise(plan, meters(4, processes), 1.7e9, {})


def test_several_generators_measure_what_one_does() -> None:
    one, three = result(), result(3)
    assert one.figures == three.figures
    assert one.causes == three.causes
    assert [s["setup_p99_ms"] for s in one.seconds] == [s["setup_p99_ms"] for s in three.seconds]
    assert len(three.ladders["486 Busy Here"]) == 5


def test_the_generator_accuses_itself() -> None:
    figures = result().figures
    assert saturation(figures) == ""
    assert "late" in saturation({**figures, "late_p99_ms": 80.0})
    assert "frames" in saturation({**figures, "frames_skipped": 3.0})


class Checker(html.parser.HTMLParser):
    """Every element that is opened is closed, nothing is loaded from elsewhere."""

    void = frozenset({"meta", "br", "line", "rect", "circle", "polyline"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not {"src", "href"} & {key for key, _ in attrs}
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_stands_alone_and_keeps_secrets() -> None:
    found = result(2)
    found.failed_if = [Threshold.parse("failed > 0").judge(found.figures)]
    page = report(found)
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert {"svg", "table", "details"} <= checker.seen
    assert "TOPSECRET" not in page
    assert "INVITE &lt;x&gt; SIP/2.0" in page
    assert "486 Busy Here" in page


def test_junit_has_a_case_for_each_threshold_and_finding() -> None:
    found = result()
    found.failed_if = [Threshold.parse(t).judge(found.figures) for t in ("failed > 0", "loss > 5%")]
    suite = ET.fromstring(junit(found))
    cases = suite.findall("testcase")
    assert len(cases) == 2 + len(found.findings)
    assert [case.find("failure") is not None for case in cases] == [True, False, True]
    assert suite.get("failures") == "2"


def test_junit_shows_failed_calls_where_no_threshold_allows_them() -> None:
    (case,) = [
        case
        for case in ET.fromstring(junit(result())).findall("testcase")
        if case.get("name") == "no call failed"
    ]
    failure = case.find("failure")
    assert failure is not None
    assert "486 Busy Here" in failure.get("message", "")
    clean = summarise(Plan(scenario="uac", target=("127.0.0.1", 5060)), Meter(), 1.7e9, {})
    assert ET.fromstring(junit(clean)).get("failures") == "0"


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 548.9), (1, 4.5), (0, 0.003), (0, 99_999)])
def test_axes_have_few_round_marks_that_hold_everything(low: float, high: float) -> None:
    marks = plot.ticks(low, high)
    assert marks[0] <= low
    assert marks[-1] >= high
    assert 2 <= len(marks) <= 6


def shown(view: object, width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(view)
    return console.export_text()


@pytest.mark.parametrize("width", [40, 80, 130])
def test_no_figure_is_cut_off_on_a_narrow_terminal(width: int) -> None:
    told = {
        "at_s": 61.2, "live": 1234, "streams": 2468, "setup_p50_ms": 12.3, "setup_p99_ms": 1234.5,
        "delay_p50_ms": 1.25, "cpu": 0.42, "findings": {"loss": 3, "one-way audio": 1},
        "counts": {"attempted": 50_000, "answered": 49_876, "failed": 124, "packets_lost": 98_765},
    }  # fmt: skip
    text = shown(progress_view([told, {}], "uac against 127.0.0.1:5060"), width)
    for value in ("61", "50000", "49876", "124", "1234", "12.3 / 1234.5 ms", "98765", "42%"):
        assert value in text, text
    assert max(map(len, text.splitlines())) <= width
    text = shown(summary_view(result()), width)
    for word in ("answered", "completed", "most at once", "MOS p50", "told by"):
        assert word in text, text


def test_a_run_without_a_call_is_told_without_figures_of_nothing() -> None:
    empty = summarise(Plan(scenario="uac", target=("127.0.0.1", 5060)), Meter(), 1.7e9, {})
    page = report(empty)
    assert "packets lost" not in page
    assert "sound, one way" not in page
    assert "<svg" not in page
    assert empty.passed
    text = shown(summary_view(empty), 80)
    assert "Sound" not in text
    threshold = Threshold.parse("loss > 1%")
    assert threshold.judge(empty.figures)["failed"]  # nobody has measured it


def test_without_a_threshold_a_run_in_which_no_call_came_about_has_failed() -> None:
    meter = Meter()
    for number in range(3):
        meter.count("attempted", number)
        meter.count("failed", number)
    run = summarise(Plan(scenario="uac", target=("127.0.0.1", 5060)), meter, 1.7e9, {})
    assert not run.passed
    run.failed_if = [Threshold.parse("failed > 3").judge(run.figures)]
    assert run.passed
    meter.counts["attempted"] += 1
    run = summarise(Plan(scenario="uac", target=("127.0.0.1", 5060)), meter, 1.7e9, {})
    assert run.passed


def test_a_target_that_has_gone_in_the_middle_is_said_to_have_gone() -> None:
    meter, other = Meter(), Meter()
    for one in (meter, other):
        one.failure("nothing came back from 127.0.0.1:5060: nobody listens there")
        one.counts["byes_unanswered"] += 3
    meter.said_s, other.said_s = {"in": 6.5, "out": 20.0}, {"in": 7.1, "out": 14.0}
    meter.merge(Meter.from_dict(other.as_dict()))
    plan = Plan(scenario="uac", target=("127.0.0.1", 5060))
    assert summarise(plan, meter, 1.7e9, {}).notes == [
        "the target said nothing more after 7 s; it was spoken to until 20 s",
        "6 BYEs of ours were not answered",
    ]
    meter.said_s = {"in": 19.0, "out": 20.0}
    (_, hint) = summarise(plan, meter, 1.7e9, {}).notes
    assert "nothing listens on UDP port 5060" in hint


def test_a_day_is_drawn_in_as_many_points_as_a_screen_has() -> None:
    day = [
        {"at_s": second, "failed": int(second == 5000), "setup_p99_ms": 1.0 + (second == 7000), "mos": None}
        for second in range(86_400)
    ]  # fmt: skip
    drawn = thinned(day)
    assert len(drawn) == 994
    assert max(point["setup_p99_ms"] for point in drawn) == 2.0  # what stood out still does
    assert sum(point["failed"] for point in drawn) == pytest.approx(1 / 87)
    assert {point["mos"] for point in drawn} == {None}
    assert thinned(day[:1000]) == day[:1000]


def test_a_report_grows_with_time_and_kinds_of_failure_not_with_calls() -> None:
    meter = Meter()
    for number in range(50_000):
        at_s = number / 500
        meter.count("attempted", at_s)
        meter.time("setup", 1000.0 + number, at_s)
        ladder = [{"at_ms": 0.0, "way": "out", "line": "INVITE sip:x SIP/2.0"}] * 20
        meter.failure(f"500 reason {number}", ladder, "id")
        meter.faults([Finding("loss", "2 %")], f"call {number}", ["id"])
    found = summarise(Plan(scenario="uac", target=("127.0.0.1", 5060)), meter, 1.7e9, {})
    assert len(report(found)) < 300_000
    assert len(json.dumps(found.as_dict())) < 1_000_000
