"""A telephone in a browser: Chromium without a window and JsSIP, which npm fetches for the test and which is
kept nowhere else. The page asks the test what to do and says what has happened."""

from __future__ import annotations

import base64
import hashlib
import json
import queue
import subprocess
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from .ports import HOST, free_port
from .process import WAIT_S, Process, require, wait_until

JSSIP, BUNDLER = "jssip@3.13.8", "esbuild@0.25.12"
PAGE = Path(__file__).parent.parent / "browser" / "phone.html"


class Browser:
    """One page with one telephone.

    Parameters: `number`/`password` of the extension, `domain` of the office, `ws` the URL of the switch's
    WebSocket; `certificate` of a wss:// switch (PEM): no other certificate is taken.
    """

    def __init__(
        self,
        directory: Path,
        *,
        number: str,
        password: str,
        domain: str,
        ws: str,
        certificate: Path | None = None,
    ) -> None:
        program = require("chromium", "chromium")
        script = jssip()
        self.number = number
        self.said: list[dict[str, Any]] = []
        self._commands: queue.Queue[list[Any]] = queue.Queue()
        self._server = _serve(script, self.said, self._commands)
        self._thread = threading.Thread(target=self._server.serve_forever, name="browser's page")
        self._thread.start()
        settings = urlencode(
            {"number": number, "password": password, "domain": domain, "ws": ws, "rtp": free_port()}
        )
        command = [
            program,
            "--headless=new",
            "--no-sandbox",
            "--no-first-run",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--user-data-dir={directory / 'profile'}",
        ]
        if certificate is not None:
            command.append(f"--ignore-certificate-errors-spki-list={fingerprint(certificate)}")
        command.append(f"http://{HOST}:{self._server.server_port}/?{settings}")
        self.process = Process("chromium", command, directory)
        try:
            self.wait("loaded")
        except BaseException:
            self.close()
            raise

    def do(self, command: str, *parameters: Any) -> None:
        """One of the page's COMMANDS."""
        self._commands.put([command, *parameters])

    def mark(self) -> int:
        return len(self.said)

    def wait(self, what: str, *, since: int = 0, timeout_s: float = WAIT_S) -> dict[str, Any]:
        """Wait until the page has said so."""

        def found() -> dict[str, Any] | None:
            errors = [said for said in self.said if said["what"] == "error"]
            assert not errors, errors
            return next((said for said in self.said[since:] if said["what"] == what), None)

        return wait_until(
            found,
            lambda: f"{what} from the browser; it said {self.said}\n{self.process.tail()}",
            timeout_s=timeout_s,
        )

    def close(self) -> None:
        self.process.stop()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _serve(
    script: bytes, said: list[dict[str, Any]], commands: queue.Queue[list[Any]]
) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/next":
                try:
                    command = commands.get(timeout=1.0)
                except queue.Empty:
                    self._answer(204, b"", "text/plain")
                else:
                    self._answer(200, json.dumps(command).encode(), "application/json")
            elif self.path == "/jssip.js":
                self._answer(200, script, "text/javascript")
            elif self.path.startswith("/?"):
                self._answer(200, PAGE.read_bytes(), "text/html")
            else:
                self._answer(404, b"", "text/plain")

        def do_POST(self) -> None:
            said.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._answer(204, b"", "text/plain")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing: a failure tells what the page said."""

    return ThreadingHTTPServer((HOST, 0), Handler)


def fingerprint(certificate: Path) -> str:
    """What Chromium knows a public key by: base64 of the SHA-256 of its SubjectPublicKeyInfo."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    octets = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(hashlib.sha256(octets).digest()).decode()


@cache
def jssip() -> bytes:
    """JsSIP as one script that makes `window.JsSIP`; a skip where npm cannot fetch it."""
    npm = require("npm", "npm")
    with TemporaryDirectory(prefix="jssip-") as directory:
        flags = ["--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--no-save"]
        done = _run([npm, "install", "--prefix", directory, *flags, JSSIP, BUNDLER], directory)
        if done.returncode != 0:
            pytest.skip(f"npm cannot fetch {JSSIP}: {done.stderr.strip()[-200:]}")
        bundler = f"{directory}/node_modules/.bin/esbuild"
        name = JSSIP.partition("@")[0]
        flags = ["--bundle", "--global-name=JsSIP", "--outfile=bundle.js", "--log-level=error"]
        done = _run([bundler, f"node_modules/{name}/lib/JsSIP.js", *flags], directory)
        assert done.returncode == 0, done.stderr
        return Path(directory, "bundle.js").read_bytes()


def _run(command: list[str], directory: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=directory
    )
