"""Tickets and chats: given to agents by the rules of calls, beside their calls."""

from __future__ import annotations

import asyncio

import pytest

from routing.model import Media
from softswitch.apps.acd_contacts import TextContact
from softswitch.errors import CallError, QueueUnavailable
from softswitch.sim.behaviour import answer
from softswitch.sim.centre import QUEUE_NUMBER, centre_office
from softswitch.sim.loop import simulated
from softswitch.sim.world import World
from tests.apps.test_acd_memory import again

TICKETS = """
[[queue]]
name = "tickets"
route = ["priority", "skill", "longest-idle"]
skill = "billing >= 1"

[[customer]]
phone = ["+8613800000001"]
name = "Wang Wei"
priority = 5
"""
AGENTS = {
    "lilei": 'queues = ["support", "tickets"]\nskills = { billing = 2 }',
    "mary": 'queues = ["support", "tickets"]',
}


def office():
    return centre_office(agents=AGENTS, more=TICKETS)


class News(list):
    def kinds(self, contact):
        return [news.kind for news in self if news.contact == contact]


@simulated()
async def test_tickets_go_to_who_has_the_skill_and_room_and_do_not_keep_him_from_calls():
    async with World(1, office=office()) as world:
        switch, news = world.switch, News()
        switch.contacts.listen(news.append)
        phone = await world.phone("1001", behaviour=answer(after_s=1.0))
        switch.agents.log_in("lilei")
        switch.agents.log_in("mary")
        for number in range(5):
            switch.contacts.add(TextContact(f"ticket-{number}", "tickets"))
        await asyncio.sleep(0)
        mine = [state for state in switch.contacts.all() if state.agent == "lilei"]
        assert [state.contact for state in mine] == ["ticket-0", "ticket-1", "ticket-2"]
        assert news.kinds("ticket-0") == ["queued", "offered", "assigned"]
        assert news.kinds("ticket-4") == ["queued"]
        status = switch.agents.state("lilei")
        assert (status.state, status.call) == ("available", ""), "tickets engage nobody"

        carrier = await world.trunk("carrier-1")
        call = await carrier.call(QUEUE_NUMBER, from_user="01055550001")
        await phone.incoming()
        await asyncio.sleep(15)
        assert switch.agents.state("lilei").state == "on-contact"
        call.hang_up()
        await call.ended()

        switch.contacts.done("ticket-0")
        assert news.kinds("ticket-0")[-1] == "closed"
        await asyncio.sleep(0)
        assert switch.contacts.state("ticket-3").agent == "lilei"
        switch.agents.log_out("lilei")
        await asyncio.sleep(30)
        assert switch.agents.state("lilei").state == "logged-out", "tickets keep nobody at work"
        for state in switch.contacts.all():
            if state.phase == "connected":
                switch.contacts.done(state.contact)
            else:
                switch.contacts.withdraw(state.contact)
        await world.settle()


@simulated()
async def test_tickets_are_shown_apart_from_calls_wherever_queues_and_agents_are():
    """Nobody waits for a ticket on a telephone: not in the figures, nor in what a caller is told."""
    more = TICKETS.replace('skill = "billing >= 1"', "")
    async with World(9, office=centre_office(agents=AGENTS, more=more)) as world:
        switch = world.switch
        phone = await world.phone("1001", behaviour=answer(after_s=1.0))
        switch.agents.log_in("lilei")
        for number in range(5):
            switch.contacts.add(TextContact(f"ticket-{number}", "support"))
        await asyncio.sleep(600)
        (row, _) = switch.snapshot()["queues"]
        assert (row["waiting"], row["longest_wait_s"]) == (0, 0.0)
        assert (row["tickets_waiting"], row["longest_ticket_s"]) == (2, pytest.approx(600.0))
        assert row["entered"] == row["answered"] == 0
        switch.agents.pause("lilei", "meal")
        carrier = await world.trunk("carrier-1")
        call = await carrier.call(QUEUE_NUMBER, from_user="01055550001")
        await call.answered()
        await asyncio.sleep(30)
        (row, _) = switch.snapshot()["queues"]
        assert (row["waiting"], row["longest_wait_s"]) == (1, pytest.approx(30.0, abs=1.0))
        (first, *rest) = switch.queues.waiting("support")
        assert (first.media, first.position) == (Media.CALL, 1)
        assert [(view.media, view.position) for view in rest] == [
            (Media.TICKET, 1),
            (Media.TICKET, 2),
        ]
        assert [view.wait for view in rest] == [None, None]
        groups = switch.centre.host.counts
        assert (groups.waiting_from(""), groups.tickets_from("")) == (1, 2)
        assert groups.waiting_from("(others)") == groups.tickets_from("(others)") == 0
        switch.agents.resume("lilei")
        await phone.incoming()
        await asyncio.sleep(30)
        agent = switch.agents.state("lilei")
        assert (agent.calls, agent.offered, agent.accepted, agent.tickets) == (1, 1, 1, 3)
        (row, _) = switch.snapshot()["queues"]
        assert row["occupancy"] == pytest.approx(30 / 630, rel=0.1)
        assert (row["waiting"], row["tickets_waiting"], row["answered"]) == (0, 2, 1)
        call.hang_up()
        await call.ended()
        for state in sorted(switch.contacts.all(), key=lambda state: state.agent):
            leave = switch.contacts.done if state.agent else switch.contacts.withdraw
            leave(state.contact)
        await world.settle()


