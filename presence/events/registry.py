"""The event packages a server serves."""

from presence.events.package import EventPackage


class Registry:
    """Event packages by name, any number, whoever wrote them.

    Names are compared byte by byte, as subscribers compare the Event of a NOTIFY with their own (RFC 6665
    section 8.2.1); that is the "stated otherwise" of RFC 3261 section 7.3.1, where tokens ignore case.
    """

    def __init__(self) -> None:
        self._packages: dict[str, EventPackage] = {}
        self._templates: dict[str, tuple[EventPackage, ...]] = {}

    def register(self, package: EventPackage) -> None:
        """Serve a package from now on; raises `ValueError` when its name is taken."""
        if package.name in self._packages:
            raise ValueError(f"event package {package.name} is registered already")
        self._packages[package.name] = package
        self._templates[package.watches] = (*self._templates.get(package.watches, ()), package)

    def get(self, name: str) -> EventPackage | None:
        """Return the package of an Event header field, None when it is not served (489)."""
        return self._packages.get(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names in order."""
        return tuple(sorted(self._packages))

    @property
    def allowed(self) -> tuple[str, ...]:
        """The event types, which are names without parameters, for Allow-Events (RFC 6665 section 8.2.2)."""
        return tuple(sorted({name.partition(";")[0] for name in self._packages}))

    def templates_of(self, name: str) -> tuple[EventPackage, ...]:
        """The template packages whose state is the watchers of that package (RFC 3857 section 3)."""
        return self._templates.get(name, ())
