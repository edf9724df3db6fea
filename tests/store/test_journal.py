"""The journal gives back what was acknowledged, in order, and nothing else, wherever the power goes."""

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from presence.store import journal as module
from presence.store.journal import Journal, Recovery, segment_paths

SEGMENT = 1 << 14
IDENTITY = 77


@pytest.fixture
def journal(path: str) -> Journal:
    return Journal(path, IDENTITY, sync=True, segment_bytes=SEGMENT)


def record(number: int, size: int = 100) -> bytes:
    return b"%08d" % number + bytes([number % 256]) * size


def recover(path: str, mark: int = 0, identity: int = IDENTITY) -> list[bytes]:
    return list(Recovery(path, identity, mark))


def fail(monkeypatch: pytest.MonkeyPatch, fails: Callable[[int], bool], *, written: bool = False) -> None:
    """Let the writes whose number is in `fails` end in an error; with `written` the first one's bytes have arrived."""
    real, calls = module._write, 0

    def broken(fd: int, parts: Sequence[bytes], offset: int, *, sync: bool) -> None:
        nonlocal calls
        calls += 1
        if not fails(calls) or (written and calls == 1):
            real(fd, parts, offset, sync=sync)
        if fails(calls):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(module, "_write", broken)


def test_records_come_back_in_order_over_many_segments(path: str, journal: Journal) -> None:
    records = [record(number, 1000) for number in range(200)]
    assert [journal.append(entry) for entry in records] == list(range(1, 201))
    assert len(segment_paths(path)) > 10
    assert recover(path) == records
    assert recover(path, mark=150) == records[150:]
    journal.close(remove=True)
    assert segment_paths(path) == []


def test_a_record_larger_than_a_segment_is_kept_too(path: str, journal: Journal) -> None:
    records = [record(1), record(2, 5 * SEGMENT), record(3)]
    for entry in records:
        journal.append(entry)
    assert recover(path) == records
    journal.release(3)
    journal.close(remove=False)
    assert all(Path(name).stat().st_size == SEGMENT for name in segment_paths(path)), "it is not kept for later"


def test_segments_are_used_again_and_what_they_held_is_never_taken_for_valid(path: str, journal: Journal) -> None:
    mark = 0
    for number in range(1, 400):
        journal.append(record(number, 700))
        journal.prepare()
        if number % 9 == 0:
            mark = number
            journal.release(mark)
        expected = [record(later, 700) for later in range(mark + 1, number + 1)]
        assert recover(path, mark) == expected
    assert len(segment_paths(path)) <= 4


def test_the_last_record_cut_anywhere_is_left_out_and_nothing_else(path: str, journal: Journal) -> None:
    kept = [record(number) for number in range(1, 6)]
    for entry in kept:
        journal.append(entry)
    (segment,) = segment_paths(path)
    before = Path(segment).read_bytes()
    journal.append(record(6))
    whole = Path(segment).read_bytes()
    start = next(at for at in range(len(whole)) if whole[at] != before[at])
    end = max(at for at in range(len(whole)) if whole[at] != before[at]) + 1
    for cut in range(start, end):
        for rest in (before[cut:], b"", b"\xff" * (len(whole) - cut)):
            Path(segment).write_bytes(whole[:cut] + rest)
            assert recover(path) == kept, cut
    Path(segment).write_bytes(whole)
    assert recover(path) == [*kept, record(6)]


def test_each_bit_of_a_record_counts(path: str, journal: Journal) -> None:
    journal.append(record(1))
    (segment,) = segment_paths(path)
    whole = Path(segment).read_bytes()
    for at in [*range(36), *range(4096, 4096 + 124)]:
        broken = bytearray(whole)
        broken[at] ^= 1 << at % 8
        Path(segment).write_bytes(broken)
        assert recover(path) == [], at


def test_another_journal_is_not_ours(path: str, journal: Journal) -> None:
    journal.append(record(1))
    assert recover(path, identity=IDENTITY + 1) == []
    assert recover(path, identity=0) == []


