"""Health, readiness and metrics, asked over a socket on loopback."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_network

import httpx
import pytest
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from presence.errors import ConfigError
from presence.http.app import CONNECTIONS_MAX, HEADER_BYTES_MAX, HttpServer, build_app
from presence.tally import Tally

Ask = Callable[[httpx.AsyncClient], Awaitable[None]]


def serve(ask: Ask, tally: Tally | None = None, ready: Callable[[], bool] = lambda: True, *more: Collector) -> None:
    """Start a server on a free port, let `ask` talk to it, stop it."""

    async def run() -> None:
        server = HttpServer("127.0.0.1", 0, build_app(tally or Tally(), ready, *more))
        await server.start()
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
                await ask(client)
        finally:
            await server.stop()

    asyncio.run(run())


async def scrape(client: httpx.AsyncClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    response = await client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_healthz_is_ok_while_the_loop_runs():
    async def ask(client):
        response = await client.get("/healthz")
        assert (response.status_code, response.text) == (200, "ok\n")
        assert (await client.head("/healthz")).status_code == 200

    serve(ask, ready=lambda: False)


def test_readyz_follows_the_server():
    state = {"ready": False}

    async def ask(client):
        assert (await client.get("/readyz")).status_code == 503
        state["ready"] = True
        assert (await client.get("/readyz")).status_code == 200

    serve(ask, ready=lambda: state["ready"])


def test_unknown_paths_are_404_and_other_methods_405():
    async def ask(client):
        assert (await client.get("/")).status_code == 404
        assert (await client.get("/metrics/../etc/passwd")).status_code == 404
        assert (await client.post("/metrics")).status_code == 405

    serve(ask)


def test_metrics_show_the_tally():
    tally = Tally()
    tally.count_request("PUBLISH")
    tally.count_request("X" * 100)
    tally.count_response("PUBLISH", 200)
    tally.count_response("PUBLISH", 412)
    tally.drops["rate"] += 3
    tally.publish_to_notify.observe(0.0002)
    tally.publish_to_notify.observe(100)
    tally.gauges["publications"] = lambda: {("presence",): 2}
    tally.gauges["subscriptions"] = lambda: {("presence", "active"): 7, ("presence", "pending"): 1}
    tally.refreshers.append(lambda: tally.notifies.update(sent=5))

    async def ask(client):
        shown = await scrape(client)

        def value(name, **labels):
            return shown[name, frozenset(labels.items())]

        assert value("presence_requests_total", method="PUBLISH") == 1
        assert value("presence_requests_total", method="other") == 1
        assert value("presence_responses_total", method="PUBLISH", code="200") == 1
        assert value("presence_responses_total", method="PUBLISH", code="412") == 1
        assert value("presence_notifies_total", result="sent") == 5
        assert value("presence_notifies_total", result="coalesced") == 0
        assert value("presence_drops_total", reason="rate") == 3
        assert value("presence_publications", package="presence") == 2
        assert value("presence_subscriptions", package="presence", status="active") == 7
        assert value("presence_publish_to_notify_seconds_bucket", le="0.0001") == 0
        assert value("presence_publish_to_notify_seconds_bucket", le="0.00025") == 1
        assert value("presence_publish_to_notify_seconds_bucket", le="60.0") == 1
        assert value("presence_publish_to_notify_seconds_bucket", le="+Inf") == 2
        assert value("presence_publish_to_notify_seconds_count") == 2
        assert value("presence_publish_to_notify_seconds_sum") == pytest.approx(100.0002)
        assert value("presence_commit_seconds_count") == 0
        assert value("process_resident_memory_bytes") > 0

    serve(ask, tally)


def test_metrics_speak_openmetrics_to_those_who_ask():
    async def ask(client):
        response = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
        assert response.headers["content-type"].startswith("application/openmetrics-text")
        assert response.text.endswith("# EOF\n")

    serve(ask)


def test_metrics_show_what_else_is_given():
    class Weather(Collector):
        def collect(self):
            yield CounterMetricFamily("weather", "Changes of the weather.", value=4)

    async def ask(client):
        assert (await scrape(client))["weather_total", frozenset()] == 4

    serve(ask, None, lambda: True, Weather())


def test_signals_stay_with_the_process():
    before = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)}

    async def ask(_client):
        during = signal.getsignal(signal.SIGTERM)
        assert during is before[signal.SIGTERM]

    serve(ask)
    assert {which: signal.getsignal(which) for which in before} == before


def test_stopping_closes_connections_and_gives_the_port_back():
    async def run():
        first = HttpServer("127.0.0.1", 0, build_app(Tally(), lambda: True))
        await first.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", first.port)
        await first.stop()
        assert await reader.read() == b""
        writer.close()
        second = HttpServer("127.0.0.1", first.port, build_app(Tally(), lambda: True))
        await second.start()
        await second.stop()
        await second.stop()

    asyncio.run(run())


def test_a_port_that_is_taken_is_told_by_the_name_of_the_setting():
    async def run(port):
        await HttpServer("127.0.0.1", port, build_app(Tally(), lambda: True)).start()

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"http\.listen: cannot listen on 127\.0\.0\.1 port {port}: Address"):
            asyncio.run(run(port))


def test_it_listens_on_ipv6_loopback():
    async def run():
        server = HttpServer("::1", 0, build_app(Tally(), lambda: True))
        await server.start()
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"http://[::1]:{server.port}/healthz")).status_code == 200
        await server.stop()

    asyncio.run(run())


def test_an_endless_header_is_cut_off():
    async def ask(client):
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: example.com\r\nX: " + b"x" * 2 * HEADER_BYTES_MAX)
        await writer.drain()
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
        writer.close()

    serve(ask)


def test_too_many_connections_are_told_so():
    async def ask(client):
        idle = [await asyncio.open_connection("127.0.0.1", client.base_url.port) for _ in range(CONNECTIONS_MAX)]
        assert (await client.get("/healthz")).status_code == 503
        for _, writer in idle:
            writer.close()

    serve(ask)


@pytest.mark.parametrize(
    ("client", "allow", "status"),
    [
        ("127.0.0.1", (), 200),
        ("::1", (), 200),
        ("::ffff:127.0.0.1", (), 200),
        ("192.0.2.1", (), 403),
        ("192.0.2.1", (ip_network("192.0.2.0/24"),), 200),
        ("198.51.100.1", (ip_network("192.0.2.0/24"),), 403),
        ("", (), 403),
        ("192.0.2.1", None, 200),
    ],
)
def test_metrics_are_for_this_machine_and_networks_that_are_allowed(client, allow, status):
    async def run() -> None:
        transport = httpx.ASGITransport(app=build_app(Tally(), lambda: True, metrics_for=allow), client=(client, 40000))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as asking:
            assert (await asking.get("/metrics")).status_code == status
            assert (await asking.get("/healthz")).status_code == 200

    asyncio.run(run())
