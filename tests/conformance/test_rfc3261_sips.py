"""`sips:` in what begins a dialog makes our Contact one (RFC 3261 section 12.1.1)."""

from collections.abc import Iterator

import pytest
import sip
from net import Agent, Network

from presence._fastcore import Message

SIPS = "sips:alice@example.com"
TLS_LOCAL = "tls:127.0.0.1:5061"


class SecureNetwork(Network):
    """Its node listens for TLS too."""

    def _listen(self) -> tuple[int, int]:
        links = super()._listen()
        table = self.node.table
        link = table.add_link(-1, reliable=True, via=b"TLS 127.0.0.1:5061", contact=b"127.0.0.1:5061;transport=tls")
        self.node.ways.add(TLS_LOCAL, link)
        return links


@pytest.fixture
def net() -> Iterator[SecureNetwork]:
    net = SecureNetwork()
    yield net
    net.close()


@pytest.fixture
def bob(net: SecureNetwork) -> Agent:
    return net.agent("bob")


def contact_of(answer: Message | None) -> str:
    assert answer is not None
    return answer.values("Contact")[0]


def is_secure(contact: str) -> bool:
    return contact.startswith("<sips:~") and "@127.0.0.1:5061;gr=" in contact and "transport" not in contact


@pytest.mark.parametrize("uri", [SIPS, "SIPS:alice@example.com"])
@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_rfc3261_12_1_1_a_sips_request_uri_makes_our_contact_one(net: Network, uri: str, transport: str) -> None:
    """That is so also where a proxy in front has ended TLS: the Contact then names our TLS listener."""
    watch = net.agent("carol", transport=transport).subscribe(uri=uri)
    assert watch.response is not None
    assert watch.response.status == 200
    contact = contact_of(watch.response)
    assert is_secure(contact)
    assert contact_of(watch.newest) == contact
    assert net.rows("SELECT presentity_uri, local_contact FROM active_watchers") == [
        ("sip:alice@example.com", contact.strip("<>"))
    ]


def test_rfc3857_6_2_watcher_information_takes_sips_uris(bob: Agent) -> None:
    watch = bob.subscribe(uri=SIPS, event="presence.winfo")
    assert watch.state == "active"
    assert contact_of(watch.newest) == contact_of(watch.response)
    assert is_secure(contact_of(watch.response))


@pytest.mark.parametrize(
    ("routes", "secure"),
    [
        ("<sips:127.0.0.1:5070;lr>, <sip:other.example.com;lr>", True),
        ("<sip:127.0.0.1:5070;lr>, <sips:other.example.com;lr>", False),
    ],
)
def test_rfc3261_12_1_1_of_record_route_the_topmost_counts(net: Network, routes: str, secure: bool) -> None:
    watch = net.agent("bob", transport="TCP").subscribe(f"Record-Route: {routes}")
    assert watch.response is not None
    assert contact_of(watch.response).startswith("<sips:" if secure else "<sip:")


@pytest.mark.parametrize(("route", "secure"), [("", True), ("Record-Route: <sip:127.0.0.1:5070;lr>", False)])
def test_rfc3261_12_1_1_contact_counts_without_record_route(net: Network, bob: Agent, route: str, secure: bool) -> None:
    heads = (route,) if route else ()
    watch = bob.subscribe(*heads, contact="<sips:bob@127.0.0.1:5070>")
    assert contact_of(watch.response).startswith("<sips:" if secure else "<sip:")


def test_rfc3261_12_1_1_a_refresh_keeps_it_and_another_dialog_is_not_touched(bob: Agent) -> None:
    watch, plain = bob.subscribe(uri=SIPS), bob.subscribe()
    contact = contact_of(watch.response)
    assert contact_of(plain.response).startswith("<sip:")
    assert contact_of(watch.refresh()) == contact
    assert contact_of(watch.newest) == contact
    assert contact_of(watch.refresh(expires=0)) == contact
    assert watch.state.startswith("terminated")


def test_rfc3261_12_1_1_it_is_one_contact_for_all_of_a_dialog(bob: Agent) -> None:
    watch = bob.subscribe(uri=SIPS)
    second = bob.subscribe(uri=SIPS, event_id="2", dialog=watch.dialog)
    assert contact_of(second.response) == contact_of(watch.response) == contact_of(second.newest)


def test_rfc3261_12_1_1_it_outlives_a_restart(net: Network, bob: Agent) -> None:
    watch, plain = bob.subscribe(uri=SIPS), bob.subscribe()
    second = bob.subscribe(uri=SIPS, event_id="2", dialog=watch.dialog)
    net.restart()
    assert net.loaded == (3, 0)
    for subscription in (watch, plain, second):
        subscription.notifies.clear()
    net.agent("alice").publication().publish(body=sip.pidf("home"))
    for subscription in (watch, plain, second):
        assert contact_of(subscription.newest) == contact_of(subscription.response)
        assert contact_of(subscription.refresh()) == contact_of(subscription.response)


def test_rfc6665_4_5_1_it_leads_to_the_presentity_like_any_of_ours(bob: Agent) -> None:
    contact = contact_of(bob.subscribe(uri=SIPS).response).strip("<>")
    assert bob.subscribe(uri=contact).state == "active"
    for scheme in ("sip", "sips"):
        spelled = contact.replace("sips", scheme, 1)
        assert bob.subscribe(uri=spelled).state == "active"


@pytest.mark.parametrize("method", ["PUBLISH", "OPTIONS", "REGISTER"])
def test_rfc3261_26_3_1_other_requests_take_sips_uris(bob: Agent, method: str) -> None:
    if method == "PUBLISH":
        heads = ("Event: presence", "Content-Type: application/pidf+xml")
        request = bob.request(method, SIPS, *heads, body=sip.pidf("home"))
    else:
        request = bob.request(method, "sips:example.com")
    assert bob.ask(request).status == 200


def test_rfc3261_12_1_1_without_a_tls_listener_there_is_no_sips_contact() -> None:
    """Nobody could connect to one: the proxy that ended TLS is the only way here."""
    net = Network()
    watch = net.agent("bob").subscribe(uri=SIPS)
    assert contact_of(watch.response).startswith("<sip:~")
    net.close()
