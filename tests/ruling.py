"""Rules documents of presentities, written as an XCAP server writes them while the node runs."""

from itertools import count

from net import Network

from presence.values import Aor
from presence.xcap.documents import Key

ALICE = Aor("alice", "example.com")
ROOT = "http://xcap.example.com"
PRES_RULES, OMA_RULES, LISTS = "pres-rules", "org.openmobilealliance.pres-rules", "resource-lists"
SHOW_ALL = (
    "<pr:provide-services><pr:all-services/></pr:provide-services>"
    "<pr:provide-persons><pr:all-persons/></pr:provide-persons>"
    "<pr:provide-devices><pr:all-devices/></pr:provide-devices>"
    "<pr:provide-all-attributes/>"
)
SHOW_SERVICES = "<pr:provide-services><pr:all-services/></pr:provide-services>"
SHOW_NOTES = f"{SHOW_SERVICES}<pr:provide-note>true</pr:provide-note>"

_etags = count(1)


def one(*uris: str) -> str:
    """Return a condition that names users."""
    return "<cp:identity>" + "".join(f'<cp:one id="{uri}"/>' for uri in uris) + "</cp:identity>"


def rule(handling: str, conditions: str = "", transformations: str = SHOW_ALL, name: str = "") -> str:
    """Return a rule."""
    return (
        f'<cp:rule id="{name or f"r{next(_etags)}"}"><cp:conditions>{conditions}</cp:conditions>'
        f"<cp:actions><pr:sub-handling>{handling}</pr:sub-handling></cp:actions>"
        f"<cp:transformations>{transformations}</cp:transformations></cp:rule>"
    )


def ruleset(*rules: str) -> bytes:
    """Return a rules document."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<cp:ruleset xmlns:cp="urn:ietf:params:xml:ns:common-policy" '
        'xmlns:pr="urn:ietf:params:xml:ns:pres-rules" xmlns:ocp="urn:oma:xml:xdm:common-policy">'
        f"{''.join(rules)}</cp:ruleset>"
    ).encode()


def allow(*users: str, show: str = SHOW_ALL) -> str:
    """Return a rule that lets users of example.com watch."""
    return rule("allow", one(*(f"sip:{user}@example.com" for user in users)), show)


def in_list(name: str) -> str:
    """Return the condition that the watcher is on one of alice's lists."""
    return f'<ocp:external-list><ocp:entry anc="{anchor(name)}"/></ocp:external-list>'


def anchor(name: str) -> str:
    """Return the URI of one of alice's lists."""
    return f"{ROOT}/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list%5b@name=%22{name}%22%5d"


def lists(**members: tuple[str, ...]) -> bytes:
    """Return a document of lists, by name."""
    texts = "".join(
        f'<list name="{name}">' + "".join(f'<entry uri="{uri}"/>' for uri in uris) + "</list>"
        for name, uris in members.items()
    )
    return f'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">{texts}</resource-lists>'.encode()


def write(net: Network, body: bytes | None, *, owner: Aor = ALICE, auid: str = PRES_RULES, settle: bool = True) -> None:
    """Write a document, or delete it (None), and let happen what follows."""
    documents, key = net.node.documents, Key(auid, owner, "index")
    there = documents.get(key)
    expected = None if there is None else there.etag
    outcome: list[Exception | None] = []
    if body is not None:
        documents.put(key, body, f"e{next(_etags)}", expected, outcome.append)
    elif expected is not None:
        documents.delete(key, expected, outcome.append)
    if settle:
        net.settle()
        assert outcome in ([], [None])
