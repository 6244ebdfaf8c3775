"""Who has sent a call on: read from trunks and written for them, as Diversion and as History-Info."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.call.diversion import (
    DIVERSIONS_MAX,
    Diversion,
    diversion_lines,
    diversions_of,
    history_lines,
)
from softswitch.sip.message import SipRequest
from softswitch.sip.uri import SipUri

TARGET = SipUri("sip", "+8613900000000", "192.0.2.1")


def request(*lines: tuple[str, str]) -> SipRequest:
    made = SipRequest("INVITE", "sip:1001@office.example")
    for name, value in lines:
        made.headers.add(name, value)
    return made


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("<sip:+861@c>;reason=user-busy;counter=2", Diversion("+861", "user-busy", 2, "c")),
        ('"Wang" <sip:+861@c>;reason="no-answer"', Diversion("+861", "no-answer", 1, "c")),
        ("<tel:+86-1>;reason=follow-me", Diversion("+861", "follow-me", 1, "")),
        ("<sip:+861@c>;reason=because;counter=x", Diversion("+861", "unknown", 1, "c")),
        ("<sip:+861@c>;counter=0;privacy=full", Diversion("+861", "unknown", 1, "c", True)),
        ("<sip:+861@c>;counter=12345678", Diversion("+861", "unknown", 99, "c")),
        ("<sip:c>", None),
        ("<<<, nonsense", None),
        (f"<sip:{'1' * 65}@c>", None),
    ],
)
def test_what_a_trunk_writes(value, found):
    assert diversions_of(request(("Diversion", value))) == ((found,) if found else ())


def test_history_is_read_from_its_causes():
    history = (
        "<sip:+861@c>;index=1, <sip:+862@c;cause=302>;index=1.1;mp=1, "
        "<sip:+863@c;cause=408?Privacy=history>;index=1.1.1, <sip:phone@192.0.2.7>;index=1.1.1.1"
    )
    assert diversions_of(request(("History-Info", history))) == (
        Diversion("+862", "no-answer", 1, "c"),
        Diversion("+861", "unconditional", 1, "c"),
    ), "the latest first; the last entry is no diversion, but where its telephone is"


@pytest.mark.limit("diversions that a trunk tells of")
def test_so_many_are_kept():
    lines = [("Diversion", f"<sip:{n}@c>") for n in range(DIVERSIONS_MAX + 1)]
    assert [each.number for each in diversions_of(request(*lines))] == [
        str(n) for n in range(DIVERSIONS_MAX)
    ]


DIVERSIONS = st.lists(
    st.builds(
        Diversion,
        st.from_regex(r"\+?[0-9]{1,15}", fullmatch=True),
        st.sampled_from(("unconditional", "user-busy", "no-answer", "unavailable", "deflection")),
        host=st.sampled_from(("c.example", "192.0.2.1")),
        hidden=st.booleans(),
    ),
    min_size=1,
    max_size=DIVERSIONS_MAX,
)


@given(DIVERSIONS)
def test_both_ways_of_writing_are_read_again(diversions):
    assert diversions_of(request(*diversion_lines(diversions, "o"))) == tuple(diversions)
    assert diversions_of(request(*history_lines(diversions, "o", TARGET))) == tuple(diversions)


@given(st.lists(st.tuples(st.sampled_from(("Diversion", "History-Info")), st.text(max_size=60))))
def test_any_text_is_borne(lines):
    printable = [(n, "".join(c for c in v if c.isprintable())) for n, v in lines]
    diversions_of(request(*printable))
