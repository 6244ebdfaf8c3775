"""The composition root: the only place that wires concrete classes into an exchange."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from media.protocol import MediaEvent, WorkerLoad
from softswitch.api.admin import AdminServer
from softswitch.apps.acd import CallCentre
from softswitch.apps.acd_journal import AcdMemory
from softswitch.apps.call_desk import CallDesk
from softswitch.apps.callers import Callers, look_up_in
from softswitch.apps.catalogue import Catalogue, Desk
from softswitch.apps.checks import OFFICE_CHECKS
from softswitch.apps.line_codes import LineCodes
from softswitch.apps.phone_care import PhoneCare
from softswitch.apps.presence import PACKAGES
from softswitch.apps.registrar import Registrar
from softswitch.apps.requests import PhoneRequests
from softswitch.apps.sound_checks import make_sounds
from softswitch.apps.trunk_care import TrunkCare
from softswitch.call.call import Call
from softswitch.call.cdr import CallRecorder, JournalWriter
from softswitch.call.control import CallControl
from softswitch.call.dialplan import Dialplan
from softswitch.call.floods import Floods
from softswitch.call.gatekeeper import Gatekeeper
from softswitch.call.guard import Guard
from softswitch.call.identity import PhoneIdentity
from softswitch.call.line import LINE_CHANGED, Lines
from softswitch.call.trunks import TrunkRecord, Trunks
from softswitch.call.wiring import Wiring
from softswitch.chance import chance
from softswitch.collector import QuietCollector
from softswitch.commands import AdminCommands
from softswitch.config import Office, load_office
from softswitch.copies import Copies
from softswitch.environment import Environment, Machine, key_source, resolver_of
from softswitch.errors import SoftswitchError
from softswitch.hep import HepExporter
from softswitch.kept_key import kept_key
from softswitch.office_book import OfficeBook, Reloaded
from softswitch.overview import call_row, overview
from softswitch.past import close_cut_calls, recall_lines
from softswitch.prompts import Prompts
from softswitch.recordings import Recordings
from softswitch.sip import events as sip_events
from softswitch.sip.flow import Flow
from softswitch.sip.stack import SipStack, StackConfig
from softswitch.sip.uri import write_host
from softswitch.sounds import MadeSounds
from softswitch.succession import check_next, codecs_of, exporter_of, go_on_with, media_policies
from softswitch.telemetry import Tap, load_sdk
from softswitch.trace import Trace
from softswitch.traced_calls import TracedCalls
from softswitch.transport.address import own_address
from softswitch.transport.driver import Driver
from softswitch.transport.interface import Transport
from softswitch.transport.lag import LagSensor
from softswitch.turns import is_working
from softswitch.worker_loads import WorkerLoads

if TYPE_CHECKING:
    from softswitch.api.server import HttpServer
    from softswitch.apps.acd_agents import Agents, Queues
    from softswitch.apps.acd_callback import Callbacks
    from softswitch.apps.acd_contacts import Contacts
    from softswitch.apps.clerk import Clerk
    from softswitch.store import Store, StoreAlarm
    from softswitch.telemetry import Telemetry

_log = logging.getLogger("softswitch")

Handler = Callable[[Call], Awaitable[None]]
SESSIONS_MAX = 20_000
_WILDCARDS = frozenset({"0.0.0.0", "::"})
_MAY_COME_BY_STREAM = (sip_events.InviteReceived, sip_events.RequestReceived)
_OF_OUR_REQUESTS = (sip_events.ResponseReceived, sip_events.RequestFailed)
_SECRET_NAME = "secret"


class Switch:
    """A whole exchange.

    Parameters: `office`, the configuration; `environment`, what it stands on: this
    machine, unless a test says otherwise.
    """

    def __init__(self, office: Office, *, environment: Environment | None = None) -> None:
        self.office = office
        self._environment: Environment = environment if environment is not None else Machine()
        self.directory = office.storage.directory
        self._handlers: dict[str, Handler] = {}
        self._running = False
        self._started_s = 0.0
        self._loads = WorkerLoads()
        self.alarms: dict[str, str] = {}
        self.store: Store | None = None
        self.read_file: Callable[[], Office] | None = None
        self.book: OfficeBook
        self.clerk: Clerk | None = None
        self.http: HttpServer | None = None
        self.notice: Callable[[str], None] = print
        self.trace = Trace(office.trace.messages)
        self.hep: HepExporter | None = None
        self.tap: Tap
        self._stopping: set[asyncio.Task[None]] = set()

    @classmethod
    def from_toml(cls, path: str | Path) -> Switch:
        """A switch as a configuration file describes it. Raises `ConfigError`."""
        made = cls(load_office(path, checks=OFFICE_CHECKS))
        made.read_file = partial(load_office, path, checks=OFFICE_CHECKS)
        return made

    def extension(self, number: str) -> Callable[[Handler], Handler]:
        """Decorator: calls from our phones to `number` are answered by the function below."""

        def remember(handler: Handler) -> Handler:
            self._handlers[number] = handler
            return handler

        return remember

    # -- beginning and end -----------------------------------------------------------------------

    async def start(self) -> None:
        """Bind, spawn, open; on failure everything that was opened is closed again."""
        async with contextlib.AsyncExitStack() as undo:
            await self._start(undo)
            self._undo = undo.pop_all()
        self._running = True

    async def _start(self, undo: contextlib.AsyncExitStack) -> None:
        environment, office = self._environment, self.office
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        journal, store = await environment.store(office, self.directory, self._store_alarmed)
        self.store = store
        if store is not None:
            undo.push_async_callback(store.close)
            await close_cut_calls(store, environment.clock.wall_s())
        journal = self.tap = Tap(journal, environment.telemetry(office))
        undo.push_async_callback(self._stop_telemetry)
        self.book = OfficeBook(
            office,
            store,
            read_file=self.read_file,
            prepare=self._prepare,
            use=self.use_office,
            alarm=self.alarm,
        )
        office = self.office = await self.book.load()
        self.plane = environment.plane(office, self.directory, self._on_media)
        undo.push_async_callback(self.plane.stop)
        await self.plane.start()
        transports = environment.transports(office)
        for transport in transports:
            undo.callback(transport.close)
        await self._wire(journal, transports)
        self.recordings = Recordings(
            self.directory / "recordings",
            lambda: self.office,
            store,
            environment.clock,
            self.alarm,
        )
        self.control.audio.on_recorded = self.recordings.closed
        self.control.audio.on_written = self.recordings.written
        undo.push_async_callback(self.recordings.stop)
        undo.push_async_callback(self.catalogue.stop)
        undo.push_async_callback(self.callers.stop)
        undo.push_async_callback(self.centre.stop)
        undo.push_async_callback(self.control.stop)
        undo.callback(self.driver.close)
        undo.callback(self.registrar.close)
        undo.callback(self.phone_requests.close)
        undo.push_async_callback(self.trunk_care.stop)
        undo.callback(self.copy_to, None)
        await self.trunk_care.start()
        await self.centre.start()
        await self.recordings.start()
        if environment.admin():
            admin = AdminServer(self.directory, AdminCommands(self).by_name)
            undo.push_async_callback(admin.stop)
            await admin.start()
        if store is not None:
            from softswitch.apps.clerk import Clerk

            desk = self.desk
            self.clerk = Clerk(
                office,
                store,
                environment.clock,
                self.catalogue.mailboxes,
                lambda mail: desk.send_mail(mail),  # as the office says then
            )
            self.clerk.give_tickets_to(self.contacts)
            undo.push_async_callback(self.clerk.stop)
            await self.clerk.start()
        if store is not None and "http" in office.model_fields_set and environment.http():
            from softswitch.api.server import HttpServer

            self.http = HttpServer(office, store, environment.clock, self, self.notice)
            undo.push_async_callback(self.http.stop)
            await self.http.start()
        self._started_s = environment.clock.monotonic_s()

    async def _wire(self, journal: JournalWriter, transports: list[Transport]) -> None:
        desk = self._make_desk(journal)
        await self.catalogue.start()
        uniform = chance(self._environment.token)
        self._wire_signalling(journal, transports, uniform)
        self._wire_trunks(journal, transports, uniform)
        dialplan = self.dialplan = Dialplan(self.office, frozenset(self._handlers), uniform)
        self.lines = Lines(
            self.office.extensions,
            lambda data: journal.append(LINE_CHANGED, None, data, self._environment.clock.wall_s()),
            lambda text, extension: dialplan.onward(text, PhoneIdentity(extension)),
        )
        if self.store is not None:
            await recall_lines(self.store, self.lines)
        self.catalogue.add_codes(LineCodes(desk, self.lines).apps())
        self._wire_calls(desk)

    def _make_desk(self, journal: JournalWriter) -> Desk:
        """What applications work with, and the applications."""
        environment, office = self._environment, self.office
        prompts = Prompts(
            office.office.language,
            self.directory / "prompts",
            made=MadeSounds(self.directory / "sounds"),
        )
        desk = self.desk = Desk(
            office,
            self.directory,
            environment.clock,
            journal,
            prompts,
            environment.token,
            environment.mail(office),
            environment.asker(office),
        )
        self.catalogue = Catalogue(desk)
        self.catalogue.add("handler", self._run_handler)
        return desk

    def _wire_signalling(
        self, journal: JournalWriter, transports: list[Transport], uniform: Callable[[], float]
    ) -> None:
        """From the sockets to the SIP stack and the registrar."""
        environment, office = self._environment, self.office
        self.trunks = Trunks([TrunkRecord(trunk) for trunk in office.trunks])
        addresses = tuple(transport.local for transport in transports)
        anywhere = tuple((own_address(), port) for host, port in addresses if host in _WILDCARDS)
        advertised = anywhere[0] if anywhere else None
        reached_at = (*addresses, *anywhere)
        own_hosts = frozenset({office.office.domain.lower(), *(host for host, _ in reached_at)})
        report = partial(self._note_security, journal)
        self.floods = Floods(report)
        guard = Guard(report=report)
        self.gatekeeper = Gatekeeper(office, self.trunks, self._secret(), own_hosts, guard)
        config = StackConfig(
            local_addresses=reached_at,
            advertised=advertised,
            max_sessions=SESSIONS_MAX,
            event_packages=PACKAGES,
        )
        self.stack = SipStack(config, environment.token, self.gatekeeper)
        self.driver = Driver(
            self.stack,
            environment.clock,
            asyncio.get_running_loop(),
            self._on_sip,
            on_broken=self._on_broken,
            before_sending=self.plane.flush,
            token=environment.token(),
        )
        for transport in transports:
            self.driver.attach(transport)
        care = PhoneCare(office, self.stack, environment.clock, uniform, self.driver.pump)
        self.registrar = Registrar(self.stack, environment.clock, frozenset(reached_at), care)
        self.driver.sieve = self.gatekeeper.hears
        self.driver.use_ranks(self.gatekeeper.rank)
        self.driver.on_waited = self.gatekeeper.overload.waited
        self.driver.on_shed = self.floods.note
        self.driver.on_flow_lost = self.registrar.flow_lost
        self.stack.use_streams(self._stream_for)
        self.traced_calls = TracedCalls(self.stack.call_id_of)
        self.trace.of_a_call = self.traced_calls.has
        self.copy_to(exporter_of(office))

    def _wire_trunks(
        self, journal: JournalWriter, transports: list[Transport], uniform: Callable[[], float]
    ) -> None:
        """What legs stand on, and who looks after the trunks."""
        environment, office = self._environment, self.office
        self.wiring = Wiring(
            office=office,
            stack=self.stack,
            plane=self.plane,
            clock=environment.clock,
            records=CallRecorder(journal),
            token=environment.token,
            pump=self.driver.pump,
            flow_to=self.driver.flow_to,
            why_unreachable=self.driver.why_unreachable,
            random=key_source(environment.token),
            media=media_policies(office),
            codecs=codecs_of(office),
        )
        self.trunk_care = TrunkCare(
            self.trunks,
            self.stack,
            self.driver,
            environment.clock,
            resolver_of(environment, office, transports),
            office.office.domain,
            uniform,
            environment.token,
        )

    def _wire_calls(self, desk: Desk) -> None:
        """Call control, the call centre, and what else answers requests."""
        self.control = CallControl(
            self.wiring,
            dialplan=self.dialplan,
            registered=self.registrar.endpoints,
            trunks=self.trunks,
            prompts=desk.prompts,
            apps=self.catalogue.apps,
            lines=self.lines,
        )
        self.centre = CallCentre(desk, self.catalogue, self._acd_memory())
        self.centre.attach(self.control, self.registrar)
        self.callers = self._make_callers()
        self.call_desk = CallDesk(self.control, self.centre, self.dialplan, self.plane)
        self.wiring.records.watch(self.centre.watch)
        self.wiring.records.watch(self.traced_calls)
        self.phone_requests = PhoneRequests(
            self.wiring, self.control, self.registrar, self.catalogue.mailboxes, self.lines
        )
        self._methods: dict[str, Callable[[sip_events.RequestReceived, float], None]] = {
            **self.phone_requests.methods,
            "REGISTER": self.registrar.handle,
            "REFER": self.control.transfers.refer,
            "OPTIONS": lambda event, now_s: self.stack.answer_options(event.handle, now_s),
        }

    async def _prepare(self, wanted: Office) -> None:
        """Before an office is used. Raises `InvalidOffice` where it cannot be."""
        await make_sounds(wanted, self.desk.prompts)
        if wanted.telemetry is not None and self.telemetry is None:
            await asyncio.to_thread(load_sdk)
        check_next(wanted, self.driver.transports, self._environment)

    def use_office(self, office: Office) -> None:
        """Go on with another office."""
        go_on_with(self, office, self._environment)
        if self.store is not None:
            self.store.journal.append("office-changed", None, {}, self._environment.clock.wall_s())

    async def reload(self) -> Reloaded:
        """Read the office file again. Raises `InvalidOffice` where something is wrong with it: nothing
        has changed then."""
        try:
            done = await self.book.reload()
        except SoftswitchError as error:
            _log.error("the office file is not taken, the office stays as it was: %s", error)
            raise
        _log.warning("the office file was read again; changed: %s", ", ".join(done.changed) or "-")
        if done.restart:
            _log.warning("restart needed for: %s", ", ".join(done.restart))
        return done

    def _make_callers(self) -> Callers:
        """Who finds out which customer is calling."""
        callers = Callers(
            self.desk,
            in_file=self.dialplan.customer_of,
            e164=lambda number: self.dialplan.numbering.e164(number),
            last_agent=self.centre.last_agent,
            alarm=self.alarm,
        )
        if self.store is not None:
            customers = self.store.customers
            callers.look_up = look_up_in(self.store)
            callers.has_none = lambda: customers.has_none
        self.catalogue.apps.callers = callers
        return callers

    def _acd_memory(self) -> AcdMemory:
        if self.store is None:
            return AcdMemory(self.directory)
        store = self.store
        return AcdMemory(self.directory, store.entries, store.journal.flush, store.last_life_s)

    @property
    def agents(self) -> Agents:
        """The agents of the call centre, once started: log in, pause, states."""
        return self.centre.agents

    @property
    def queues(self) -> Queues:
        """The queues, once started: states, and what supervisors do with callers."""
        return self.centre.queue_desk

    @property
    def contacts(self) -> Contacts:
        """Tickets and chats in the queues, once started."""
        return self.centre.contacts

    @property
    def callbacks(self) -> Callbacks:
        """Callbacks, once started: ask for one, cancel one."""
        return self.centre.callbacks

    async def stop(self) -> None:
        """End all calls, finish the recordings and records, close everything. Idempotent."""
        if self._running:
            self._running = False
            await self._undo.aclose()

    def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Serve until SIGINT or SIGTERM, on a loop of its own. `on_ready` is called once calls are taken;
        without it that is said through `notice`."""
        asyncio.run(self.serve(on_ready or self._say_ready))

    def _say_ready(self) -> None:
        for line in self.ready_lines():
            self.notice(line)

    async def serve(self, on_ready: Callable[[], None] | None = None) -> None:
        """Serve until SIGINT or SIGTERM, on the loop that runs."""
        await self.start()
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
        collector = QuietCollector(
            loop,
            lambda: self.stack.snapshot()["transactions"],
            is_working,
            lambda: self.control.snapshot()["calls"],
        )
        collector.start()
        lag = LagSensor(loop, self.gatekeeper.overload.measured)
        lag.start()
        try:
            if on_ready is not None:
                on_ready()
            await stopped.wait()
        finally:
            lag.stop()
            collector.stop()
            await self.stop()

    def _secret(self) -> bytes:
        """The key of nonces and stateless tags, kept so that a restart does not ask phones again."""
        return kept_key(self.directory / _SECRET_NAME)

    # -- events ----------------------------------------------------------------------------------

    def _on_sip(self, event: sip_events.SipEvent, now_s: float) -> None:
        if self.control.handle_of_leg(event):
            return
        if isinstance(event, _MAY_COME_BY_STREAM) and event.flow.connection_id:
            self.driver.prove(event.flow)  # the gate has let its sender in
        if isinstance(event, _OF_OUR_REQUESTS) and (
            self.trunk_care.handle(event, now_s) or self.registrar.answered(event)
        ):
            return
        if self.control.handle_sip(event, now_s) or self.phone_requests.handle(event, now_s):
            return
        if isinstance(event, sip_events.RequestReceived):
            answer = self._methods.get(event.request.method)
            if answer is not None:
                answer(event, now_s)
            elif event.session is None:
                self.stack.respond(event.handle, 481, now_s=now_s)  # a NOTIFY that nobody asked for
            else:
                headers = self.stack.allowed_events  # in a call; 481 would end it (RFC 5057 5.1)
                self.stack.respond(event.handle, 489, headers=headers, now_s=now_s)

    def _stream_for(self, flow: Flow) -> Flow | None:
        """For large requests. Not to phones: those behind a NAT are reached by their own flow only."""
        return self.driver.stream_to(flow.remote) if self.trunks.reach(flow.remote) else None

    def _on_broken(self, event: sip_events.SipEvent, error: Exception) -> None:
        session = getattr(event, "session", None)
        if session is not None:
            self.control.break_call(session, error)

    def _on_media(self, event: MediaEvent) -> None:
        if isinstance(event, WorkerLoad):
            self._loads.note(event, self._environment.clock.monotonic_s())
        elif self._running:
            self.control.handle_media(event)

    def _store_alarmed(self, alarm: StoreAlarm) -> None:
        self.alarm(f"store.{alarm.source}", alarm.reason if alarm.active else "")

    def alarm(self, name: str, reason: str) -> None:
        """Raise an alarm, seen in `status` until it is taken back with the reason ""."""
        before = self.alarms.get(name, "")
        if reason:
            self.alarms[name] = reason
        else:
            self.alarms.pop(name, None)
        if bool(before) != bool(reason) and self.store is not None:
            kind = "alarm-raised" if reason else "alarm-cleared"
            data = {"alarm": name, "reason": reason or before}
            self.store.journal.append(kind, None, data, self._environment.clock.wall_s())

    async def _run_handler(self, call: Call, number: str) -> None:
        await self._handlers[number](call)

    @property
    def is_running(self) -> bool:
        """Started, and not about to stop."""
        return self._running

    # -- what it shows ---------------------------------------------------------------------------

    def ready_lines(self) -> list[str]:
        """What `serve` prints when calls can be taken."""
        where = ", ".join(
            f"{transport.name}://{write_host(*transport.local)}"
            for transport in self.driver.transports
        )
        return [f"{self.office.office.name}: ready on {where} (Ctrl-C ends it)"]

    def snapshot(self, *, people: bool = True) -> dict[str, Any]:
        """Everything `status` shows, as plain values; without `people` no row for each telephone and agent."""
        now_s = self._environment.clock.monotonic_s()
        uptime_s = now_s - self._started_s
        return overview(self, now_s, uptime_s, self._loads, people=people)

    def call_rows(self) -> list[dict[str, Any]]:
        """The calls that go on, as plain values."""
        wall_s = self._environment.clock.wall_s()
        return [call_row(call, wall_s) for call in self.control.calls]

    def _reload_soon(self) -> None:
        async def reload() -> None:
            with contextlib.suppress(SoftswitchError):  # it is in the log
                await AdminCommands(self).reload({"who": "hang-up signal"})

        self._reloading = asyncio.create_task(reload())

    def _note_security(self, journal: JournalWriter, kind: str, data: dict[str, Any]) -> None:
        _log.warning("%s: %s", kind, data)
        journal.append(kind, None, data, self._environment.clock.wall_s())

    @property
    def telemetry(self) -> Telemetry | None:
        """Who sends traces now."""
        return self.tap.telemetry

    def trace_by(self, wanted: Telemetry | None) -> None:
        """Let another one send traces, or nobody; the calls that go on are handed over."""
        before, self.tap.telemetry = self.tap.telemetry, wanted
        if before is None:
            return
        if wanted is not None:
            wanted.take_over(before)
        task = asyncio.create_task(before.stop())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def _stop_telemetry(self) -> None:
        await asyncio.gather(*self._stopping)
        if self.telemetry is not None:
            await self.telemetry.stop()

    def copy_to(self, hep: HepExporter | None) -> None:
        """Copy SIP messages to a collector from now on, and to no other; None: to nobody."""
        if self.hep is not None:
            self.hep.close()
        self.hep = hep
        self.driver.tap = self.trace.tap
        if hep is not None:
            copies = Copies(
                hep,
                self.trace,
                self.traced_calls,
                self.wall_of,
                knows=self.gatekeeper.knows,
                strangers_per_s=self.office.trace.strangers_per_s,
            )
            self.driver.tap = copies.tap

    def wall_of(self, monotonic_s: float) -> float:
        """The wall clock's time at a moment of the monotonic one."""
        clock = self._environment.clock
        return clock.wall_s() - clock.monotonic_s() + monotonic_s