@simulated()
async def test_a_ticket_waits_for_days_by_priority_and_is_moved_by_hand():
    async with World(2, office=office()) as world:
        contacts, news = world.switch.contacts, News()
        contacts.listen(news.append)
        contacts.add(TextContact("ticket-1", "tickets"))
        contacts.add(TextContact("ticket-2", "tickets", caller="+8613800000001"))
        await asyncio.sleep(3 * 86_400)
        assert [s.phase for s in contacts.all()] == ["waiting", "waiting"], "nobody overflows"
        contacts.update("ticket-1", priority=1e9)
        assert contacts.state("ticket-1").position == 1
        with pytest.raises(CallError, match="not at work"):
            contacts.give("ticket-2", "mary")
        world.switch.agents.log_in("mary")
        contacts.give("ticket-2", "mary")
        await asyncio.sleep(0)
        assert contacts.state("ticket-2").agent == "mary", "past the skill"
        assert contacts.state("ticket-1").agent == ""
        contacts.give("ticket-2", "lilei")
        assert contacts.state("ticket-2").agent == "lilei"
        contacts.requeue("ticket-2")
        await asyncio.sleep(0)
        assert contacts.state("ticket-2").phase == "waiting"
        contacts.withdraw("ticket-1", "solved")
        contacts.withdraw("ticket-2", "merged")
        assert contacts.all() == []
        closed = [e.data["reason"] for e in world.journal.of_kind("acd-closed")]
        assert closed == ["solved", "merged"]
        await world.settle()


@simulated()
async def test_a_chat_is_asked_for_first():
    async with World(3, office=office()) as world:
        contacts, news = world.switch.contacts, News()
        contacts.listen(news.append)
        world.switch.agents.log_in("lilei")
        contacts.add(TextContact("chat-1", "support", Media.CHAT))
        assert world.switch.agents.state("lilei").state == "offered"
        contacts.reject("chat-1")
        await asyncio.sleep(20)
        contacts.accept("chat-1")
        status = world.switch.agents.state("lilei")
        assert (status.offered, status.rejected, status.accepted) == (2, 1, 1)
        (ended,) = world.journal.of_kind("acd-offer-ended")
        assert ended.data["reason"] == "rejected"
        assert contacts.state("chat-1").agent == "lilei"
        assert world.switch.agents.state("lilei").state == "on-contact"
        contacts.done("chat-1", "customer")
        assert "closed" in news.kinds("chat-1")
        await asyncio.sleep(60)
        await world.settle()


@simulated()
async def test_what_is_refused():
    async with World(4, office=office()) as world:
        contacts = world.switch.contacts
        with pytest.raises(QueueUnavailable):
            contacts.add(TextContact("ticket-1", "nowhere"))
        with pytest.raises(CallError, match="no text"):
            contacts.add(TextContact("ticket-1", "tickets", Media.CALL))
        contacts.add(TextContact("ticket-1", "tickets"))
        with pytest.raises(CallError, match="already"):
            contacts.add(TextContact("ticket-1", "tickets"))
        with pytest.raises(CallError, match="nobody"):
            contacts.accept("ticket-1")
        with pytest.raises(CallError, match="unknown contact"):
            contacts.done("ticket-2")
        contacts.withdraw("ticket-1")
        await world.settle()


@simulated()
@pytest.mark.parametrize("with_snapshot", [False, True])
async def test_tickets_survive_a_crash_in_line_and_in_hand(with_snapshot):
    async with World(5, office=office()) as first:
        contacts = first.switch.contacts
        first.switch.agents.log_in("lilei")
        for number in range(4):
            contacts.add(TextContact(f"ticket-{number}", "tickets"))
        await asyncio.sleep(10)
        assert contacts.state("ticket-3").phase == "waiting"
        snapshot = first.switch.centre.host.take_snapshot() if with_snapshot else None
        async with again(first, 6, down_s=600.0, snapshot=snapshot) as second:
            contacts, news = second.switch.contacts, News()
            contacts.listen(news.append)
            states = {state.contact: state.agent for state in contacts.all()}
            assert states == {
                "ticket-0": "lilei",
                "ticket-1": "lilei",
                "ticket-2": "lilei",
                "ticket-3": "",
            }
            await second.phone("1001")
            contacts.done("ticket-1")
            await asyncio.sleep(1)
            assert contacts.state("ticket-3").agent == "lilei"
            for state in contacts.all():
                contacts.done(state.contact)
            await second.settle()
