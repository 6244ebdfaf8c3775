"""The switch and its peers as fixtures; every process that a test starts ends with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.peers.audio import LATE_S, Samples, write_speech
from tests.interop.peers.baresip import Baresip
from tests.interop.peers.lossy import LossyPath
from tests.interop.peers.process import Process
from tests.interop.peers.server import OfficeFile, Server, password_of
from tests.interop.peers.sipp import Sipp


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.interop)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a switch: `serve(recording="all", trunks=[...])`, fields of OfficeFile."""
    servers: list[Server] = []

    def start(**office: object) -> Server:
        server = Server(tmp_path / f"office-{len(servers)}", OfficeFile(**office))  # type: ignore[arg-type]
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()
    for server in servers:
        assert not server.trouble(), server.trouble()


@pytest.fixture
def sipp(tmp_path: Path) -> Iterator[Callable[..., Sipp]]:
    """Start a SIPp; the parameters of Sipp without the directory."""
    started: list[Sipp] = []

    def start(scenario: str, **options: object) -> Sipp:
        peer = Sipp(tmp_path / f"sipp-{len(started)}", scenario, **options)  # type: ignore[arg-type]
        started.append(peer)
        return peer

    yield start
    for peer in started:
        peer.stop()


@dataclass(frozen=True, slots=True)
class Voice:
    path: Path
    samples: Samples


@pytest.fixture(scope="session")
def voices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Voice]:
    """The speech of "caller", "callee" and "other", each a WAV between silences; "caller-late" and so
    on keep silent for the first LATE_S seconds."""
    directory = tmp_path_factory.mktemp("voices")
    found = {}
    for who in ("caller", "callee", "other"):
        for name, before_s in ((who, 0.5), (f"{who}-late", LATE_S)):
            path = directory / f"{name}.wav"
            found[name] = Voice(path, write_speech(path, who, before_s=before_s))
    return found


@pytest.fixture
def baresip(tmp_path: Path, voices: dict[str, Voice]) -> Iterator[Callable[..., Baresip]]:
    """Start a registered baresip: `baresip(server, "1001", plays="caller")`."""
    started: list[Baresip] = []

    def start(server: Server | str, number: str, *, plays: str, **options: object) -> Baresip:
        address = server if isinstance(server, str) else server.address
        directory = tmp_path / f"baresip-{number}-{len(started)}"
        directory.mkdir()
        phone = Baresip(
            directory,
            number=number,
            password=str(options.pop("password", password_of(number))),
            server=address,
            plays=voices[plays].path,
            **options,  # type: ignore[arg-type]
        )
        started.append(phone)
        return phone

    yield start
    for phone in started:
        phone.close()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start any other process: `process(name, [command, ...])`."""
    started: list[Process] = []

    def start(name: str, command: list[str]) -> Process:
        child = Process(name, command, tmp_path / name)
        started.append(child)
        return child

    yield start
    for child in started:
        child.stop()


@pytest.fixture
def lossy() -> Iterator[Callable[..., LossyPath]]:
    """Lay a lossy path to a server; the parameters of LossyPath."""
    laid: list[LossyPath] = []

    def lay(server: str, **options: object) -> LossyPath:
        path = LossyPath(server, **options)  # type: ignore[arg-type]
        laid.append(path)
        return path

    yield lay
    for path in laid:
        path.close()
