"""What is refused in flows when the office file is read, with the path of the step."""

from __future__ import annotations

import pytest

from softswitch.apps.checks import OFFICE_CHECKS
from softswitch.config import InvalidOffice, parse_office

BASE = """
[[queue]]
name = "support"
overflow = "flow:f"
[[extension]]
number = "1001"
password = "secret-1001"
"""


def problems(steps, base=""):
    base = base or BASE.replace('"flow:f"', '"hangup"')
    flow = f'{base}\n[[flow]]\nname = "f"\n'
    for keys in steps:
        flow += f"[[flow.step]]\n{keys}\n"
    try:
        parse_office(flow, checks=OFFICE_CHECKS)
    except InvalidOffice as error:
        return [f"{p.key_path}: {p.problem}" for p in error.problems]
    return []


PLAY = 'do = "play"\nprompt = "closed"'
END = 'do = "hang-up"'


@pytest.mark.parametrize(
    ("steps", "path", "words"),
    [
        ([PLAY], "step[0].next", "dead end"),
        ([f'name = "a"\n{PLAY}\nnext = "a"'], "step[0].next", "in a circle: a -> a"),
        (
            [f'name = "a"\n{PLAY}', 'name = "b"\ndo = "go"\nnext = "a"'],
            "step[1].next",
            "in a circle: a -> b -> a",
        ),
        (
            [
                'name = "a"\ndo = "menu"\nprompt = "main-menu"\noptions = { "1" = "hangup" }\nfailed = "a"'
            ],
            "step[0].failed",
            "in a circle",
        ),
        (
            ['name = "a"\ndo = "enqueue"\nqueue = "support"\nfailed = "a"', END],
            "step[0].failed",
            "in a circle",
        ),
        (
            [
                f'name = "a"\n{PLAY}',
                'do = "branch"\nvalue = "{caller}"\ncases = [{ is = "1", go = "a" }]',
                END,
            ],
            "step[1].cases[0].go",
            "in a circle",
        ),
        ([END, PLAY + '\nnext = "hangup"'], "step[1]", "is never reached"),
        ([PLAY + '\nnext = "nowhere"'], "step[0].next", 'there is no step "nowhere"'),
        ([PLAY + '\nnext = "queue:sales"'], "step[0].next", 'there is no queue "sales"'),
        ([PLAY + '\nnext = "what:x"'], "step[0].next", "is not a destination"),
        (['do = "play"', END], "step[0].prompt", 'is missing: a "play" step needs it'),
        ([PLAY + '\nqueue = "support"', END], "step[0].queue", 'is no key of a "play" step'),
        ([PLAY + '\ncolour = "red"', END], "step[0].colour", "is not a key that is known here"),
        (['do = "sing"', END], "step[0].do", "is not one of the choices"),
        (
            ['do = "menu"\nprompt = "main-menu"'],
            "step[0].options",
            "is empty: the menu offers nothing",
        ),
        (
            ['do = "menu"\nprompt = "main-menu"\noptions = { "1" = "hangup" }\nnext = "hangup"'],
            "step[0].next",
            "cannot follow",
        ),
        (['do = "hang-up"\nnext = "hangup"'], "step[0].next", "cannot follow"),
        (
            ['do = "say"\nkind = "number"\nvalue = "{ordr}"', END],
            "step[0].value",
            'there is no variable "ordr"',
        ),
        (['do = "say"\nkind = "number"\nvalue = "{a b}"', END], "step[0].value", "brace"),
        (
            ['do = "look-up"\nurl = "http://crm/"\nanswer = { x = "x" }', END],
            "step[0].url",
            "without encryption",
        ),
        (
            ['do = "look-up"\nurl = "ftp://crm/"\nanswer = { x = "x" }', END],
            "step[0].url",
            "no address",
        ),
        (['do = "dial"\nto = "queue:support"', END], "step[0].to[0]", "cannot be rung"),
        (
            ['do = "hours"\nhours = "x"\nclosed = "hangup"', END],
            "step[0].hours",
            "there is no hours",
        ),
        (['do = "voicemail"\nbox = "1001"', END], "step[0].box", "has no voicemail"),
        (
            ['do = "branch"\nvalue = "x"\ncases = [{ go = "hangup" }]', END],
            "step[0].cases[0]",
            "must hold one test",
        ),
        (
            ['do = "collect"\nprompt = "closed"\ninto = "x"\nmin_digits = 5\nmax_digits = 4', END],
            "step[0].min_digits",
            "is more than max_digits",
        ),
        (
            [f'name = "a"\n{PLAY}', f'name = "a"\n{PLAY}', END],
            "step[1].name",
            "is the same as flow[0].step[0].name",
        ),
        (
            ['do = "transfer"\nto = ["extension:1001", "queue:support"]'],
            "step[0].to",
            "several destinations",
        ),
        ([PLAY + '\nnext = "trunk:x"'], "step[0].next", "cannot lead out over a trunk"),
    ],
)
def test_is_refused_with_its_path(steps, path, words):
    found = problems(steps)
    assert any(p.startswith(f"flow[0].{path}: ") and words in p for p in found), found


def test_a_circle_through_a_queue_and_the_flow_is_refused():
    (found,) = problems(['do = "transfer"\nto = "queue:support"'], BASE)
    assert (
        found
        == (
            "flow[0].step[0].to: sends callers round in a circle: queue:support -> flow:f -> queue:support"
        )
        or "flow:f -> queue:support -> flow:f" in found
    )


def test_circles_that_a_caller_chooses_are_fine():
    assert (
        problems(
            [
                'name = "a"\ndo = "collect"\nprompt = "closed"\ninto = "x"',
                'do = "menu"\nprompt = "main-menu"\noptions = { "1" = "a" }',
            ]
        )
        == []
    )


def test_http_to_a_listed_host():
    base = BASE.replace('"flow:f"', '"hangup"') + '\n[look_up]\nhosts = ["CRM"]\n'
    steps = ['do = "look-up"\nurl = "http://crm/"\nanswer = { x = "x" }', END]
    assert problems(steps, base) == []


def test_a_thousand_steps_and_not_one_more():
    steps = [*[PLAY] * 999, END]
    assert problems(steps) == []
    (found,) = problems([PLAY, *steps])
    assert found.startswith("flow[0].step: is out of bounds")
