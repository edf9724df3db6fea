"""What Blink (python3-sipsimple) does from its start on, over HTTP and TCP, with a server process.

It reads what the server can do, finds no documents, writes them all on condition that nobody did before, subscribes to
their changes, and lets watchers in or politely keeps them out by moving them between lists.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from lxml import etree
from process import ServerProcess
from wire import Agent, Heard, TcpAgent, Watcher, pidf

from presence.sip.digest import hash_account
from presence.store.users import Hashes, add_user
from presence.values import Aor

pytestmark = pytest.mark.system

HOME = "users/sip:alice@example.com/index"
LISTS, SERVICES = f"resource-lists/{HOME}", f"rls-services/{HOME}"
RULES, STATE = f"org.openmobilealliance.pres-rules/{HOME}", f"pidf-manipulation/{HOME}"
DOCUMENTS = {
    LISTS: "application/resource-lists+xml",
    SERVICES: "application/rls-services+xml",
    RULES: "application/auth-policy+xml",
    STATE: "application/pidf+xml",
}
WANTED = {"resource-lists", "rls-services", "org.openmobilealliance.pres-rules"}
CAPS = "{urn:ietf:params:xml:ns:xcap-caps}"
DIFF = "{urn:ietf:params:xml:ns:xcap-diff}"
BLINK = {"user-agent": "Blink Qt 6.0"}


def lists(root: str, granted: str = "", blocked: str = "") -> str:
    """All lists, with at most one contact in each that rules refer to."""

    def entries(name: str) -> str:
        return f'<entry uri="sip:{name}@example.com"/>' if name else ""

    inside = "".join(
        f'<external anchor="{anchor(root, name)}"/>'
        for name in ("oma_buddylist", "oma_grantedcontacts", "oma_blockedcontacts")
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">'
        f'<list name="oma_buddylist"><external anchor="{anchor(root, "sipsimple_presence_rls")}"/></list>'
        f'<list name="oma_grantedcontacts">{entries(granted)}</list>'
        f'<list name="oma_blockedcontacts">{entries(blocked)}</list>'
        f'<list name="oma_allcontacts">{inside}</list><list name="sipsimple_presence_rls"/></resource-lists>'
    )


def anchor(root: str, name: str) -> str:
    return f"{root}/{LISTS}/~~/resource-lists/list%5B@name=%22{name}%22%5D"


def rules(root: str) -> str:
    """OMA's rules as Blink writes them: granted contacts see it, blocked ones are told nothing and not that."""
    made = "".join(
        f'<cp:rule id="wp_prs_{name}"><cp:conditions><ocp:external-list>'
        f'<ocp:entry anc="{anchor(root, "oma_" + name)}"/></ocp:external-list>'
        f"</cp:conditions><cp:actions><pr:sub-handling>{handling}</pr:sub-handling></cp:actions>"
        f"<cp:transformations>{shown}</cp:transformations></cp:rule>"
        for name, handling, shown in (
            ("grantedcontacts", "allow", EVERYTHING),
            ("blockedcontacts", "polite-block", ""),
        )
    )
    return (
        '<cp:ruleset xmlns:cp="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules" '
        f'xmlns:ocp="urn:oma:xml:xdm:common-policy">{made}</cp:ruleset>'
    )


EVERYTHING = (
    "<pr:provide-services><pr:all-services/></pr:provide-services>"
    "<pr:provide-persons><pr:all-persons/></pr:provide-persons>"
    "<pr:provide-devices><pr:all-devices/></pr:provide-devices><pr:provide-all-attributes/>"
)


def services(root: str) -> str:
    made = "".join(
        f'<service uri="sip:alice+{name}@example.com"><resource-list>{anchor(root, "oma_buddylist")}</resource-list>'
        f"<packages><package>{name}</package></packages></service>"
        for name in ("presence", "dialog")
    )
    return f'<rls-services xmlns="urn:ietf:params:xml:ns:rls-services">{made}</rls-services>'


class Documents:
    """Its journal: what it wrote and under which entity-tag."""

    def __init__(self, server: ServerProcess) -> None:
        self.root = f"http://127.0.0.1:{server.http_port}/xcap-root"
        self._client = httpx.Client(
            auth=httpx.DigestAuth("alice", "alice's"), headers=BLINK, timeout=30, trust_env=False
        )
        self.etags: dict[str, str] = {}

    def get(self, path: str, **fields: str) -> httpx.Response:
        return self._client.get(f"{self.root}/{path}", headers=fields)

    def put(self, path: str, body: str) -> httpx.Response:
        """PUT on condition that the document is the one last seen, or not there."""
        known = self.etags.get(path)
        condition = {"If-Match": known} if known else {"If-None-Match": "*"}
        fields = {"Content-Type": DOCUMENTS[path], **condition}
        answer = self._client.put(f"{self.root}/{path}", content=body, headers=fields)
        if answer.is_success:
            self.etags[path] = answer.headers["etag"]
        return answer

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path, "--policy=rules", "--set=presence_xml.unmatched=confirm")
    hashed = hash_account("MD5", "alice", "example.com", "alice's")
    add_user(str(process.database), Aor("alice", "example.com"), Hashes(hashed, "", "", ""))
    with process:
        yield process
        process.assert_calm()


