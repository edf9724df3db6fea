"""The compiled loader takes what is ordinary, and takes it as the Python path would."""

import random
from typing import Any

import pytest
from net import Network

from presence.subscription import upkeep

COLUMNS = (
    *("presentity_uri", "watcher_username", "watcher_domain", "to_user", "to_domain", "event", "event_id", "to_tag"),
    *("from_tag", "callid", "local_cseq", "remote_cseq", "contact", "record_route", "expires", "status", "reason"),
    *("version", "socket_info", "local_contact", "from_hdr", "to_hdr", "subscribed_at", "target", "boot"),
)

SQL = f"INSERT INTO active_watchers ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"

LOOSE = "<sip:192.0.2.7;lr>, <sip:127.0.0.1:5090;lr=on>"
LONG = "x" * 300

ODD: tuple[dict[str, Any], ...] = (
    {},
    {"event_id": "7"},
    {"event_id": None},
    {"event": "message-summary"},
    {"event": "message-summary", "status": 2},
    {"event": "presence.winfo"},
    {"event": "unheard-of"},
    {"status": 2},
    {"status": 3},
    {"status": "1"},
    {"to_tag": "another-servers"},
    {"to_tag": "01000000ff00000000"},
    {"to_tag": "00FFFFFFFF00000000"},
    {"record_route": LOOSE},
    {"record_route": "<sip:192.0.2.7>"},
    {"record_route": "<sip:192.0.2.7;lr>,<sip:192.0.2.8>"},
    {"record_route": "<"},
    {"record_route": ""},
    {"target": None},
    {"target": "tcp:127.0.0.1:5070"},
    {"target": "udp:::1:5070"},
    {"target": "udp:192.0.2.9:5070"},
    {"target": "udp:127.0.0.256:5070"},
    {"target": "udp:127.0.0.1:65535"},
    {"target": "udp:127.0.0.1:65536"},
    {"target": "udp:127.0.0.1:"},
    {"target": "udp:127.0.0.1"},
    {"target": "udp:127.0.0.1:5070x"},
    {"target": "udp:127.0.0:5070"},
    {"target": "UDP:127.0.0.1:5070"},
    {"target": "udp:127.0.0.01:5070"},
    {"target": "udp:"},
    {"contact": "sip:bob@127.0.0.1:5070;transport=udp"},
    {"contact": "sip:bob@127.0.0.1:5070;x;TRANSPORT=UDP;ob"},
    {"contact": "sip:bob@127.0.0.1:5070;ob"},
    {"contact": "sip:bob@127.0.0.1:5070;ob=1;transport=tcp"},
    {"contact": "sip:bob@127.0.0.1:5070;transport=tcp;transport=udp"},
    {"contact": "sip:bob@127.0.0.1:5070;transport=udpx;obx"},
    {"contact": "sip:b;transport=udp;ob@127.0.0.1:5070"},
    {"contact": "sip:127.0.0.1:5070;transport=udp"},
    {"contact": "sip:bob@127.0.0.1:5070;transport=udp?a=b"},
    {"contact": "sip:bob@127.0.0.1:5070?a=b;transport=udp"},
    {"record_route": "<sip:127.0.0.1:5070;transport=udp;lr>, <sip:127.0.0.1;lr>"},
    {"record_route": "<sip:127.0.0.1:5070;lr>, <sip:127.0.0.1;lr;transport=udp>"},
    {"record_route": "<sip:127.0.0.1:5070;lr>;transport=udp"},
    {"target": "", "contact": "sip:bob@127.0.0.1:5099"},
    {"target": None, "contact": "sip:bob@bobs-phone.example.com"},
    {"socket_info": "udp:127.0.0.1:5999"},
    {"socket_info": "tcp:127.0.0.1:5060"},
    {"socket_info": ""},
    {"from_hdr": None},
    {"to_hdr": None},
    {"from_hdr": '"Bob \u017b\u00f3\u0142w" <sip:bob@example.com>'},
    {"contact": "sip:" + LONG},
    {"contact": "sip:" + LONG * 50},
    {"callid": "\u00e9" * 40},
    {"callid": ""},
    {"from_tag": ""},
    {"local_cseq": 0},
    {"local_cseq": 2**32 - 1},
    {"local_cseq": -1},
    {"local_cseq": -300},
    {"local_cseq": 2**40},
    {"local_cseq": "many"},
    {"remote_cseq": 2**32 - 1},
    {"remote_cseq": 2**32},
    {"remote_cseq": -5},
    {"expires": 0},
    {"expires": -1},
    {"expires": 5},
    {"expires": 2**32},
    {"expires": "never"},
    {"boot": None},
    {"boot": 5},
    {"boot": -7},
    {"boot": "first"},
    {"subscribed_at": None},
    {"subscribed_at": -1},
    {"subscribed_at": "then"},
    {"presentity_uri": "sip:ALICE@EXAMPLE.com"},
    {"presentity_uri": "alice"},
    {"presentity_uri": "sip:alice@example.com;transport=udp"},
    {"local_contact": ""},
    {"from_hdr": b"<sip:bob@example.com>"},
)


