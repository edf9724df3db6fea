"""Rules act at once and on every path to a watcher (RFC 4745, RFC 5025, RFC 6665 section 4.2.2)."""

from collections.abc import Callable
from typing import Any

import pytest
import sip
from net import Agent, Network, Subscription
from ruling import (
    ALICE,
    LISTS,
    OMA_RULES,
    ROOT,
    SHOW_NOTES,
    SHOW_SERVICES,
    allow,
    in_list,
    lists,
    one,
    rule,
    ruleset,
    write,
)

from presence import privacy
from presence.values import Aor

NOTE = "on the phone"
BOB = one("sip:bob@example.com")


@pytest.fixture
def net() -> Network:
    return Network("server.policy=rules", "presence.enable_sphere_check=true", f"xcap.uris={ROOT}")


@pytest.fixture
def bob(net: Network) -> Agent:
    return net.agent("bob")


@pytest.fixture
def alice(net: Network) -> Agent:
    agent = net.agent("alice")
    agent.publication().publish(body=sip.pidf(NOTE))
    return agent


def winfo(alice: Agent) -> Subscription:
    return alice.subscribe(event="presence.winfo")


def stored(net: Network) -> list[tuple[object, ...]]:
    return net.rows("SELECT status, reason FROM watchers WHERE watcher_username = 'bob' AND event = 'presence'")


def rows(net: Network) -> list[tuple[object, ...]]:
    return net.rows("SELECT status, reason FROM active_watchers WHERE event = 'presence'")


# ---- the first SUBSCRIBE ----


def test_rfc5025_a_watcher_nobody_has_decided_about_is_pending_and_sees_nothing(net, alice, bob):
    watch = bob.subscribe()
    assert watch.state == "pending"
    assert NOTE not in watch.body
    assert stored(net) == [(2, "")]


@pytest.mark.parametrize(
    ("policy", "state"), [("allow", "active"), ("polite-block", "active"), ("confirm", "pending"), ("block", "")]
)
def test_a_presentity_without_a_document_has_the_default_policy(policy, state):
    net = Network("server.policy=rules", f"presence_xml.default_policy={policy}")
    net.agent("alice").publication().publish(body=sip.pidf(NOTE))
    watch = net.agent("bob").subscribe()
    if not state:
        assert watch.response.status == 403
        assert watch.notifies == []
        return
    assert watch.state == state
    assert (NOTE in watch.body) == (policy == "allow")


def test_rfc5025_3_2_1_whom_no_rule_matches_is_blocked(net, alice, bob):
    write(net, ruleset(allow("carol")))
    watch = bob.subscribe()
    assert watch.response.status == 403
    assert watch.notifies == []
    assert stored(net) == [(3, "rejected")]


def test_whom_no_rule_matches_is_confirmed_where_the_operator_wants_that():
    net = Network("server.policy=rules", "presence_xml.unmatched=confirm")
    write(net, ruleset(allow("carol")))
    assert net.agent("bob").subscribe().state == "pending"


def test_rfc5025_3_3_a_watcher_sees_what_the_transformations_show(net, alice, bob):
    write(net, ruleset(allow("bob", show=SHOW_SERVICES), allow("carol", show=SHOW_NOTES), allow("dave")))
    seen = {name: net.agent(name).subscribe() for name in ("bob", "carol", "dave", "alice")}
    assert {name: NOTE in watch.body for name, watch in seen.items()} == {
        "bob": False,
        "carol": True,
        "dave": True,
        "alice": True,
    }
    assert all("<basic>open</basic>" in watch.body for watch in seen.values())
    assert {watch.state for watch in seen.values()} == {"active"}


def test_a_document_that_cannot_be_read_lets_in_nobody(net, alice, bob):
    write(net, b"<ruleset")
    assert bob.subscribe().response.status == 403
    write(net, ruleset(allow("bob")), auid=OMA_RULES)
    assert bob.subscribe().state == "active"


def test_documents_of_both_usages_count_together(net, alice, bob):
    write(net, ruleset(allow("bob", show=SHOW_SERVICES)))
    watch = bob.subscribe()
    assert NOTE not in watch.body
    write(net, ruleset(allow("bob", show="<pr:provide-note>true</pr:provide-note>")), auid=OMA_RULES)
    assert NOTE in watch.body


