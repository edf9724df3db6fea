"""Reading the actions and transformations of a rule (RFC 5025 sections 3.2 and 3.3, OMA-TS-Presence_SIMPLE_XDM)."""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from presence.document.tree import Element
from presence.policy.attributes import (
    OMA_ATTRIBUTES,
    OMA_PRES_RULES,
    PLACES,
    PRES_RULES,
    USER_INPUT,
    UserInput,
    is_known,
)
from presence.policy.permission import ALL, EVERY, Key, Member, Transformations


class Handling(IntEnum):
    """What becomes of a subscription; the numbers are those of RFC 5025 section 3.2.1."""

    BLOCK = 0
    CONFIRM = 10
    POLITE_BLOCK = 20
    ALLOW = 30


_HANDLINGS: Final = {handling.name.lower().replace("_", "-"): handling for handling in Handling}
_USER_INPUTS: Final = {level.name.lower(): level for level in UserInput}
_TRUE: Final = ("true", "1")
_FALSE: Final = ("false", "0")

_BOOLEANS: Final = {
    (OMA_PRES_RULES if attribute in OMA_ATTRIBUTES else PRES_RULES, f"provide-{attribute}"): attribute
    for attribute in PLACES
    if attribute not in (USER_INPUT, "geopriv")
} | {(PRES_RULES, "provide-device-id"): "deviceID"}
"""Expanded name of a permission: its attribute. RFC 5025 spells deviceID so, some clients do not."""

_SETS: Final = {
    "provide-services": ("all-services", ("class", "occurrence-id", "service-uri", "service-uri-scheme")),
    "provide-persons": ("all-persons", ("class", "occurrence-id")),
    "provide-devices": ("all-devices", ("class", "occurrence-id", "deviceID")),
}


def read_actions(element: Element) -> Handling:
    """Return the handling of an <actions>, of several the greatest; a value we do not know is the lowest."""
    return max(
        (
            _HANDLINGS.get(child.value(), Handling.BLOCK)
            for child in element.children
            if (child.namespace, child.name) == (PRES_RULES, "sub-handling")
        ),
        default=Handling.BLOCK,
    )


def read_transformations(elements: Iterable[Element]) -> Transformations:
    """Return what the children of <transformations> grant; permissions we do not know are ignored."""
    sets: dict[str, set[Member]] = {name: set() for name in _SETS}
    attributes: set[Key] = set()
    user_input = UserInput.FALSE
    for child in elements:
        name = (child.namespace, child.name)
        if name in _BOOLEANS:
            if child.value() in _TRUE:
                attributes.add(_BOOLEANS[name])
        elif name == (OMA_PRES_RULES, "provide-geopriv"):
            if child.value() == "full":
                attributes.add("geopriv")
        elif child.namespace != PRES_RULES:
            continue
        elif child.name in _SETS:
            sets[child.name].update(_read_members(child))
        elif child.name == "provide-user-input":
            user_input = max(user_input, _USER_INPUTS.get(child.value(), UserInput.FALSE))
        elif child.name == "provide-unknown-attribute":
            attributes.update(_read_unknown(child))
        elif child.name == "provide-all-attributes" and child.value() not in _FALSE:
            # It has no value in the schema; a client that writes one means it.
            attributes.add(EVERY)
    return Transformations(
        frozenset(sets["provide-services"]),
        frozenset(sets["provide-persons"]),
        frozenset(sets["provide-devices"]),
        frozenset(attributes),
        user_input,
    )


def _read_members(element: Element) -> Iterable[Member]:
    everything, types = _SETS[element.name]
    for child in element.children:
        if child.namespace == PRES_RULES and child.name == everything:
            yield ALL
        elif child.namespace == PRES_RULES and child.name in types and (value := child.value()):
            yield child.name, value
        elif (child.namespace, child.name) == (OMA_PRES_RULES, "service-id") and element.name == "provide-services":
            yield child.name, child.value()


def _read_unknown(element: Element) -> Iterable[Key]:
    """RFC 5025 section 3.3.2.14: an element that has a permission of its own is not unknown."""
    name = (element.attributes.get("ns", "").strip(), element.attributes.get("name", "").strip())
    if element.value() in _TRUE and all(name) and not is_known(name):
        yield name
