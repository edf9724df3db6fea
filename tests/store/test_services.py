"""The services of all users, as the database has them and as they change (RFC 4826 section 4.4.5)."""

from pathlib import Path

import apsw

from presence.store.sqlite import SqliteStore
from presence.values import Aor
from presence.xcap.documents import Documents
from presence.xcap.services import Services, stored_services
from presence.xcap.shelf import Key

ALICE, BOB = Aor("alice", "example.com"), Aor("bob", "example.com")
INSERT = (
    "INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port) VALUES (?, ?, ?, ?, ?, 0, ?, 0)"
)


def body(uri: str) -> str:
    service = f'<service uri="{uri}"><list/></service>'
    return f'<rls-services xmlns="urn:ietf:params:xml:ns:rls-services">{service}</rls-services>'


def test_services_are_found_whoever_wrote_them_and_whenever(tmp_path: Path):
    path = str(tmp_path / "presence.db")
    store = SqliteStore(path)
    connection = apsw.Connection(path)
    connection.execute(INSERT, (*ALICE, body("sip:a@example.com"), 8, "1", "index"))
    connection.execute(INSERT, (*ALICE, body("sip:a@example.com"), 4, "1", "index"))
    connection.execute(INSERT, ("", "", body("sip:g@example.com").encode(), 8, "1", "index"))
    documents = Documents(store)
    services = Services(lambda: stored_services(store))
    documents.listeners.append(services.note)
    documents.resets.append(services.forget)
    try:
        assert services.find("sip:a@EXAMPLE.com") == {Key("rls-services", ALICE, "index")}
        assert services.find("sip:g@example.com") == {Key("rls-services", None, "index")}
        assert services.find("sip:b@example.com") == frozenset()
        connection.execute(INSERT, (*BOB, body("sip:b@example.com"), 8, "1", "friends"))
        connection.execute("DELETE FROM xcap WHERE username = 'alice'")
        documents.tick(1_000.0)
        assert services.find("sip:b@example.com") == {Key("rls-services", BOB, "friends")}
        assert services.find("sip:a@example.com") == frozenset()
        assert [stored.key.name for stored in services.documents()] == ["index", "friends"]
    finally:
        connection.close()
        store.close()