def make_row(number: int, **changes: Any) -> tuple[Any, ...]:
    row: dict[str, Any] = {
        "presentity_uri": f"sip:alice{number % 3}@example.com",
        "watcher_username": "bob",
        "watcher_domain": "example.com",
        "to_user": "alice",
        "to_domain": "example.com",
        "event": "presence",
        "event_id": "",
        "to_tag": f"00{number + 1:08x}{number * 7919:08x}",
        "from_tag": f"from{number}",
        "callid": f"call{number}@example.com",
        "local_cseq": 256,
        "remote_cseq": number,
        "contact": f"sip:bob{number}@127.0.0.1:5070",
        "record_route": None,
        "expires": 4_000_000_000,
        "status": 1,
        "reason": "",
        "version": 0,
        "socket_info": "udp:127.0.0.1:5060",
        "local_contact": "sip:~00.presence@127.0.0.1:5060",
        "from_hdr": '"Bob" <sip:bob@example.com>',
        "to_hdr": "<sip:alice@example.com>",
        "subscribed_at": 1_700_000_000,
        "target": f"udp:127.0.0.{number % 5 + 1}:5070",
        "boot": 1,
    }
    row.update(changes)
    return tuple(row[name] for name in COLUMNS)


def load(rows: list[tuple[Any, ...]], *assignments: str) -> tuple[Any, ...]:
    net = Network(*assignments)
    for row in rows:
        net.store._connection.execute(SQL, row)
    net._start()
    table, by_gid = net.node.table, net.node.notify._by_gid
    slots = {}
    for gid, resource in enumerate(by_gid):
        if resource is None:
            continue
        for slot in table.group_slots(gid):
            facts = table.facts(slot)._replace(group=0)
            slots[slot] = (
                *(resource.presentity, resource.package.name, table.state(slot), facts, table.dialog(slot)),
                *(table.target(slot), net.node.book.foreign_tag(slot)),
            )
        assert table.group_size(gid) > 0
    assert len(table) == len(slots)
    loaded = net.loaded
    kept = (sorted(net.node.book._strict.items()), sorted(net.node.notify.individual._told.items()))
    net.advance(5.0, 1.0)
    counts = net.node.notify.counts()
    net.close()
    return slots, loaded, kept, counts


def both(monkeypatch: pytest.MonkeyPatch, rows: list[tuple[Any, ...]], *assignments: str) -> tuple[Any, int]:
    """Load twice; return what came of it and how many rows were left to Python."""
    left = []

    def counting(table: Any, batch: Any, **known: Any) -> Any:
        rest = compiled(table, batch, **known)
        left.extend(rest)
        return rest

    compiled = upkeep.restore
    monkeypatch.setattr(upkeep, "restore", counting)
    one = load(rows, *assignments)
    monkeypatch.setattr(upkeep, "restore", lambda table, batch, **known: batch)
    other = load(rows, *assignments)
    monkeypatch.setattr(upkeep, "restore", compiled)
    assert one == other
    return one, len(left)


@pytest.mark.parametrize("change", ODD, ids=str)
@pytest.mark.parametrize("policy", ["open", "rules"])
def test_a_row_is_restored_as_python_does_it(
    monkeypatch: pytest.MonkeyPatch, policy: str, change: dict[str, Any]
) -> None:
    settings = (f"server.policy={policy}", "server.allowed_targets=127.0.0.0/8,::1/128")
    rows = [make_row(0), make_row(1, **change), make_row(2)]
    try:
        (slots, loaded, _, _), left = both(monkeypatch, rows, *settings)
    except Exception as error:
        if "NOT NULL" in str(error):
            pytest.skip("the schema refuses it")
        raise
    assert len(slots) == loaded[0]
    assert sum(loaded) == 3
    assert left <= (1 if policy == "open" else 3)


def test_ordinary_rows_never_reach_python(monkeypatch: pytest.MonkeyPatch) -> None:
    changes: tuple[dict[str, Any], ...] = ({}, {"record_route": LOOSE}, {"event": "message-summary"}, {"status": 2})
    rows = [make_row(number, **changes[number % 4]) for number in range(5000)]
    random.Random(1).shuffle(rows)
    (slots, loaded, _, counts), left = both(monkeypatch, rows)
    assert left == 0
    assert loaded == (5000, 0)
    assert set(slots) == set(range(1, 5001))
    assert counts["presence", "active"] == 3750
    assert counts["message-summary", "active"] == 1250


def test_two_rows_with_one_to_tag_are_two_dialogs(monkeypatch: pytest.MonkeyPatch) -> None:
    tag = make_row(0)[7]
    (slots, loaded, _, _), left = both(monkeypatch, [make_row(0), make_row(1, to_tag=tag), make_row(2)])
    assert left == 1
    assert loaded == (3, 0)
    assert sorted(values[-1] for values in slots.values()) == ["", "", tag]