def test_a_record_of_an_earlier_life_does_not_count_even_with_the_right_number(path: str, journal: Journal) -> None:
    for number in range(1, 4):
        journal.append(record(number))
    (segment,) = segment_paths(path)
    earlier = Path(segment).read_bytes()
    journal.close(remove=True)
    later = Journal(path, IDENTITY + 1, sync=True, segment_bytes=SEGMENT)
    later.append(record(1))
    (segment,) = segment_paths(path)
    size = 16 + len(record(1))
    Path(segment).write_bytes(Path(segment).read_bytes()[: 4096 + size] + earlier[4096 + size :])
    assert recover(path, identity=IDENTITY + 1) == [record(1)]


def test_a_gap_ends_it_and_is_reported(path: str, journal: Journal) -> None:
    for number in range(1, 40):
        journal.append(record(number, 1000))
    _first, second, *_ = sorted(segment_paths(path), key=lambda name: int(name.rpartition("-")[2]))
    damaged = bytearray(Path(second).read_bytes())
    damaged[4096 + 5] ^= 1
    Path(second).write_bytes(damaged)
    recovery = Recovery(path, IDENTITY, 0)
    found = list(recovery)
    assert found == [record(number, 1000) for number in range(1, len(found) + 1)]
    assert 0 < recovery.last < recovery.lost


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("failing", [1, 2, 3])
def test_what_was_refused_is_never_found_again(
    path: str, journal: Journal, monkeypatch: pytest.MonkeyPatch, written: bool, failing: int
) -> None:
    """The write fails, then making it void, then beginning another segment: what is acknowledged later is there."""
    acknowledged = []
    for number in range(1, 4):
        journal.append(record(number))
        acknowledged.append(record(number))
    with monkeypatch.context() as patched:
        fail(patched, lambda call: call <= failing, written=written)
        with pytest.raises(OSError, match="Input/output"):
            journal.append(record(1000))
    if not (written and failing == 3):  # on a disk that takes nothing any more there is nothing to void it by
        assert recover(path) == acknowledged
    for number in range(4, 7):
        journal.append(record(number))
        acknowledged.append(record(number))
    assert recover(path) == acknowledged
    assert journal._active is not None
    assert not journal._active.path.endswith("-log-0"), "what a failed sync left behind cannot be trusted"
    journal.release(6)
    for number in range(7, 200):
        journal.append(record(number, 1000))
    assert recover(path, 6) == [record(number, 1000) for number in range(7, 200)]


def test_no_room_for_another_segment_refuses_until_there_is(
    path: str, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_fd: int, _offset: int, _size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    acknowledged = 0
    with monkeypatch.context() as patched:
        patched.setattr(module.os, "posix_fallocate", no_room)
        for number in range(1, 100):
            try:
                journal.append(record(number, 1000))
            except OSError:
                break
            acknowledged = number
        with pytest.raises(OSError, match="No space"):
            journal.append(record(0, 1000))
    assert len(segment_paths(path)) == 1, "nothing is left of the attempts"
    assert recover(path) == [record(number, 1000) for number in range(1, acknowledged + 1)]
    journal.append(record(acknowledged + 1, 1000))
    assert len(recover(path)) == acknowledged + 1


def test_a_file_system_without_synced_writes_gets_both_calls(
    path: str, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, synced = module.os.pwritev, []

    def plain(fd: int, parts: Sequence[bytes], offset: int, flags: int = 0) -> int:
        if flags:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real(fd, parts, offset)

    monkeypatch.setattr(module.os, "pwritev", plain)
    monkeypatch.setattr(module.os, "fdatasync", synced.append)
    journal.append(record(1))
    assert synced
    assert recover(path) == [record(1)]


def test_a_short_write_is_an_error(path: str, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.append(record(1))
    real = module.os.pwritev
    with monkeypatch.context() as patched:
        patched.setattr(module.os, "pwritev", lambda fd, parts, *rest: real(fd, [parts[0]], *rest))
        with pytest.raises(OSError, match="No space"):
            journal.append(record(2))
    journal.append(record(3))
    assert recover(path) == [record(1), record(3)]
