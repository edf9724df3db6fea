"""Documents made to harm whoever reads them: refused in no time and little memory, and nothing is fetched."""

import ctypes
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from xml_inputs import INPUTS, Give

LONGEST_S = 2.0
"""Processor time for one document on a slow and busy machine; most take some microseconds."""
MOST_BYTES = 48 << 20
IN_OPEN, IN_ACCESS = 0x20, 0x01


class Canary:
    """A file and a listening socket that nobody may touch."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "canary.txt"
        self.file.write_text("tweet")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/canary.dtd"
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._notify = self._libc.inotify_init1(os.O_NONBLOCK)
        assert self._libc.inotify_add_watch(self._notify, os.fsencode(self.file), IN_OPEN | IN_ACCESS) >= 0

    def touched(self) -> list[str]:
        seen: list[str] = []
        with suppress(BlockingIOError):
            seen += ["file"] * bool(os.read(self._notify, 4096))
        with suppress(BlockingIOError):
            self.listener.accept()[0].close()
            seen.append("socket")
        return seen

    def close(self) -> None:
        os.close(self._notify)
        self.listener.close()


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    one = Canary(tmp_path)
    yield one
    one.close()


def test_the_canary_sees_who_touches_it(canary: Canary) -> None:
    canary.file.read_text()
    socket.create_connection(canary.listener.getsockname()).close()
    assert canary.touched() == ["file", "socket"]
    assert canary.touched() == []


Hostile = Callable[[Canary, str], str | bytes]
"""Makes a document from a template with `{attributes}` and `{content}`."""


def fill(template: str, content: str = "here", attributes: str = "") -> str:
    return template.replace("{attributes}", attributes).replace("{content}", content)


def with_type(subset: str, content: str = "here") -> Hostile:
    """A document type before the root element."""

    def make(canary: Canary, template: str) -> str:
        doctype = subset.replace("FILE", canary.file.as_uri()).replace("URL", canary.url)
        return f'<?xml version="1.0"?>\n{doctype}\n{fill(template, content)}'

    return make


def inside(content: str = "here", attributes: str = "") -> Hostile:
    return lambda _, template: fill(template, content, attributes)


def encoded(encoding: str, declared: str = "", doctype: str = "") -> Hostile:
    declaration = f'<?xml version="1.0" encoding="{declared or encoding}"?>'
    return lambda _, template: (declaration + doctype + fill(template)).encode(encoding)


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
BOMB = "<!DOCTYPE lolz [<!ENTITY b 'boom'>]>"

REFUSED: dict[str, Hostile] = {
    "billion laughs": with_type(f'<!DOCTYPE lolz [<!ENTITY l0 "lol">{LAUGHS}]>', "&l9;"),
    "quadratic blow-up": with_type(f'<!DOCTYPE q [<!ENTITY a "{"a" * 50_000}">]>', "&a;" * 20_000),
    "an entity of itself": with_type('<!DOCTYPE r [<!ENTITY a "&b;"><!ENTITY b "&a;">]>', "&a;"),
    "external entity, file": with_type('<!DOCTYPE x [<!ENTITY e SYSTEM "FILE">]>', "&e;"),
    "external entity, net": with_type('<!DOCTYPE x [<!ENTITY e SYSTEM "URL">]>', "&e;"),
    "external document type, file": with_type('<!DOCTYPE x SYSTEM "FILE">'),
    "external document type, net": with_type('<!DOCTYPE x PUBLIC "-//X//Y" "URL">'),
    "parameter entity, file": with_type('<!DOCTYPE x [<!ENTITY % p SYSTEM "FILE"> %p;]>'),
    "parameter entity, net": with_type('<!DOCTYPE x [<!ENTITY % p SYSTEM "URL"> %p;]>'),
    "parameter entity that makes another": with_type(
        "<!DOCTYPE x [<!ENTITY % f SYSTEM 'FILE'><!ENTITY % e \"<!ENTITY &#37; s SYSTEM 'URL?%f;'>\">%e;%s;]>"
    ),
    "unparsed entity": with_type('<!DOCTYPE x [<!NOTATION n SYSTEM "URL"><!ENTITY e SYSTEM "FILE" NDATA n>]>'),
    "default attributes": with_type(f"<!DOCTYPE x [<!ATTLIST note a CDATA '{'a' * 100_000}'>]>"),
    "document type behind comments": with_type("<!-- a --><?do it?> <!DOCTYPE x [<!ENTITY e 'f'>]>", "&e;"),
    "document type in UTF-16": encoded("utf-16", doctype=BOMB),
    "document type in UTF-16 without a mark": encoded("utf-16-be", "utf-16", BOMB),
    "undefined entity": inside("&nbsp;"),
    "deep nesting": inside("<a>" * 10_000 + "</a>" * 10_000),
    "deep nesting, never closed": inside("<a>" * 30_000),
    "huge attribute": inside(attributes=f' x="{"a" * 1_000_000}"'),
    "huge text": inside("a" * 1_000_000),
    "huge comment": inside(f"<!--{'-a' * 500_000}-->"),
    "huge name": inside(f"<{'a' * 200_000}/>"),
    "the same attribute": inside(attributes=' a="" a=""'),
    "the same attribute by two prefixes": inside("<n xmlns:p='urn:x' xmlns:q='urn:x' p:a='' q:a=''/>"),
    "UTF-7": encoded("utf-7"),
    "UTF-7 declared, ASCII sent": encoded("ascii", "UTF-7"),
    "UTF-16 declared, ASCII sent": encoded("ascii", "UTF-16"),
    "UTF-32": encoded("utf-32"),
    "EBCDIC": encoded("cp037"),
    "an encoding nobody knows": encoded("ascii", "x-unknown"),
    "half a surrogate pair in UTF-16": lambda _, template: fill(template).encode("utf-16-le") + b"\x00\xd8",
    "an odd byte in UTF-16": lambda _, template: fill(template).encode("utf-16") + b"<",
    "broken UTF-8": lambda _, template: fill(template, "X").encode().replace(b"X", b"\xc3("),
    "overlong UTF-8": lambda _, template: fill(template, "X").encode().replace(b"X", b"\xc0\xbc"),
    "surrogates in UTF-8": lambda _, template: fill(template, "X").encode().replace(b"X", b"\xed\xa0\x80"),
    "NUL": inside("\0"),
    "NUL behind the end": lambda _, template: fill(template) + "\0",
    "a reference to NUL": inside("&#0;"),
    "a reference to no character": inside("&#x110000;"),
    "XML 1.1 control characters": lambda _, template: '<?xml version="1.1"?>' + fill(template, "&#1;"),
    "two roots": lambda _, template: fill(template) * 2,
    "nothing": lambda _, template: " ",
}
"""What is answered 400, or 413 for its size alone."""

HARMLESS: dict[str, Hostile] = {
    "ten thousand attributes": inside(attributes="".join(f" a{n}=''" for n in range(10_000))),
    "thousands of namespaces": inside("<n " + " ".join(f"xmlns:p{n}='urn:p{n}'" for n in range(3_000)) + "/>"),
    "thousands of children": inside("<n/>" * 20_000),
    "namespaces in each of many": inside("<n xmlns:p='urn:p'>x</n>" * 4_000),
    "an attribute as large as may be": inside(attributes=f' x="{"a" * 100_000}"'),
    "attributes of one hash": inside(attributes="".join(f" {'a' * n}=''" for n in range(1, 400))),
    "many references": inside("&amp;&#65;" * 12_000),
    "an instruction to include": inside('<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="FILE"/>'),
}
"""What is well-formed and large: whether it is taken or not, it takes no time and no memory."""


def spend(give: Give, body: bytes) -> tuple[int, float, int]:
    """Hand a body in; return status, processor seconds, and how far memory rose above what was held before."""
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    began = time.process_time()
    status = give(body)
    return status, time.process_time() - began, memory("VmHWM") - before


def memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


@pytest.mark.parametrize("name", INPUTS)
def test_a_harmless_document_is_taken_by_each_input(name: str, canary: Canary) -> None:
    template, open_ = INPUTS[name]
    assert open_()(fill(template).encode()) == 200


@pytest.mark.parametrize("hostile", [*REFUSED, *HARMLESS])
@pytest.mark.parametrize("name", INPUTS)
def test_a_hostile_document_costs_nothing_and_reaches_nothing(name: str, hostile: str, canary: Canary) -> None:
    template, open_ = INPUTS[name]
    made = {**REFUSED, **HARMLESS}[hostile](canary, template)
    body = made if isinstance(made, bytes) else made.replace("FILE", canary.file.as_uri()).encode()
    give = open_()
    status, seconds, risen = spend(give, body)
    assert status in ((400, 413, 513) if hostile in REFUSED else (200, 400, 413, 513))
    assert seconds < LONGEST_S
    assert risen < MOST_BYTES
    assert canary.touched() == []
    # And whoever comes next is served.
    assert give(fill(template).encode()) == 200
