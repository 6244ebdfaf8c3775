"""The HTTP server: uvicorn in the exchange's own loop.

The port is taken at the start, so that a taken one is an error at once; what is heavy (a second of
imports) is loaded in a thread afterwards, while calls are served already. Until then connections
wait in the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from softswitch.config import HostPort
from softswitch.errors import ConfigError

if TYPE_CHECKING:
    from uvicorn import Config, Server

    from softswitch.api.service import Service
    from softswitch.clock import Clock
    from softswitch.config import Office
    from softswitch.store import Store
    from softswitch.switch import Switch

_log = logging.getLogger(__name__)

THREADS = 2
_BACKLOG = 128
_STOP_S = 3


class HttpServer:
    """The API of one exchange at ``[http] listen``.

    `notice` shows a line to whoever started the exchange: at the first start the administrator's
    password, which is written nowhere.
    """

    def __init__(
        self,
        office: Office,
        store: Store,
        clock: Clock,
        switch: Switch,
        notice: Callable[[str], None],
    ) -> None:
        self._office = office
        self._store = store
        self._clock = clock
        self._switch = switch
        self._notice = notice
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="api")
        self._socket: socket.socket | None = None
        self._server: Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.service: Service | None = None
        self.ready = asyncio.Event()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        assert self._socket is not None
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    async def start(self) -> None:
        """Take the port and begin. Raises `ConfigError` for a port that cannot be had."""
        host, port = self._office.http.listen
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Named, since asyncio turns Nagle's algorithm off for connections whose socket says TCP only: an
        # answer's body waited for the acknowledgement of its head, 40 ms where clients delay that.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            problem = f"{self._office.http.listen} cannot be listened on: {error.strerror}"
            what = "an address of this machine and a free port"
            raise ConfigError("http.listen", problem, what) from None
        listener.setblocking(False)
        self._socket = listener
        self._task = asyncio.create_task(self._run(), name="http server")

    @property
    def reached_at(self) -> str:
        """Where it is reached from this machine: host and port as in a URL."""
        host, port = self.address
        if host in ("0.0.0.0", "::"):
            host = "127.0.0.1" if host == "0.0.0.0" else "::1"
        return str(HostPort(host, port))

    async def stop(self) -> None:
        """Finish the requests at hand and close."""
        if self.service is not None:
            self.service.stopping.set()
            self.service.events.stop()
        if self._server is not None:
            self._server.should_exit = True
        if self._task is not None:
            if self._server is None:
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.service is not None:
            await self.service.stop()
        if self._socket is not None:
            self._socket.close()
        self._executor.shutdown(wait=True, cancel_futures=True)

    async def _make_service(self) -> None:
        loop = asyncio.get_running_loop()
        self.service = await loop.run_in_executor(self._executor, self._service)
        await self.service.start()
        await self.service.accounts.load()
        password = await self.service.accounts.first_admin()
        if password is not None:
            self._notice(
                f"The API is at http://{self._office.http.listen}/ (a page that says what it offers): log in "
                f"as admin with {password} (shown this once), then choose another."
            )

    def _service(self) -> Service:
        from softswitch.api.accounts import Accounts
        from softswitch.api.service import Service
        from softswitch.api.sessions import KEY_NAME, Sessions
        from softswitch.kept_key import kept_key

        sessions = Sessions(kept_key(self._office.storage.directory / KEY_NAME))
        return Service(
            store=self._store,
            clock=self._clock,
            switch=self._switch,
            sessions=sessions,
            accounts=Accounts(self._switch, self._store, self._clock, sessions, self._executor),
            executor=self._executor,
        )

    async def _run(self) -> None:
        try:
            await self._make_service()
            loop = asyncio.get_running_loop()
            self._server = await loop.run_in_executor(self._executor, self._uvicorn)
            if not gc.isenabled():
                # The collector of the exchange is at work: what has been loaded here is never garbage, and
                # walking it took a quarter of a second each time, for calls and requests alike.
                gc.freeze()
            self.ready.set()
            await self._server.serve(sockets=[self._socket] if self._socket is not None else [])
        except asyncio.CancelledError:
            raise
        except Exception:
            # Calls go on without it.
            _log.exception("the API has failed and is not served")

    def _uvicorn(self) -> Server:
        from uvicorn import Server

        from softswitch.api.app import build_app

        assert self.service is not None
        app = build_app(self.service)
        asyncio.run(warm(app))

        class InOurLoop(Server):
            """Signals are the switch's."""

            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield

        config = server_options(app)
        config.load()
        return InOurLoop(config)


async def warm(app: Any) -> None:
    """Ask for what there is not, in a loop of one's own: what FastAPI and anyio make or load when they are
    asked for the first time took 50 to 110 ms of the loop that carries calls, router by router."""
    import anyio.lowlevel
    from starlette.requests import empty_receive

    async def ignore(message: Any) -> None:
        pass

    await anyio.lowlevel.checkpoint()
    scope = {"type": "http", "method": "GET", "path": "/-", "root_path": "", "headers": []}
    await app.router({**scope, "query_string": b""}, empty_receive, ignore)


def _is_news(record: logging.LogRecord) -> bool:
    """uvicorn calls a WebSocket that we have refused with an answer a mistake of ours: strangers could fill the
    log with that."""
    return "without completing handshake" not in str(record.msg)


def server_options(app: Any) -> Config:
    """How uvicorn serves `app`: bounded, silent, and without the signals, which are the switch's."""
    from uvicorn import Config

    from softswitch.api.connection import ApiConnection

    logging.getLogger("uvicorn.error").addFilter(_is_news)

    return Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=ApiConnection,
        ws="websockets-sansio",
        ws_max_size=1 << 16,
        ws_per_message_deflate=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_STOP_S,
        h11_max_incomplete_event_size=64 * 1024,
    )
