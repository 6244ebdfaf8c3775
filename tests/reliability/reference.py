"""A second opinion on the four transactions, told as a story rather than as an automaton.

Written from RFC 3261 section 17 and RFC 6026 without states or timers: from the times of what happens, the
times of what is sent follow in closed form. `Story` is what an observer of one transaction sees.
"""

from __future__ import annotations

from collections.abc import Iterator

T1, T2, T4 = 0.5, 4.0, 5.0
GIVE_UP = 64 * T1
NEVER = float("inf")

Happening = tuple[float, str, int]
"""(when, what, status): "response", "request", "ack", "answer" or "lost"."""

Story = list[tuple[float, str]]


def doubling(start: float, most: float = NEVER) -> Iterator[float]:
    """The times of retransmissions: after T1, then after twice as long each time, at most `most`."""
    at, gap = start, T1
    while True:
        at += gap
        yield at
        gap = min(2 * gap, most)


def repeated(story: Story, times: Iterator[float], until: float, what: str) -> None:
    for at in times:
        if at >= until:
            return
        story.append((at, what))


def invite_client(happenings: list[Happening], *, reliable: bool) -> Story:
    """Figure 5 of RFC 3261, with the Accepted phase of RFC 6026."""
    story: Story = [(0.0, "send request")]
    relevant = iter(h for h in happenings if h[1] in ("response", "lost"))
    first = next(relevant, None)
    quiet_until = min(first[0] if first else NEVER, GIVE_UP)
    if not reliable:
        repeated(story, doubling(0.0), quiet_until, "send request")
    if first is None or first[0] >= GIVE_UP:
        return [*story, (GIVE_UP, "fail 408"), (GIVE_UP, "end")]
    event: Happening | None = first
    while event is not None and event[1] == "response" and event[2] < 200:
        story.append((event[0], f"pass {event[2]}"))
        event = next(relevant, None)
    if event is None:
        return story  # it rings for as long as the user lets it
    at, what, status = event
    if what == "lost":
        return [*story, (at, "fail 503"), (at, "end")]
    end = at + GIVE_UP
    if status < 300:
        story.append((at, f"pass {status}"))
        story += [
            (t, f"pass {s}")
            for t, w, s in relevant
            if w == "response" and 200 <= s < 300 and t < end
        ]
        return [*story, (end, "end")]
    story += [(at, "send ack"), (at, f"pass {status}")]
    if reliable:
        return [*story, (at, "end")]
    for t, w, s in relevant:
        if t >= end:
            break
        if w == "lost":
            end = t
            break
        if s >= 300:
            story.append((t, "send ack"))
    return [*story, (end, "end")]


def non_invite_client(happenings: list[Happening], *, reliable: bool) -> Story:
    """Figure 6."""
    story: Story = [(0.0, "send request")]
    relevant = [h for h in happenings if h[1] in ("response", "lost")]
    final = next((h for h in relevant if h[1] == "lost" or h[2] >= 200), (NEVER, "", 0))
    over = min(final[0], GIVE_UP)
    life = next((h[0] for h in relevant if h[1] == "response" and h[2] < 200), NEVER)
    if not reliable:
        at, gap = 0.0, T1
        while (at := at + gap) < over:
            story.append((at, "send request"))
            gap = T2 if life < at else min(2 * gap, T2)
    story += [(t, f"pass {s}") for t, w, s in relevant if w == "response" and s < 200 and t < over]
    if final[0] >= GIVE_UP:
        return [*story, (GIVE_UP, "fail 408"), (GIVE_UP, "end")]
    if final[1] == "lost":
        return [*story, (over, "fail 503"), (over, "end")]
    return [*story, (over, f"pass {final[2]}"), (over if reliable else over + T4, "end")]


def invite_server(happenings: list[Happening], *, reliable: bool) -> Story:
    """Figure 7, with the Accepted phase of RFC 6026."""
    story: Story = [(0.0, "pass request")]
    relevant = iter(happenings)
    said = ""
    final: Happening | None = None
    for at, what, status in relevant:
        if what == "lost":
            return [*story, (at, "fail 503"), (at, "end")]
        if what == "answer":
            said = f"send {status}"
            story.append((at, said))
            if status >= 200:
                final = (at, what, status)
                break
        elif what == "request" and said:
            story.append((at, said))
    if final is None:
        return story
    at, end = final[0], final[0] + GIVE_UP
    if final[2] < 300:
        for t, what, status in relevant:
            if t >= end:
                break
            if what == "ack":
                story.append((t, "pass ack"))
            if what == "answer" and 200 <= status < 300:
                story.append((t, f"send {status}"))
        return [*story, (end, "end")]
    rest = [h for h in relevant if h[1] in ("ack", "request", "lost")]
    closing = next((h for h in rest if h[1] in ("ack", "lost")), (NEVER, "", 0))
    over = min(closing[0], end)
    if not reliable:
        repeated(story, doubling(at, T2), over, said)
    story += [(t, said) for t, what, _ in rest if what == "request" and t < over]
    if closing[0] >= end:
        return [*story, (end, "fail 408"), (end, "end")]
    if closing[1] == "lost":
        return [*story, (over, "fail 503"), (over, "end")]
    return [*story, (over if reliable else over + T4, "end")]


def non_invite_server(happenings: list[Happening], *, reliable: bool) -> Story:
    """Figure 8."""
    story: Story = [(0.0, "pass request")]
    relevant = iter(h for h in happenings if h[1] != "ack")
    said = ""
    for at, what, status in relevant:
        if what == "lost":
            return [*story, (at, "fail 503"), (at, "end")]
        if what == "request" and said:
            story.append((at, said))
        if what == "answer":
            said = f"send {status}"
            story.append((at, said))
            if status >= 200:
                break
    else:
        return story
    if reliable:
        return [*story, (at, "end")]
    end = at + GIVE_UP
    for t, what, _ in relevant:
        if t >= end:
            break
        if what == "lost":
            return [*story, (t, "fail 503"), (t, "end")]
        if what == "request":
            story.append((t, said))
    return [*story, (end, "end")]
