"""What adds to the documents of a package beside its own publications."""

from collections.abc import Mapping

from presence.config import Config
from presence.events.dialog import DialogPackage
from presence.events.presence import PresencePackage
from presence.events.registry import Registry
from presence.publication.compositor import Compositor
from presence.publication.mixing import CallsInPresence

Mixed = Mapping[str, tuple[str, ...]]
"""The packages whose documents a change of a package changes too."""


def contribute(config: Config, registry: Registry, compositor: Compositor) -> Mixed:
    """Connect the sources that are configured."""
    presence, calls = PresencePackage.name, DialogPackage.name
    served = registry.get(presence) is not None and registry.get(calls) is not None
    if not config.presence.mix_dialog_presence or not served:
        return {}
    composing = compositor.composing
    composing.contribute(presence, CallsInPresence(composing, calls))
    return {calls: (presence,)}
