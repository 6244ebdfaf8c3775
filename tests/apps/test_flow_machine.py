"""The flow machine: steps, keys, answers, and what holds whatever a caller or another program does."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softswitch.apps.collect_machine import CollectMachine, CollectState, Question
from softswitch.apps.flow_machine import (
    STEPS_MAX,
    VALUE_MAX,
    VARIABLES_MAX,
    Answered,
    Ask,
    Dial,
    Enqueue,
    Entered,
    FlowMachine,
    Hear,
    Mark,
    Over,
    Record,
    Script,
    Secretly,
    Survey,
    TakeMessage,
)
from softswitch.apps.ivr_machine import (
    Announce,
    Await,
    DigitPressed,
    ForgetDigits,
    Leave,
    Play,
    PlayEnded,
    TimedOut,
)
from softswitch.config import Destination, parse_office

NOON = datetime(2026, 1, 5, 12, 0)  # noqa: DTZ001  # local time of the office, as the machine takes it
NIGHT = datetime(2026, 1, 5, 22, 0)  # noqa: DTZ001
HOURS = """
[[hours]]
name = "day"
open = { mon-fri = ["09:00-18:00"] }
[[queue]]
name = "support"
[[extension]]
number = "1001"
password = "secret-1001"
voicemail = { pin = "4711" }
"""


def script(steps: str) -> Script:
    office = parse_office(HOURS + '\n[[flow]]\nname = "f"\n' + steps)
    hours = {each.name: each for each in office.hours}
    return Script(office.flows[0], hours, frozenset({"1001"}))


def started(steps: str, local=NOON, language="en", **facts: str):
    machine = FlowMachine(script(steps))
    return machine, machine.handle(Entered(facts, language), local)


def step(do: str, more: str = "") -> str:
    return f'[[flow.step]]\ndo = "{do}"\n{more}\n'


END = step("hang-up")


def tell(machine, *events, local=NOON):
    said = []
    for event in events:
        said = machine.handle(event, local)
    return said


def keys(text: str):
    return [DigitPressed(key) for key in text]


def test_play_and_say_one_after_the_other():
    machine, said = started(
        step("play", 'prompt = ["closed", "goodbye"]')
        + step("say", 'kind = "number"\nvalue = "12"')
        + step("say", 'kind = "amount"\nvalue = "{digits} CNY"')
        + step("say", 'kind = "number"\nvalue = "{digits}"\nbarge_in = false')
        + END,
        digits="2.50",
        language="zh",
    )
    assert said == [Play(("closed", "goodbye"))]
    assert tell(machine, PlayEnded()) == [Play(("10", "2"))]
    amount = tell(machine, PlayEnded())
    assert isinstance(amount[0], Play)
    assert "yuan" in amount[0].prompts
    *announced, leave = tell(machine, PlayEnded())
    assert all(isinstance(effect, Announce) for effect in announced)
    assert leave == Leave(Destination("hangup"), "2.50", "step[4]")


def test_what_cannot_be_said_is_left_out():
    machine, said = started(step("say", 'kind = "date"\nvalue = "{digits}"') + END, digits="soon")
    assert isinstance(said[-1], Leave)
    assert machine.left


def test_a_key_in_an_announcement_counts_for_the_next_menu():
    machine, said = started(
        step("play", 'prompt = "closed"')
        + step("play", 'prompt = "goodbye"')
        + step("menu", 'prompt = "main-menu"\noptions = { "1" = "queue:support" }')
    )
    assert said == [Play(("closed",))]
    (leave,) = tell(machine, DigitPressed("1"))
    assert leave == Leave(Destination("queue", "support"), "1", "step[2]")


def test_a_menu_asks_again_and_gives_up():
    machine, said = started(
        step(
            "menu",
            'prompt = "main-menu"\noptions = { "1" = "hangup" }\ntries = 2\nfailed = "queue:support"',
        )
    )
    assert said == [Play(("main-menu",))]
    assert tell(machine, *keys("7")) == [ForgetDigits(), Play(("invalid-choice", "main-menu"))]
    assert tell(machine, PlayEnded()) == [Await(6.0)]
    said = tell(machine, TimedOut())
    assert said[-1] == Leave(Destination("queue", "support"), "", "step[0]")
    assert tell(machine, *keys("1")) == [], "nothing more after it has left"


COLLECT = step(
    "collect",
    'prompt = "mailbox-number"\ninto = "order"\nmin_digits = 2\nmax_digits = 4\ntries = 2\n'
    'failed = "queue:support"',
) + step(
    "branch", 'value = "{order}"\ncases = [{ is = "1234", go = "queue:support" }]\nnext = "hangup"'
)


@pytest.mark.parametrize(
    ("pressed", "order"),
    [("1234", "1234"), ("12#", "12"), ("123#", "123")],
)
def test_collected_digits_are_a_variable(pressed, order):
    machine, _ = started(COLLECT)
    said = tell(machine, *keys(pressed))
    assert machine.variables["order"] == order
    assert isinstance(said[-1], Leave)


def test_too_few_digits_are_no_answer_and_silence_is_none():
    machine, _ = started(COLLECT)
    said = tell(machine, *keys("1#"))
    assert said == [ForgetDigits(), Play(("invalid-choice", "mailbox-number"))]
    said = tell(machine, PlayEnded(), TimedOut())
    assert said[-1].to == Destination("queue", "support")
    assert "order" not in machine.variables


def test_a_secret_is_marked_while_it_is_entered():
    machine, said = started(
        step("collect", 'prompt = "mailbox-pin"\ninto = "pin"\nmax_digits = 2\nsecret = true') + END
    )
    assert said == [Secretly(True), Play(("mailbox-pin",))]
    assert tell(machine, *keys("12"))[0] == Secretly(False)


@pytest.mark.parametrize(("local", "to"), [(NOON, "hangup"), (NIGHT, "voicemail:1001")])
def test_hours(local, to):
    _, said = started(step("hours", 'hours = "day"\nclosed = "voicemail:1001"') + END, local)
    assert str(said[-1].to) == to


@pytest.mark.parametrize(
    ("case", "value", "fits"),
    [
        ('is = "a"', "a", True),
        ('is = "a"', "ab", False),
        ('starts = "+86"', "+8613", True),
        ('has = "vip"', "gold,vip", True),
        ('has = "vip"', "viper", False),
        ("at_least = 10", "10", True),
        ("at_least = 10", "9.5", False),
        ("at_least = 10", "ten", False),
        ("at_most = 3", "2", True),
        ("at_most = 3", "nan", False),
        ("known = true", "x", True),
        ("known = false", "", True),
        ("known = true", "", False),
    ],
)
def test_branches(case, value, fits):
    _, said = started(
        step("branch", f'value = "{{digits}}"\ncases = [{{ {case}, go = "queue:support" }}]') + END,
        digits=value,
    )
    assert (said[-1].to.kind == "queue") is fits


def test_set_marks_the_call_and_values_cannot_change_an_expression():
    machine, said = started(
        step(
            "set",
            'language = "zh"\npriority = 7\ncustomer = "{digits}"\n'
            'skill = "lang.{language} >= 3 & {digits}"\nvariables = { both = "{digits}-{caller}" }',
        )
        + END,
        digits="1 | 1",
        caller="+8610",
    )
    mark = said[0]
    assert mark == Mark("zh", 7, "lang.zh >= 3 & none", "1 | 1")
    assert machine.variables["both"] == "1 | 1-+8610"
    assert machine.language == "zh"


LOOK_UP = (
    step(
        "look-up",
        'url = "https://crm.example/o"\nquery = { n = "{digits}" }\n'
        'answer = { status = "order.status", first = "items.0", tags = "tags", ok = "ok", gone = "x.y" }\n'
        'failed = "queue:support"',
    )
    + END
)


def test_a_look_up_fills_variables():
    machine, said = started(LOOK_UP, digits="12")
    assert said == [Ask("https://crm.example/o", {"n": "12"}, 2.0)]
    answer = {"order": {"status": "sent"}, "items": [5, 6], "tags": ["a", "b"], "ok": True, "x": 1}
    said = tell(machine, Answered(answer))
    assert str(said[-1].to) == "hangup"
    wanted = {"status": "sent", "first": "5", "tags": "a,b", "ok": "yes", "gone": ""}
    assert {key: machine.variables[key] for key in wanted} == wanted


def test_a_look_up_without_an_answer():
    machine, _ = started(LOOK_UP)
    assert tell(machine, Over("answered")) == [], "not what it waits for"
    assert tell(machine, Answered(None))[-1].to == Destination("queue", "support")


@pytest.mark.parametrize("answer", [[], {}, "text", 5, [[[]]], {"order": []}, {"items": {"0": {}}}])
def test_whatever_an_answer_is_like(answer):
    machine, _ = started(LOOK_UP)
    assert isinstance(tell(machine, Answered(answer))[-1], Leave)


TALK = (
    step("enqueue", 'queue = "support"\nmax_wait_s = 60\nfailed = "dial"')
    + step("survey", 'survey = "how"\ninto = "score"\nnext = "hangup"')
    + '[[flow.step]]\nname = "dial"\ndo = "dial"\nto = "extension:1001"\nbusy = "message"\nfailed = "hangup"\n'
    + step("record", 'into = "file"\nnext = "hangup"')
    + '[[flow.step]]\nname = "message"\ndo = "voicemail"\nbox = "1001"\nnext = "hangup"\n'
)


def test_conversations_and_what_follows_them():
    machine, said = started(TALK)
    assert said == [Enqueue("support", 60)]
    assert tell(machine, Over("answered")) == [Survey("how")]
    assert tell(machine, Over("4"))[-1].to == Destination("hangup")
    assert (machine.variables["outcome"], machine.variables["score"]) == ("answered", "4")

    machine, _ = started(TALK)
    assert tell(machine, Over("max-wait")) == [Dial(("extension:1001",), 30)]
    assert tell(machine, Over("busy")) == [TakeMessage("1001")]
    assert isinstance(tell(machine, Over(""))[-1], Leave)
    machine, _ = started(TALK)
    tell(machine, Over("full"))
    assert tell(machine, Over("answered")) == [Record(180, 10)]


def test_what_the_line_says_decides_where_to():
    hear = step("hear", 'what = ["cng", "ced"]\nheard = "extension:1001"\ninto = "line"') + step(
        "hear", 'what = "machine"\ntimeout_s = 2.5\nprompt = "please-hold"\nnext = "hangup"'
    )
    machine, said = started(hear)
    assert said == [Hear(("cng", "ced"), 4.0)]
    assert tell(machine, DigitPressed("1")) == []
    assert tell(machine, Over("cng"))[-1].to == Destination("extension", "1001")
    assert machine.variables["line"] == "cng"
    machine, _ = started(hear)
    assert tell(machine, Over("")) == [Hear(("machine",), 2.5, ("please-hold",))]
    assert tell(machine, Over("machine"))[-1].to == Destination("hangup"), "no `heard`: just on"


def test_steps_are_limited():
    """Round by a key each time, for ever."""
    machine, _ = started(
        '[[flow.step]]\nname = "m"\ndo = "menu"\nprompt = "main-menu"\noptions = { "1" = "m" }\n'
    )
    for _ in range(STEPS_MAX - 1):
        assert not isinstance(tell(machine, DigitPressed("1"))[-1], Leave)
    leave = tell(machine, DigitPressed("1"))[-1]
    assert leave == Leave(Destination("hangup"), "1", "too many steps")
    assert len(machine.trail) == 64


def test_variables_are_limited():
    facts = {f"v{n}": "x" * 1000 for n in range(VARIABLES_MAX + 1)}
    machine, _ = started(step("play", 'prompt = "closed"') + END, **facts)
    assert len(machine.variables) == VARIABLES_MAX
    assert {len(value) for value in machine.variables.values()} == {VALUE_MAX}


# -- whatever happens -------------------------------------------------------------------------------

EVENTS = st.one_of(
    st.sampled_from("0123456789*#").map(DigitPressed),
    st.just(PlayEnded()),
    st.just(TimedOut()),
    st.sampled_from(["answered", "busy", "full", ""]).map(Over),
    st.sampled_from([None, {}, {"order": {"status": "1"}}, [1]]).map(Answered),
)
EVERYTHING = (
    step("play", 'prompt = "closed"')
    + '[[flow.step]]\nname = "ask"\ndo = "collect"\nprompt = "main-menu"\ninto = "order"\nfailed = "menu"\n'
    + step(
        "look-up",
        'url = "https://x.example/"\nanswer = { status = "order.status" }\nfailed = "menu"',
    )
    + '[[flow.step]]\nname = "menu"\ndo = "menu"\nprompt = "main-menu"\n'
    'options = { "1" = "ask", "2" = "talk" }\ndial_extension = true\n'
    '[[flow.step]]\nname = "talk"\ndo = "enqueue"\nqueue = "support"\nfailed = "menu-2"\n'
    + step("survey", 'survey = "x"\ninto = "score"\nnext = "menu"')
    + '[[flow.step]]\nname = "menu-2"\ndo = "menu"\nprompt = "main-menu"\noptions = { "1" = "ask" }\n'
)
WAITING = (Play, Await, Ask, Enqueue, Dial, TakeMessage, Survey, Record)


@settings(max_examples=200)
@given(st.lists(EVENTS, max_size=60))
def test_every_answer_ends_with_one_effect_that_waits(events):
    machine, said = started(EVERYTHING)
    for event in [None, *events]:
        if event is not None:
            said = machine.handle(event, NOON)
        waits = [isinstance(effect, WAITING) for effect in said]
        if not said:
            continue
        if machine.left and isinstance(said[-1], Leave):
            assert not any(waits)
        else:
            assert waits[-1]
            assert sum(waits) == 1


@settings(max_examples=200)
@given(st.integers(1, 4), st.integers(0, 4), st.lists(EVENTS, max_size=40))
def test_a_question_ends_with_an_answer_of_the_right_length_or_none(low, more, events):
    machine = CollectMachine(Question(("q",), low, low + more, tries=2))
    machine.begin()
    for event in events:
        if isinstance(event, DigitPressed | PlayEnded | TimedOut):
            machine.handle(event)
    if machine.state is CollectState.DONE and machine.digits:
        assert low <= len(machine.digits) <= low + more
