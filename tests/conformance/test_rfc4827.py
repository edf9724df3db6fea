"""Presence that a presentity keeps by XCAP (RFC 4827), composed with what is published (RFC 3903)."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sip
from lxml import etree
from net import Agent, Network, Subscription

PIDF = "{urn:ietf:params:xml:ns:pidf}"
NOTICED_S = 1.0


@contextmanager
def network(*settings: str) -> Iterator[Network]:
    net = Network(*settings)
    try:
        yield net
    finally:
        net.close()


def keep(net: Network, body: str, etag: str = "1", *, user: str = "alice", name: str = "index") -> None:
    """Write the document as OpenXCAP or a script does, and let it be noticed."""
    net.rows(
        "INSERT OR REPLACE INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port)"
        f" VALUES ('{user}', 'example.com', CAST('{body}' AS BLOB), 16, '{etag}', 0, '{name}', 0)"
    )
    net.advance(NOTICED_S)


def drop(net: Network) -> None:
    net.rows("DELETE FROM xcap WHERE doc_type = 16")
    net.advance(NOTICED_S)


def tuples(watch: Subscription) -> dict[str, str]:
    return {
        one.get("id", ""): one.findtext(f"{PIDF}note") or one.findtext(f"{PIDF}status/{PIDF}basic") or ""
        for one in etree.fromstring(watch.newest.body).iter(f"{PIDF}tuple")
    }


def test_rfc4827_it_takes_effect_when_written_changed_and_deleted(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    keep(net, sip.pidf("on vacation", tuple_id="hard"))
    assert tuples(watch) == {"hard": "on vacation"}
    keep(net, sip.pidf("back on Monday", tuple_id="hard"), "2")
    assert tuples(watch) == {"hard": "back on Monday"}
    drop(net)
    assert tuples(watch) == {"closed": "closed"}
    assert len(watch.notifies) == 4


def test_rfc4827_3_without_soft_state_it_is_the_sole_input_and_with_it_the_oldest(
    net: Network, alice: Agent, bob: Agent
) -> None:
    keep(net, sip.pidf("hard", tuple_id="a"))
    watch = bob.subscribe()
    assert tuples(watch) == {"a": "hard"}
    soft = alice.publication()
    soft.publish(body=sip.pidf("soft", tuple_id="b"), expires=60)
    assert list(tuples(watch).items()) == [("b", "soft"), ("a", "hard")]
    # An older publication with its id still is newer than hard state.
    soft.publish(body=sip.pidf("soft", tuple_id="a"), expires=60)
    keep(net, sip.pidf("harder", tuple_id="a"), "2")
    assert tuples(watch) == {"a": "soft"}
    net.advance(61)
    assert tuples(watch) == {"a": "harder"}


def test_it_survives_a_restart(net: Network, bob: Agent) -> None:
    keep(net, sip.pidf("hard"))
    watch = bob.subscribe()
    net.restart()
    assert tuples(watch) == {"a": "hard"}
    net.rows("DELETE FROM xcap")
    net.restart()
    assert tuples(watch) == {"closed": "closed"}


def test_it_may_be_switched_off() -> None:
    with network("presence_xml.pidf_manipulation=false") as net:
        keep(net, sip.pidf("hard"))
        assert tuples(net.agent("bob").subscribe()) == {"closed": "closed"}


def test_composition_newest_shows_it_only_when_nothing_is_published() -> None:
    with network("presence.composition=newest") as net:
        watch = net.agent("bob").subscribe()
        keep(net, sip.pidf("hard"))
        assert tuples(watch) == {"a": "hard"}
        net.agent("alice").publication().publish(body=sip.pidf("soft", tuple_id="b"), expires=60)
        assert tuples(watch) == {"b": "soft"}


@pytest.mark.parametrize("body", ["", "<presence", "<r/>", "not XML"])
def test_kamailio_441_what_cannot_be_read_is_as_if_it_was_not_there(net: Network, bob: Agent, body: str) -> None:
    watch = bob.subscribe()
    keep(net, body)
    watch.refresh()
    assert tuples(watch) == {"closed": "closed"}
    # Said once a version, however often it is looked at.
    watch.refresh()
    net.agent("alice").publication().publish(body=sip.pidf("here"), expires=60)
    assert tuples(watch) == {"a": "here"}
    assert net.tally.drops["unreadable hard state"] == 1
    keep(net, sip.pidf("hard", tuple_id="b"), "2")
    assert tuples(watch) == {"a": "here", "b": "hard"}


def test_rfc4827_9_the_document_is_index_whatever_else_is_there(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    keep(net, sip.pidf("other"), name="a-presence.xml")
    assert tuples(watch) == {"a": "other"}
    keep(net, sip.pidf("index"))
    assert tuples(watch) == {"a": "index"}
    net.rows("DELETE FROM xcap WHERE doc_uri = 'index'")
    net.advance(NOTICED_S)
    assert tuples(watch) == {"a": "other"}


def test_who_has_none_costs_no_look_into_the_database(net: Network, alice: Agent, bob: Agent) -> None:
    keep(net, sip.pidf("hard"), user="carol")
    asked: list[str] = []
    read = net.store.read

    def count(query: str, *rest: object) -> object:
        asked.append(query)
        return read(query, *rest)  # type: ignore[arg-type]

    net.store.read = count  # type: ignore[method-assign,assignment]
    bob.subscribe()
    alice.publication().publish(body=sip.pidf("here"), expires=60)
    assert "xcap_of" not in asked
    watch = bob.subscribe(uri="sip:carol@example.com")
    assert tuples(watch) == {"a": "hard"}
    watch.refresh()
    assert asked.count("xcap_of") <= 1


def test_who_is_politely_blocked_does_not_see_it() -> None:
    with network("server.policy=rules") as net:
        net.rows(
            "INSERT INTO watchers (presentity_uri, watcher_username, watcher_domain, event, status, reason,"
            " inserted_time) VALUES ('sip:alice@example.com', 'bob', 'example.com', 'presence', 1, 'polite-block', 1)"
        )
        watch = net.agent("bob").subscribe()
        keep(net, sip.pidf("hard"))
        watch.refresh()
        assert tuples(watch) == {"closed": "closed"}


def test_changes_too_many_to_be_listed_are_noticed_all_the_same(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    net.rows("DELETE FROM xcap_changes")
    net.rows("INSERT INTO xcap_changes (seq, username, domain, doc_type, doc_uri) VALUES (90000, 'x', 'y', 16, 'z')")
    net.rows(
        "INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port) VALUES"
        f" ('alice', 'example.com', CAST('{sip.pidf('hard')}' AS BLOB), 16, '1', 0, 'index', 0)"
    )
    net.rows("DELETE FROM xcap_changes WHERE seq <= 90000")
    net.advance(NOTICED_S)
    assert tuples(watch) == {"a": "hard"}


def test_refresh_watchers_of_kind_1_tells_everybody_again(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    keep(net, sip.pidf("hard"))
    lamp = bob.subscribe(event="dialog")
    counts = len(watch.notifies), len(lamp.notifies)
    for event in ("presence", "dialog"):
        net.node.notify.tell_again(event, net.node.notify.resource_by(1).presentity, net.clock.at)
    net.settle()
    assert (len(watch.notifies), len(lamp.notifies)) == (counts[0] + 1, counts[1] + 1)
    assert tuples(watch) == {"a": "hard"}