# ---- every path to a watcher ----


def test_every_path_to_a_watcher_is_filtered(net, alice, bob):
    write(net, ruleset(allow("bob", show=SHOW_SERVICES)))
    watch = bob.subscribe()
    publication = net.agent("alice").publication()
    publication.publish(body=sip.pidf("second", tuple_id="b"))
    assert 'id="b"' in watch.body
    watch.refresh()
    second = watch.beside(event_id="again")
    fetch = bob.subscribe(expires=0)
    assert fetch.state == "terminated;timeout"
    assert "<basic>open" in fetch.body
    net.restart()
    net.settle()
    heard = len(watch.notifies)
    publication.publish(body=sip.pidf("third", basic="closed", tuple_id="b"))
    assert len(watch.notifies) == heard + 1
    watch.unsubscribe()
    assert watch.state == "terminated;timeout"
    second.unsubscribe()
    told = [notify.body.decode() for notify in bob.notifies]
    assert len(told) >= 9
    assert not any(word in body for body in told for word in (NOTE, "second", "third"))


def test_rfc5025_a_change_that_a_watcher_may_not_see_is_no_news_to_it(net, alice, bob):
    write(net, ruleset(allow("bob", show=SHOW_SERVICES), allow("carol")))
    watch, other = bob.subscribe(), net.agent("carol").subscribe()
    publication = net.agent("alice").publication()
    publication.publish(body=sip.pidf("one", tuple_id="b"))
    told = len(watch.notifies), len(other.notifies)
    publication.publish(body=sip.pidf("two", tuple_id="b"))
    assert (len(watch.notifies), len(other.notifies)) == (told[0], told[1] + 1)


def test_watchers_of_one_view_share_one_body(net, alice):
    views = [SHOW_SERVICES, SHOW_NOTES, "", f"{SHOW_SERVICES}<pr:provide-relationship>true</pr:provide-relationship>"]
    names = [f"w{number}" for number in range(40)]
    write(net, ruleset(*(allow(*names[at::4], show=show) for at, show in enumerate(views))))
    watches = [net.agent(name).subscribe() for name in names]
    before = dict(net.tally.bodies)
    net.agent("alice").publication().publish(body=sip.pidf("news", tuple_id="b"))
    made = {kind: net.tally.bodies[kind] - count for kind, count in before.items()}
    assert made == {"composed": 1, "filtered": 4}
    assert [("news" in watch.body, 'id="b"' in watch.body) for watch in watches[:4]] == [
        (False, True),
        (True, True),
        (False, False),
        (False, True),
    ]


# ---- polite blocking ----


@pytest.mark.parametrize("published", [False, True])
def test_rfc5025_3_2_1_polite_blocking_cannot_be_told_from_absence(net, bob, published):
    write(net, ruleset(rule("polite-block", BOB), allow("carol")))
    carol = net.agent("carol")
    watch, absent = bob.subscribe(), carol.subscribe()
    assert (watch.state, watch.body) == ("active", absent.body)
    publication = net.agent("alice").publication()
    if published:
        publication.publish(body=sip.pidf(NOTE), expires=60)
        net.advance(90)
    assert len(watch.notifies) == 1
    watch.refresh()
    assert watch.body == absent.body
    assert bob.subscribe(expires=0).body == carol.subscribe(expires=0).body
    assert rows(net)[0] == (1, "polite-block")


# ---- a change of rules ----


def test_rfc6665_4_2_2_pending_becomes_active_when_a_rule_says_so(net, alice, bob):
    watchers, watch = winfo(alice), bob.subscribe()
    assert watch.state == "pending"
    write(net, ruleset(allow("bob")))
    assert (watch.state, NOTE in watch.body) == ("active", True)
    assert 'event="approved"' in watchers.body
    assert (rows(net), stored(net)) == ([(1, "")], [(1, "")])


def test_rfc6665_4_4_1_active_becomes_terminated_when_a_rule_says_so(net, alice, bob):
    write(net, ruleset(allow("bob")))
    watchers, watch = winfo(alice), bob.subscribe()
    write(net, ruleset(rule("block", BOB)))
    assert (watch.state, watch.body) == ("terminated;rejected", "")
    assert 'event="rejected"' in watchers.body
    assert (rows(net), stored(net)) == ([], [(3, "rejected")])
    assert watch.refresh().status == 481


