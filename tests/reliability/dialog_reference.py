"""A second opinion on calls and their dialogs, kept as a diary rather than as state.

Written from RFC 3261 sections 9, 12 to 15 and RFC 3311: a dialog is the list of what was said in it, and its
sequence numbers, route set and remote target are read off that list when somebody asks. Transactions, timers
and the wire are elsewhere; messages are names and numbers. `Said` is what an observer of the wire sees.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Routes = tuple[str, ...]
Said = tuple[object, ...]
"""("answer", status, CSeq number, method), or what `Diary.asking` gives."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A request of the peer inside a dialog. `tag` is our tag in it, `fork` its own."""

    method: str
    number: int
    contact: str | None = None
    offers: bool = False
    tag: str = ""
    fork: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of the peer to what we asked; `ours` is that request as it was said."""

    ours: Said
    status: int
    fork: str = ""
    contact: str | None = None
    record_routes: Routes = ()


@dataclass(slots=True)
class Diary:
    """One dialog: `pages` holds ("contact", uri), ("routes", set), ("asked", method), ("heard", number)."""

    own_tag: str
    their_tag: str
    first_number: int
    pages: list[tuple[str, object]] = field(default_factory=list)

    def write(self, what: str, value: object) -> None:
        if value is not None:
            self.pages.append((what, value))

    def all(self, what: str) -> list[object]:
        return [value for name, value in self.pages if name == what]

    @property
    def target(self) -> str:
        return str(self.all("contact")[-1])

    @property
    def routes(self) -> Routes:
        found = self.all("routes")[-1]
        assert isinstance(found, tuple)
        return found

    @property
    def own_number(self) -> int:
        return self.first_number + len(self.all("asked"))

    @property
    def their_number(self) -> int | None:
        return max((n for n in self.all("heard") if isinstance(n, int)), default=None)

    def asking(self, method: str, number: int | None = None) -> Said:
        """A request of ours as 12.2.1.1 has it; `number` for an ACK, which takes none of its own."""
        if number is None:
            self.write("asked", method)
            number = self.own_number
        routes, uri = self.routes, self.target
        if routes and ";lr" not in routes[0]:  # a strict router
            uri, routes = routes[0].strip("<>"), (*routes[1:], f"<{self.target}>")
        return ("ask", method, number, uri, routes, self.own_tag, self.their_tag)

    def is_new(self, number: int) -> bool:
        """Whether a request of the peer is in order; it is remembered then."""
        if number <= (-1 if self.their_number is None else self.their_number):
            return False
        self.write("heard", number)
        return True


class Call:
    """What both directions share: a dialog that stands, until both sides have said good-bye."""

    def __init__(self) -> None:
        self.diary: Diary | None = None
        self.phase = "new"
        self.closed = False  # for the one who uses us
        self.our_invite: Said | None = None  # a re-INVITE without final response
        self.theirs: Heard | None = None  # an offer that we have not answered
        self.unacked: int | None = None
        self.ended: dict[Said, tuple[bool, Said]] = {}  # re-INVITEs: accepted or not, and its ACK
        self.done: set[Said] = set()  # other requests of ours that have their answer

    def dialogs(self) -> int:
        """How many are to be known to the stack."""
        return int(self.phase not in ("new", "over"))

    # -- the peer asks -----------------------------------------------------------------------------

    def hear(self, request: Heard) -> list[Said]:
        diary = self.diary_of(request)
        if diary is None:
            return [] if request.method == "ACK" else [answer(481, request)]
        if request.method == "ACK":
            return self.hear_ack(request.number)
        if not diary.is_new(request.number):
            return [answer(500, request)]
        return self.hear_in_order(request, diary)

    def diary_of(self, request: Heard) -> Diary | None:
        diary = self.diary
        if diary is None or self.phase == "over":
            return None
        same = (request.tag, request.fork) == (diary.own_tag, diary.their_tag)
        return diary if same else None

    def hear_in_order(self, request: Heard, diary: Diary) -> list[Said]:
        method = request.method
        if method == "BYE":
            said = [answer(200, request), *self.refuse_theirs(487)]
            self.closed = True
            self.phase = "owing" if self.our_invite else "over"
            return said
        if self.closed:
            return [answer(481, request)]
        if method in ("INFO", "OPTIONS"):
            return [answer(200, request)]
        if method == "UPDATE" and not request.offers:
            diary.write("contact", request.contact)
            return [answer(200, request)]
        status = self.crossing(method)
        if status:
            return [answer(status, request)]
        self.theirs = request
        return []

    def crossing(self, method: str) -> int:
        """What an offer gets that comes while another exchange is open (14.2; RFC 3311 5.2); 0: it may come."""
        if self.our_invite is not None:
            return 491
        if self.theirs is not None:
            return 500
        if self.unacked is not None:
            return 491 if method == "INVITE" else 500
        return 0

    def hear_ack(self, number: int) -> list[Said]:
        if number == self.unacked:
            self.unacked = None
        return []

    # -- the peer answers --------------------------------------------------------------------------

    def hear_answer(self, heard: Answer) -> list[Said]:
        ours, status = heard.ours, heard.status
        diary = self.diary
        if status < 200 or diary is None:
            return []
        if ours[1] == "INVITE":
            return self.hear_final(heard, diary)
        if ours in self.done:
            return []
        self.done.add(ours)
        if ours[1] == "BYE" and self.phase == "leaving" and ours[6] == diary.their_tag:
            self.phase = "owing" if self.our_invite else "over"
        elif ours[1] == "INFO" and status == 481 and self.phase == "up":
            return self.good_bye()
        return []

    def hear_final(self, heard: Answer, diary: Diary) -> list[Said]:
        """The end of a re-INVITE of ours: an ACK in any case, the dialog's or the transaction's."""
        ours, accepted = heard.ours, heard.status < 300
        if ours in self.ended:
            before, ack = self.ended[ours]
            return [ack] if accepted == before else []
        self.our_invite = None
        said: list[Said] = [("ask", "ACK", *ours[2:])]
        if accepted:
            if self.phase == "up":
                diary.write("contact", heard.contact)
            said = [diary.asking("ACK", int(str(ours[2])))]
        self.ended[ours] = (accepted, said[0])
        if heard.status in (408, 481) and self.phase == "up":
            return [*said, *self.good_bye()]
        if self.phase == "owing":
            self.phase = "over"
        return said

    # -- we do something ---------------------------------------------------------------------------

    def may(self, what: str) -> bool:
        up = self.phase == "up" and not self.closed
        if what == "reinvite":
            return up and self.our_invite is None and self.theirs is None and self.unacked is None
        if what in ("take", "refuse"):
            return self.theirs is not None
        return up and what in ("hang up", "info")

    def do(self, what: str) -> list[Said]:
        diary = self.diary
        assert diary is not None
        if what == "hang up":
            return self.good_bye()
        if what == "info":
            return [diary.asking("INFO")]
        if what == "reinvite":
            self.our_invite = diary.asking("INVITE")
            return [self.our_invite]
        if what == "refuse":
            return self.refuse_theirs(488)
        assert self.theirs is not None
        request, self.theirs = self.theirs, None
        diary.write("contact", request.contact)
        if request.method == "INVITE":
            self.unacked = request.number
        return [answer(200, request)]

    def refuse_theirs(self, status: int) -> list[Said]:
        request, self.theirs = self.theirs, None
        return [] if request is None else [answer(status, request)]

    def good_bye(self) -> list[Said]:
        assert self.diary is not None
        self.closed, self.phase, self.unacked = True, "leaving", None
        return [*self.refuse_theirs(487), self.diary.asking("BYE")]


class CallToUs(Call):
    """The peer's INVITE (12.1.1, 13.3)."""

    def __init__(self, invite: Heard, record_routes: Routes) -> None:
        super().__init__()
        self.invite = invite
        self.phase = "ringing"
        self.diary = Diary(invite.tag, invite.fork, 0)
        self.diary.write("contact", invite.contact)
        self.diary.write("routes", record_routes)
        self.diary.write("heard", invite.number)
        self.told = False

    def may(self, what: str) -> bool:
        if what in ("ring", "accept", "reject"):
            return self.phase == "ringing"
        if what == "hang up":
            return self.phase in ("ringing", "answered", "up") and not self.closed
        if what == "info":
            return not self.closed and (self.told or self.phase in ("answered", "up"))
        return super().may(what)

    def do(self, what: str) -> list[Said]:
        if what == "ring":
            self.told = True
            return [answer(180, self.invite)]
        if what == "accept":
            self.phase, self.unacked = "answered", self.invite.number
            return [answer(200, self.invite)]
        if what == "reject" or (what == "hang up" and self.phase == "ringing"):
            self.phase, self.closed = "over", True
            return [answer(486 if what == "reject" else 480, self.invite)]
        if what == "hang up" and self.phase == "answered":
            self.closed = True  # the good-bye waits for the ACK (15)
            return []
        return super().do(what)

    def hear_in_order(self, request: Heard, diary: Diary) -> list[Said]:
        if request.method == "BYE" and self.phase == "ringing":
            self.phase, self.closed = "over", True
            return [answer(200, request), answer(487, self.invite)]
        return super().hear_in_order(request, diary)

    def crossing(self, method: str) -> int:
        return 500 if self.phase == "ringing" else super().crossing(method)

    def hear_ack(self, number: int) -> list[Said]:
        if self.phase == "answered" and number == self.unacked:
            self.unacked, self.phase = None, "up"
            return self.good_bye() if self.closed else []
        return super().hear_ack(number)


