"""What is started for a test, or for all tests of a file: exchanges and peers, each ended by its id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .audio import Samples
from .baresip import Baresip
from .kamailio import Kamailio
from .lossy import LossyPath
from .process import Process
from .script import Script
from .server import OfficeFile, Server, password_of
from .sipp import Sipp


@dataclass(frozen=True, slots=True)
class Voice:
    path: Path
    samples: Samples


class Stage:
    """Starts things below `directory`; `close` ends them, exchanges last, which must have had no trouble."""

    def __init__(self, directory: Path, voices: dict[str, Voice]) -> None:
        self.directory = directory
        self._voices = voices
        self._servers: list[Server] = []
        self._sipps: list[Sipp] = []
        self._phones: list[Baresip] = []
        self._kamailios: list[Kamailio] = []
        self._processes: list[Process] = []
        self._paths: list[LossyPath] = []

    def serve(self, **office: object) -> Server:
        """Start a switch: `serve(recording="all", trunks=[...])`, fields of OfficeFile."""
        directory = self.directory / f"office-{len(self._servers)}"
        server = Server(directory, OfficeFile(**office))  # type: ignore[arg-type]
        self._servers.append(server)
        server.start()
        return server

    def sipp(self, scenario: str | Script, **options: object) -> Sipp:
        """Start a SIPp; the parameters of Sipp without the directory."""
        peer = Sipp(self.directory / f"sipp-{len(self._sipps)}", scenario, **options)  # type: ignore[arg-type]
        self._sipps.append(peer)
        return peer

    def baresip(
        self, server: Server | str, number: str, *, plays: str, **options: object
    ) -> Baresip:
        """Start a registered baresip: `baresip(server, "1001", plays="caller")`."""
        address = server if isinstance(server, str) else server.address
        directory = self.directory / f"baresip-{number}-{len(self._phones)}"
        directory.mkdir()
        phone = Baresip(
            directory,
            number=number,
            password=str(options.pop("password", password_of(number))),
            server=address,
            plays=self._voices[plays].path,
            **options,  # type: ignore[arg-type]
        )
        self._phones.append(phone)
        return phone

    def kamailio(self, kind: type[Kamailio], *arguments: object, **options: object) -> Kamailio:
        """Start one of a kind: `kamailio(Proxy, next_hop)`; the parameters of the class without the
        directory."""
        directory = self.directory / f"kamailio-{len(self._kamailios)}"
        self._kamailios.append(kind(directory, *arguments, **options))  # type: ignore[arg-type]
        return self._kamailios[-1]

    def process(self, name: str, command: list[str]) -> Process:
        """Start any other process."""
        child = Process(name, command, self.directory / name)
        self._processes.append(child)
        return child

    def lossy(self, server: str, **options: object) -> LossyPath:
        """Lay a lossy path to a server; the parameters of LossyPath."""
        path = LossyPath(server, **options)  # type: ignore[arg-type]
        self._paths.append(path)
        return path

    def close(self) -> None:
        for phone in self._phones:  # they leave by the way they came: it must still be there
            phone.close()
        for path in self._paths:
            path.close()
        for child in self._processes:
            child.stop()
        for carrier in self._kamailios:
            carrier.close()
        for peer in self._sipps:
            peer.stop()
        for server in self._servers:
            server.stop()
        for server in self._servers:
            assert not server.trouble(), server.trouble()