def test_active_becomes_pending_when_a_rule_says_so(net, alice, bob):
    write(net, ruleset(allow("bob")))
    watchers, watch = winfo(alice), bob.subscribe()
    write(net, ruleset(rule("confirm", BOB)))
    assert (watch.state, NOTE in watch.body) == ("pending", False)
    assert 'status="pending"' in watchers.body
    assert (rows(net), stored(net)) == ([(2, "")], [(2, "")])


def test_deleting_the_rules_takes_back_what_they_gave(net, alice, bob):
    write(net, ruleset(allow("bob")))
    watch = bob.subscribe()
    write(net, None)
    assert (watch.state, NOTE in watch.body) == ("pending", False)
    net.restart()
    net.settle()
    assert watch.state == "pending"
    assert bob.subscribe().state == "pending"


def test_rules_that_are_gone_count_no_more_even_when_nobody_watched_meanwhile(net, alice, bob):
    write(net, ruleset(allow("bob")))
    bob.subscribe().unsubscribe()
    write(net, None)
    net.restart()
    assert bob.subscribe().state == "pending"


def test_the_table_says_what_holds_also_of_those_who_do_not_watch(net, alice, bob):
    write(net, ruleset(allow("bob")))
    bob.subscribe().unsubscribe()
    assert stored(net) == [(1, "")]
    write(net, ruleset(rule("polite-block", BOB)))
    assert stored(net) == [(1, "polite-block")]
    write(net, ruleset(allow("carol")))
    assert stored(net) == [(3, "rejected")]


def test_refusals_the_server_noted_are_forgotten_and_those_of_an_operator_are_not(net, alice, bob):
    write(net, ruleset(allow("dave")))
    bob.subscribe()
    net.rows(
        "INSERT INTO watchers (presentity_uri, watcher_username, watcher_domain, event, status, inserted_time) "
        "VALUES ('sip:alice@example.com', 'carol', 'example.com', 'presence', 3, 0)"
    )
    net.advance(4 * 86_400, step_s=3600)
    assert net.rows("SELECT watcher_username FROM watchers WHERE status = 3") == [("carol",)]


def test_a_view_that_changes_is_told_when_it_shows_something_else(net, alice, bob):
    write(net, ruleset(allow("bob", show=SHOW_SERVICES)))
    watch = bob.subscribe()
    assert len(watch.notifies) == 1
    write(net, ruleset(allow("bob", show=SHOW_NOTES)))
    assert (len(watch.notifies), NOTE in watch.body) == (2, True)
    write(net, ruleset(allow("bob", show=SHOW_SERVICES)))
    assert (len(watch.notifies), NOTE in watch.body) == (3, False)
    # A relationship that is not said may be seen: nothing else is shown.
    write(net, ruleset(allow("bob", show=f"{SHOW_SERVICES}<pr:provide-relationship>true</pr:provide-relationship>")))
    assert len(watch.notifies) == 3


def test_a_view_that_changes_is_decided_about_once(net, alice, bob, monkeypatch):
    write(net, ruleset(allow("bob", show=SHOW_SERVICES)))
    watch = bob.subscribe()
    heard: list[str] = []
    net.node.awaiting.decided.changed.append(lambda presentity, package: heard.append(presentity.uri))
    submit, written = net.store.submit, []
    monkeypatch.setattr(net.store, "submit", lambda writes, done: (written.extend(writes), submit(writes, done)))
    write(net, ruleset(allow("bob", show=SHOW_NOTES)))
    net.advance(1.0)
    assert NOTE in watch.body
    assert heard == [], "what the server writes itself is nobody else's decision"
    # Neither table says what a view shows.
    assert [name for name, _ in written if name.endswith("_judge")] == ["watchers_judge"]


