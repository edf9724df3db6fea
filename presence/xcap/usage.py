"""Application usages: what the documents of one AUID are, and what they may say (RFC 4825 section 5)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lxml import etree

from presence.values import Aor, WatcherRecord

if TYPE_CHECKING:
    from presence.xcap.documents import Documents, Key


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a usage may look at besides the document in question."""

    roots: tuple[str, ...]
    """Our XCAP root URIs, absolute and without a slash at the end; the first is the one we name ourselves."""
    documents: "Documents"
    watchers: Callable[[Aor], Iterable[WatcherRecord]]
    """The watchers of a presentity, for org.openxcap.watchers."""
    usages: Mapping[str, "Usage"]
    """All usages that are served, by AUID."""
    allow_external_references: bool = False
    """Documents may refer to those of other users and other servers."""


class Usage:
    """One application usage. A class of its own for each AUID; an object knows nothing of requests."""

    auid: ClassVar[str]
    content_type: ClassVar[str]
    """MIME type of its documents, in small letters and without parameters."""
    namespace: ClassVar[str] = ""
    """Default document namespace: that of unprefixed element names in a node selector (section 5.2)."""
    namespaces: ClassVar[tuple[str, ...]] = ()
    """What else it has schemas for, to be listed in xcap-caps (section 12)."""

    users_tree: ClassVar[bool] = True
    """Users have documents of it."""
    global_tree: ClassVar[bool] = False
    """There are global documents of it."""
    names: ClassVar[frozenset[str]] = frozenset()
    """The only paths below a home directory or the global tree there may be; empty: whatever is in `directories`."""
    directories: ClassVar[frozenset[str]] = frozenset(("",))
    """Where documents may stand: '' is the home directory itself, others end with a slash (section 6.2)."""

    body_bytes: ClassVar[int] = 0
    """Bytes that documents of it may have where others may have fewer."""

    readable_by_all: ClassVar[bool] = False
    """Everybody may read documents in users' trees, without proof of identity."""
    read_only: ClassVar[bool] = False
    """Nobody writes documents over HTTP: they are generated."""

    def validate(self, tree: etree._Element) -> None:
        """Raise a `Conflict` of `xcap.errors` when the document breaks its schema (section 8.2.5).

        It runs in another thread, may take its time, and looks at nothing but the document, whose comments and
        processing instructions have been taken out.
        """

    def check(self, tree: etree._Element, body: bytes, key: "Key", world: World) -> None:
        """Raise a `Conflict` of `xcap.errors` when the document breaks a constraint beyond the schema.

        Called after `validate`, in the thread of the loop: it may look at other documents, and must not take long.
        """

    def generate(self, key: "Key", world: World) -> bytes | None:
        """Return a document that nobody wrote, None when there is none of that name."""
        return None
