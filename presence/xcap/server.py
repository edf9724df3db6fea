"""The XCAP server without I/O: what a request asks of a document, and what it is answered (RFC 4825 section 8).

A request goes three steps, so that reading XML can be left to another thread: `begin` looks at what is there and may
answer; the `Work` it returns otherwise reads and edits; `finish` makes of that an answer, or a `Write` that is answered
once it is committed.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from presence.values import Aor
from presence.xcap.conditions import (
    check_preconditions,
    failed,
    if_match,
    if_modified,
    if_none_match,
    if_unmodified,
    quote_tag,
    write_date,
)
from presence.xcap.documents import Key, Stored
from presence.xcap.editing import ATTRIBUTE_TYPE, ELEMENT_TYPE, Missing, NodeEditor
from presence.xcap.errors import (
    CONTENT_TYPE,
    BadSelector,
    Conflict,
    ConstraintFailure,
    MethodNotAllowed,
    NoParent,
    NoResource,
    NotAllowed,
    NotUtf8,
    TooLarge,
    UnsupportedType,
    XcapError,
)
from presence.xcap.openxcap import says_no_type
from presence.xcap.reading import UTF8_NAMES, Result, parse_document, parse_edited, read_document
from presence.xcap.tree import Bounds
from presence.xcap.uri import Target
from presence.xcap.usage import Usage, World

READING: Final = frozenset(("GET", "HEAD"))
READ_ONLY: Final = "GET, HEAD, OPTIONS"
EVERYTHING: Final = "GET, HEAD, PUT, DELETE, OPTIONS"
METHODS: Final = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS"))

_CODINGS = frozenset(("gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd"))
_CHARSET = re.compile(r""";\s*charset\s*=\s*["']?([^"'\s;]+)""", re.IGNORECASE)


class Limits(NamedTuple):
    """How much is taken."""

    document_bytes: int
    bounds: Bounds
    documents_per_user: int


class Request(NamedTuple):
    """An HTTP request, its body read."""

    method: str
    target: Target
    base: str
    """Absolute URI of the XCAP root it came for, without a slash at the end."""
    headers: Mapping[str, str]
    """By name in small letters; several of a name joined with commas."""
    body: bytes = b""
    openxcap: bool = False
    """To be served as OpenXCAP would."""


class Reply(NamedTuple):
    """An HTTP response."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    content_type: str = ""


class Write(NamedTuple):
    """A change to be committed, and the answer when it is."""

    key: Key
    body: bytes | None
    """None: the document is deleted."""
    etag: str
    expected: str | None
    """The ETag it is conditional on; None: there must be no document."""
    reply: Reply


class Work(NamedTuple):
    """Reading and editing that looks at nothing but its own bytes, for whatever thread."""

    request: Request
    usage: Usage
    stored: Stored | None
    run: Callable[[], Result]
    """Raises XcapError."""
    size: int
    """Bytes to be read."""


class XcapServer:
    """Serves documents to whoever has been proven, by the rules of their application usages."""

    def __init__(
        self,
        world: World,
        limits: Limits,
        new_etag: Callable[[], str],
        *,
        administrators: frozenset[Aor] = frozenset(),
        is_known: Callable[[Aor], bool] = lambda aor: True,
    ) -> None:
        """`is_known` says whether an address of record is one of a user here; it may raise StoreError."""
        self._world, self._limits, self._new_etag = world, limits, new_etag
        self._documents = world.documents
        self._administrators, self._is_known = administrators, is_known

    # ---- who may ----

    def needs_proof(self, method: str, target: Target) -> bool:
        """Whether it matters who asks (section 5.7): all may read global documents, and some of users'."""
        if method == "OPTIONS":
            return False
        if method not in READING:
            return True
        usage = self._world.usages.get(target.key.auid)
        return target.key.owner is not None and not (usage is not None and usage.readable_by_all)

    def authorize(self, method: str, target: Target, who: Aor | None) -> None:
        """Let a proven user do this; raises `NoResource`, `MethodNotAllowed` and `NotAllowed`.

        Who is None needed no proof: all is open to them but writing to the global tree.
        """
        owner = target.key.owner
        if owner is not None and not self._is_known(owner):
            raise NoResource("The user id is not one of a user here")
        usage = self._usage(target)
        if not self.needs_proof(method, target):
            return
        self._check_method(method, target, usage)
        if who in self._administrators:
            return
        if owner is None:
            raise NotAllowed("Only administrators may change global documents")
        if who not in (None, owner):
            raise NotAllowed("Users may see and change their own documents only")

    def _check_method(self, method: str, target: Target, usage: Usage) -> None:
        allow = self._allow(target, usage)
        if method not in allow.split(", "):
            raise MethodNotAllowed("The resource can be read only", allow)

    def _usage(self, target: Target) -> Usage:
        key = target.key
        usage = self._world.usages.get(key.auid)
        if usage is None:
            raise NoResource("The application usage is not served here: xcap-caps/global/index lists those that are")
        if not (usage.global_tree if key.owner is None else usage.users_tree):
            tree = "the global tree" if key.owner is None else "users' trees"
            raise NoResource(f"The application usage has no documents in {tree}")
        return usage

    # ---- the first step ----

    def begin(self, request: Request) -> Reply | Work:
        """Answer what needs no reading of XML; raises XcapError."""
        usage = self._usage(request.target)
        if request.method == "OPTIONS":
            return Reply(200, (("Allow", self._allow(request.target, usage)),))
        if request.method in READING:
            return self._begin_get(request, usage)
        stored = self._documents.get(request.target.key)
        if request.method == "DELETE":
            return self._begin_delete(request, usage, stored)
        return self._begin_put(request, usage, stored)

    def check_put(self, request: Request) -> None:
        """Raise what a PUT deserves before its body is read."""
        _check_type(request, _expected_type(request.target, self._usage(request.target)))

    def body_bytes(self, target: Target) -> int:
        """Return how large a body may be; raises `NoResource`."""
        return max(self._limits.document_bytes, self._usage(target).body_bytes)

    def _allow(self, target: Target, usage: Usage) -> str:
        bindings = target.selector is not None and target.selector.bindings
        return READ_ONLY if usage.read_only or bindings else EVERYTHING

    def _begin_get(self, request: Request, usage: Usage) -> Reply | Work:
        key = request.target.key
        stored = self._documents.get(key)
        if stored is None or usage.read_only:
            made = usage.generate(key, self._world_of(request))
            if made is not None:
                stored = Stored(key, made, hashlib.blake2s(made, digest_size=16).hexdigest(), "", 0.0, 0, 0)
        if stored is None:
            raise NoResource("There is no such document")
        if request.target.selector is None:
            return self._answer_get(request, stored, stored.body, usage.content_type)
        body = stored.body
        editor = self._editor(request, usage)
        return Work(request, usage, stored, lambda: Result(*editor.get(body)), len(body))

    def _answer_get(self, request: Request, stored: Stored, body: bytes, content_type: str) -> Reply:
        headers, since = request.headers, stored.changed_at
        tag: tuple[tuple[str, str], ...] = (("ETag", quote_tag(stored.etag)), ("Cache-Control", "no-cache"))
        if since > 0:
            tag = (*tag, ("Last-Modified", write_date(since)))
        if not if_match(headers, stored.etag) or not if_unmodified(headers, since):
            raise failed(stored.etag)
        if not if_none_match(headers, stored.etag) or not if_modified(headers, since):
            return Reply(304, tag)
        return Reply(200, tag, body, content_type)

    def _begin_delete(self, request: Request, usage: Usage, stored: Stored | None) -> Reply | Work:
        if stored is None:
            raise NoResource("There is no such document")
        # What is not there is 404 whatever the conditions are (RFC 9110 section 13.2.1), so those come second.
        check = partial(check_preconditions, request.headers, stored)
        if request.target.selector is None:
            check()
            return Work(request, usage, stored, lambda: Result(b""), 0)
        body = stored.body
        editor = self._editor(request, usage)
        return Work(request, usage, stored, lambda: parse_document(usage, editor.delete(body, check)), len(body))

    def _begin_put(self, request: Request, usage: Usage, stored: Stored | None) -> Work:
        target = request.target
        _check_type(request, _expected_type(target, usage))
        most = self.body_bytes(target)
        if len(request.body) > most:
            raise TooLarge(f"Keep documents to {most} bytes")
        body = request.body
        if target.selector is None:
            self._check_place(request, usage)
            check_preconditions(request.headers, stored)
            if stored is None:
                self._check_quota(target.key)
            bounds, created = self._limits.bounds, stored is None
            return Work(
                request, usage, stored, lambda: parse_document(usage, read_document(body, bounds), created), len(body)
            )
        if stored is None:
            directory = request.base + target.directory
            raise NoParent("PUT the document first: it is not there", directory)
        check_preconditions(request.headers, stored)
        editor, text = self._editor(request, usage), stored.body
        return Work(
            request,
            usage,
            stored,
            lambda: parse_edited(usage, editor.put(text, body), most),
            len(body) + len(text),
        )

    def _world_of(self, request: Request) -> World:
        """The name a client has for us is one of ours. What OpenXCAP lets documents refer to is not followed."""
        world = self._world
        if request.openxcap:
            world = replace(world, allow_external_references=True)
        return world if request.base in world.roots else replace(world, roots=(*world.roots, request.base))

    def _editor(self, request: Request, usage: Usage) -> NodeEditor:
        selector = request.target.selector
        assert selector is not None
        return NodeEditor(selector, usage.namespace, self._limits.bounds, openxcap=request.openxcap)

    def _check_place(self, request: Request, usage: Usage) -> None:
        """Raise what keeps a document of this name from being there (sections 6.2 and 8.2.1)."""
        target = request.target
        name = target.key.name
        directory, slash, _ = name.rpartition("/")
        if usage.names:
            if name not in usage.names:
                raise ConstraintFailure(f"Call the document {' or '.join(sorted(usage.names))}")
            return
        if directory + slash not in usage.directories:
            raise NoParent("There is no such directory, and none can be made", request.base + target.directory)
        if any(known.startswith(f"{name}/") for known in usage.directories):
            raise ConstraintFailure("Call the document otherwise: there is a directory of this name")

    def _check_quota(self, key: Key) -> None:
        most = self._limits.documents_per_user
        if key.owner is not None and len(self._documents.all_of(key.owner)) >= most:
            raise ConstraintFailure(f"Delete a document first: a user may have {most}")

    # ---- the last step ----

    def finish(self, work: Work, result: Result) -> Reply | Write:
        """Make of the work's result an answer or a change; raises XcapError."""
        request, usage, stored = work.request, work.usage, work.stored
        key = request.target.key
        if request.method in READING:
            assert stored is not None
            return self._answer_get(request, stored, result.body, result.content_type)
        expected = None if stored is None else stored.etag
        if result.tree is None:
            return Write(key, None, "", expected, Reply(200))
        usage.check(result.tree, result.body, key, self._world_of(request))
        etag = self._new_etag()
        reply = Reply(201 if result.created else 200, (("ETag", quote_tag(etag)),))
        return Write(key, result.body, etag, expected, reply)


def answer(error: XcapError, request: Request | None = None) -> Reply:
    """Return the response to a request that failed; `request` gives the ancestor of a missing parent its URI."""
    if isinstance(error, Missing) and request is not None:
        error.ancestor = request.base + request.target.node(error.depth)
    if isinstance(error, Conflict):
        report = error.report(as_path=request is not None and request.openxcap)
        return Reply(error.status, error.headers, report, CONTENT_TYPE)
    return Reply(error.status, error.headers, f"{error.reason}\n".encode(), "text/plain; charset=utf-8")


def check_request(method: str, headers: Mapping[str, str]) -> None:
    """Raise what a request deserves whatever it is for (section 8.1)."""
    if method not in METHODS:
        raise MethodNotAllowed("XCAP resources are read, put and deleted", EVERYTHING)
    if method == "PUT" and "content-range" in headers:
        raise BadSelector("Leave out Content-Range: parts are named by node selectors")
    codings = {coding.strip().lower() for coding in headers.get("content-encoding", "").split(",")}
    if method == "PUT" and codings & _CODINGS:
        # Others are none: Jitsi says UTF-8 here.
        raise UnsupportedType("Send the body as it is, without Content-Encoding", (("Accept-Encoding", "identity"),))


def _expected_type(target: Target, usage: Usage) -> str:
    if target.selector is None:
        return usage.content_type
    return ELEMENT_TYPE if target.selector.attribute is None else ATTRIBUTE_TYPE


def _check_type(request: Request, expected: str) -> None:
    """Raise UnsupportedType for a body of another type, NotUtf8 for one said to be in another encoding."""
    # What must be refused is a type that is said and another. Parts of documents are told by theirs.
    if request.target.selector is None and says_no_type(request.headers, openxcap=request.openxcap):
        return
    value = request.headers.get("content-type", "")
    if value.partition(";")[0].strip().lower() != expected:
        raise UnsupportedType(f"Send the body as {expected}", (("Accept", expected),))
    charset = _CHARSET.search(value)
    if charset is not None and charset[1].lower() not in UTF8_NAMES and not request.body.isascii():
        raise NotUtf8("Encode the body in UTF-8, and say so")