def test_old_rules_show_nothing_while_a_large_document_is_compiled_elsewhere(net, alice, bob, monkeypatch):
    calls: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
    net.node.privacy.elsewhere = lambda call, done: calls.append((call, done))
    monkeypatch.setattr(privacy, "ELSEWHERE_ABOVE", 100)
    write(net, ruleset(allow("bob")))
    calls.pop()
    watch = bob.subscribe()
    assert NOTE in watch.body
    write(net, ruleset(allow("bob", show=SHOW_SERVICES)))
    publication = alice.publication()
    publication.publish(body=sip.pidf("secret"))
    net.advance(1.0)
    assert "secret" not in "".join(notify.body.decode() for notify in watch.notifies)
    call, done = calls.pop()
    done(call())
    net.advance(0.1)
    assert "<basic>open</basic>" in watch.body
    assert NOTE not in watch.body
    assert "secret" not in watch.body
    # One that has been overtaken by another is compiled here.
    write(net, ruleset(allow("bob", show=SHOW_NOTES)))
    write(net, ruleset(rule("polite-block", BOB)))
    for call, done in calls:
        done(call())
    net.advance(0.1)
    assert rows(net) == [(1, "polite-block")]
    assert "secret" not in "".join(notify.body.decode() for notify in watch.notifies)


def test_polite_blocking_and_back(net, alice, bob):
    write(net, ruleset(allow("bob")))
    watch = bob.subscribe()
    write(net, ruleset(rule("polite-block", BOB)))
    assert (watch.state, NOTE in watch.body) == ("active", False)
    assert rows(net) == [(1, "polite-block")]
    write(net, ruleset(allow("bob")))
    assert (watch.state, NOTE in watch.body) == ("active", True)
    assert rows(net) == [(1, "")]


def test_rules_written_anew_without_another_meaning_write_and_tell_nothing(net, alice, bob, monkeypatch):
    write(net, ruleset(allow("bob", show=SHOW_NOTES)))
    watch = bob.subscribe()
    written: list[str] = []
    submit = net.store.submit
    monkeypatch.setattr(
        net.store, "submit", lambda writes, done: (written.extend(w[0] for w in writes), submit(writes, done))
    )
    write(net, ruleset(allow("bob", show=SHOW_NOTES), allow("carol")))
    assert len(watch.notifies) == 1
    assert [name for name in written if "watchers" in name] == []
    net.agent("alice").publication().publish(body=sip.pidf("more", tuple_id="b"))
    assert "more" in watch.body


def test_both_subscriptions_of_a_dialog_are_decided_about(net, alice, bob):
    write(net, ruleset(allow("bob")))
    first = bob.subscribe()
    second = first.beside(event_id="2")
    write(net, ruleset(allow("bob", show=SHOW_SERVICES)))
    assert [NOTE in watch.body for watch in (first, second)] == [False, False]
    write(net, ruleset(rule("confirm", BOB)))
    assert [watch.state for watch in (first, second)] == ["pending", "pending"]
    assert net.rows("SELECT status FROM shared_watchers") == [(2,)]
    write(net, None)
    write(net, ruleset(allow("carol")))
    assert [watch.state for watch in (first, second)] == ["terminated;rejected"] * 2
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]


def test_what_was_taken_away_is_not_sent_again(net, alice, bob):
    write(net, ruleset(allow("bob")))
    bob.status = None
    bob.subscribe()
    write(net, ruleset(rule("confirm", BOB)))
    bob.arrivals.clear()
    net.advance(40)
    assert bob.arrivals
    assert all(NOTE not in notify.body.decode() for _, notify in bob.arrivals)


def test_what_an_operator_took_away_is_not_sent_again_after_the_refresh_that_found_out(net, alice, bob):
    bob.subscribe()
    net.rows("UPDATE watchers SET status = 1")
    bob.status = None
    watch = bob.subscribe()
    assert NOTE in watch.body
    net.rows("UPDATE watchers SET status = 3")
    assert watch.refresh().status == 403
    bob.arrivals.clear()
    net.advance(40)
    assert watch.state == "terminated;rejected"
    assert all(NOTE not in notify.body.decode() for _, notify in bob.arrivals if notify.call_id == watch.dialog.call_id)


def test_what_the_database_refuses_is_not_granted_and_what_is_taken_away_stays_away(net, alice, bob):
    write(net, ruleset(allow("bob"), rule("confirm", one("sip:carol@example.com"))))
    watch, waiting = bob.subscribe(), net.agent("carol").subscribe()
    write(net, ruleset(rule("confirm", BOB), allow("carol")), settle=False)
    net.store.flush()
    net.refuse_commits()
    net.settle()
    publication = net.agent("alice").publication()
    assert (watch.state, waiting.state) == ("active", "pending")
    heard = len(watch.notifies)
    net.refuse_commits(False)
    publication.publish(body=sip.pidf("secret", tuple_id="b"))
    assert len(watch.notifies) == heard
    assert waiting.state == "pending"
    net.advance(6)
    assert (watch.state, waiting.state) == ("pending", "active")
    assert not any("secret" in notify.body.decode() for notify in watch.notifies)
    assert "secret" in waiting.body


