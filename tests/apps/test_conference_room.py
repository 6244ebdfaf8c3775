"""The room machine: who is let in and heard, and what keys do; and what holds whatever happens."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softswitch.apps.conference_room import (
    GAIN_DB_MAX,
    KEY_WITHIN_S,
    TONES_MAX,
    Admit,
    Came,
    EndAsked,
    Expel,
    Hold,
    LockAsked,
    Mute,
    Pressed,
    RemovalAsked,
    RoomMachine,
    Rules,
    SoundAsked,
    Tell,
    Went,
)


class Room:
    """A machine on a clock, with keys pressed two at a time."""

    def __init__(self, **rules):
        self.machine = RoomMachine(Rules(**rules))
        self.now_s = 0.0

    def tell(self, event):
        return self.machine.handle(event, self.now_s)

    def come(self, *who, moderator=False, name=""):
        return [effect for each in who for effect in self.tell(Came(each, moderator, name))]

    def keys(self, who, keys, every_s=0.5):
        said = []
        for key in keys:
            said = self.tell(Pressed(who, key))
            self.now_s += every_s
        return said


def test_the_first_is_alone_and_the_others_are_heard_coming_and_going():
    room = Room()
    assert room.come("a") == [Admit("a", alone=True)]
    assert room.come("b") == [
        Admit("b"),
        Tell("a", ("conference-enter",)),
        Tell("b", ("conference-enter",)),
    ]
    assert room.tell(Went("a")) == [Tell("b", ("conference-leave",))]
    assert room.tell(Went("a")) == []


def test_names_instead_of_tones_and_neither():
    room = Room(names=True)
    room.come("a", name="/a.wav")
    said = room.come("b", name="/b.wav")
    assert Tell("a", ("/b.wav", "conference-joined")) in said
    assert Tell("b", ("conference-enter",)) in said
    assert room.come("c")[1:] == [Tell(w, ("conference-enter",)) for w in "abc"], "said no name"
    assert room.tell(Went("b"))[0] == Tell("a", ("/b.wav", "conference-left"))
    quiet = Room(tones=False)
    assert quiet.come("a", "b") == [Admit("a", alone=True), Admit("b")]


def test_a_large_room_hears_nobody_come():
    room = Room()
    crowd = [str(n) for n in range(TONES_MAX)]
    room.come(*crowd)
    assert room.come("n") == [Admit("n")]
    assert len(room.tell(Went("n"))) == TONES_MAX


def test_members_wait_for_the_moderator():
    room = Room(wait_for_moderator=True)
    assert room.come("a", "b") == [Hold("a"), Hold("b")]
    assert room.keys("a", "*1") == [], "nobody to be muted for yet"
    assert room.tell(Went("b")) == []
    said = room.come("m", moderator=True)
    assert said[:2] == [Admit("a"), Admit("m")]
    room.tell(Went("m"))
    assert room.come("c")[0] == Admit("c"), "it has begun"


def test_a_moderator_who_comes_first():
    room = Room(wait_for_moderator=True)
    assert room.come("m", moderator=True) == [Admit("m", alone=True)]
    assert room.come("a")[0] == Admit("a")


def test_it_ends_with_the_last_moderator():
    room = Room(end_with_moderator=True)
    room.come("a")
    room.come("m", "n", moderator=True)
    assert not any(isinstance(e, Expel) for e in room.tell(Went("m")))
    assert room.tell(Went("n")) == [Expel("a", "conference-ended")]


@pytest.fixture
def meeting():
    room = Room()
    room.come("m", moderator=True)
    room.come("a", "b")
    return room


def test_mute_oneself(meeting):
    assert meeting.keys("a", "*1") == [Mute("a", True), Tell("a", ("conference-muted",))]
    assert meeting.keys("a", "*1") == [Mute("a", False), Tell("a", ("conference-unmuted",))]


def test_mute_all(meeting):
    said = meeting.keys("m", "*2")
    assert [e for e in said if isinstance(e, Mute)] == [Mute("a", True), Mute("b", True)]
    assert Tell("m", ("conference-all-muted",)) in said
    assert meeting.keys("a", "*1") == [Tell("a", ("conference-all-muted",))], "not by himself"
    assert meeting.come("c")[0] == Admit("c", muted=True)
    assert meeting.keys("m", "*1")[0] == Mute("m", True), "a moderator mutes himself"
    said = meeting.keys("m", "*2")
    assert [e.who for e in said if isinstance(e, Mute)] == ["a", "b", "c"]


def test_lock(meeting):
    assert meeting.keys("m", "*3") == [Tell("m", ("conference-locked",))]
    assert meeting.machine.refusal(False) == "locked"
    assert meeting.machine.refusal(True) == ""
    assert meeting.keys("m", "*3") == [Tell("m", ("conference-unlocked",))]
    assert meeting.machine.refusal(False) == ""


def test_remove_count_help_and_end(meeting):
    assert meeting.keys("m", "*4") == [Expel("b", "conference-removed")]
    assert meeting.keys("a", "*5") == [Tell("a", ("3", "conference-participants"))]
    assert meeting.keys("a", "*0") == [Tell("a", ("conference-help",))]
    assert meeting.keys("m", "**") == [Tell("m", ("conference-moderator-help",))]
    assert meeting.keys("m", "*9") == [Expel(w, "conference-ended") for w in "mab"]


@pytest.mark.parametrize("key", "23496#")
def test_members_have_no_moderators_keys(meeting, key):
    assert meeting.keys("a", f"*{key}") == []
    assert not meeting.machine.locked


def test_a_star_alone_is_forgotten_and_keys_without_a_star_are_nothing(meeting):
    assert meeting.keys("m", "9") == []
    assert meeting.keys("m", "*9", every_s=KEY_WITHIN_S + 0.1) == []
    assert meeting.keys("m", "*9", every_s=KEY_WITHIN_S) != []


def test_by_program(meeting):
    assert meeting.tell(SoundAsked("a", muted=True)) == [Mute("a", True)]
    assert meeting.tell(RemovalAsked("a")) == [Expel("a", "conference-removed")]
    assert meeting.tell(RemovalAsked("x")) == []
    meeting.tell(LockAsked(True))
    assert meeting.machine.refusal(False) == "locked"
    assert len(meeting.tell(EndAsked())) == 3


def test_full_at_n_and_not_before():
    room = Room(max_participants=2)
    room.come("a")
    assert room.machine.refusal(False) == ""
    room.come("b")
    assert room.machine.refusal(True) == "full"


PEOPLE = st.sampled_from("abcm")
EVENTS = st.one_of(
    st.builds(Came, PEOPLE, st.booleans(), st.sampled_from(["", "/n.wav"])),
    st.builds(Went, PEOPLE),
    st.builds(Pressed, PEOPLE, st.sampled_from("*0123456789#")),
    st.builds(SoundAsked, PEOPLE, st.booleans()),
    st.builds(RemovalAsked, PEOPLE),
    st.builds(LockAsked, st.booleans()),
)


@settings(max_examples=300)
@given(st.lists(EVENTS, max_size=40), st.booleans(), st.booleans())
def test_effects_are_for_people_who_are_there_and_nobody_is_heard_who_waits(events, wait, end):
    machine = RoomMachine(Rules(wait_for_moderator=wait, end_with_moderator=end, names=True))
    inside: set[str] = set()
    heard: set[str] = set()
    for number, event in enumerate(events):
        if isinstance(event, Came) and (event.who in inside or machine.refusal(event.moderator)):
            continue
        if isinstance(event, Came):
            inside.add(event.who)
        effects = machine.handle(event, float(number))
        if isinstance(event, Went):
            inside.discard(event.who)
            heard.discard(event.who)
        for effect in effects:
            assert effect.who in inside
            match effect:
                case Admit(who):
                    assert who not in heard
                    heard.add(who)
                case Mute(who) | Tell(who):
                    assert who in heard
                case Hold(who):
                    assert who not in heard
    waiting = {who for who, person in machine.people.items() if person.waiting}
    assert waiting == inside - heard
    if waiting:
        assert not machine.begun


def test_one_is_made_louder_or_deaf_by_program_and_louder_by_keys():
    room = Room()
    room.come("a", "b")
    assert room.tell(SoundAsked("a", gain_db=-6.0)) == [Mute("a", False, False, -6.0)]
    assert room.tell(SoundAsked("a", deaf=True)) == [Mute("a", False, True, -6.0)], "stays softer"
    assert room.keys("a", "*1")[0] == Mute("a", True, True, -6.0), "and deaf"
    assert room.tell(SoundAsked("a", muted=False, deaf=False, gain_db=99.0)) == [
        Mute("a", False, False, GAIN_DB_MAX)
    ]
    assert room.tell(SoundAsked("nobody", deaf=True)) == []
    for louder in (3.0, 6.0, 9.0, 12.0, 12.0):
        assert room.keys("b", "*8") == [Mute("b", False, False, louder)]
    for softer in (*range(9, -13, -3), -12):
        assert room.keys("b", "*7") == [Mute("b", False, False, float(softer))]


def test_what_was_made_of_somebody_who_waits_holds_when_he_is_let_in():
    room = Room(wait_for_moderator=True)
    room.come("a", "b")
    assert room.tell(SoundAsked("a", deaf=True, gain_db=3.0)) == []
    said = room.come("m", moderator=True)
    at = said.index(Admit("a"))
    assert said[at + 1] == Mute("a", False, True, 3.0)
    assert not any(isinstance(effect, Mute) and effect.who == "b" for effect in said)
