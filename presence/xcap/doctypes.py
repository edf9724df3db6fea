"""How table `xcap` names documents: numbers for application usages, and what stands in `doc_uri`."""

from types import MappingProxyType
from urllib.parse import unquote

NUMBERS = MappingProxyType(
    {
        "test-app": 0,
        "pres-rules": 2,
        "resource-lists": 4,
        "rls-services": 8,
        "pidf-manipulation": 16,
        "org.openmobilealliance.pres-rules": 32,
        "org.openmobilealliance.pres-content": 64,
        "org.openxcap.dialog-rules": 128,
        # From here on ours; Kamailio has other numbers above 16, and other meanings for some.
        "org.openmobilealliance.user-profile": 256,
        "dialog-rules": 512,
        "org.openmobilealliance.locked-user-profile": 1024,
    }
)
"""AUID → `doc_type`, as OpenSIPS and OpenXCAP have it."""

_AUIDS = {number: auid for auid, number in NUMBERS.items()}

RULES = ("pres-rules", "org.openmobilealliance.pres-rules")
"""Usages whose one document OpenXCAP calls `index.xml`, and everybody else `index`."""


def number_of(auid: str) -> int:
    """Return the `doc_type` of an application usage; raises KeyError for one whose documents are not stored."""
    return NUMBERS[auid]


def auid_of(number: object) -> str | None:
    """Return the application usage of a `doc_type`, None for a number nobody knows."""
    return _AUIDS.get(number) if isinstance(number, int) else None


def canonical_name(auid: str, name: str) -> str:
    """Return the one name of a document that has two."""
    return "index" if name == "index.xml" and auid in RULES else name


def other_name(auid: str, name: str) -> str:
    """Return the name a document may have in `doc_uri` instead; its own name when there is no other."""
    return "index.xml" if name == "index" and auid in RULES else name


def name_in(auid: str, doc_uri: str) -> str:
    """Return the canonical name of the document a `doc_uri` stands for.

    Usually it is that name. The path of the whole URL stands there when a client fetched the document or Kamailio
    stored it.
    """
    if not doc_uri.startswith("/"):
        return canonical_name(auid, doc_uri)
    path = unquote(doc_uri)
    for tree, skipped in ((f"/{auid}/users/", 1), (f"/{auid}/global/", 0)):
        _, found, rest = path.partition(tree)
        if found:
            return canonical_name(auid, rest.split("/", skipped)[-1])
    return canonical_name(auid, path.rpartition("/")[2])
