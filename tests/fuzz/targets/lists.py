"""Documents of XCAP: a usage takes them or says why not, and lists in them are resolved, whatever they refer to.

The first byte chooses the usage, the rest is a document of Alice's, `index`; a zero byte parts it from another, `work`.
"""

from collections.abc import Iterable
from contextlib import suppress
from functools import cache

import xcap_examples as examples
from lxml import etree
from xcap_memory import ALICE, PARSER, ROOT, Memory, make_world

from presence.xcap.canonical import canonical_uri
from presence.xcap.documents import Key
from presence.xcap.errors import Conflict
from presence.xcap.references import DOCUMENTS_MOST, Lists
from presence.xcap.services import read_services, write_alone
from presence.xcap.usage import World

HOME = f"{ROOT}/resource-lists/users/sip:alice@example.com"


@cache
def site() -> tuple[Memory, World, Lists]:
    memory = Memory()
    return memory, make_world(memory), Lists(memory, (ROOT,))


def run(data: bytes) -> None:
    memory, world, lists = site()
    if not data:
        return
    auid = sorted(world.usages)[data[0] % len(world.usages)]
    index, _, work = data[1:].partition(b"\0")
    judge(world, auid, index)
    memory.write(Key("resource-lists", ALICE, "index"), index)
    memory.write(Key("resource-lists", ALICE, "work"), work)
    for anchor in (f"{HOME}/index", f"{HOME}/work/~~/resource-lists/list[1]", work[:200].decode("latin-1")):
        flat = lists.flat(anchor, ALICE)
        assert len(flat.versions) <= DOCUMENTS_MOST
        assert len(flat.members) <= len(flat.uris) == len(set(flat.uris))
        assert {key.owner for key in flat.versions} <= {ALICE}
        assert lists.flat(anchor, ALICE) is flat
    for service in read_services(index):
        [alone] = read_services(
            b'<rls-services xmlns="urn:ietf:params:xml:ns:rls-services">%b</rls-services>' % write_alone(index, service)
        )
        assert alone.attributes == service.attributes
        uri = canonical_uri(service.attributes.get("uri", ""))
        assert canonical_uri(uri) == uri


def judge(world: World, auid: str, body: bytes) -> None:
    try:
        tree = etree.fromstring(body, PARSER)
    except (etree.XMLSyntaxError, ValueError):
        return
    with suppress(Conflict):
        world.usages[auid].validate(tree)
        world.usages[auid].check(tree, body, Key(auid, ALICE, "index"), world)


def seeds() -> Iterable[bytes]:
    auids = sorted(site()[1].usages)
    named = {"{root}": ROOT, "{user}": "alice@example.com", "{name}": "alice"}
    for auid, body in (
        ("resource-lists", examples.RESOURCE_LISTS),
        ("resource-lists", examples.BLINK_LISTS),
        ("rls-services", examples.RLS_SERVICES),
        ("rls-services", examples.BLINK_SERVICES),
        ("pres-rules", examples.PRES_RULES),
        ("org.openmobilealliance.pres-rules", examples.BLINK_RULES),
        ("pidf-manipulation", examples.PIDF),
        ("org.openmobilealliance.pres-content", examples.JITSI_PICTURE),
    ):
        text = body.decode() if isinstance(body, bytes) else body
        for word, value in named.items():
            text = text.replace(word, value)
        yield bytes((auids.index(auid),)) + text.encode() + b"\0" + examples.RESOURCE_LISTS
