"""The switch and its peers as fixtures; every process that a test starts ends with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from softswitch.ports import give_back
from tests.interop.peers.audio import LATE_S, SOON_S, write_speech
from tests.interop.peers.baresip import Baresip
from tests.interop.peers.kamailio import Kamailio
from tests.interop.peers.lossy import LossyPath
from tests.interop.peers.process import Process
from tests.interop.peers.server import Server
from tests.interop.peers.sipp import Sipp
from tests.interop.peers.stage import Stage, Voice


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.interop)


@pytest.fixture(scope="session")
def voices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Voice]:
    """The speech of "caller", "callee" and "other", each a WAV between silences; "caller-late" and so
    on keep silent for the first LATE_S seconds, "caller-soon" for SOON_S."""
    directory = tmp_path_factory.mktemp("voices")
    found = {}
    for who in ("caller", "callee", "other"):
        for name, before_s in ((who, 0.5), (f"{who}-soon", SOON_S), (f"{who}-late", LATE_S)):
            path = directory / f"{name}.wav"
            found[name] = Voice(path, write_speech(path, who, before_s=before_s))
    return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, voices: dict[str, Voice]) -> Iterator[Stage]:
    """What is started for all tests of a file: one exchange and its telephones, for short tests that leave
    both as they were."""
    stage = Stage(tmp_path_factory.mktemp("shared"), voices)
    yield stage
    stage.close()


@pytest.fixture
def office(the_office: Server) -> Iterator[Server]:
    """The exchange that the tests of a file share, which its `the_office` (scope "module") starts: what it has
    recorded before is left out, and it is idle at the end."""
    the_office.mark()
    yield the_office
    the_office.wait_idle()


@pytest.fixture(scope="module", autouse=True)
def _ports() -> Iterator[None]:
    """Those of a file are given back when all that used them has ended."""
    yield
    give_back()


@pytest.fixture
def stage(tmp_path: Path, voices: dict[str, Voice]) -> Iterator[Stage]:
    """What is started for one test; the fixtures below are its verbs."""
    stage = Stage(tmp_path, voices)
    yield stage
    stage.close()


@pytest.fixture
def serve(stage: Stage) -> Callable[..., Server]:
    return stage.serve


@pytest.fixture
def sipp(stage: Stage) -> Callable[..., Sipp]:
    return stage.sipp


@pytest.fixture
def baresip(stage: Stage) -> Callable[..., Baresip]:
    return stage.baresip


@pytest.fixture
def kamailio(stage: Stage) -> Callable[..., Kamailio]:
    return stage.kamailio


@pytest.fixture
def process(stage: Stage) -> Callable[..., Process]:
    return stage.process


@pytest.fixture
def lossy(stage: Stage) -> Callable[..., LossyPath]:
    return stage.lossy
