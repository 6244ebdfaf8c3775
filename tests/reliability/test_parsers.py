"""Row 7: every parser of what comes from outside gives a value or the typed error, whatever arrives; and none
of them is forgotten.

`make test` bends 200,000 inputs for each of them, `make soak` ten million (`SOFTSWITCH_FUZZ_SCALE` scales
that), in pieces of a million that may be taken up again: `SOFTSWITCH_FUZZ_DONE=DIR` keeps what is done. A
failure shows the input.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from tests.reliability.parsers import PARSERS
from tests.rows import Row, memory_kb

ROOT = Path(__file__).parents[2]
SCALE = float(os.environ.get("SOFTSWITCH_FUZZ_SCALE", "1"))
SEED = int(os.environ.get("SOFTSWITCH_SEED", "1"))
PIECE = 1_000_000
FEW, MANY = 200_000, 10_000_000
ENTERS_ALL = 300
"""Inputs that enter all of a parser."""
NAMES = [name for name in PARSERS if name != "SIP messages"]  # they are row 6


pytestmark = pytest.mark.usefixtures("unlogged")


def fuzz(name: str, seed: int, count: int) -> int:
    """Read `count` inputs; gives by how many KB the process has grown."""
    parser = PARSERS[name]
    inputs = parser.inputs(seed)
    first = max(2000, count // 20)  # they warm caches
    parser.run(islice(inputs, first))
    before_kb = memory_kb()
    parser.run(islice(inputs, count - first))
    return memory_kb() - before_kb


@pytest.mark.parametrize("name", PARSERS)
def test_the_seeds_themselves_are_right(name: str) -> None:
    """What is bent must be right before, or only refusals would be tested."""
    parser = PARSERS[name]
    assert parser.seeds
    parser.run(iter(parser.seeds))
    parser.run(iter(parser.also))


@pytest.mark.unhurried
@pytest.mark.parametrize("name", NAMES)
def test_a_value_or_the_typed_error(name: str, row: Row) -> None:
    row(7, name, seed=SEED, inputs=FEW, unhandled=0, grown_KB=fuzz(name, SEED, FEW))


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_ten_million_of_each(name: str, row: Row) -> None:
    count = int(MANY * SCALE)
    pieces = max(1, count // PIECE)
    kept = os.environ.get("SOFTSWITCH_FUZZ_DONE")
    file = Path(kept, name.replace("/", " ")) if kept else None
    grown_kb = [int(word) for word in file.read_text().split()] if file and file.exists() else []
    for piece in range(len(grown_kb), pieces):
        grown_kb.append(fuzz(name, SEED + piece, count // pieces))
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(" ".join(map(str, grown_kb)))
    row(7, name, seed=SEED, inputs=count, unhandled=0, grown_KB=sum(grown_kb))


# -- none is forgotten --------------------------------------------------------------------------------

READS = frozenset(
    (
        "loads", "unpack", "unpack_from", "iter_unpack", "b64decode",
        "urlsafe_b64decode", "unhexlify", "fromhex", "reader", "DictReader", "urlsplit", "urlparse",
        "parse_qs", "parse_qsl", "parsebytes", "message_from_bytes", "parseaddr", "fromstring",
        "fromisoformat", "strptime", "from_wire", "fullmatch",
    )
)  # fmt: skip
"""Calls that turn octets or text into something; `decode` only of msgspec. Arrays of samples are no text."""

_DECODERS = ("msgspec.json", "msgspec.msgpack")

NAMED = ("parse", "_parse", "read_", "unpack")
"""Beginnings of the names of functions that read something, whatever they do it with."""

_ROWS = "rows of our own tables, written by us"
_LOAD = "a load generator's own processes and operator"
_SIM = "the test kit"
OURS = {
    "softswitch/api/admin.py:ask": "the command line's side: our own server answers",
    "softswitch/api/app.py:Envelope.__call__": "one pattern against a path; uvicorn and h11 have parsed it",
    "softswitch/api/conditional.py:Readers.change": "one pattern against a header",
    "softswitch/api/conditional.py:_lasting": "an answer that we have just written",
    "softswitch/api/idempotency.py:once": "one pattern against a header",
    "softswitch/api/oidc.py:Issuer._ask": "JSON as `look-ups` read it; tests/api/test_oidc.py has bad issuers",
    "softswitch/api/oidc.py:_allowed": "addresses of a configured issuer",
    "softswitch/api/routes/*": "typed bodies and queries: tests/api/test_schema.py sends what no schema allows",
    "softswitch/apps/mailbox.py:Mailboxes._box": "one pattern against a name",
    "softswitch/apps/mailbox.py:Mailboxes._read": "files by our own names; a damaged one is left out",
    "softswitch/call/lookup.py:fetch": "opens the connection; `read_answer` and `read_json` read",
    "softswitch/call/lookup.py:post": "the same",
    "softswitch/cli/*": "the command line of the office's owner",
    "softswitch/config/values.py:text_like": "makes a check; the check itself is entered",
    "softswitch/config/values.py:parse_collector": "one key of [homer], by the same function as `listen`",
    "softswitch/load/plan.py:decode": _LOAD,
    "softswitch/load/plan.py:parse_target": "one pattern, then the DNS is asked",
    "softswitch/load/port_io.py:_stamp_keeper": "the kernel's note beside a datagram of our own to ourselves",
    "softswitch/load/run.py:_Worker._read": _LOAD,
    "softswitch/load/sipp_call.py:SippCall._word": _LOAD,
    "softswitch/load/sipp_xml.py:read_script": "opens the file; `parse_script` reads",
    "softswitch/pcap.py:_checksum": "what we write ourselves",
    "softswitch/recordings.py:_calls_of": "one pattern against a name",
    "softswitch/sim/*": _SIM,
    "softswitch/store/answers.py:KeptAnswers.find": _ROWS,
    "softswitch/store/column_counts.py:_Counting.count": _ROWS,
    "softswitch/store/column_fill.py:read_names": _ROWS,
    "softswitch/store/columns.py:Layout.unpack": _ROWS,
    "softswitch/store/customer_merges.py:_merge": _ROWS,
    "softswitch/store/debts.py:owed_to": _ROWS,
    "softswitch/store/entries.py:JournalEntries.after": _ROWS,
    "softswitch/store/evaluations.py:_evaluation": _ROWS,
    "softswitch/store/first_contacts.py:_Part.rows": _ROWS,
    "softswitch/store/ledger.py:Ledger.lines": _ROWS,
    "softswitch/store/lines.py:LineSettings.all": _ROWS,
    "softswitch/store/log.py:EntryLog.read_after": "opens the file; `read_line` reads",
    "softswitch/store/office_entries.py:Seal.open": "what our own key has sealed",
    "softswitch/store/projection.py:record_of": _ROWS,
    "softswitch/store/recordings.py:Recordings.made_at": _ROWS,
    "softswitch/store/samples.py:_called_back": _ROWS,
    "softswitch/store/samples.py:_sampling_rule": _ROWS,
    "softswitch/store/migrations/versions/v0031_stretches.py:_entries_in": _ROWS,
    "softswitch/store/scorecards.py:_scorecard": _ROWS,
    "softswitch/store/ticket_settings.py:_kept": _ROWS,
    "softswitch/store/tickets.py:ticket_of": _ROWS,
    "softswitch/store/tokens.py:_token": _ROWS,
    "softswitch/store/webhooks.py:*": _ROWS,
    "media/client.py:_random_ssrcs": "random octets",
    "media/plane/packet_io.py:*": "addresses as the kernel writes them",
    "media/plane/player.py:read_source": "opens the file; `wav.read` reads",
    "media/process.py:WorkerProcess.read_all": "opens the socket; `unpack_events` reads",
}
"""What reads nothing of strangers, by path or by path and function, and why."""


def functions(path: Path) -> Iterator[tuple[str, int, ast.AST]]:
    """(qualified name, first line as Python counts it, node) of every function of a file."""

    def walk(node: ast.AST, within: tuple[str, ...]) -> Iterator[tuple[str, int, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([child.lineno, *(each.lineno for each in child.decorator_list)])
                yield ".".join((*within, child.name)), first, child
                yield from walk(child, (*within, child.name))
            elif isinstance(child, ast.ClassDef):
                yield from walk(child, (*within, child.name))
            else:
                yield from walk(child, within)

    yield from walk(ast.parse(path.read_text()), ())


def reads_something(name: str, node: ast.AST) -> bool:
    if name.rpartition(".")[2].startswith(NAMED):
        return True
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            function = call.func
            if isinstance(function, ast.Attribute):
                of = ast.unparse(function.value)
                json = function.attr == "decode" and (of in _DECODERS or "decoder" in of)
                if function.attr in READS or json:
                    return True
            elif isinstance(function, ast.Name) and function.id in READS:
                return True
    return False


def readers() -> dict[str, tuple[Path, int]]:
    """Everything that looks like a parser: "path:function" with its file and first line."""
    found = {}
    for package in ("softswitch", "media", "routing"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for name, line, node in functions(path):
                if reads_something(name, node):
                    found[f"{path.relative_to(ROOT)}:{name}"] = (path, line)
    return found


def entered() -> set[tuple[str, int]]:
    """(file, first line) of every function that the registered parsers enter."""
    seen: set[CodeType] = set()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            seen.add(frame.f_code)

    # What is remembered of the inputs of other tests would not be entered.
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("softswitch", "media", "routing"):
            for each in vars(module).values():
                if callable(getattr(each, "cache_clear", None)):
                    each.cache_clear()
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        for parser in PARSERS.values():
            # Some caches hold the seeds all the same: what is behind them is entered for something new.
            parser.run(iter([*parser.seeds, *islice(parser.inputs(SEED - 1), ENTERS_ALL)]))
    finally:
        sys.setprofile(before)
    return {(code.co_filename, code.co_firstlineno) for code in seen}


def test_no_parser_is_forgotten() -> None:
    """Whatever in the three packages looks like a parser is entered by a registered one, or is in `OURS`."""
    found, met = readers(), entered()
    assert len(found) > 150
    met_names = {name for name, (path, line) in found.items() if (str(path), line) in met}
    excused = {name: [each for each in OURS if fnmatchcase(name, each)] for name in found}
    forgotten = sorted(name for name in found if name not in met_names and not excused[name])
    assert not forgotten, f"to be registered, or excused in OURS: {forgotten}"
    used = {reason for reasons in excused.values() for reason in reasons}
    assert set(OURS) <= used, f"gone, to be taken out of OURS: {sorted(set(OURS) - used)}"
