"""Whoever uses a piece of `media.wire` or `media.dsp` alone learns from its docstring what its arrays are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import media

HOME = Path(media.__file__).parent
SIZE = r"(?:[A-Za-z0-9_]+|`[A-Za-z0-9_.]+`)"
SHAPE = re.compile(
    rf"\({SIZE}(?: [-+*] {SIZE})*,(?: {SIZE}(?: [-+*] {SIZE})*,?)*\)|of any\s+shape|any shape"
)
ARRAYS = re.compile(r"\b(?:NDArray|ArrayLike|Samples|Octets|Rows|Counts|Bools|Floats)\b")
UNITLESS = re.compile(r"\b(?:delay|time|duration|timeout|level|frequency|rate)$")

UNIT = re.compile(r"timestamp units|dBov|dBm0")


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for path in sorted((*HOME.glob("wire/*.py"), *HOME.glob("dsp/*.py"))):
        tree = ast.parse(path.read_text())
        scopes = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
        for scope in scopes:
            owner = getattr(scope, "name", "")
            if owner.startswith("_"):
                continue
            for node in scope.body:
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                    yield (
                        f"{path.parent.name}.{path.stem}.{owner}.{node.name}".replace("..", "."),
                        node,
                    )


def annotations(function: ast.FunctionDef) -> list[str]:
    given = [a.annotation for a in (*function.args.args, *function.args.kwonlyargs)]
    return [ast.unparse(each) for each in (*given, function.returns) if each is not None]


FUNCTIONS = dict(functions())


def test_there_are_some_of_all_kinds() -> None:
    with_arrays = [n for n, f in FUNCTIONS.items() if ARRAYS.search(" ".join(annotations(f)))]
    assert len(with_arrays) > 60
    assert {"dsp.g711.decode_ulaw", "wire.rtp.parse", "dsp.mixer.MixPlan.mix"} <= {*with_arrays}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_docstring_gives_the_shapes_of_arrays(name: str) -> None:
    function = FUNCTIONS[name]
    text = ast.get_docstring(function)
    assert text, name
    if ARRAYS.search(" ".join(annotations(function))) and not text.startswith("See `"):
        assert SHAPE.search(text), text


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_parameter_that_is_a_time_or_a_level_names_its_unit(name: str) -> None:
    function = FUNCTIONS[name]
    arguments = (*function.args.args, *function.args.kwonlyargs)
    if any(UNITLESS.search(argument.arg) for argument in arguments):
        assert UNIT.search(ast.get_docstring(function) or ""), name
