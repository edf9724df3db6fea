"""The event packages a server has: those that come with it and those installed beside it."""

from importlib.metadata import entry_points

from presence.errors import ConfigError
from presence.events.message_summary import MessageSummaryPackage
from presence.events.presence import PresencePackage
from presence.events.registry import Registry
from presence.events.winfo import WatcherInfoPackage
from presence.events.xcap_diff import XcapDiffPackage

PLUGINS = "presence.event_packages"
"""The entry point group by which an installed distribution brings event packages of its own."""


def load_packages() -> Registry:
    """Return the event packages that come with the server and those installed beside it.

    Raises ConfigError for one that cannot be had: a package an operator counts on must not be silently missing.
    """
    registry = Registry()
    for package in (PresencePackage(), MessageSummaryPackage(), XcapDiffPackage()):
        registry.register(package)
    for plugin in entry_points(group=PLUGINS):
        try:
            registry.register(plugin.load()())
        except Exception as error:
            raise ConfigError(f"event package {plugin.name} ({plugin.value}) cannot be loaded: {error}") from error
    for name in registry.names:
        # Each has watchers, and so has that (RFC 3857 section 3); deeper recursions nobody may see (section 4.6).
        for watched in (name, f"{name}.winfo"):
            if registry.get(f"{watched}.winfo") is None and not name.endswith(".winfo"):
                registry.register(WatcherInfoPackage(watched))
    return registry
