"""What a watcher may see: the union of the transformations of the rules that match (RFC 5025 section 3.3)."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

from presence.document.pidf import Kind
from presence.policy.attributes import PLACES, UserInput
from presence.policy.attributes import Key as Key

Member = tuple[str, str]
"""Type and value of what names components, such as ("class", "work") (RFC 5025 section 3.3.1)."""

ALL: Final[Member] = ("all", "")
EVERY: Final = "*"
"""Stands for each attribute there is and will be (RFC 5025 section 3.3.2.15)."""

_NO_MEMBERS: Final[frozenset[Member]] = frozenset()
_NO_ATTRIBUTES: Final[frozenset[Key]] = frozenset()


@dataclass(frozen=True, slots=True)
class Permissions:
    """What may be seen, in the one form of it: two are equal exactly when they show the same of any document."""

    services: frozenset[Member] = _NO_MEMBERS
    persons: frozenset[Member] = _NO_MEMBERS
    devices: frozenset[Member] = _NO_MEMBERS
    attributes: frozenset[Key] = _NO_ATTRIBUTES
    """Names of attributes, and expanded names of elements that have no permission of their own."""
    user_input: UserInput = UserInput.FALSE

    everything: ClassVar["Permissions"]
    nothing: ClassVar["Permissions"]

    def __post_init__(self) -> None:
        kinds = set()
        for field, kind in (("services", Kind.TUPLE), ("persons", Kind.PERSON), ("devices", Kind.DEVICE)):
            members: frozenset[Member] = getattr(self, field)
            if members:
                kinds.add(kind)
            if ALL in members:
                object.__setattr__(self, field, _ALL_MEMBERS)
        attributes, user_input = self.attributes, self.user_input
        if not kinds:
            # Attributes are those of components that are shown (RFC 5025 section 3.3.2).
            attributes, user_input = _NO_ATTRIBUTES, UserInput.FALSE
        elif EVERY in attributes:
            attributes, user_input = _EVERY_ATTRIBUTE, UserInput.FULL
        elif attributes:
            attributes = frozenset(key for key in attributes if _may_occur(key, kinds))
        object.__setattr__(self, "attributes", attributes)
        object.__setattr__(self, "user_input", user_input)

    @property
    def shows_every_attribute(self) -> bool:
        """Whether what is shown of a component is all of it."""
        return EVERY in self.attributes

    def keys(self) -> frozenset[Key]:
        """Return the keys of what is shown of a component."""
        return self.attributes | {None, self.user_input}


_ALL_MEMBERS: Final = frozenset((ALL,))
_EVERY_ATTRIBUTE: Final[frozenset[Key]] = frozenset((EVERY,))

Permissions.nothing = Permissions()
Permissions.everything = Permissions(_ALL_MEMBERS, _ALL_MEMBERS, _ALL_MEMBERS, _EVERY_ATTRIBUTE)


class Transformations(NamedTuple):
    """The transformations of one rule: attributes count also where another rule grants the component."""

    services: frozenset[Member] = _NO_MEMBERS
    persons: frozenset[Member] = _NO_MEMBERS
    devices: frozenset[Member] = _NO_MEMBERS
    attributes: frozenset[Key] = _NO_ATTRIBUTES
    user_input: UserInput = UserInput.FALSE


def combine(given: Collection[Transformations]) -> Permissions:
    """Combine the transformations of the rules that match: each by itself, sets united, numbers at their greatest.

    RFC 4745 section 10.2; a boolean that is true is a member of the set of attributes.
    """
    return Permissions(
        _NO_MEMBERS.union(*(one.services for one in given)),
        _NO_MEMBERS.union(*(one.persons for one in given)),
        _NO_MEMBERS.union(*(one.devices for one in given)),
        _NO_ATTRIBUTES.union(*(one.attributes for one in given)),
        max((one.user_input for one in given), default=UserInput.FALSE),
    )


def _may_occur(key: Key, kinds: set[Kind]) -> bool:
    return not isinstance(key, str) or not PLACES[key].isdisjoint(kinds)