@pytest.fixture
def documents(server: ServerProcess) -> Iterator[Documents]:
    made = Documents(server)
    yield made
    made.close()


def begin(documents: Documents) -> None:
    """What it does before it shows presence at all."""
    caps = etree.fromstring(documents.get("xcap-caps/global/index").content)
    assert {auid.text for auid in caps.iter(f"{CAPS}auid")} >= WANTED
    for path in DOCUMENTS:
        assert documents.get(path).status_code == 404
    for path, body in (
        (LISTS, lists(documents.root)),
        (SERVICES, services(documents.root)),
        (RULES, rules(documents.root)),
    ):
        assert documents.put(path, body).status_code == 201
        again = documents.get(path, **{"If-None-Match": documents.etags[path]})
        assert again.status_code == 304
    # Another device that knows nothing yet is told to fetch first.
    unknowing = documents.etags.pop(LISTS)
    assert documents.put(LISTS, lists(documents.root)).status_code == 412
    documents.etags[LISTS] = unknowing


def follow(agent: Agent, etags: dict[str, str]) -> Watcher:
    """Subscribe to xcap-diff with the selectors of all documents, and be told of those that are there."""
    entries = "".join(f'<entry uri="{path}"/>' for path in DOCUMENTS)
    body = f'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>{entries}</list></resource-lists>'
    watcher = Watcher(agent, event="xcap-diff", sender="alice")
    kinds = "Accept: application/xcap-diff+xml\r\nContent-Type: application/resource-lists+xml\r\n"
    assert watcher.subscribe(headers=kinds, body=body.encode()).status == 200
    assert told(agent.notify()) == {path: etag.strip('"') for path, etag in etags.items()}
    return watcher


def told(notify: Heard) -> dict[str, str | None]:
    """The new entity-tag of each document that a NOTIFY of xcap-diff names."""
    assert notify["Content-Type"] == "application/xcap-diff+xml"
    return {each.get("sel", ""): each.get("new-etag") for each in etree.fromstring(notify.body).iter(f"{DIFF}document")}


def test_from_the_first_start_to_contacts_who_come_and_go(server: ServerProcess, documents: Documents) -> None:
    begin(documents)
    with TcpAgent(server.port) as changes, TcpAgent(server.port) as own, TcpAgent(server.port) as bobs:
        follow(changes, documents.etags)
        assert own.publish("alice", pidf("alice", ("desk", "open", "here"))).status == 200
        bob = Watcher(bobs)
        assert bob.subscribe().status == 200
        waiting = bobs.notify()
        assert waiting["Subscription-State"].startswith("pending")
        assert b"here" not in waiting.body

        # It learns by presence.winfo who waits, and its user says yes.
        winfo = Watcher(own, event="presence.winfo", sender="alice")
        assert winfo.subscribe(headers="Accept: application/watcherinfo+xml\r\n").status == 200
        assert re.search(rb'<watcher[^>]*status="pending"[^>]*>sip:bob@example.com<', own.notify().body)

        assert documents.put(LISTS, lists(documents.root, granted="bob")).status_code == 200
        assert told(changes.notify()) == {LISTS: documents.etags[LISTS].strip('"')}
        seen = bobs.notify()
        assert seen["Subscription-State"].startswith("active")
        assert b"here" in seen.body
        assert re.search(rb'<watcher[^>]*status="active"[^>]*>sip:bob@example.com<', own.notify().body)

        # The user thinks better of it: what bob sees now looks like somebody who is not there.
        assert documents.put(LISTS, lists(documents.root, blocked="bob")).status_code == 200
        assert told(changes.notify()) == {LISTS: documents.etags[LISTS].strip('"')}
        closed = bobs.notify()
        assert closed["Subscription-State"].startswith("active")
        assert b"<basic>closed</basic>" in closed.body
        assert b"here" not in closed.body
        # That stays so when something is published, and a refresh shows no more.
        etag = own.publish("alice", pidf("alice", ("phone", "open", "there")))["SIP-ETag"]
        assert etag
        assert bob.subscribe().status == 200
        assert b"there" not in bobs.notify().body

        # A document that appears later is told of to who asked for it when it was not there.
        assert documents.put(STATE, pidf("alice", ("offline", "closed", "away")).decode()).status_code == 201
        assert told(changes.notify()) == {STATE: documents.etags[STATE].strip('"')}
