"""The journal: what was acknowledged, in order, appended to segment files beside the database.

A segment is allocated and written over before it is used, and used again when everything in it is in the
tables: a write then changes no metadata, which would double its price. Each record carries a checksum that is
seeded with the journal, the generation of the segment and the record's number, so that what a segment held in
an earlier life is never taken for valid.
"""

import errno
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from glob import escape, glob
from zlib import crc32

SEGMENT_BYTES = 16 << 20
SPARES = 4
"""Segments kept for later; a burst's others are deleted."""

_MAGIC = b"PRESLOG1"
_HEAD_BYTES = 4096
_HEAD = struct.Struct("<8sQQQ")  # magic, journal, generation, number of its first record
_CHECK = struct.Struct("<I")
_RECORD = struct.Struct("<IIQ")  # length, checksum, number
_SEED = struct.Struct("<QQQI")
_ZEROS = bytes(1 << 20)
_SYNC = os.RWF_DSYNC


def segment_paths(database: str) -> list[str]:
    """Return the segment files of a database, in no order."""
    return glob(escape(os.path.realpath(database)) + "-log-*")


def _checksum(journal: int, generation: int, number: int, payload: bytes) -> int:
    return crc32(payload, crc32(_SEED.pack(journal, generation, number, len(payload))))


def _write(fd: int, parts: Sequence[bytes], offset: int, *, sync: bool) -> None:
    """Write at an offset, and to the disk with `sync`; raises OSError when not all of it could be."""
    wanted = sum(map(len, parts))
    try:
        written = os.pwritev(fd, parts, offset, _SYNC if sync else 0)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP or not sync:
            raise
        # A file system that cannot do both in one call.
        written = os.pwritev(fd, parts, offset)
        os.fdatasync(fd)
    if written != wanted:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Segment:
    """One file of the journal."""

    __slots__ = ("fd", "generation", "last", "offset", "path", "size", "sound")

    def __init__(self, path: str, fd: int, size: int) -> None:
        self.path, self.fd, self.size = path, fd, size
        self.generation = self.offset = self.last = 0
        self.sound = True

    def close(self, *, remove: bool) -> None:
        with suppress(OSError):
            if remove:
                os.unlink(self.path)
        os.close(self.fd)


