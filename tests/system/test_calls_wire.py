"""Busy lamps and a shared line on real sockets, through a crash of the server."""

import re
import sqlite3
from pathlib import Path

import pytest
from dialoginfo import dialog, info
from process import ServerProcess, until
from wire import Agent, Heard, TcpAgent, UdpAgent

pytestmark = pytest.mark.system

KIND = "application/dialog-info+xml"


class Lamp:
    """One subscription."""

    def __init__(self, agent: Agent, event: str = "dialog", user: str = "alice", contact: str = "") -> None:
        self.agent, self.event, self.user = agent, event, user
        self.contact = contact or agent.contact
        self.call_id, self.tag, self.to_tag, self.cseq = f"lamp{agent.port}", "t", "", 0
        self.target = f"sip:{user}@example.com"

    def subscribe(self, expires: int = 600) -> Heard:
        self.cseq += 1
        headers = f"Event: {self.event}\r\nExpires: {expires}\r\nContact: {self.contact}\r\nAccept: {KIND}\r\n"
        options = {"to": self.user, "to_tag": self.to_tag, "tag": self.tag, "call_id": self.call_id, "cseq": self.cseq}
        heard = self.agent.ask("SUBSCRIBE", self.target, headers=headers, **options)
        assert heard.status == 200
        self.to_tag = heard["To"].partition(";tag=")[2]
        self.target = heard["Contact"].strip("<>")
        return heard

    def told(self) -> tuple[int, str, dict[str, str]]:
        """Wait for a NOTIFY: version, state and the dialogs of its document."""
        heard = self.agent.notify()
        assert heard["Event"] == self.event
        text = heard.body.decode()
        found = re.search(r'<dialog-info [^>]*version="(\d+)" state="(\w+)"', text)
        assert found
        return int(found[1]), found[2], dict(re.findall(r'<dialog id="(\w+)".*?<state>(\w+)</state>', text))


def publish(agent: Agent, body: str, etag: str = "", event: str = "dialog", user: str = "alice", more: str = "") -> str:
    headers = f"Event: {event}\r\nExpires: 600\r\nContent-Type: {KIND}\r\n{more}"
    headers += f"SIP-If-Match: {etag}\r\n" if etag else ""
    heard = agent.ask("PUBLISH", f"sip:{user}@example.com", to=user, sender=user, headers=headers, body=body.encode())
    assert heard.status == 200
    return heard["SIP-ETag"]


@pytest.mark.parametrize("transport", [UdpAgent, TcpAgent])
def test_lamps_follow_calls_over_a_crash(tmp_path: Path, transport: type[UdpAgent] | type[TcpAgent]) -> None:
    with ServerProcess(tmp_path, "--set=presence_dialoginfo.partial=true") as server:
        with UdpAgent(server.port) as phone, transport(server.port) as watcher:
            lamp = Lamp(watcher)
            lamp.subscribe()
            assert lamp.told() == (0, "full", {})
            etag = publish(phone, info(dialog("a", "early"), dialog("b")))
            assert lamp.told() == (1, "partial", {"a": "early", "b": "confirmed"})
            etag = publish(phone, info(dialog("a"), dialog("b")), etag)
            assert lamp.told() == (2, "partial", {"a": "confirmed"})
            lamp.subscribe()
            assert lamp.told() == (3, "full", {"a": "confirmed", "b": "confirmed"})
            if transport is UdpAgent:
                # Once acknowledged it is kept.
                server.kill()
                server.start()
                version, *told = lamp.told()
                assert version > 3
                assert told == ["full", {"a": "confirmed", "b": "confirmed"}]
                etag = publish(phone, info(dialog("a", "terminated"), dialog("b")), etag)
                assert lamp.told() == (version + 1, "partial", {"a": "terminated"})
                lamp.subscribe()
                assert lamp.told() == (version + 2, "full", {"b": "confirmed"})
            lamp.subscribe(0)
            assert lamp.told()[2]
        server.assert_calm()


def test_a_shared_line_spares_who_seized_it(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        with UdpAgent(server.port) as agent, UdpAgent(server.port) as one, UdpAgent(server.port) as two:
            lamps = [Lamp(phone, "dialog;sla", "line", f"<sip:line@127.0.0.1:{phone.port}>") for phone in (one, two)]
            for lamp in lamps:
                lamp.subscribe()
                assert lamp.told() == (0, "full", {})
            more = f"Sender: {lamps[0].contact}\r\n"
            etag = publish(agent, info(dialog("a", "trying"), state="partial"), "", "dialog;sla", "line", more)
            publish(agent, info(dialog("b", "early"), state="partial"), etag, "dialog; sla", "line")
            assert lamps[0].told() == (1, "partial", {"b": "early"})
            assert lamps[1].told() == (1, "partial", {"a": "trying"})
            assert lamps[1].told() == (2, "partial", {"b": "early"})

            def stored() -> list[tuple[str, str]]:
                with sqlite3.connect(server.database) as database:
                    return database.execute("SELECT event, sender FROM presentity").fetchall()

            until("the row", lambda: bool(stored()))
            assert stored() == [("dialog;sla", lamps[0].contact.strip("<>"))]
        server.assert_calm()
