"""The event package xcap-diff, put before the documents there are."""

from collections.abc import Mapping

from presence.clock import Clock
from presence.config import Config
from presence.events.registry import Registry
from presence.events.xcap_diff import NAME, XcapDiffPackage
from presence.events.xcap_selection import Library
from presence.subscription.notify import Notify
from presence.values import Aor
from presence.xcap.documents import Documents
from presence.xcap.usage import Usage
from presence.xcap.usages import usages as all_usages


def serve_differences(
    registry: Registry,
    documents: Documents,
    notify: Notify,
    config: Config,
    clock: Clock,
    usages: Mapping[str, Usage] | None = None,
) -> None:
    """Let subscribers to xcap-diff be told of documents; a registry without that package is left alone."""
    package = registry.get(NAME)
    if not isinstance(package, XcapDiffPackage):
        return
    library = Library(
        documents,
        all_usages() if usages is None else usages,
        roots_of(config),
        any_host=not config.xcap.uris,
        administrators=config.xcap.administrator_names,
        domain=config.server.home,
    )
    package.serve(library)

    def told(presentity: Aor) -> None:
        notify.changed(NAME, presentity, clock.now())

    package.changes.told = told
    documents.listeners.append(package.changes.heard)
    documents.resets.append(package.changes.reset)


def roots_of(config: Config) -> tuple[str, ...]:
    """Return our XCAP root URIs, without a slash at the end; the first is that of relative URIs."""
    if config.xcap.uris:
        return tuple(uri.rstrip("/") for uri in config.xcap.uris)
    host, port = config.http.address or ("localhost", 80)
    if ":" in host:
        host = f"[{host}]"
    return (f"http://{host}:{port}{config.xcap.root}",)
