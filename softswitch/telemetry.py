"""``[telemetry]``: calls and requests as OpenTelemetry traces, sent to a collector by OTLP over HTTP.

The SDK is an extra (``pip install softswitch[otel]``) and is imported only where the office has that table: who
does not ask for traces pays nothing. Spans are sent by a thread of the SDK; a collector that is away loses
them and disturbs no call.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from softswitch import __version__
from softswitch.config.problems import Problem
from softswitch.errors import ConfigError
from softswitch.spans import CallTrace, CallTraces, Span

if TYPE_CHECKING:
    from softswitch.call.cdr import JournalWriter
    from softswitch.config import Office
    from softswitch.config.office import Telemetry as Config

INSTALL = 'pip install "softswitch[otel]"'
LINGER_S = 2.0
"""After a call has ended its quality is told."""

_QUEUE_MAX = 4_096
_SEND_S = 10.0
_STOP_S = 3.0
_NEEDED = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")


def check_telemetry(office: Office) -> Iterator[Problem]:
    """Whether what ``[telemetry]`` needs is installed."""
    if office.telemetry is not None and not _installed():
        yield Problem("telemetry", "needs OpenTelemetry, which is not installed", INSTALL)


def _installed() -> bool:
    try:
        return all(find_spec(name) is not None for name in _NEEDED)
    except ModuleNotFoundError:
        return False


def load_sdk() -> None:
    """Import what `Telemetry` needs: half a second in which a loop would stand still."""
    for name in _NEEDED:
        import_module(name)


class Telemetry:
    """Sends traces. `exporter` is where to; by default the collector of `config`, in batches."""

    def __init__(self, config: Config, *, exporter: Any = None) -> None:
        if not _installed():
            raise ConfigError("telemetry", "needs OpenTelemetry, which is not installed", INSTALL)
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._traces = CallTraces(numbers=config.numbers)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._propagator = TraceContextTextMapPropagator()
        self._provider = TracerProvider(
            resource=Resource.create(
                {"service.name": config.service, "service.version": __version__}
            ),
            sampler=ParentBased(TraceIdRatioBased(config.sample)),
            shutdown_on_exit=False,
        )
        if exporter is None:
            processor: Any = BatchSpanProcessor(_otlp(config), max_queue_size=_QUEUE_MAX)
        else:
            processor = SimpleSpanProcessor(exporter)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("softswitch", __version__)
        self.sent = 0

    # -- calls -------------------------------------------------------------------------------------

    def tapped(self, journal: JournalWriter) -> JournalWriter:
        """The same journal; calls are followed by what is written into it."""
        return Tap(journal, self)

    def take_over(self, other: Telemetry) -> None:
        """Go on with the calls that `other` follows; it finishes those that have ended."""
        self._traces.take_over(other._traces, other._timers.keys())

    def noted(self, kind: str, call_id: str, data: dict[str, Any], at_s: float) -> None:
        if self._traces.take(kind, call_id, data, at_s):
            loop = asyncio.get_running_loop()
            self._timers[call_id] = loop.call_later(LINGER_S, self._finish, call_id)

    def _finish(self, call_id: str) -> None:
        self._timers.pop(call_id, None)
        trace = self._traces.finish(call_id)
        if trace is not None:
            self._send(trace)

    def _send(self, trace: CallTrace) -> None:
        from opentelemetry.trace import SpanKind, set_span_in_context

        root = self._begin(trace.root, None, SpanKind.SERVER)
        if root.is_recording():
            inside = set_span_in_context(root)
            for child in trace.children:
                self._end(self._begin(child, inside, SpanKind.INTERNAL), child)
        self._end(root, trace.root)

    def _begin(self, span: Span, context: Any, kind: Any) -> Any:
        named = {f"softswitch.{key}": value for key, value in span.attributes.items()}
        return self._tracer.start_span(
            span.name, context, kind, attributes=named, start_time=_ns(span.start_s)
        )

    def _end(self, made: Any, span: Span) -> None:
        from opentelemetry.trace import StatusCode

        for name, at_s, attributes in span.events:
            named = {f"softswitch.{key}": value for key, value in attributes.items()}
            made.add_event(name, named, _ns(at_s))
        if span.failed:
            made.set_status(StatusCode.ERROR)
        assert span.end_s is not None
        self._close(made, span.end_s)

    def _close(self, made: Any, at_s: float) -> None:
        self.sent += made.is_recording()
        made.end(_ns(at_s))

    # -- requests ----------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        route: str,
        status: int,
        *,
        began_s: float,
        ended_s: float,
        headers: Mapping[str, str],
    ) -> None:
        """One request of the API, as the semantic conventions for HTTP servers have it. `headers` may
        say of which trace it is a part (W3C Trace Context)."""
        from opentelemetry.trace import SpanKind, StatusCode

        span = self._tracer.start_span(
            f"{method} {route}",
            self._propagator.extract(headers),
            SpanKind.SERVER,
            attributes={
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
            },
            start_time=_ns(began_s),
        )
        if status >= 500:
            span.set_status(StatusCode.ERROR)
        self._close(span, ended_s)

    # -- the end -----------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, int]:
        return {"spans": self.sent, "calls": len(self._traces), "forgotten": self._traces.forgotten}

    async def stop(self) -> None:
        """Send what there is, for a moment. A collector that does not answer is not waited for."""
        for call_id, timer in list(self._timers.items()):
            timer.cancel()
            self._finish(call_id)
        over = asyncio.Event()
        loop = asyncio.get_running_loop()

        def shut_down() -> None:
            self._provider.shutdown()
            loop.call_soon_threadsafe(over.set)

        threading.Thread(target=_quietly(shut_down), daemon=True, name="telemetry-stop").start()
        try:
            async with asyncio.timeout(_STOP_S):
                await over.wait()
        except TimeoutError:
            return


def _quietly(work: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        except RuntimeError:  # the loop has gone meanwhile
            return

    return run


class Tap:
    """A journal that `telemetry` reads along with, whoever that is now; None: nobody."""

    def __init__(self, journal: JournalWriter, telemetry: Telemetry | None) -> None:
        self._journal = journal
        self.telemetry = telemetry

    @property
    def telemetry(self) -> Telemetry | None:
        """Who reads along now."""
        return self._telemetry

    @telemetry.setter
    def telemetry(self, telemetry: Telemetry | None) -> None:
        self._telemetry = telemetry
        self.append = self._journal.append if telemetry is None else self._append

    def _append(self, kind: str, call_id: str | None, data: dict[str, Any], at_s: float) -> object:
        if self._telemetry is not None and call_id is not None:
            self._telemetry.noted(kind, call_id, data, at_s)
        return self._journal.append(kind, call_id, data, at_s)


def _otlp(config: Config) -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    url = f"{config.endpoint.rstrip('/')}/v1/traces"
    return OTLPSpanExporter(endpoint=url, headers=dict(config.headers), timeout=_SEND_S)


def _ns(at_s: float) -> int:
    return int(at_s * 1e9)
