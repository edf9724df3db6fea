"""Event packages: what each declares and composes, and that a stranger's needs no change elsewhere."""

from collections.abc import Sequence

import pytest

from presence.errors import BadRequest
from presence.events.message_summary import MessageSummaryPackage
from presence.events.package import EventPackage
from presence.events.presence import PresencePackage
from presence.events.registry import Registry
from presence.events.winfo import WatcherInfoPackage
from presence.values import Aor, Publication

ALICE = Aor("alice", "example.com")
PIDF = b'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:x"><tuple id="%s"/></presence>'


class WeatherPackage:
    """A package nobody else knows: the weather where the presentity is."""

    name = "weather"
    content_type = "text/plain"
    publishable = ("text/plain",)
    default_expires_s = 60
    authorised = True
    watches = ""

    def read(self, content_type: str, body: bytes) -> str:
        if not body:
            raise BadRequest("No Weather")
        return body.decode()

    def compose(self, presentity: Aor, publications: Sequence[Publication]) -> bytes:
        return ", ".join(str(p.document) for p in publications).encode()


def published(package: EventPackage, *bodies: bytes) -> list[Publication]:
    kind = package.content_type
    return [Publication(float(order), order, kind, body, package.read(kind, body)) for order, body in enumerate(bodies)]


def test_a_foreign_package_registers_and_works() -> None:
    registry = Registry()
    for package in (PresencePackage(), WeatherPackage(), WatcherInfoPackage("weather")):
        registry.register(package)
    assert registry.names == ("presence", "weather", "weather.winfo")
    weather = registry.get("weather")
    assert weather is not None
    assert weather.compose(ALICE, published(weather, b"rain", b"sun")) == b"rain, sun"
    assert [package.name for package in registry.templates_of("weather")] == ["weather.winfo"]
    assert registry.templates_of("presence") == ()


def test_a_name_is_registered_once() -> None:
    registry = Registry()
    registry.register(PresencePackage())
    with pytest.raises(ValueError, match="presence is registered already"):
        registry.register(PresencePackage())


def test_rfc6665_8_2_1_names_are_compared_byte_by_byte() -> None:
    registry = Registry()
    registry.register(PresencePackage())
    assert registry.get("presence") is not None
    assert registry.get("Presence") is None
    assert registry.get("presence.winfo") is None


def test_rfc3857_3_winfo_is_a_template_that_applies_to_itself() -> None:
    registry = Registry()
    for base in ("presence", "presence.winfo"):
        registry.register(WatcherInfoPackage(base))
    assert registry.names == ("presence.winfo", "presence.winfo.winfo")
    assert [package.name for package in registry.templates_of("presence.winfo")] == ["presence.winfo.winfo"]


def test_what_the_packages_declare() -> None:
    packages: list[EventPackage] = [PresencePackage(), MessageSummaryPackage(), WatcherInfoPackage()]
    assert [(p.name, p.publishable, p.authorised, p.watches) for p in packages] == [
        ("presence", ("application/pidf+xml",), True, ""),
        ("message-summary", ("application/simple-message-summary",), True, ""),
        ("presence.winfo", (), False, "presence"),
    ]
    assert {p.default_expires_s for p in packages} == {3600}


def test_presence_composes_all_publications_newest_first() -> None:
    package = PresencePackage()
    document = package.compose(ALICE, published(package, PIDF % b"old", PIDF % b"new"))
    assert b'entity="sip:alice@example.com"' in document
    assert document.index(b'"new"') < document.index(b'"old"')


def test_presence_without_publications_is_closed() -> None:
    assert b"<basic>closed</basic>" in PresencePackage().compose(ALICE, [])


def test_presence_refuses_what_is_not_pidf() -> None:
    with pytest.raises(BadRequest, match="Body Is Not a PIDF Document"):
        PresencePackage().read("application/pidf+xml", b"<presence/>")


def test_message_summary_is_the_newest_publication() -> None:
    package = MessageSummaryPackage()
    bodies = published(package, b"Messages-Waiting: yes\n", b"Messages-Waiting: no\n")
    assert package.compose(ALICE, bodies) == b"Messages-Waiting: no\r\n"
    assert package.compose(ALICE, bodies[:1]) == b"Messages-Waiting: yes\r\n"


def test_message_summary_without_publications_says_that_nothing_waits() -> None:
    assert MessageSummaryPackage().compose(ALICE, []).startswith(b"Messages-Waiting: no\r\n")


def test_watcher_information_is_not_published() -> None:
    package = WatcherInfoPackage()
    with pytest.raises(BadRequest, match="Watcher Information Is Not Published"):
        package.read("application/watcherinfo+xml", b"")
    assert b'state="full"' in package.compose(ALICE, [])
