"""The event package xcap-diff, put before the documents there are."""

from presence.clock import Clock
from presence.config import Config
from presence.events.registry import Registry
from presence.events.xcap_diff import NAME, XcapDiffPackage
from presence.events.xcap_selection import Library
from presence.subscription.notify import Notify
from presence.values import Aor
from presence.xcap.documents import Documents
from presence.xcap.usages import usages


def serve_differences(
    registry: Registry,
    documents: Documents,
    notify: Notify,
    config: Config,
    clock: Clock,
) -> None:
    """Let subscribers to xcap-diff be told of documents; a registry without that package is left alone."""
    package = registry.get(NAME)
    if not isinstance(package, XcapDiffPackage):
        return
    library = Library(
        documents,
        usages(),
        config.xcap_roots,
        any_host=not config.xcap.uris,
        administrators=config.xcap.administrator_names,
        domain=config.server.home,
        switched_off=frozenset(config.xcap.disabled_applications),
    )
    package.serve(library)

    def told(presentity: Aor) -> None:
        notify.changed(NAME, presentity, clock.now())

    package.changes.told = told
    documents.listeners.append(package.changes.heard)
    documents.resets.append(package.changes.reset)
