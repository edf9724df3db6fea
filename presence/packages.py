"""The event packages a server has: those that come with it and those installed beside it."""

from collections.abc import Iterator
from importlib.metadata import entry_points

from presence.config import Config
from presence.errors import ConfigError
from presence.events.dialog import DialogOptions, DialogPackage
from presence.events.message_summary import MessageSummaryPackage
from presence.events.package import EventPackage
from presence.events.presence import PresenceOptions, PresencePackage
from presence.events.registry import Registry
from presence.events.shared_line import SharedLinePackage
from presence.events.winfo import WatcherInfoPackage
from presence.events.xcap_diff import XcapDiffPackage

PLUGINS = "presence.event_packages"
"""The entry point group by which an installed distribution brings event packages of its own."""


DEFAULTS = Config()


def _own_packages(config: Config) -> Iterator[EventPackage]:
    general, xml, calls = config.presence, config.presence_xml, config.presence_dialoginfo
    yield PresencePackage(
        PresenceOptions(
            closed_body=general.notify_offline_body,
            farewell=xml.generate_offline_body,
            one_person=general.persons == "newest",
        )
    )
    yield MessageSummaryPackage()
    options = DialogOptions(
        partial=calls.partial,
        single=calls.force_single_dialog,
        dummy=calls.force_dummy_dialog,
        own_calls=calls.own_dialogs,
        authorised=calls.authorise,
    )
    yield DialogPackage(options)
    if not xml.disable_bla:
        yield SharedLinePackage(options, xml.bla_presentity, fix_target=general.bla_fix_remote_target)
    yield XcapDiffPackage()


def load_packages(config: Config = DEFAULTS) -> Registry:
    """Return the event packages that come with the server and those installed beside it.

    Raises ConfigError for one that cannot be had: a package an operator counts on must not be silently missing.
    """
    registry = Registry()
    for package in _own_packages(config):
        registry.register(package)
    for plugin in entry_points(group=PLUGINS):
        try:
            registry.register(plugin.load()())
        except Exception as error:
            raise ConfigError(f"event package {plugin.name} ({plugin.value}) cannot be loaded: {error}") from error
    # A name with a parameter has no place for the name of a template.
    for name in registry.allowed:
        # Each has watchers, and so has that (RFC 3857 section 3); deeper recursions nobody may see (section 4.6).
        for watched in (name, f"{name}.winfo"):
            if registry.get(f"{watched}.winfo") is None and not name.endswith(".winfo"):
                registry.register(WatcherInfoPackage(watched))
    return registry
