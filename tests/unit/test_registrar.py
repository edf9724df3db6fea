"""RFC 3261 section 10.3 by its steps. What the registrar writes goes into a real database in memory."""

from collections.abc import Iterator
from itertools import count

import pytest

from presence._fastcore import Message, parse
from presence.errors import BadRequest, Forbidden, IntervalTooBrief, NotFound, OutOfOrder, SipError
from presence.registration.registrar import Registrar, Registration
from presence.store.sqlite import SqliteStore
from presence.values import Aor

NOW = 1_000_000.25
ALICE = Aor("alice", "example.com")
branches = count()


def a_register(
    *contacts: str,
    to: str = "<sip:alice@example.com>",
    uri: str = "sip:example.com",
    call_id: str = "one",
    cseq: int = 1,
    expires: str | None = None,
) -> Message:
    lines = [
        f"REGISTER {uri} SIP/2.0",
        f"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{next(branches)}",
        "Max-Forwards: 70",
        f"To: {to}",
        f"From: {to};tag=f",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} REGISTER",
        "User-Agent: desk phone",
        *(f"Contact: {contact}" for contact in contacts),
        *([f"Expires: {expires}"] if expires is not None else []),
        "Content-Length: 0",
        "",
        "",
    ]
    message = parse("\r\n".join(lines).encode())
    assert message.error == ""
    message.set_source("192.0.2.1", 5060)
    return message


