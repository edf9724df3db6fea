"""Documents of XCAP in memory, and what a usage makes of a body, for tests without a database."""

from collections.abc import Iterable, Iterator, Mapping

from lxml import etree

from presence.values import Aor, WatcherRecord
from presence.xcap.documents import Change, Key, Stored
from presence.xcap.errors import Conflict
from presence.xcap.services import Services
from presence.xcap.usage import Usage, World
from presence.xcap.usages import usages

ALICE, BOB, JOE = (Aor(name, "example.com") for name in ("alice", "bob", "joe"))
ROOT = "http://xcap.example.com"

# As the server reads what it validates.
PARSER = etree.XMLParser(collect_ids=False, remove_comments=True, remove_pis=True, resolve_entities=False)


class Memory:
    """Documents without a database."""

    def __init__(self) -> None:
        self.stored: dict[Key, Stored] = {}
        self.reads = 0
        self.services = Services(self.every)

    def write(self, key: Key, body: bytes | str) -> Key:
        before = self.stored.get(key)
        raw = body.encode() if isinstance(body, str) else body
        etag = f"e{int(before.etag[1:]) + 1}" if before else "e1"
        self.stored[key] = Stored(key, raw, etag, "", 1_782_907_200.0, 1, 0)
        self.services.note(Change(key, before, self.stored[key]))
        return key

    def remove(self, key: Key) -> None:
        before = self.stored.pop(key)
        self.services.note(Change(key, before, None))

    def get(self, key: Key) -> Stored | None:
        self.reads += 1
        return self.stored.get(key)

    def of(self, owner: Aor | None, auid: str) -> list[Stored]:
        return [stored for key, stored in self.stored.items() if key.owner == owner and key.auid == auid]

    def all_of(self, owner: Aor | None) -> list[Stored]:
        return [stored._replace(body=b"") for key, stored in self.stored.items() if key.owner == owner]

    def every(self) -> Iterator[Stored]:
        return iter([stored for key, stored in self.stored.items() if key.auid == "rls-services"])


def make_world(
    memory: Memory,
    *,
    roots: tuple[str, ...] = (ROOT,),
    watchers: Iterable[WatcherRecord] = (),
    allow_external_references: bool = False,
    served: Mapping[str, Usage] | None = None,
) -> World:
    return World(
        roots=roots,
        documents=memory,  # type: ignore[arg-type]
        watchers=lambda owner: watchers,
        usages=usages(services=memory.services) if served is None else served,
        allow_external_references=allow_external_references,
    )


def judge(world: World, key: Key, body: bytes | str) -> Conflict | None:
    """Return what a usage objects to in a document, None when nothing."""
    raw = body.encode() if isinstance(body, str) else body
    tree = etree.fromstring(raw, PARSER)
    usage = world.usages[key.auid]
    try:
        usage.validate(tree)
        usage.check(tree, raw, key, world)
    except Conflict as conflict:
        return conflict
    return None
