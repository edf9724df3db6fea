"""Senders proven before they are served: digest (RFC 3261 section 22), RFC 3325 and RFC 5922."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sip
from net import Agent, Network
from proof import Prover, challenges, h, subscribe

from presence._fastcore import Message

ALICE = "sip:alice@example.com"
REQUIRED = "auth.required=true"


def add_user(net: Network, name: str, password: str, domain: str = "example.com", *, only_md5: bool = False) -> None:
    hashes = [h(algorithm, f"{name}:{domain}:{password}") for algorithm in ("MD5", "SHA-256", "SHA-512-256")]
    if only_md5:
        hashes[1:] = ["", ""]
    net.rows(
        "INSERT OR REPLACE INTO subscriber (username, domain, ha1, ha1_sha256, ha1_sha512t256)"
        f" VALUES ('{name}', '{domain}', '{hashes[0]}', '{hashes[1]}', '{hashes[2]}')"
    )


def guarded(*settings: str) -> Network:
    net = Network(REQUIRED, *settings)
    add_user(net, "alice", "wonderland")
    add_user(net, "bob", "zanzibar")
    return net


@pytest.fixture
def net() -> Iterator[Network]:
    network = guarded()
    yield network
    network.close()


@pytest.fixture
def bob(net: Network) -> Agent:
    return net.agent("bob")


def proven(agent: Agent, *extra: str, uri: str = ALICE, password: str = "zanzibar", **fields: Any) -> Message:
    """Subscribe as bob with an answer to a challenge."""
    prover = Prover("bob", password).learn(subscribe(agent, uri=uri))
    return subscribe(agent, prover.line("SUBSCRIBE", uri), *extra, uri=uri, **fields)


def publish(agent: Agent, *extra: str, uri: str = ALICE, etag: str = "", body: str = "", **fields: Any) -> Message:
    heads = ["Event: presence", "Expires: 600", *([f"SIP-If-Match: {etag}"] if etag else []), *extra]
    heads += ["Content-Type: application/pidf+xml"] if body else []
    return agent.ask(agent.request("PUBLISH", uri, *heads, to=f"<{uri}>", body=body, **fields))


def register(agent: Agent, *extra: str, to: str, sender: str) -> Message:
    heads = (f"Contact: {agent.contact}", *extra)
    return agent.ask(agent.request("REGISTER", "sip:example.com", *heads, to=f"<{to}>", sender=f"<{sender}>"))


# ---- challenges ----


def test_rfc3261_22_1_who_is_not_proven_is_challenged(net: Network, bob: Agent) -> None:
    response = subscribe(bob)
    assert (response.status, response.reason) == (401, "Unauthorized")
    (challenge,) = challenges(response)
    assert challenge["realm"] == "example.com"
    assert challenge["algorithm"] == "MD5"
    assert challenge["qop"] == "auth"
    assert len(challenge["nonce"]) > 30
    assert "stale" not in challenge
    assert response.to_tag
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]
    assert publish(bob, body=sip.pidf("x")).status == 401
    assert register(bob, to=bob.uri, sender=bob.uri).status == 401
    assert net.rows("SELECT count(*) FROM presentity") == [(0,)]
    assert net.tally.auth_failures["no credentials"] == 3


def test_rfc3261_22_1_options_ack_and_cancel_are_not_challenged(net: Network, bob: Agent) -> None:
    assert bob.ask(bob.request("OPTIONS", "sip:example.com")).status == 200
    assert bob.ask(bob.request("CANCEL", ALICE)).status == 481
    assert bob.ask(bob.request("MESSAGE", ALICE)).status == 405
    heard = len(bob.arrivals)
    bob.send(bob.request("ACK", ALICE))
    net.settle()
    assert len(bob.arrivals) == heard


def test_rfc3261_22_1_a_cancel_of_a_request_that_was_challenged_is_not(bob: Agent) -> None:
    fields = {"branch": "z9hG4bKcancelled", "call_id": "c", "cseq": 7, "from_tag": "f"}
    assert subscribe(bob, **fields).status == 401
    assert bob.ask(bob.request("CANCEL", ALICE, **fields)).status == 200


def test_rfc3261_22_4_basic_is_neither_asked_for_nor_taken(bob: Agent) -> None:
    response = subscribe(bob, "Authorization: Basic Ym9iOnphbnppYmFy")
    assert response.status == 401
    (asked,) = response.headers("WWW-Authenticate")
    assert asked.startswith("Digest ")


@pytest.mark.parametrize("event", ["presence.winfo", "presence.winfo.winfo", "message-summary"])
def test_rfc3857_4_6_every_subscription_is_authenticated(net: Network, bob: Agent, event: str) -> None:
    own = "sip:bob@example.com"
    fields = {"to": f"<{own}>", "sender": f"<{own}>"}
    heads = (f"Event: {event}", f"Contact: {bob.contact}")
    challenged = bob.ask(bob.request("SUBSCRIBE", own, *heads, **fields))
    assert challenged.status == 401
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]
    prover = Prover("bob", "zanzibar").learn(challenged)
    assert bob.ask(bob.request("SUBSCRIBE", own, *heads, prover.line("SUBSCRIBE", own), **fields)).status == 200


def test_rfc3261_8_2_authentication_comes_before_the_header_fields_and_after_what_is_malformed(bob: Agent) -> None:
    assert subscribe(bob, "Require: nonsense").status == 401
    assert subscribe(bob, "Expires: 600", "Max-Forwards: 1").status == 400
    assert proven(bob, "Require: nonsense").status == 420
    nowhere = bob.ask(bob.request("SUBSCRIBE", "sip:alice@", "Event: presence", "Expires: 600"))
    assert (nowhere.status, nowhere.reason) == (400, "Bad Host")


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512-256"])
def test_rfc8760_2_each_algorithm_proves(algorithm: str) -> None:
    net = guarded("auth.algorithms=SHA-512-256,SHA-256,MD5")
    bob = net.agent("bob")
    response = subscribe(bob)
    assert [c["algorithm"] for c in challenges(response)] == ["SHA-512-256", "SHA-256", "MD5"]
    prover = Prover("bob", "zanzibar").learn(response, algorithm)
    assert subscribe(bob, prover.line("SUBSCRIBE", ALICE)).status == 200
    assert net.rows("SELECT watcher_username, watcher_domain FROM active_watchers") == [("bob", "example.com")]


def test_an_algorithm_that_is_not_offered_or_whose_hash_is_missing_does_not_prove() -> None:
    net = guarded("auth.algorithms=SHA-256,MD5")
    add_user(net, "carol", "old", only_md5=True)
    carol, bob = net.agent("carol"), net.agent("bob")
    prover = Prover("carol", "old").learn(subscribe(carol), "SHA-256")
    assert subscribe(carol, prover.line("SUBSCRIBE", ALICE)).status == 401
    prover = Prover("carol", "old").learn(subscribe(carol), "MD5")
    assert subscribe(carol, prover.line("SUBSCRIBE", ALICE)).status == 200
    prover = Prover("bob", "zanzibar").learn(subscribe(bob))
    prover.challenge["algorithm"] = "SHA-512-256"
    assert subscribe(bob, prover.line("SUBSCRIBE", ALICE)).status == 401


def test_algorithm_may_be_left_out_for_md5(bob: Agent) -> None:
    prover = Prover("bob", "zanzibar").learn(subscribe(bob))
    assert subscribe(bob, prover.line("SUBSCRIBE", ALICE, edit={"algorithm": None})).status == 200


def test_unknown_user_wrong_password_and_wrong_realm_get_the_same_401(net: Network, bob: Agent) -> None:
    answers = []
    for name, password, realm in (("bob", "x", ""), ("mallory", "zanzibar", ""), ("bob", "zanzibar", "other.org")):
        prover = Prover(name, password).learn(subscribe(bob))
        line = prover.line("SUBSCRIBE", ALICE, **({"realm": realm} if realm else {}))
        response = subscribe(bob, line)
        (challenge,) = challenges(response)
        answers.append((response.status, response.reason, sorted(challenge), challenge["realm"]))
    assert len(set(map(repr, answers))) == 1
    assert answers[0][0] == 401
    assert net.tally.auth_failures["wrong response"] == 2


def test_rfc3261_22_3_the_credentials_for_this_realm_are_taken_from_several(bob: Agent) -> None:
    prover = Prover("bob", "zanzibar").learn(subscribe(bob))
    other = prover.line("SUBSCRIBE", ALICE, realm="other.org")
    assert subscribe(bob, other, "Authorization: Basic eDp5", prover.line("SUBSCRIBE", ALICE)).status == 200


def test_rfc7616_3_5_improper_credentials_are_400(bob: Agent) -> None:
    prover = Prover("bob", "zanzibar").learn(subscribe(bob))
    for edit in ({"nc": "1"}, {"cnonce": None}, {"response": None}, {"uri": None}, {"username": "b" * 3000}):
        assert subscribe(bob, prover.line("SUBSCRIBE", ALICE, edit=edit)).status == 400, edit  # type: ignore[arg-type]
    assert subscribe(bob, "Authorization: Digest").status == 400
    assert subscribe(bob, 'Authorization: Digest "').status == 400
    assert subscribe(bob, "Authorization:").status in (400, 401)


def test_rfc7616_3_4_6_credentials_for_another_uri_are_400(bob: Agent) -> None:
    prover = Prover("bob", "zanzibar").learn(subscribe(bob))
    assert subscribe(bob, prover.line("SUBSCRIBE", "sip:carol@example.com")).status == 400
    # Parameters get lost on the way and escapes change nothing (RFC 3261 section 19.1.4).
    assert subscribe(bob, prover.line("SUBSCRIBE", "sip:%61lice@EXAMPLE.com;transport=udp")).status == 200


def test_rfc3261_22_4_credentials_for_the_server_are_for_what_it_serves(bob: Agent) -> None:
    prover = Prover("bob", "zanzibar").learn(subscribe(bob))
    assert subscribe(bob, prover.line("SUBSCRIBE", "sip:127.0.0.1:5060")).status == 200


def test_a_quoted_pair_in_the_username_is_undone(bob: Agent) -> None:
    prover = Prover("bob", "zanzibar").learn(subscribe(bob))
    assert subscribe(bob, prover.line("SUBSCRIBE", ALICE, edit={"username": "b\\ob"})).status == 200


def test_without_qop_only_where_it_is_allowed(bob: Agent) -> None:
    prover = Prover("bob", "zanzibar").learn(subscribe(bob))
    assert subscribe(bob, prover.line("SUBSCRIBE", ALICE, qop="")).status == 401
    old = guarded("auth.allow_no_qop=true").agent("bob")
    prover = Prover("bob", "zanzibar").learn(subscribe(old))
    assert subscribe(old, prover.line("SUBSCRIBE", ALICE, qop="")).status == 200
    again = subscribe(old, prover.line("SUBSCRIBE", ALICE, qop=""))
    assert challenges(again)[0]["stale"] == "true"


def test_rfc7616_3_3_stale_nonce_is_answered_as_such(net: Network, bob: Agent) -> None:
    prover = Prover("bob", "zanzibar").learn(subscribe(bob))
    assert subscribe(bob, prover.line("SUBSCRIBE", ALICE)).status == 200
    net.advance(3601)
    response = subscribe(bob, prover.line("SUBSCRIBE", ALICE))
    assert response.status == 401
    (challenge,) = challenges(response)
    assert challenge["stale"] == "true"
    prover.learn(response)
    assert subscribe(bob, prover.line("SUBSCRIBE", ALICE)).status == 200


def test_a_replayed_request_is_not_served_again(net: Network, bob: Agent) -> None:
    prover = Prover("bob", "zanzibar").learn(subscribe(bob))
    line = prover.line("SUBSCRIBE", ALICE)
    assert subscribe(bob, line).status == 200
    response = subscribe(bob, line)
    assert (response.status, challenges(response)[0]["stale"]) == (401, "true")
    assert net.rows("SELECT count(*) FROM active_watchers") == [(1,)]
    # Counts that overtook each other on the way are taken, each once.
    for nc, status in ((5, 200), (3, 200), (3, 401), (5, 401), (4, 200)):
        assert subscribe(bob, prover.line("SUBSCRIBE", ALICE, nc=nc)).status == status, nc


def test_after_a_restart_the_password_need_not_be_asked_again(net: Network, bob: Agent) -> None:
    prover = Prover("bob", "zanzibar").learn(subscribe(bob))
    line = prover.line("SUBSCRIBE", ALICE)
    assert subscribe(bob, line).status == 200
    net.restart()
    for again in (line, prover.line("SUBSCRIBE", ALICE)):
        response = subscribe(bob, again)
        assert (response.status, challenges(response)[0]["stale"]) == (401, "true")
    prover.learn(response)
    assert subscribe(bob, prover.line("SUBSCRIBE", ALICE)).status == 200


def test_a_user_added_changed_and_removed_is_seen_within_a_second(net: Network) -> None:
    carol = net.agent("carol")
    first = Prover("carol", "one").learn(subscribe(carol))
    assert subscribe(carol, first.line("SUBSCRIBE", ALICE)).status == 401
    add_user(net, "carol", "one")
    net.advance(1)
    assert subscribe(carol, first.line("SUBSCRIBE", ALICE)).status == 200
    assert subscribe(carol, first.line("SUBSCRIBE", ALICE)).status == 200
    add_user(net, "carol", "two")
    net.advance(1)
    assert subscribe(carol, first.line("SUBSCRIBE", ALICE)).status == 401
    second = Prover("carol", "two").learn(subscribe(carol))
    assert subscribe(carol, second.line("SUBSCRIBE", ALICE)).status == 200
    net.rows("DELETE FROM subscriber WHERE username = 'carol'")
    net.advance(1)
    assert subscribe(carol, second.line("SUBSCRIBE", ALICE)).status == 401


def test_a_fixed_realm_is_that_of_everybody() -> None:
    net = Network(REQUIRED, "auth.realm=The Lab")
    net.rows(
        "INSERT INTO subscriber (username, domain, ha1)"
        f" VALUES ('bob', 'example.com', '{h('MD5', 'bob:The Lab:zanzibar')}')"
    )
    bob = net.agent("bob")
    response = subscribe(bob)
    assert challenges(response)[0]["realm"] == "The Lab"
    assert subscribe(bob, Prover("bob", "zanzibar").learn(response).line("SUBSCRIBE", ALICE)).status == 200


def test_who_is_of_a_domain_not_served_is_403() -> None:
    net = guarded("server.domain=example.com")
    mallory = net.agent("mallory")
    assert subscribe(mallory, sender="<sip:mallory@example.org>").status == 403
    assert subscribe(mallory).status == 401


# ---- who may do what ----


def test_a_watcher_is_who_it_has_proven_to_be(net: Network, bob: Agent) -> None:
    assert proven(bob, sender="<sip:carol@example.com>").status == 403
    assert proven(bob, sender='"Bobby" <sips:bob@EXAMPLE.com>').status == 200
    assert net.rows("SELECT watcher_username FROM active_watchers") == [("bob",)]
    assert net.tally.auth_failures["forbidden"] == 1


def test_rfc3903_6_only_the_presentity_publishes(net: Network, bob: Agent) -> None:
    alice = net.agent("alice")
    prover = Prover("alice", "wonderland").learn(publish(alice))
    response = publish(alice, prover.line("PUBLISH", ALICE), body=sip.pidf("mine"))
    assert response.status == 200
    stranger = Prover("bob", "zanzibar").learn(publish(bob))
    etag = response.header("SIP-ETag") or ""
    for fields in ({"body": sip.pidf("forged")}, {"etag": etag}, {"etag": etag, "body": sip.pidf("forged")}):
        assert publish(bob, stranger.line("PUBLISH", ALICE), **fields).status == 403
        # From is the publisher's word only.
        assert publish(bob, stranger.line("PUBLISH", ALICE), sender=f"<{ALICE}>", **fields).status == 403
    assert publish(alice, prover.line("PUBLISH", ALICE), etag=etag).status == 200


def test_a_configured_publisher_publishes_for_everybody() -> None:
    net = guarded("auth.publishers=bob@example.com")
    bob = net.agent("bob")
    prover = Prover("bob", "zanzibar").learn(publish(bob))
    response = publish(bob, prover.line("PUBLISH", ALICE), body=sip.pidf("by the gateway"))
    for _ in range(2):
        response = publish(bob, prover.line("PUBLISH", ALICE), etag=response.header("SIP-ETag") or "")
        assert response.status == 200
    assert net.rows("SELECT username FROM presentity") == [("alice",)]


def test_rfc3261_10_3_nobody_registers_another(net: Network, bob: Agent) -> None:
    prover = Prover("bob", "zanzibar").learn(register(bob, to=bob.uri, sender=bob.uri))
    assert register(bob, prover.line("REGISTER", "sip:example.com"), to=bob.uri, sender=bob.uri).status == 200
    assert register(bob, prover.line("REGISTER", "sip:example.com"), to=ALICE, sender=bob.uri).status == 403
    assert net.rows("SELECT username FROM bindings") == [("bob",)]


def test_a_refresh_is_proven_too_and_is_the_watchers_own(net: Network, bob: Agent) -> None:
    prover = Prover("bob", "zanzibar").learn(subscribe(bob))
    watch = bob.subscribe(prover.line("SUBSCRIBE", ALICE))
    assert watch.response is not None
    assert watch.response.status == 200
    target = watch.dialog.target
    assert watch.refresh().status == 401
    for _ in range(3):
        assert watch.refresh(prover.line("SUBSCRIBE", target)).status == 200
    # Alice knows the dialog, yet it is not hers.
    watch.sender = f"<{ALICE}>"
    stranger = Prover("alice", "wonderland").learn(watch.refresh())
    for expires in (600, 0):
        assert watch.refresh(stranger.line("SUBSCRIBE", target), expires=expires).status == 403
    watch.sender = "<sip:bob@example.com>"
    assert watch.refresh(prover.line("SUBSCRIBE", target), expires=0).status == 200
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]


def test_merged_requests_are_482_and_use_up_nothing(net: Network, bob: Agent) -> None:
    prover = Prover("bob", "zanzibar").learn(subscribe(bob))
    line = prover.line("SUBSCRIBE", ALICE)
    same = {"call_id": "one", "cseq": 7, "from_tag": "f"}
    assert subscribe(bob, line, **same).status == 200
    assert subscribe(bob, line, **same).status == 482


def test_over_a_connection_it_is_the_same(net: Network) -> None:
    bob = net.agent("bob", transport="TCP")
    prover = Prover("bob", "zanzibar").learn(subscribe(bob))
    assert subscribe(bob, prover.line("SUBSCRIBE", ALICE)).status == 200
    assert subscribe(bob, prover.line("SUBSCRIBE", ALICE)).status == 200


# ---- RFC 3325 ----

TRUSTED = "auth.trusted=127.0.0.9/32"
ASSERTED = "P-Asserted-Identity: <sip:bob@example.com>"


@pytest.mark.parametrize("required", ["true", "false"])
def test_rfc3325_a_trusted_peer_says_who_watches(required: str) -> None:
    net = Network(f"auth.required={required}", TRUSTED, "server.policy=rules")
    net.rows(
        "INSERT INTO watchers (presentity_uri, watcher_username, watcher_domain, event, status, inserted_time)"
        f" VALUES ('{ALICE}', 'bob', 'example.com', 'presence', 1, 0)"
    )
    proxy = net.agent("proxy", host="127.0.0.9")
    winfo = proxy.subscribe(
        f"P-Asserted-Identity: <{ALICE}>", event="presence.winfo", sender="<sip:anonymous@anonymous.invalid>"
    )
    watch = proxy.subscribe(ASSERTED, sender='"Anonymous" <sip:anonymous@anonymous.invalid>')
    assert watch.state == "active"
    rows = net.rows("SELECT watcher_username, watcher_domain, from_hdr FROM active_watchers WHERE event = 'presence'")
    assert rows == [("bob", "example.com", '"Anonymous" <sip:anonymous@anonymous.invalid>')]
    assert ">sip:bob@example.com<" in winfo.body
    assert watch.refresh(ASSERTED).status == 200
    assert watch.refresh("P-Asserted-Identity: <sip:carol@example.com>").status == 403


def test_rfc3325_the_asserted_watcher_is_known_after_a_restart(tmp_path: Any) -> None:
    net = Network(TRUSTED, REQUIRED, path=str(tmp_path / "presence.db"))
    proxy = net.agent("proxy", host="127.0.0.9")
    watch = proxy.subscribe(ASSERTED, sender="<sip:carol@example.com>")
    hidden = proxy.subscribe(ASSERTED, "Privacy: id", sender="<sip:anonymous@anonymous.invalid>")
    net.restart()
    assert watch.refresh("P-Asserted-Identity: <sip:carol@example.com>").status == 403
    assert watch.refresh(ASSERTED).status == 200
    assert hidden.refresh(ASSERTED).status == 200
    winfo = proxy.subscribe(f"P-Asserted-Identity: <{ALICE}>", event="presence.winfo")
    assert ">sip:bob@example.com<" in winfo.body
    assert ">sip:anonymous@anonymous.invalid<" in winfo.body
    assert watch.refresh(ASSERTED, expires=0).status == 200
    net.close()


def test_rfc3325_7_privacy_id_shows_the_presentity_what_from_says() -> None:
    net = Network(REQUIRED, TRUSTED)
    proxy = net.agent("proxy", host="127.0.0.9")
    winfo = proxy.subscribe(f"P-Asserted-Identity: <{ALICE}>", event="presence.winfo")
    proxy.subscribe(ASSERTED, "Privacy: header; id", sender="<sip:anonymous@anonymous.invalid>")
    assert ">sip:anonymous@anonymous.invalid<" in winfo.body
    assert "bob" not in winfo.body
    assert net.rows("SELECT count(*) FROM active_watchers WHERE watcher_username = 'bob'") == [(1,)]


def test_rfc3325_5_from_anybody_else_it_is_ignored() -> None:
    net = guarded(TRUSTED)
    bob = net.agent("bob")
    assert subscribe(bob, ASSERTED).status == 401
    open_net = Network(TRUSTED)
    carol = open_net.agent("carol")
    assert subscribe(carol, ASSERTED, sender="<sip:carol@example.com>").status == 200
    assert open_net.rows("SELECT watcher_username FROM active_watchers") == [("carol",)]


def test_rfc3325_9_1_the_sip_value_of_two_counts_and_a_trusted_peer_without_it_is_asked() -> None:
    net = guarded(TRUSTED)
    proxy = net.agent("bob", host="127.0.0.9")
    two = 'P-Asserted-Identity: tel:+14085264000, "Bob" <sip:bob@example.com>'
    assert subscribe(proxy, two, sender="<sip:x@example.org>").status == 200
    assert net.rows("SELECT watcher_username FROM active_watchers") == [("bob",)]
    for value in ("P-Asserted-Identity: <tel:+1>", "P-Asserted-Identity: garbage", ""):
        assert subscribe(proxy, *([value] if value else [])).status == 401
    assert publish(proxy, f"P-Asserted-Identity: <{ALICE}>", body=sip.pidf("x")).status == 200
    assert publish(proxy, ASSERTED, body=sip.pidf("x")).status == 403


# ---- RFC 5922 ----


def certified(net: Network, name: str, *entries: str) -> Agent:
    agent = net.agent(name, transport="TCP")
    agent.connection = net.connect(agent)
    agent.connection.certified = entries  # type: ignore[attr-defined]
    return agent


def test_rfc5922_a_users_certificate_proves_that_user_only() -> None:
    net = guarded()
    bob = certified(net, "bob", "sip:bob@example.com", "phone.example.com")
    assert subscribe(bob).status == 200
    assert subscribe(bob, sender="<sip:carol@example.com>").status == 401
    assert publish(bob, uri=bob.uri, body=sip.pidf("x", entity=bob.uri)).status == 200
    assert publish(bob, body=sip.pidf("x")).status == 403
    assert register(bob, to=bob.uri, sender=bob.uri).status == 200


@pytest.mark.parametrize("entry", ["sip:example.com", "example.com"])
def test_rfc5922_a_domains_certificate_speaks_for_its_users_where_that_is_trusted(entry: str) -> None:
    for setting, status in (("false", 401), ("true", 200)):
        net = guarded(f"auth.trust_domain_certificates={setting}")
        peer = certified(net, "proxy", entry)
        assert subscribe(peer, sender="<sip:anybody@example.com>").status == status
        assert subscribe(peer, sender="<sip:anybody@example.org>").status == 401
