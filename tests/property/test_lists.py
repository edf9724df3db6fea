"""Lists with any references between them have the members that a plain reading of RFC 4826 section 4.5 gives."""

from hypothesis import given
from hypothesis import strategies as st
from xcap_memory import ALICE, ROOT, Memory

from presence.values import Aor
from presence.xcap.documents import Key
from presence.xcap.references import Lists

DOCUMENTS, NAMES, USERS = ("index", "work", "gone"), ("a", "b", "c"), ("bob", "carol", "dan", "erin")
PARTS = st.recursive(
    st.one_of(
        st.tuples(st.just("entry"), st.sampled_from(USERS)),
        st.tuples(st.just("external"), st.tuples(st.sampled_from(DOCUMENTS), st.sampled_from((*NAMES, "")))),
        st.tuples(
            st.just("ref"), st.tuples(st.sampled_from(DOCUMENTS), st.sampled_from(NAMES), st.sampled_from(USERS))
        ),
    ),
    lambda parts: st.tuples(st.just("list"), st.lists(parts, max_size=3)),
    max_leaves=6,
)
LISTS = st.dictionaries(st.sampled_from(NAMES), st.lists(PARTS, max_size=4), max_size=3)
LIBRARY = st.fixed_dictionaries(dict.fromkeys(DOCUMENTS[:2], LISTS))


def where(document: str, name: str) -> str:
    selector = f"/~~/resource-lists/list%5B@name=%22{name}%22%5D" if name else ""
    return f"resource-lists/users/sip:alice@example.com/{document}{selector}"


def write(part) -> str:
    kind, value = part
    if kind == "entry":
        return f'<entry uri="sip:{value}@example.com"/>'
    if kind == "external":
        return f'<external anchor="{ROOT}/{where(*value)}"/>'
    if kind == "ref":
        document, name, user = value
        return f'<entry-ref ref="{where(document, name)}/entry%5B@uri=%22sip:{user}@example.com%22%5D"/>'
    return f"<list>{''.join(map(write, value))}</list>"


def plainly(library, parts, passed: frozenset) -> set[str]:
    """Who is on a list; it is entered again and again but never within itself, so only the result is the same."""
    found: set[str] = set()
    for kind, value in parts:
        if kind == "entry":
            found.add(value)
        elif kind == "list":
            found |= plainly(library, value, passed)
        elif kind == "ref":
            document, name, user = value
            entries = [each for each in library.get(document, {}).get(name, ()) if each == ("entry", user)]
            found |= {user} if len(entries) == 1 else set()
        elif value not in passed:
            document, name = value
            lists = library.get(document, {})
            for each in (name,) if name else tuple(lists):
                found |= plainly(library, lists.get(each, ()), passed | {value})
    return found


@given(LIBRARY, st.sampled_from(DOCUMENTS), st.sampled_from((*NAMES, "")))
def test_members_are_those_of_a_plain_reading(library, document, name):
    memory = Memory()
    for place, lists in library.items():
        inside = "".join(f'<list name="{each}">{"".join(map(write, parts))}</list>' for each, parts in lists.items())
        body = f'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">{inside}</resource-lists>'
        memory.write(Key("resource-lists", ALICE, place), body)
    found = Lists(memory, (ROOT,))
    expected = plainly(library, [("external", (document, name))], frozenset())
    assert found.members(f"{ROOT}/{where(document, name)}", ALICE) == {Aor(user, "example.com") for user in expected}
