"""REGISTER through the whole node: RFC 3261 section 10.3."""

from typing import Any

import pytest
import sip
from net import Agent, Network

from presence._fastcore import Message


class Phone:
    """One that registers: one Call-ID, a growing CSeq."""

    def __init__(self, agent: Agent, aor: str = "sip:alice@example.com") -> None:
        self.agent, self.aor, self.cseq, self.call_id = agent, aor, 0, sip.fresh("register")

    def write(self, *extra: str, **fields: Any) -> bytes:
        self.cseq = fields.pop("cseq", self.cseq + 1)
        return self.agent.request(
            "REGISTER",
            fields.pop("uri", "sip:example.com"),
            *extra,
            sender=f"<{self.aor}>",
            to=f"<{self.aor}>",
            call_id=self.call_id,
            cseq=self.cseq,
        )

    def register(self, *extra: str, **fields: Any) -> Message:
        return self.agent.ask(self.write(*extra, **fields))

    def bindings(self) -> dict[str, int]:
        """Ask what is bound: a REGISTER without Contact."""
        response = self.register()
        assert response.status == 200
        return bindings(response)


def bindings(response: Message) -> dict[str, int]:
    values = response.values("Contact")
    return {value.partition(">")[0].strip("<"): int(sip.param(value, "expires")) for value in values}


@pytest.fixture
def phone(alice: Agent) -> Phone:
    return Phone(alice)


DESK, MOBILE = "sip:alice@127.0.0.1:5070", "sip:alice@127.0.0.1:5071"


def test_rfc3261_10_3_bind_query_remove(net: Network, phone: Phone) -> None:
    response = phone.register(f"Contact: <{DESK}>", "Expires: 600")
    assert response.status == 200
    assert response.to_tag
    assert bindings(response) == {DESK: 600}
    assert phone.bindings() == {DESK: 600}
    assert bindings(phone.register(f"Contact: <{MOBILE}>;expires=100")) == {DESK: 600, MOBILE: 100}
    assert bindings(phone.register(f"Contact: <{DESK}>", "Expires: 0")) == {MOBILE: 100}
    assert net.rows("SELECT contact FROM bindings") == [(MOBILE,)]


def test_rfc3261_10_2_2_star_removes_all(phone: Phone) -> None:
    phone.register(f"Contact: <{DESK}>, <{MOBILE}>")
    assert phone.register("Contact: *").status == 400
    assert phone.register("Contact: *", f"Contact: <{DESK}>", "Expires: 0").status == 400
    assert len(phone.bindings()) == 2
    assert bindings(phone.register("Contact: *", "Expires: 0")) == {}
    assert phone.bindings() == {}


def test_rfc3261_10_3_7_brief_interval_is_423(phone: Phone) -> None:
    response = phone.register(f"Contact: <{DESK}>", "Expires: 10")
    assert (response.status, response.header("Min-Expires")) == (423, "60")


def test_rfc3261_10_3_7_older_cseq_is_refused_and_changes_nothing(phone: Phone) -> None:
    phone.register(f"Contact: <{DESK}>", cseq=10)
    assert phone.register(f"Contact: <{DESK}>;expires=0", cseq=9).status == 500
    phone.cseq = 10
    assert list(phone.bindings()) == [DESK]


def test_rfc3261_10_3_5_foreign_domain_is_404() -> None:
    net = Network("server.domain=example.com")
    phone = Phone(net.agent("alice"), "sip:alice@example.net")
    assert phone.register(f"Contact: <{DESK}>", uri="sip:example.net").status == 404


def test_binding_ends_by_itself_and_its_row_goes(net: Network, phone: Phone) -> None:
    phone.register(f"Contact: <{DESK}>", "Expires: 60")
    net.advance(61)
    assert phone.bindings() == {}
    net.advance(70)
    assert net.rows("SELECT * FROM bindings") == []


def test_bindings_outlive_a_restart(net: Network, phone: Phone) -> None:
    phone.register(f"Contact: <{DESK}>", "Expires: 600")
    net.advance(100)
    net.restart()
    (left,) = phone.bindings().values()
    assert abs(left - 500) <= 1


def test_rfc3261_10_3_refused_commit_is_500_and_nothing_changed(net: Network, phone: Phone) -> None:
    phone.register(f"Contact: <{DESK}>")
    net.refuse_commits()
    response = phone.register(f"Contact: <{MOBILE}>")
    assert response.status == 500
    assert response.header("Retry-After")
    net.refuse_commits(False)
    assert list(phone.bindings()) == [DESK]


def test_retransmitted_register_is_answered_from_the_transaction(phone: Phone) -> None:
    data = phone.write(f"Contact: <{DESK}>", "Expires: 600")
    first = phone.agent.ask(data)
    phone.register(f"Contact: <{DESK}>", "Expires: 0")
    assert phone.agent.ask(data).raw == first.raw
    assert phone.bindings() == {}


def test_bindings_of_others_are_not_shown(net: Network, phone: Phone) -> None:
    phone.register(f"Contact: <{DESK}>")
    assert Phone(net.agent("bob"), "sip:bob@example.com").bindings() == {}


def test_registering_is_no_publication(alice: Agent, bob: Agent, phone: Phone) -> None:
    watch = bob.subscribe()
    phone.register(f"Contact: <{DESK}>")
    assert len(watch.notifies) == 1
    assert alice.notifies == []


def test_rfc3261_10_3_registers_of_one_user_are_processed_in_order(net: Network, alice: Agent, phone: Phone) -> None:
    """The second is decided when the first is committed, although both came at once."""
    answers: list[Message | None] = []
    alice.send(phone.write(f"Contact: <{DESK}>", "Expires: 600"), answers.append)
    alice.send(phone.write(f"Contact: <{MOBILE}>", "Expires: 600"), answers.append)
    net.settle()
    first, second = (bindings(answer) for answer in answers if answer)
    assert (set(first), set(second)) == ({DESK}, {DESK, MOBILE})
    assert net.node.pending() == 0


def test_registers_at_once_cannot_exceed_the_most_bindings(net: Network, alice: Agent, phone: Phone) -> None:
    answers: list[Message | None] = []
    for number in range(30):
        alice.send(phone.write(f"Contact: <sip:alice@127.0.0.1:{6000 + number}>"), answers.append)
    net.settle()
    assert [answer.status for answer in answers if answer] == [200] * 10 + [403] * 20
    assert net.rows("SELECT count(*) FROM bindings") == [(10,)]
