"""A lossy path on real sockets: the seeded relay of the test kit, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading

from softswitch.sim.link import Link
from softswitch.sim.loss_relay import LossRelay

from .ports import free_port


class LossyPath:
    """Relays between peers and `server` ("host:port") and loses `loss` of all datagrams each way.

    Parameters: `host`, an address of its own from which the server hears all who come this way.
    """

    def __init__(self, server: str, *, host: str, loss: float, seed: int) -> None:
        name, _, port = server.rpartition(":")
        link = Link(loss=loss, delay_s=0.0)
        self.port = free_port()
        self._relay = LossRelay(
            (name, int(port)), up=link, down=link, seed=seed, host=host, port=self.port
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lossy path")
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._relay.open(), self._loop).result(10)
        except BaseException:
            self._end()
            raise

    def snapshot(self) -> dict[str, int]:
        return self._relay.snapshot()

    def close(self) -> None:
        """From now on the way leads nowhere; may be called twice."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._relay.close(), self._loop).result(10)
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
