"""Documents fetched from an XCAP server: real HTTP on loopback, the database in a file, time by hand."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from certificates import Authority
from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from xcapd import Xcapd, endless, path_of

from presence.errors import ConfigError
from presence.http.app import HttpServer
from presence.http.fetching import BACK_OFF_MAX_S, Course, Fetcher
from presence.http.xcap_client import (
    Bounds,
    Credentials,
    Outcome,
    XcapClient,
    place_of,
    trust,
)
from presence.store.sqlite import SqliteStore
from presence.tally import Tally
from presence.values import Aor
from presence.xcap.documents import Change, Documents, Key

ALICE, BOB = Aor("alice", "example.com"), Aor("bob", "example.com")
RULES = "pres-rules"
INDEX = Key(RULES, ALICE, "index")
PERIOD_S = 100
BODY_BYTES = 20_000
ALLOW, BLOCK = "<ruleset>allow</ruleset>", "<ruleset>block</ruleset>"


class Desk:
    """A fetcher with what it needs."""

    def __init__(self, path: Path, *servers: Xcapd, **settings: int) -> None:
        self.now = 1_000_000.0
        self.store = SqliteStore(str(path / "presence.db"))
        self.documents = Documents(self.store)
        self.documents.wake = self.store.flush
        self.changes: list[Change] = []
        self.documents.listeners.append(self.changes.append)
        self.watched = {ALICE}
        self.tally = Tally()
        self.client = XcapClient(
            Bounds(settings.get("timeout_s", 20), BODY_BYTES, 4), credentials(servers), trust("", verify=True)
        )
        course = Course(frozenset((RULES, "resource-lists")), "index", PERIOD_S, True, 4, settings.get("waiting", 1000))
        self.fetcher = Fetcher(
            self.client,
            [server.url for server in servers],
            course,
            self.store,
            self.documents,
            self.tally,
            lambda: self.now,
            self.watched.__contains__,
        )
        self.documents.missed, self.documents.hinted = self.fetcher.want, self.fetcher.heed

    def body(self, key: Key = INDEX) -> bytes | None:
        """Ask as a decision does."""
        stored = self.documents.get(key)
        return None if stored is None else stored.body

    async def settle(self) -> None:
        """Let everything that is under way come to its end."""
        async with asyncio.timeout(30):
            while self.fetcher._queue or self.fetcher._busy:
                await asyncio.sleep(0.001)

    async def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.fetcher.tick(self.now)
        await self.settle()

    def told(self) -> list[tuple[bytes | None, bytes | None]]:
        told = [(c.before and c.before.body, c.after and c.after.body) for c in self.changes]
        self.changes.clear()
        return told

    async def close(self) -> None:
        await self.fetcher.close()
        await self.client.close()
        self.store.close()


def credentials(servers: tuple[Xcapd, ...]) -> Credentials | None:
    known = [pair for server in servers for pair in server.credentials.items()]
    return Credentials(*known[0]) if known else None


Play = Callable[[Desk, Xcapd], Awaitable[None]]


@asynccontextmanager
async def serving(count: int) -> AsyncIterator[list[Xcapd]]:
    servers = [Xcapd() for _ in range(count)]
    for server in servers:
        await server.start()
    try:
        yield servers
    finally:
        for server in servers:
            server.slow.set()
            await server.stop()


def play(path: Path, act: Play, **settings: int) -> None:
    async def run() -> None:
        async with serving(1) as (server,):
            desk = Desk(path, server, **settings)
            try:
                await act(desk, server)
            finally:
                await desk.close()

    asyncio.run(run())


# A document and its life


def test_a_document_is_fetched_when_it_is_needed_first(tmp_path: Path) -> None:
    async def act(desk: Desk, server: Xcapd) -> None:
        server.put("alice@example.com", ALLOW)
        assert desk.body() is None  # decided from what is known: nobody waits
        await desk.settle()
        assert desk.body() == ALLOW.encode()
        assert desk.told() == [(None, ALLOW.encode())]
        stored = desk.documents.get(INDEX)
        assert stored is not None
        assert stored.source == 1
        assert (stored.doc_uri, stored.port) == (path_of("alice@example.com"), server.port)
        assert stored.content_type == "application/auth-policy+xml"
        assert server.asked == [(path_of("alice@example.com"), "")]

    play(tmp_path, act)


def test_what_is_not_there_is_not_asked_for_again_for_a_period(tmp_path: Path) -> None:
    async def act(desk: Desk, server: Xcapd) -> None:
        for _ in range(50):
            assert desk.body() is None
            await desk.settle()
        assert len(server.asked) == 1
        server.put("alice@example.com", ALLOW)
        desk.now += PERIOD_S
        assert desk.body() is None
        await desk.settle()
        assert desk.body() == ALLOW.encode()
        assert desk.tally.fetches["absent"] == 1

    play(tmp_path, act)


def test_documents_of_the_watched_are_asked_for_again_each_period(tmp_path: Path) -> None:
    async def act(desk: Desk, server: Xcapd) -> None:
        for user in ("alice@example.com", "bob@example.com"):
            server.put(user, ALLOW)
        for owner in (ALICE, BOB):
            desk.documents.of(owner, RULES)
        desk.documents.of(ALICE, "resource-lists")
        await desk.settle()
        server.asked.clear()
        await desk.pass_time(PERIOD_S)
        etag = server.documents[path_of("alice@example.com")][1]
        lists = path_of("alice@example.com", "resource-lists")
        assert sorted(server.asked) == [(path_of("alice@example.com"), f'"{etag}"'), (lists, "")]
        assert desk.tally.fetches["unchanged"] == 1
        desk.told()
        server.put("alice@example.com", BLOCK)
        await desk.pass_time(PERIOD_S / 2)
        assert desk.told() == []
        await desk.pass_time(PERIOD_S / 2)
        assert desk.told() == [(ALLOW.encode(), BLOCK.encode())]
        server.documents.clear()
        await desk.pass_time(PERIOD_S)
        assert desk.told() == [(BLOCK.encode(), None)]
        assert desk.body() is None
        # Who is not there and watched appears in time too.
        server.put("alice@example.com", ALLOW)
        await desk.pass_time(PERIOD_S)
        assert desk.told() == [(None, ALLOW.encode())]

    play(tmp_path, act)


def test_what_nobody_watches_is_asked_for_again_when_it_is_needed(tmp_path: Path) -> None:
    """Who fetches, or is blocked, has no subscription: rules must not stay as they were for ever."""

    async def act(desk: Desk, server: Xcapd) -> None:
        desk.watched.clear()
        server.put("alice@example.com", ALLOW)
        desk.body()
        await desk.settle()
        assert desk.body() == ALLOW.encode()
        server.put("alice@example.com", BLOCK)
        await desk.pass_time(PERIOD_S / 2)
        assert desk.body() == ALLOW.encode()
        await desk.settle()
        assert len(server.asked) == 1  # it is believed for the period
        await desk.pass_time(PERIOD_S)
        assert len(server.asked) == 1  # nobody needs it
        assert desk.body() == ALLOW.encode()  # nobody waits
        await desk.settle()
        assert desk.body() == BLOCK.encode()
        server.documents.clear()
        await desk.pass_time(PERIOD_S)
        desk.body()
        await desk.settle()
        assert desk.body() is None

    play(tmp_path, act)


def test_what_is_there_is_not_asked_for_again_without_periodical_query(tmp_path: Path) -> None:
    async def act(desk: Desk, server: Xcapd) -> None:
        server.put("alice@example.com", ALLOW)
        desk.body()
        await desk.settle()
        desk.fetcher._course = desk.fetcher._course._replace(periodical=False)
        await desk.pass_time(2 * PERIOD_S)
        desk.body()
        await desk.settle()
        assert len(server.asked) == 1

    play(tmp_path, act)


def test_an_operator_has_a_document_fetched_at_once(tmp_path: Path) -> None:
    async def act(desk: Desk, server: Xcapd) -> None:
        server.put("alice@example.com", ALLOW)
        desk.body()
        await desk.settle()
        path = path_of("alice@example.com")
        for body, name in ((BLOCK, path), (ALLOW, f"http://127.0.0.1:{server.port}{path}")):
            server.put("alice@example.com", body)
            assert desk.fetcher.refresh(name, server.port)
            await desk.settle()
            assert desk.body() == body.encode()
        for wrong in (
            "",
            "/",
            path.replace("index", "other"),
            "/elsewhere/pres-rules/users/sip:alice@example.com/index",
            "/xcap-root/pres-rules/x",
        ):
            assert not desk.fetcher.refresh(wrong, server.port)
        assert not desk.fetcher.refresh(path, server.port + 1)
        assert not desk.fetcher.refresh(path.replace("pres-rules", "test-app"), server.port)

    play(tmp_path, act)


def test_a_hint_during_a_fetch_leads_to_another(tmp_path: Path) -> None:
    async def act(desk: Desk, server: Xcapd) -> None:
        server.put("alice@example.com", ALLOW)
        server.slow.clear()
        desk.body()
        while not server.at_once:
            await asyncio.sleep(0.001)
        desk.documents.look_again([INDEX])
        desk.documents.look_again(ALICE)
        server.slow.set()
        await desk.settle()
        assert [path for path, _ in server.asked].count(path_of("alice@example.com")) == 2

    play(tmp_path, act)


def test_hints_are_heeded_once_in_a_second_and_for_those_that_matter(tmp_path: Path) -> None:
    async def act(desk: Desk, server: Xcapd) -> None:
        server.put("alice@example.com", ALLOW)
        for _ in range(20):
            desk.documents.look_again([INDEX, Key(RULES, BOB, "index"), Key(RULES, None, "index")])
            await desk.settle()
        assert [path for path, _ in server.asked] == [path_of("alice@example.com")]
        server.put("alice@example.com", BLOCK)
        await desk.pass_time(1)
        assert len(server.asked) == 2
        assert desk.told() == [(None, ALLOW.encode()), (ALLOW.encode(), BLOCK.encode())]

    play(tmp_path, act)


def test_the_row_is_as_opensips_has_it_and_outlives_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(1) as (server,):
            server.put("alice@example.com", ALLOW)
            desk = Desk(tmp_path, server)
            desk.body()
            await desk.settle()
            await desk.close()
            await server.stop()
            desk = Desk(tmp_path, server)
            assert desk.body() == ALLOW.encode()
            desk.fetcher.tick(desk.now)
            await desk.settle()
            assert desk.body() == ALLOW.encode()
            assert desk.tally.fetches["unreachable"] == 1
            server.put("alice@example.com", BLOCK)
            await server.start()
            await desk.pass_time(BACK_OFF_MAX_S)
            assert desk.told() == [(ALLOW.encode(), BLOCK.encode())]
            await desk.close()

    asyncio.run(run())


# Servers that fail


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_server_that_cannot_is_left_alone_for_longer_and_longer(tmp_path: Path, status: int) -> None:
    async def act(desk: Desk, server: Xcapd) -> None:
        server.put("alice@example.com", ALLOW)
        desk.body()
        await desk.settle()
        server.answers[path_of("alice@example.com")] = Response("busy", status)
        server.asked.clear()
        for _ in range(300):
            desk.fetcher.refresh(path_of("alice@example.com"), 0)
            await desk.pass_time(1)
        # At once, then after 1, 2, 4, … 60 seconds.
        assert 6 <= len(server.asked) <= 14
        assert desk.body() == ALLOW.encode()
        assert desk.tally.gauges["xcap_server_up"]() == {(server.url,): 0.0}
        assert desk.fetcher.oldest_s() >= 300
        server.answers.clear()
        await desk.pass_time(BACK_OFF_MAX_S)
        await desk.pass_time(BACK_OFF_MAX_S)
        assert desk.tally.gauges["xcap_server_up"]() == {(server.url,): 1.0}
        assert desk.fetcher.oldest_s() < 100

    play(tmp_path, act)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Response("<html><body/></html>", media_type="text/html"), Outcome.REFUSED),
        (Response("no xml at all"), Outcome.REFUSED),
        (Response("<ruleset>"), Outcome.REFUSED),
        (Response("<!DOCTYPE a [<!ENTITY b 'c'>]><ruleset>&b;</ruleset>"), Outcome.REFUSED),
        (Response(f"<a>{'x' * BODY_BYTES}</a>"), Outcome.REFUSED),
        (Response(gzip.compress(b"<a/>"), headers={"content-encoding": "gzip"}), Outcome.REFUSED),
        (RedirectResponse("http://127.0.0.1:9/elsewhere"), Outcome.REFUSED),
        (Response(status_code=204), Outcome.REFUSED),
        (Response("<a/>", 206), Outcome.REFUSED),
        (Response(status_code=401), Outcome.DENIED),
        (Response(status_code=401, headers={"www-authenticate": "Digest nonsense"}), Outcome.DENIED),
        (Response(status_code=403), Outcome.DENIED),
        (Response(status_code=304), Outcome.UNCHANGED),
    ],
    ids=range(13),
)
def test_what_is_known_stays_when_the_answer_is_no_document(tmp_path: Path, answer: Response, outcome: Outcome) -> None:
    async def act(desk: Desk, server: Xcapd) -> None:
        server.put("alice@example.com", ALLOW)
        desk.body()
        await desk.settle()
        server.answers[path_of("alice@example.com")] = answer
        await desk.pass_time(PERIOD_S)
        assert desk.tally.fetches[outcome.value] == 1
        assert desk.body() == ALLOW.encode()
        server.answers.clear()
        server.put("alice@example.com", BLOCK)
        await desk.pass_time(PERIOD_S)
        assert desk.body() == BLOCK.encode()

    play(tmp_path, act)


def test_a_304_for_what_nobody_has_is_no_answer(tmp_path: Path) -> None:
    async def act(desk: Desk, server: Xcapd) -> None:
        server.answers[path_of("alice@example.com")] = Response(status_code=304)
        desk.body()
        await desk.settle()
        assert desk.body() is None
        server.answers.clear()
        server.put("alice@example.com", ALLOW)
        await desk.pass_time(2)
        assert desk.body() == ALLOW.encode()

    play(tmp_path, act)


def test_an_endless_answer_is_cut_off(tmp_path: Path) -> None:
    async def act(desk: Desk, server: Xcapd) -> None:
        server.credentials = {"presence": "secret"}
        for answer in (endless(b"x" * 1000), endless(b"<a>")):
            server.answers[path_of("alice@example.com")] = answer
            desk.documents.look_again(ALICE)
            await desk.settle()
        assert desk.body() is None

    play(tmp_path, act)


def test_a_slow_server_is_given_up_and_holds_nobody_else_up(tmp_path: Path) -> None:
    async def act(desk: Desk, server: Xcapd) -> None:
        server.slow.clear()
        desk.body()
        await desk.settle()
        assert desk.tally.fetches["unreachable"] == 1
        server.slow.set()
        server.put("alice@example.com", ALLOW)
        await desk.pass_time(2)
        assert desk.body() == ALLOW.encode()

    play(tmp_path, act, timeout_s=0.2)  # type: ignore[arg-type]


def test_a_peer_that_is_no_http_server_is_unreachable(tmp_path: Path) -> None:
    async def run() -> None:
        async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example.com ESMTP\r\n")
            writer.close()

        other = await asyncio.start_server(answer, "127.0.0.1", 0)
        root = f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}"
        client = XcapClient(Bounds(20, 1000, 1), None, trust("", verify=True))
        answered = await client.get(place_of(root, RULES, ALICE, "index"))
        assert answered.outcome is Outcome.UNREACHABLE
        await client.close()
        other.close()
        await other.wait_closed()

    asyncio.run(run())


def test_a_server_is_killed_and_comes_back(tmp_path: Path) -> None:
    """Acceptance 3: rules stay in force meanwhile, and those made meanwhile come by themselves."""

    async def act(desk: Desk, server: Xcapd) -> None:
        server.put("alice@example.com", ALLOW)
        desk.body()
        await desk.settle()
        await server.stop()
        for _ in range(3):
            await desk.pass_time(PERIOD_S)
            assert desk.body() == ALLOW.encode()
        assert desk.documents.of(BOB, RULES) == []
        await desk.settle()
        desk.watched.add(BOB)
        server.put("alice@example.com", BLOCK)
        server.put("bob@example.com", ALLOW)
        await server.start()
        desk.told()
        await desk.pass_time(BACK_OFF_MAX_S)
        await desk.pass_time(BACK_OFF_MAX_S)
        assert desk.body() == BLOCK.encode()
        assert desk.body(INDEX._replace(owner=BOB)) == ALLOW.encode()
        assert sorted(after or b"" for _, after in desk.told()) == [ALLOW.encode(), BLOCK.encode()]

    play(tmp_path, act)


# Several servers


def test_servers_are_asked_in_turn_until_one_has_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(2) as (first, second):
            desk = Desk(tmp_path, first, second)
            second.put("alice@example.com", ALLOW)
            desk.body()
            await desk.settle()
            assert desk.body() == ALLOW.encode()
            assert (len(first.asked), len(second.asked)) == (1, 1)
            # The second's tag is nothing to ask the first with.
            await desk.pass_time(PERIOD_S)
            assert [given for _, given in first.asked] == ["", ""]
            assert second.asked[1][1] != ""
            first.put("alice@example.com", BLOCK)
            await desk.pass_time(PERIOD_S)
            assert desk.body() == BLOCK.encode()
            assert len(desk.documents.of(ALICE, RULES)) == 1
            assert len(list(desk.store.read("xcap_fetched_after", (0, 10)))) == 1
            # The first is gone, the second says no: nobody knows.
            await first.stop()
            second.documents.clear()
            await desk.pass_time(PERIOD_S)
            assert desk.body() == BLOCK.encode()
            await desk.close()

    asyncio.run(run())


# Who we are


@pytest.mark.parametrize("scheme", ["digest", "basic"])
@pytest.mark.parametrize("right", [True, False])
def test_credentials_are_given_as_the_server_asks(tmp_path: Path, scheme: str, *, right: bool) -> None:
    async def run() -> None:
        async with serving(1) as (server,):
            server.credentials, server.scheme = {"presence": "secret"}, scheme
            server.put("alice@example.com", ALLOW)
            server.put("bob@example.com", ALLOW)
            desk = Desk(tmp_path, server)
            server.credentials = {"presence": "secret" if right else "other"}
            desk.body()
            await desk.settle()
            assert desk.body() == (ALLOW.encode() if right else None)
            assert desk.tally.fetches["denied"] == (not right)
            assert len(server.asked) == 2
            await desk.close()

    asyncio.run(run())


def test_basic_is_never_sent_in_clear_beyond_this_machine() -> None:
    import httpx

    for url, sent in (("https://xcap.example.com/", 1), ("http://[::1]/", 1), ("http://xcap.example.com/", 0)):
        request = httpx.Request("GET", url)
        flow = Credentials("presence", "secret").prove(request)
        next(flow)
        again = 0
        try:
            flow.send(httpx.Response(401, headers={"www-authenticate": "Basic realm=x"}, request=request))
            again = 1
        except StopIteration:
            pass
        assert again == sent, url


@pytest.mark.parametrize("known", [True, False])
def test_a_server_over_tls_is_believed_when_its_authority_is(tmp_path: Path, *, known: bool) -> None:
    async def run() -> None:
        authority, stranger = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
        certificate = str((authority if known else stranger).issue("server.pem", address="127.0.0.1"))
        app = Starlette(routes=[Route("/{path:path}", lambda _request: Response("<ruleset/>"))])
        server = HttpServer("127.0.0.1", 0, app, certificate=certificate)
        await server.start()
        place = place_of(f"https://127.0.0.1:{server.port}", RULES, ALICE, "index")
        for context, believed in ((trust(str(authority.path), verify=True), known), (trust("", verify=False), True)):
            client = XcapClient(Bounds(20, 1000, 1), None, context)
            answer = await client.get(place)
            assert answer.outcome is (Outcome.FOUND if believed else Outcome.UNREACHABLE)
            await client.close()
        await server.stop()

    asyncio.run(run())


def test_an_authority_that_cannot_be_read_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for name in ("none.pem", "empty.pem"):
        with pytest.raises(ConfigError, match=r"xcap_client\.ca_file"):
            trust(str(tmp_path / name), verify=True)


# Bounds


def test_many_are_fetched_some_at_once_and_the_rest_is_left_out(tmp_path: Path) -> None:
    async def act(desk: Desk, server: Xcapd) -> None:
        server.slow.clear()
        owners = [Aor(f"user{number}", "example.com") for number in range(40)]
        for owner in owners:
            desk.documents.of(owner, RULES)
        assert desk.tally.gauges["xcap_fetches_waiting"]() == {(): 24.0}
        assert desk.tally.fetches["left out"] == 16
        while server.at_once < 4:
            await asyncio.sleep(0.001)
        server.slow.set()
        await desk.settle()
        assert server.most_at_once == 4
        assert len(server.asked) == 24
        # Those who were left out and are watched have their turn.
        desk.watched.update(owners)
        await desk.pass_time(1)
        assert len(server.asked) == 40

    play(tmp_path, act, waiting=20)


def test_only_some_applications_are_fetched(tmp_path: Path) -> None:
    async def act(desk: Desk, server: Xcapd) -> None:
        for auid in ("test-app", "rls-services", "xcap-caps"):
            desk.documents.of(ALICE, auid)
        desk.documents.of(None, RULES)
        await desk.settle()
        assert server.asked == []

    play(tmp_path, act)


def test_where_a_document_is() -> None:
    place = place_of("http://xcap.example.com/xcap-root", RULES, Aor("a/b c", "example.com"), "index")
    assert place.url == "http://xcap.example.com/xcap-root/pres-rules/users/sip:a%2Fb%20c@example.com/index"
    assert place.port == 80
    assert place_of("https://[::1]:8443", RULES, ALICE, "index").url == (
        "https://[::1]:8443/pres-rules/users/sip:alice@example.com/index"
    )