# ---- what rules depend on ----


def test_rfc4745_7_3_a_sphere_acts_when_it_is_published(net, bob):
    alice = net.agent("alice")
    write(net, ruleset(rule("allow", f'{BOB}<cp:sphere value="work"/>'), rule("confirm", BOB)))
    watch = bob.subscribe()
    assert watch.state == "pending"
    publication = alice.publication()
    publication.publish(body=in_sphere("work"))
    assert (watch.state, "<basic>open" in watch.body) == ("active", True)
    publication.publish(body=in_sphere("home"))
    assert (watch.state, "<basic>open" in watch.body) == ("pending", False)
    publication.publish(body=in_sphere("work"), expires=60)
    assert watch.state == "active"
    net.advance(90)
    assert watch.state == "pending"


def in_sphere(sphere: str) -> str:
    body = sip.pidf()
    person = (
        '<dm:person xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" id="p">'
        f'<r:sphere xmlns:r="urn:ietf:params:xml:ns:pidf:rpid"><r:{sphere}/></r:sphere></dm:person>'
    )
    return body.replace("</presence>", f"{person}</presence>")


def test_without_the_setting_a_sphere_is_never_true():
    net = Network("server.policy=rules")
    write(net, ruleset(rule("allow", '<cp:sphere value="work"/>')))
    net.agent("alice").publication().publish(body=in_sphere("work"))
    assert net.agent("bob").subscribe().response.status == 403


def test_rfc4745_7_4_a_validity_acts_when_its_time_comes(net, alice, bob):
    # The clock of the test stands at 2023-11-14T22:13:20Z.
    begins, ends = "2023-11-14T22:14:20Z", "2023-11-15T00:15:20+02:00"
    validity = f"<cp:validity><cp:from>{begins}</cp:from><cp:until>{ends}</cp:until></cp:validity>"
    write(net, ruleset(rule("allow", BOB + validity), rule("confirm", BOB)))
    watch = bob.subscribe()
    net.advance(59)
    assert watch.state == "pending"
    net.advance(2)
    assert (watch.state, NOTE in watch.body) == ("active", True)
    net.advance(60)
    assert (watch.state, NOTE in watch.body) == ("pending", False)


def test_a_list_that_rules_refer_to_acts_when_it_changes(net, alice, bob):
    write(net, lists(friends=()), auid=LISTS)
    write(net, ruleset(rule("allow", in_list("friends")), rule("confirm", "<ocp:other-identity/>")))
    watch = bob.subscribe()
    assert watch.state == "pending"
    write(net, lists(friends=("sip:bob@example.com",)), auid=LISTS)
    assert watch.state == "active"
    write(net, lists(), auid=LISTS)
    assert watch.state == "pending"


def test_rules_that_another_process_writes_act_within_a_second(net, alice, bob):
    watch = bob.subscribe()
    body = ruleset(allow("bob")).decode()
    net.rows(
        "INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port) "
        f"VALUES ('alice', 'example.com', '{body}', 2, 'x', 0, 'index', 0)"
    )
    net.advance(1)
    assert watch.state == "active"
    net.rows("DELETE FROM xcap")
    net.advance(1)
    assert watch.state == "pending"


def test_an_operators_decision_acts_at_once_when_asked_for(net, alice, bob):
    watch = bob.subscribe()
    net.rows("UPDATE watchers SET status = 1 WHERE watcher_username = 'bob'")
    assert watch.state == "pending"
    net.node.privacy.decide_again(ALICE, "presence")
    net.settle()
    assert (watch.state, NOTE in watch.body) == ("active", True)
    net.rows("UPDATE watchers SET status = 3 WHERE watcher_username = 'bob'")
    net.node.privacy.decide_again(ALICE, "presence")
    net.settle()
    assert watch.state == "terminated;rejected"