class Journal:
    """Appends records; one thread appends, another releases and prepares."""

    def __init__(self, database: str, identity: int, *, sync: bool, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._base = os.path.realpath(database)
        self._identity, self._sync, self._segment_bytes = identity, sync, segment_bytes
        self._last = self._generation = self._files = 0
        self._active: _Segment | None = None
        self._full: list[_Segment] = []
        self._spare: list[_Segment] = []
        self._lock = threading.Lock()
        self._spare.append(self._create(self._segment_bytes, written=True))

    def append(self, payload: bytes) -> int:
        """Write one record and return its number, when it is as safe as it is to be.

        Raises OSError; then the record is void, also for a start that follows.
        """
        number = self._last + 1
        segment = self._active
        size = _RECORD.size + len(payload)
        if segment is None or segment.offset + size > segment.size:
            segment = self._begin(number, size)
        check = _checksum(self._identity, segment.generation, number, payload)
        head = _RECORD.pack(len(payload), check, number)
        try:
            _write(segment.fd, (head, payload), segment.offset, sync=self._sync)
        except OSError:
            self._abandon(segment, number)
            raise
        segment.offset += size
        segment.last = self._last = number
        return number

    def release(self, number: int) -> None:
        """Have segments back whose records up to `number` are in the tables."""
        with self._lock:
            done = [segment for segment in self._full if segment.last <= number]
            self._full = [segment for segment in self._full if segment.last > number]
            for segment in done:
                if segment.sound and segment.size == self._segment_bytes and len(self._spare) < SPARES:
                    self._spare.append(segment)
                else:
                    segment.close(remove=True)

    def prepare(self) -> None:
        """Make a segment ready when the next will be needed soon and there is none."""
        active = self._active
        if self._spare or active is None or active.offset < active.size // 4:
            return
        with suppress(OSError):  # it is tried again, and `append` says what is wrong
            segment = self._create(self._segment_bytes, written=True)
            with self._lock:
                self._spare.append(segment)

    def close(self, *, remove: bool) -> None:
        """Close the files; `remove` them when all they hold is in the tables."""
        for segment in [*self._full, *self._spare, *([self._active] if self._active else [])]:
            segment.close(remove=remove)
        self._full, self._spare, self._active = [], [], None

    def _begin(self, number: int, size: int) -> _Segment:
        """Go on in another segment: records from `number` on are valid there alone."""
        with self._lock:
            fits = self._spare and self._spare[-1].size >= _HEAD_BYTES + size
            segment = self._spare.pop() if fits else None
        if segment is None:
            segment = self._create(max(self._segment_bytes, _HEAD_BYTES + size), written=False)
        self._generation += 1
        head = _HEAD.pack(_MAGIC, self._identity, self._generation, number)
        try:
            _write(segment.fd, (head, _CHECK.pack(crc32(head))), 0, sync=self._sync)
        except OSError:
            segment.close(remove=True)
            raise
        segment.generation, segment.offset, segment.last = self._generation, _HEAD_BYTES, number - 1
        with self._lock:
            if self._active is not None:
                self._full.append(self._active)
            self._active = segment
        return segment

    def _abandon(self, segment: _Segment, number: int) -> None:
        """Make a record void that may have been written: no later start may find it.

        What a failed sync left behind cannot be known, so nothing more goes into this segment.
        """
        segment.sound = False
        with suppress(OSError):
            _write(segment.fd, (bytes(_RECORD.size),), segment.offset, sync=self._sync)
        with self._lock:
            self._full.append(segment)
            self._active = None
        with suppress(OSError):
            self._begin(number, 0)

    def _create(self, size: int, *, written: bool) -> _Segment:
        path = f"{self._base}-log-{self._files}"
        self._files += 1
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        segment = _Segment(path, fd, size)
        try:
            os.posix_fallocate(fd, 0, size)
            if written and self._sync:
                for offset in range(0, size, len(_ZEROS)):
                    _write(fd, (_ZEROS[: size - offset],), offset, sync=False)
            if self._sync:
                os.fsync(fd)
                _sync_folder(path)
        except OSError:
            segment.close(remove=True)
            raise
        return segment


def _sync_folder(path: str) -> None:
    """Make the name of a new file last."""
    fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Recovery:
    """Reads what an ended server left: every valid record after `mark`, in order, up to the first that is none."""

    def __init__(self, database: str, identity: int, mark: int) -> None:
        self.last = mark
        """Number of the last record given."""
        self.lost = 0
        """Number of the first record behind a gap, 0 when there is none; a power cut leaves one under "os"."""
        self._identity = identity
        self._segments = sorted(filter(None, (_read_segment(path, identity) for path in segment_paths(database))))

    def __iter__(self) -> Iterator[bytes]:
        for index, (generation, first, path) in enumerate(self._segments):
            # A segment holds what is below the first number of the next: the rest was refused.
            end = self._segments[index + 1][1] if index + 1 < len(self._segments) else 1 << 63
            if first > self.last + 1:
                self.lost = first
                return
            with open(path, "rb") as file:
                content = file.read()
            for number, payload in _records(content, self._identity, generation, first):
                if number >= end:
                    break
                if number == self.last + 1:
                    self.last = number
                    yield payload


def _read_segment(path: str, identity: int) -> tuple[int, int, str] | None:
    """Return (generation, first number, path) of a segment of this journal."""
    try:
        with open(path, "rb") as file:
            block = file.read(_HEAD.size + _CHECK.size)
    except OSError:
        return None
    if len(block) < _HEAD.size + _CHECK.size or crc32(block[: _HEAD.size]) != _CHECK.unpack_from(block, _HEAD.size)[0]:
        return None
    magic, journal, generation, first = _HEAD.unpack_from(block)
    return (generation, first, path) if (magic, journal) == (_MAGIC, identity) else None


def _records(content: bytes, identity: int, generation: int, number: int) -> Iterator[tuple[int, bytes]]:
    offset = _HEAD_BYTES
    while offset + _RECORD.size <= len(content):
        length, check, found = _RECORD.unpack_from(content, offset)
        offset += _RECORD.size
        if not length or found != number or offset + length > len(content):
            return
        payload = content[offset : offset + length]
        if check != _checksum(identity, generation, number, payload):
            return
        yield number, payload
        offset += length
        number += 1