class Registry:
    """A registrar and its database; `register` commits as the server does, or raises."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.registrar = Registrar(store, domains=frozenset({"example.com"}))

    def register(self, request: Message, now: float = NOW) -> list[str]:
        registration = self.decide(request, now)
        errors: list[object] = []
        self.store.submit(registration.writes, errors.append)
        self.store.flush()
        assert errors == [None]
        assert {name for name, _ in registration.headers} <= {"Contact"}
        return [value for _, value in registration.headers]

    def decide(self, request: Message, now: float = NOW) -> Registration:
        return self.registrar.register(request, now)

    def contacts(self, now: float = NOW) -> list[str]:
        return self.register(a_register(), now)


@pytest.fixture
def registry() -> Iterator[Registry]:
    store = SqliteStore(":memory:")
    yield Registry(store)
    store.close()


def test_rfc3261_10_3_a_contact_is_bound_and_listed_with_its_expiration(registry: Registry) -> None:
    bound = registry.register(a_register("<sip:alice@192.0.2.1>;q=0.5", expires="600"))
    assert bound == ["<sip:alice@192.0.2.1>;expires=600;q=0.5"]
    assert registry.contacts(NOW + 100) == ["<sip:alice@192.0.2.1>;expires=500;q=0.5"]
    ((*_, user_agent, received),) = registry.store.read("bindings_get", ALICE)
    assert (user_agent, received) == ("desk phone", "sip:192.0.2.1:5060")


def test_rfc3261_10_3_1_a_domain_not_served_is_404(registry: Registry) -> None:
    for request in (
        a_register("<sip:alice@192.0.2.1>", uri="sip:example.net"),
        a_register("<sip:alice@192.0.2.1>", to="<sip:alice@example.net>"),
        a_register("<sip:alice@192.0.2.1>", to="<sip:example.com>"),
    ):
        with pytest.raises(NotFound):
            registry.decide(request)


def test_a_registrar_without_domains_serves_all(registry: Registry) -> None:
    registry.registrar = Registrar(registry.store)
    registration = registry.decide(a_register("<sip:bob@192.0.2.1>", uri="sip:example.net", to="sip:bob@example.org"))
    assert registration.aor == Aor("bob", "example.org")


def test_rfc3261_10_3_5_the_address_of_record_is_canonical(registry: Registry) -> None:
    request = a_register("<sip:alice@192.0.2.1>", to='"Alice" <sip:%61lice@EXAMPLE.com;user=ip>')
    assert registry.decide(request).aor == ALICE


def test_rfc3261_10_3_6_a_query_changes_nothing(registry: Registry) -> None:
    registration = registry.decide(a_register())
    assert registration.writes == []
    assert registration.headers == ()


def test_rfc3261_10_3_6_asterisk_removes_all(registry: Registry) -> None:
    registry.register(a_register("<sip:alice@192.0.2.1>", "<sip:alice@192.0.2.2>"))
    assert registry.register(a_register("*", cseq=2, expires="0")) == []
    assert registry.contacts() == []


@pytest.mark.parametrize("expires", [None, "10"])
def test_rfc3261_10_3_6_asterisk_needs_expires_zero(registry: Registry, expires: str | None) -> None:
    with pytest.raises(BadRequest):
        registry.decide(a_register("*", expires=expires))


def test_rfc3261_10_3_6_asterisk_stands_alone(registry: Registry) -> None:
    with pytest.raises(BadRequest):
        registry.decide(a_register("*", "<sip:alice@192.0.2.1>", expires="0"))


def test_rfc3261_10_3_6_asterisk_out_of_order_removes_nothing(registry: Registry) -> None:
    registry.register(a_register("<sip:alice@192.0.2.1>", cseq=5))
    with pytest.raises(OutOfOrder):
        registry.decide(a_register("*", cseq=4, expires="0"))
    assert len(registry.contacts()) == 1


@pytest.mark.parametrize(
    ("contact", "expires", "granted"),
    [
        ("<sip:alice@192.0.2.1>;expires=120", "600", 120),
        ("<sip:alice@192.0.2.1>", "600", 600),
        ("<sip:alice@192.0.2.1>", None, 3600),
        ("<sip:alice@192.0.2.1>;expires=99999999999999", None, 3600),
        ("<sip:alice@192.0.2.1>;expires=soon", "600", 3600),
        ("<sip:alice@192.0.2.1>", "7200", 3600),
    ],
)
def test_rfc3261_10_3_7_the_interval_granted(
    registry: Registry, contact: str, expires: str | None, granted: int
) -> None:
    assert registry.register(a_register(contact, expires=expires)) == [f"<sip:alice@192.0.2.1>;expires={granted}"]


def test_rfc3261_10_3_7_too_brief_is_423_with_min_expires(registry: Registry) -> None:
    with pytest.raises(IntervalTooBrief) as refused:
        registry.decide(a_register("<sip:alice@192.0.2.1>", "<sip:alice@192.0.2.2>;expires=59"))
    assert refused.value.headers == (("Min-Expires", "60"),)
    assert registry.contacts() == []


def test_rfc3261_10_3_7_zero_removes_one_contact(registry: Registry) -> None:
    registry.register(a_register("<sip:alice@192.0.2.1>, <sip:alice@192.0.2.2>"))
    left = registry.register(a_register("<sip:alice@192.0.2.1>;expires=0", cseq=2))
    assert left == ["<sip:alice@192.0.2.2>;expires=3600"]
    assert registry.register(a_register("<sip:alice@192.0.2.9>;expires=0", cseq=3)) == left


def test_rfc3261_10_3_7_an_older_cseq_fails_whole(registry: Registry) -> None:
    registry.register(a_register("<sip:alice@192.0.2.1>", cseq=7))
    with pytest.raises(OutOfOrder) as refused:
        registry.decide(a_register("<sip:alice@192.0.2.2>", "<sip:alice@192.0.2.1>", cseq=6))
    assert refused.value.status == 500
    assert registry.contacts() == ["<sip:alice@192.0.2.1>;expires=3600"]


def test_rfc3261_10_3_7_the_same_cseq_again_fails(registry: Registry) -> None:
    """A retransmission gets its answer from the transaction; as a new request it is no newer than the binding."""
    registry.register(a_register("<sip:alice@192.0.2.1>"))
    with pytest.raises(OutOfOrder):
        registry.decide(a_register("<sip:alice@192.0.2.1>"))


def test_rfc3261_10_3_7_another_call_id_may_begin_anew(registry: Registry) -> None:
    registry.register(a_register("<sip:alice@192.0.2.1>", cseq=700))
    bound = registry.register(a_register("<sip:alice@192.0.2.1>", call_id="two", cseq=1, expires="300"))
    assert bound == ["<sip:alice@192.0.2.1>;expires=300"]


def test_rfc3261_19_1_4_another_spelling_is_the_same_contact(registry: Registry) -> None:
    registry.register(a_register("<sip:alice@Phone.Example.COM:5070;transport=tcp;ob>"))
    bound = registry.register(a_register("<SIP:alice@phone.example.com:5070;transport=tcp>", cseq=2))
    assert len(bound) == 1
    assert len(list(registry.store.read("bindings_get", ALICE))) == 1


@pytest.mark.parametrize(
    "other",
    [
        "sip:Alice@192.0.2.1",
        "sips:alice@192.0.2.1",
        "sip:alice@192.0.2.1:5060",
        "sip:alice@192.0.2.1;transport=tcp",
        "sip:alice@192.0.2.1?subject=x",
        "tel:+15550100",
    ],
)
def test_rfc3261_19_1_4_a_different_contact_is_bound_beside(registry: Registry, other: str) -> None:
    registry.register(a_register("<sip:alice@192.0.2.1>"))
    assert len(registry.register(a_register(f"<{other}>", cseq=2))) == 2


def test_bindings_end_with_their_time(registry: Registry) -> None:
    registry.register(a_register("<sip:alice@192.0.2.1>", expires="60"))
    assert registry.contacts(NOW + 59) == ["<sip:alice@192.0.2.1>;expires=1"]
    assert registry.contacts(NOW + 60) == []


def test_contacts_are_bounded_in_one_request_and_over_many(registry: Registry) -> None:
    many = [f"<sip:alice@192.0.2.{number}>" for number in range(11)]
    with pytest.raises(Forbidden):
        registry.decide(a_register(*many))
    registry.register(a_register(*many[:10]))
    with pytest.raises(Forbidden):
        registry.decide(a_register(many[10], cseq=2))
    assert len(registry.register(a_register(f"{many[0]};expires=0", many[10], cseq=3))) == 10


@pytest.mark.parametrize(
    "contact",
    [
        "<>",
        "<sip:>",
        "<sip:alice@192.0.2.1",
        "alice",
        "<sip:alice@192.0.2.1;x=" + 2000 * "y" + ">",
        '"',
        ";",
        "**",
    ],
)
def test_a_malformed_contact_is_400(registry: Registry, contact: str) -> None:
    with pytest.raises(SipError) as refused:
        registry.decide(a_register(contact))
    assert refused.value.status == 400


@pytest.mark.parametrize("q", ["", "2", "-1", "nan", "much"])
def test_a_malformed_q_is_as_if_absent(registry: Registry, q: str) -> None:
    assert registry.register(a_register(f"<sip:alice@192.0.2.1>;q={q}")) == ["<sip:alice@192.0.2.1>;expires=3600"]
