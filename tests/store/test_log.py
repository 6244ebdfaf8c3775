"""The journal's log on disk."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from softswitch.errors import StoreError
from softswitch.store.entry import Entry, make_entry
from softswitch.store.log import EntryLog


def entries(first: int, last: int) -> list[Entry]:
    return [make_entry(seq, 1.0, "digit", "c1", {"n": seq}) for seq in range(first, last + 1)]


def numbers(log: EntryLog, after: int = 0) -> list[int]:
    return [entry.seq for entry in log.read_after(after)]


def test_entries_are_read_from_where_one_asks(tmp_path: Path) -> None:
    with closing(EntryLog(tmp_path / "log")) as log:
        log.write(entries(1, 5))
        log.write(entries(6, 9))
        assert numbers(log) == list(range(1, 10))
        assert numbers(log, after=7) == [8, 9]
        assert numbers(log, after=9) == []
    with closing(EntryLog(tmp_path / "log")) as log:
        assert log.last_seq == 9
    assert os.stat(tmp_path / "log").st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "log").iterdir())


def test_a_child_that_is_being_started_does_not_keep_the_lock(tmp_path: Path) -> None:
    log = EntryLog(tmp_path)
    # What a fork leaves in the child before it runs its program: the same open files once more.
    copies = [os.dup(int(fd)) for fd in os.listdir("/proc/self/fd") if _is(fd, tmp_path / "lock")]
    assert copies
    log.close()
    EntryLog(tmp_path).close()
    for copy in copies:
        os.close(copy)


def _is(fd: str, path: Path) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == str(path)
    except OSError:
        return False


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with closing(EntryLog(tmp_path)), pytest.raises(StoreError, match="in use by another"):
        EntryLog(tmp_path)
    EntryLog(tmp_path).close()


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        EntryLog(tmp_path / "file" / "log")


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_a_torn_end_is_cut_off_and_writing_goes_on(tmp_path: Path, cut: int) -> None:
    with closing(EntryLog(tmp_path)) as log:
        log.write(entries(1, 3))
    path = next(tmp_path.glob("*.log"))
    path.write_bytes(path.read_bytes()[:-cut])
    with closing(EntryLog(tmp_path)) as log:
        assert log.last_seq == 2
        log.write(entries(3, 4))
        assert numbers(log) == [1, 2, 3, 4]
        assert log.damaged_lines == 0


def test_damage_in_the_middle_loses_only_that_line(tmp_path: Path) -> None:
    with closing(EntryLog(tmp_path)) as log:
        log.write(entries(1, 9))
    path = next(tmp_path.glob("*.log"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with closing(EntryLog(tmp_path)) as log:
        assert len(numbers(log)) == 8
        assert log.damaged_lines == 1
        assert log.last_seq == 9


@pytest.mark.limit("journal log file")
def test_a_file_is_full_at_its_limit_and_the_next_entry_begins_another(tmp_path: Path) -> None:
    octets = sum(len(entry.line()) for entry in entries(1, 3))
    for limit, files in ((octets + 1, 1), (octets, 2)):
        with closing(EntryLog(tmp_path / str(limit), segment_bytes=limit)) as log:
            log.write(entries(1, 3))
            assert log.write(entries(4, 4)) == (files == 2)
            assert len(log.segments()) == files
            assert numbers(log) == [1, 2, 3, 4], "nothing is lost"


def test_files_follow_each_other_and_the_oldest_go(tmp_path: Path) -> None:
    with closing(EntryLog(tmp_path, segment_bytes=200, segments_kept=2)) as log:
        grown = [log.write(entries(seq, seq)) for seq in range(1, 31)]
        assert grown[0]
        assert grown.count(True) == len(log.segments())
        assert len(log.segments()) > 4
        assert numbers(log, after=17) == list(range(18, 31))
        held = log.segments()[2][0]
        assert log.prune(held - 2) == 1, "the file with an entry not yet held must stay"
        assert log.prune(held - 1) == 1
        assert numbers(log)[0] == held
        assert log.prune(30) > 0
        assert len(log.segments()) == 2
        assert log.prune(30) == 0
    with closing(EntryLog(tmp_path)) as log:
        assert log.last_seq == 30


def test_numbers_go_on_after_a_file_without_entries(tmp_path: Path) -> None:
    with closing(EntryLog(tmp_path, segment_bytes=100)) as log:
        log.write(entries(1, 3))
    (tmp_path / f"{4:019d}.log").write_bytes(b"00000000 garbage\n")
    with closing(EntryLog(tmp_path)) as log:
        assert log.last_seq == 3
        log.write(entries(4, 5))
        assert numbers(log) == [1, 2, 3, 4, 5]


def test_a_full_disk_leaves_whole_lines_and_is_got_over(tmp_path: Path, store_tools: Any) -> None:
    with closing(EntryLog(tmp_path)) as log:
        log.write(entries(1, 3))
        size = next(tmp_path.glob("*.log")).stat().st_size
        with (
            store_tools.files_limited_to(size + 30),
            pytest.raises(OSError, match="File too large"),
        ):
            log.write(entries(4, 9))
        assert numbers(log) == [1, 2, 3]
        log.write(entries(4, 9))
        assert numbers(log) == list(range(1, 10))
        assert log.damaged_lines == 0


def test_the_same_batch_may_be_given_again(tmp_path: Path, store_tools: Any) -> None:
    with closing(EntryLog(tmp_path)) as log:
        with store_tools.files_limited_to(40), pytest.raises(OSError, match="File too large"):
            log.write(entries(1, 3))
        log.write(entries(1, 3))
        log.write(entries(3, 4))
        assert numbers(log) == [1, 2, 3, 4]


def test_a_file_whose_folder_could_not_be_synced_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with closing(EntryLog(tmp_path / "log")) as log:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing)
            for _ in range(2):  # nor does a second attempt call it good
                with pytest.raises(OSError, match="Input/output"):
                    log.write(entries(1, 3))
        log.write(entries(1, 3))
        assert numbers(log) == [1, 2, 3]
