"""The words of a page; hostile pages and letters cost linear time, by counting calls, not by a clock."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from softswitch.store.letters import CONTENT_HEAD_MAX, HEAD_MAX, PARTS_READ_MAX, read_letter
from softswitch.store.page_text import words


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("plain &amp; simple", "plain & simple "),
        ("<p>One<br/>two</p><DIV class=x>three", "\nOne \ntwo \nthree "),
        ("a<head><title>x</title></head>b<head>y<body>c", "a b c "),
        ("a<script>if (1 < 2) x = '<p>'; '</style>'</script >b", "a b "),
        ("a<style>p { } <!-- <p> --> </style>b<template><p>x</template>c", "a b c "),
        ("a<!-- <p>x</p> -->b<!---->c<!DOCTYPE html>d<?php x ?>e<![CDATA[x]]>f", "a b c d e f "),
        ("1 < 2 &lt; 3 <3 </3>", "1 < 2 < 3 <3 "),
        (
            "<a title='x > y'>one</a> <a title=\"it's >\">two</a> <a title='x>three",
            "one two three ",
        ),
        ("a<!-- never closed <p>b", "a "),
        (f"a&#{'9' * 5000};b", f"a&#{'9' * 5000};b "),
    ],
)
def test_words(page: str, said: str) -> None:
    assert words(page) == said


def calls(action: Callable[[], object]) -> int:
    """How many functions `action` calls, those of C too; its refusals are its own affair."""
    count = 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        action()
    except ValueError:
        pass
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize(
    "unit", ["<a ", "<a b='", "<!--", "<![CDATA[", "<?", "&#", "<script>", "<", ">"]
)
def test_a_page_is_read_in_one_pass(unit: str) -> None:
    small, large = unit * 1000, unit * 4000
    assert calls(lambda: words(large)) <= 4 * calls(lambda: words(small)) + 50


@pytest.mark.parametrize(
    "head",
    [
        b"From: %b", b"From: a@b\r\nSubject: %b", b"From: a@b\r\nContent-Type: text/plain%b",
        b"From: a@b\r\nContent-Disposition: attachment%b", b"From: a@b\r\nReferences: %b",
    ],
)  # fmt: skip
@pytest.mark.parametrize("unit", [b"a@b,", b"a.", b";a=b", b"=?utf-8?q?a?= ", b"(", b"<a@b> "])
def test_of_a_head_so_much_is_read(head: bytes, unit: bytes) -> None:
    """The standard library takes long for each character of a head, and more than linear time for some."""

    def read(octets: int) -> Callable[[], object]:
        data = head % (unit * (octets // len(unit))) + b"\r\n\r\nx"
        return lambda: read_letter(data)

    limit = CONTENT_HEAD_MAX if b"Content" in head else HEAD_MAX
    assert calls(read(8 * limit)) <= 1.2 * calls(read(limit)) + 2000


def test_so_many_parts_are_read() -> None:
    def letter(parts: int) -> bytes:
        head = b"From: a@b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        return head + b"--b\r\n\r\nx\r\n" * parts + b"--b--\r\n"

    # The letter itself is one, and one is made to try how parts are made.
    assert read_letter(letter(PARTS_READ_MAX - 2)).left_out == PARTS_READ_MAX - 2 - 200
    with pytest.raises(ValueError, match="more than 1000 parts"):
        read_letter(letter(PARTS_READ_MAX - 1))
