"""What adds to the documents of a package beside its own publications."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from presence.config import Config
from presence.events.dialog import DialogPackage
from presence.events.presence import PresencePackage
from presence.events.registry import Registry
from presence.publication.compositor import Compositor
from presence.publication.hard_state import HardState
from presence.publication.mixing import CallsInPresence
from presence.values import Aor

if TYPE_CHECKING:
    from presence.assembly import Node

Mixed = Mapping[str, tuple[str, ...]]
"""The packages whose documents a change of a package changes too."""


def mix(config: Config, registry: Registry, compositor: Compositor) -> Mixed:
    """Let calls show in presence where that is configured."""
    presence, calls = PresencePackage.name, DialogPackage.name
    served = registry.get(presence) is not None and registry.get(calls) is not None
    if not config.presence.mix_dialog_presence or not served:
        return {}
    composing = compositor.composing
    composing.contribute(presence, CallsInPresence(composing, calls))
    return {calls: (presence,)}


def compose_hard_state(node: "Node", registry: Registry) -> None:
    """Let what presentities keep by XCAP be part of their presence where that is configured; raises StoreError."""
    package = registry.get(PresencePackage.name)
    if not node.config.presence_xml.pidf_manipulation or package is None:
        return

    def changed(owner: Aor) -> None:
        node.notify.changed(package.name, owner, node.clock.now())

    def all_changed() -> None:
        for resource in node.notify.all():
            if resource.package is package:
                changed(resource.presentity)

    def unreadable() -> None:
        node.tally.drops["unreadable hard state"] += 1

    hard_state = HardState(
        node.documents, package, changed, all_changed, unreadable, alone=node.config.presence.composition == "newest"
    )
    node.compositor.composing.contribute(package.name, hard_state)