class CallOfOurs(Call):
    """Our INVITE, answered by whoever it was forked to (9.1, 12.1.2, 13.2)."""

    def __init__(self, invite: Said, forks_max: int) -> None:
        super().__init__()
        self.invite = invite
        self.forks_max = forks_max
        self.forks: dict[str, Diary] = {}
        self.late: dict[str, Diary] = {}  # of forks that lost
        self.phase = "calling"
        self.refused: Said | None = None  # the ACK of the refusal
        self.accepted: dict[str, Said] = {}
        self.cancelled = False

    def dialogs(self) -> int:
        if self.phase in ("calling", "ringing", "cancelling"):
            return len(self.forks)
        return super().dialogs()

    def may(self, what: str) -> bool:
        if what == "hang up" and self.phase in ("calling", "ringing"):
            return True
        return super().may(what)

    def do(self, what: str) -> list[Said]:
        if what == "hang up" and self.phase in ("calling", "ringing"):
            before, self.phase, self.closed = self.phase, "cancelling", True
            return self.cancel() if before == "ringing" else []
        return super().do(what)

    def cancel(self) -> list[Said]:
        said = [] if self.cancelled else [("ask", "CANCEL", *self.invite[2:])]
        self.cancelled = True
        return said

    def diary_of(self, request: Heard) -> Diary | None:
        if self.diary is None and self.phase != "over":
            fork = self.forks.get(request.fork)
            return fork if fork is not None and request.tag == fork.own_tag else None
        return super().diary_of(request)

    def hear(self, request: Heard) -> list[Said]:
        if self.diary is None and self.closed and request.method != "ACK":
            return [answer(481, request)]
        return super().hear(request)

    def hear_in_order(self, request: Heard, diary: Diary) -> list[Said]:
        if self.diary is not None:
            return super().hear_in_order(request, diary)
        if request.method == "BYE":
            return [answer(481, request)]  # a callee may not (15)
        if request.method == "INVITE" or request.offers:
            return [answer(491, request)]  # our own offer is open
        return super().hear_in_order(request, diary)

    def hear_answer(self, heard: Answer) -> list[Said]:
        if heard.ours != self.invite:
            return super().hear_answer(heard)
        if heard.status < 200:
            return self.hear_provisional(heard)
        if heard.status < 300:
            return [] if self.refused else self.hear_2xx(heard)
        if self.accepted:
            return []
        if self.refused is None:
            self.refused = ("ask", "ACK", *self.invite[2:6], heard.fork)
            self.phase, self.closed = "over", True
        return [self.refused]

    def hear_provisional(self, heard: Answer) -> list[Said]:
        if self.refused or self.accepted:
            return []
        if self.phase == "cancelling":
            return self.cancel()
        self.phase = "ringing"
        if heard.fork and heard.fork not in self.forks and len(self.forks) < self.forks_max:
            self.forks[heard.fork] = self.opened(heard)
        return []

    def opened(self, heard: Answer) -> Diary:
        diary = Diary(str(self.invite[5]), heard.fork, int(str(self.invite[2])))
        diary.write("contact", self.invite[3])
        diary.write("contact", heard.contact)
        diary.write("routes", heard.record_routes[::-1])
        return diary

    def hear_2xx(self, heard: Answer) -> list[Said]:
        known = self.accepted.get(heard.fork)
        if known is not None:
            return [known]
        first = self.phase in ("calling", "ringing")
        # An early dialog that there is goes on, with its numbers (13.2.2.4).
        diary = self.forks.pop(heard.fork, None) or self.late.get(heard.fork) or self.opened(heard)
        diary.write("contact", heard.contact)
        diary.write("routes", heard.record_routes[::-1])  # anew, 13.2.2.4
        ack = self.accepted[heard.fork] = diary.asking("ACK", diary.first_number)
        if first:
            self.phase, self.diary = "up", diary
            self.lose_forks()
            return [ack]
        if self.phase == "cancelling":
            self.phase, self.diary = "leaving", diary
            self.lose_forks()
        return [ack, diary.asking("BYE")]

    def lose_forks(self) -> None:
        self.late.update(self.forks)
        self.forks.clear()


def answer(status: int, request: Heard) -> Said:
    return ("answer", status, request.number, request.method)