# ---- requests under way ----


class Slow:
    """Lets the commits of one query be done when told."""

    def __init__(self, net: Network, query: str) -> None:
        self.net, self.done = net, []
        self.submit = net.store.submit
        self.query = query
        net.store.submit = self.delay

    def delay(self, writes, done):
        if any(write[0] == self.query for write in writes):
            self.submit(writes, lambda error: self.done.append((done, error)))
        else:
            self.submit(writes, done)

    def finish(self) -> None:
        assert self.done
        self.net.store.submit = self.submit
        for done, error in self.done:
            done(error)
        self.net.settle()


@pytest.mark.parametrize(("handling", "state"), [("confirm", "pending"), ("block", "terminated;rejected")])
def test_a_refresh_under_way_does_not_bring_back_what_was_taken_away(net, alice, bob, handling, state):
    write(net, ruleset(allow("bob", show=SHOW_NOTES)))
    watch = bob.subscribe()
    told = len(watch.notifies)
    # Over the general path, which decides before the commit.
    slow = Slow(net, "active_watchers_refresh")
    watch.send("Route: <sip:127.0.0.1;lr>", "Accept: application/pidf+xml, text/plain", expires=600)
    net.settle()
    write(net, ruleset(rule(handling, BOB)))
    assert len(watch.notifies) == told
    slow.finish()
    assert watch.state == state
    assert not any(NOTE in notify.body.decode() for notify in watch.notifies[told:])


@pytest.mark.parametrize(("handling", "state"), [("confirm", "pending"), ("block", "terminated;rejected")])
def test_a_first_subscribe_under_way_is_told_nothing_by_old_rules(net, alice, bob, handling, state):
    write(net, ruleset(allow("bob")))
    slow = Slow(net, "active_watchers_insert")
    watch = Subscription(bob, "sip:alice@example.com")
    watch.send(expires=600)
    net.settle()
    write(net, ruleset(rule(handling, BOB)))
    slow.finish()
    assert watch.state == state
    assert not any(NOTE in notify.body.decode() for notify in watch.notifies)


def test_a_decision_that_changes_again_before_it_is_stored_is_not_applied(net, alice, bob):
    watch = bob.subscribe()
    slow = Slow(net, "active_watchers_judge")
    write(net, ruleset(allow("bob")))
    write(net, ruleset(rule("confirm", BOB)))
    slow.finish()
    assert watch.state == "pending"
    assert rows(net) == [(2, "")]
    assert not any(NOTE in notify.body.decode() for notify in watch.notifies)
    write(net, ruleset(allow("bob")))
    assert (watch.state, rows(net)) == ("active", [(1, "")])


# ---- message-summary ----


def test_rfc3842_3_6_only_the_owner_and_whom_the_operator_allows_watch_an_account():
    net = Network("server.policy=rules", "auth.publishers=gate@example.com")
    assert net.agent("bob").subscribe(event="message-summary").response.status == 403
    assert net.agent("alice").subscribe(event="message-summary").state == "active"
    assert net.agent("gate").subscribe(event="message-summary").state == "active"
    net.rows(
        "INSERT INTO watchers (presentity_uri, watcher_username, watcher_domain, event, status, inserted_time) "
        "VALUES ('sip:alice@example.com', 'carol', 'example.com', 'message-summary', 1, 0)"
    )
    assert net.agent("carol").subscribe(event="message-summary").state == "active"


@pytest.mark.parametrize("allowed", [False, True])
def test_a_list_of_another_user_counts_by_our_root_where_that_is_allowed(allowed):
    settings = ("server.policy=rules", "http.listen=127.0.0.1:8080", f"xcap.allow_external_references={allowed}")
    net = Network(*settings)
    write(net, lists(friends=("sip:bob@example.com",)), owner=Aor("carol", "example.com"), auid=LISTS)
    document = "http://127.0.0.1:8080/xcap-root/resource-lists/users/sip:carol@example.com/index"
    anchor = f"{document}/~~/resource-lists/list%5b@name=%22friends%22%5d"
    on_it = f'<ocp:external-list><ocp:entry anc="{anchor}"/></ocp:external-list>'
    write(net, ruleset(rule("allow", on_it)))
    assert net.agent("bob").subscribe().response.status == (200 if allowed else 403)
