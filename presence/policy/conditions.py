"""The conditions of a rule; it matches when all of them are true (RFC 4745 sections 7 and 10.1).

Beside those of RFC 4745 there are three of OMA (OMA-TS-XDM_Core): <external-list>, <other-identity> and
<anonymous-request>. Every other element is false, so that what we do not know never opens a rule.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

from presence.document.tree import Element
from presence.policy.identity import COMMON_POLICY, Identity, read_identity
from presence.policy.validity import Validity, read_validity
from presence.values import Aor

OMA_COMMON_POLICY: Final = "urn:oma:xml:xdm:common-policy"


class Circumstances(NamedTuple):
    """What conditions are about beside the watcher."""

    now: float
    """Epoch seconds."""
    sphere: str | None
    """Of the presentity (RFC 5025 section 3.1.2); None when it is undefined."""
    in_list: Callable[[str, Aor], bool]
    """Whether the list at an anchor has an address."""


class Rank(IntEnum):
    """What a rule names its watchers by; where OMA's conditions are used, the highest that matches counts alone."""

    ANYBODY = 0
    OTHER = 1
    LIST = 2
    IDENTITY = 3


@dataclass(slots=True)
class Conditions:
    """The conditions of one rule; without any it matches everybody."""

    identities: list[Identity] = field(default_factory=list)
    lists: list[tuple[str, ...]] = field(default_factory=list)
    """The anchors of each <external-list>; it is true when one of its lists has the watcher."""
    spheres: list[frozenset[str]] = field(default_factory=list)
    """The tokens of each <sphere>, in small letters."""
    validities: list[Validity] = field(default_factory=list)
    others: bool = False
    """<other-identity>: the watcher has an identity, which no rule names."""
    anonymous: bool = False
    """<anonymous-request>."""
    impossible: bool = False
    """There is a condition we do not know."""

    @property
    def rank(self) -> Rank:
        """What it names its watchers by."""
        if self.identities:
            return Rank.IDENTITY
        if self.lists:
            return Rank.LIST
        return Rank.OTHER if self.others else Rank.ANYBODY

    @property
    def is_oma(self) -> bool:
        """Whether it uses conditions of OMA."""
        return bool(self.lists) or self.others or self.anonymous

    def hold(self, circumstances: Circumstances) -> bool:
        """Return whether those that are not about the watcher are true."""
        for validity in self.validities:
            if not validity.holds(circumstances.now):
                return False
        if self.spheres:
            if circumstances.sphere is None:
                return False
            # RFC 4745 section 7.3: each token is compared without regard to case.
            sphere = circumstances.sphere.casefold()
            return all(sphere in tokens for tokens in self.spheres)
        return True


def read_conditions(element: Element, conditions: Conditions) -> None:
    """Read a <conditions> into those there are already."""
    for child in element.children:
        if child.namespace == COMMON_POLICY and child.name == "identity":
            conditions.identities.append(read_identity(child))
        elif child.namespace == COMMON_POLICY and child.name == "sphere":
            conditions.spheres.append(_read_sphere(child))
        elif child.namespace == COMMON_POLICY and child.name == "validity":
            conditions.validities.append(read_validity(child))
        elif child.namespace == OMA_COMMON_POLICY and child.name == "external-list":
            conditions.lists.append(_read_list(child))
        elif child.namespace == OMA_COMMON_POLICY and child.name == "other-identity":
            conditions.others = True
        elif child.namespace == OMA_COMMON_POLICY and child.name == "anonymous-request":
            conditions.anonymous = True
        else:
            conditions.impossible = True


def _read_sphere(element: Element) -> frozenset[str]:
    """Read a <sphere>: the tokens of `value`; else, as some clients write it, what RFC 4480 section 3.11 has there."""
    value = element.attributes.get("value")
    if value is not None:
        tokens = value.split()
    else:
        tokens = [child.name for child in element.children] or [element.value()]
    return frozenset(token.casefold() for token in tokens if token)


def _read_list(element: Element) -> tuple[str, ...]:
    entries = [
        child.attributes.get("anc", "").strip()
        for child in element.children
        if (child.namespace, child.name) == (OMA_COMMON_POLICY, "entry")
    ]
    return tuple(dict.fromkeys(filter(None, entries)))
