"""Questions to the domain name system (RFC 1035), asked with dnspython, and the file of hosts before them."""

import asyncio
import ipaddress
import os
from collections.abc import Callable, Sequence
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.resolver

from presence.sip.location import Naptr, Question, Records, Srv, plain_host
from presence.sip.resolution import Resolver

MOST_RECORDS = 16
"""Of one answer: a larger one is somebody's joke."""

ANSWER_BYTES = 4096
"""Longest answer that is read: reading 64 KiB of records would keep everybody waiting for a tenth of a second."""

PAYLOAD_BYTES = 1232
"""Longest answer taken in a datagram, what passes everywhere in one piece; longer ones come over TCP."""

_HOSTS_BYTES = 4 * 1024 * 1024


class NameClient:
    """Asks the name servers, and tells the resolver what they say."""

    def __init__(
        self,
        now: Callable[[], float],
        *,
        servers: Sequence[tuple[str, int]] = (),
        timeout_s: float = 2.0,
        most: int = 64,
        kept: int = 10_000,
        hosts_file: str = "",
    ) -> None:
        self.resolver = Resolver(self.ask, now, most=most, kept=kept)
        self.answered: Callable[[], None] = lambda: None
        """Called when an answer has come and what waited for it has gone on."""
        self._hosts = HostsFile(hosts_file)
        self._timeout_s = timeout_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._stub = _open_stub(servers, timeout_s)

    def ask(self, question: Question) -> None:
        """Send a question on its way."""
        task = asyncio.get_running_loop().create_task(self._ask(question))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, question: Question) -> None:
        records: Records
        records, ttl_s = self._hosts.find(question), 0.0
        if records is None:
            try:
                records, ttl_s = await self._look_up(question)
            except asyncio.CancelledError:
                raise
            except Exception:
                # Timeouts, refusals, no network, and whatever a hostile answer makes of its reader.
                records = None
        self.resolver.answer(question, records, ttl_s)
        self.answered()

    async def _look_up(self, question: Question) -> tuple[Records, float]:
        if self._stub is None:
            return None, 0.0
        name = dns.name.from_text(question.name)
        try:
            async with asyncio.timeout(self._timeout_s + 0.5):
                answer = await self._stub.resolve(
                    name, question.kind, search=False, raise_on_no_answer=False, lifetime=self._timeout_s
                )
        except (dns.resolver.NXDOMAIN, dns.resolver.YXDOMAIN):
            return (), 0.0
        if answer.rrset is None:
            return (), 0.0
        records = [_read(question, record) for record in list(answer.rrset)[:MOST_RECORDS]]
        return records, float(answer.chaining_result.minimum_ttl)

    def close(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()


class _Server(dns.nameserver.Do53Nameserver):
    """A name server whose answers over TCP have a bound."""

    async def async_query(
        self,
        request: dns.message.QueryMessage,
        timeout: float,
        source: str | None,
        source_port: int,
        max_size: bool,
        backend: Any,
        one_rr_per_rrset: bool = False,
        ignore_trailing: bool = False,
    ) -> dns.message.Message:
        if not max_size:
            return await super().async_query(
                request, timeout, source, source_port, max_size, backend, one_rr_per_rrset, ignore_trailing
            )
        async with asyncio.timeout(timeout):
            data = await self._exchange(request.to_wire())
        response = dns.message.from_wire(data, one_rr_per_rrset=one_rr_per_rrset, ignore_trailing=ignore_trailing)
        if not request.is_response(response):
            raise dns.exception.FormError("the answer to another question")  # type: ignore[no-untyped-call]
        return response

    async def _exchange(self, query: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self.address, self.port)
        try:
            writer.write(len(query).to_bytes(2, "big") + query)
            size = int.from_bytes(await reader.readexactly(2), "big")
            if size > ANSWER_BYTES:
                raise dns.exception.FormError(f"an answer of {size} bytes")  # type: ignore[no-untyped-call]
            return await reader.readexactly(size)
        finally:
            writer.close()


def _open_stub(servers: Sequence[tuple[str, int]], timeout_s: float) -> dns.asyncresolver.Resolver | None:
    try:
        stub = dns.asyncresolver.Resolver(configure=not servers)
    except dns.exception.DNSException:
        # No resolv.conf: only the file of hosts is asked.
        return None
    known = servers or [(host, stub.port) for host in stub.nameservers if isinstance(host, str)]
    stub.nameservers = [_Server(host, port) for host, port in known]
    # A server that does not answer is asked again, and so is the next.
    stub.timeout = max(0.01, min(timeout_s / 2, 1.0))
    stub.use_edns(0, 0, PAYLOAD_BYTES)
    stub.cache = None
    return stub


def _read(question: Question, record: Any) -> Naptr | Srv | str:
    if question.kind == "NAPTR":
        flags, service = (text.decode("ascii", "replace") for text in (record.flags, record.service))
        return Naptr(record.order, record.preference, flags, service, str(record.replacement))
    if question.kind == "SRV":
        return Srv(record.priority, record.weight, record.port, str(record.target))
    return plain_host(str(ipaddress.ip_address(record.address)))


class HostsFile:
    """The addresses of `/etc/hosts`, read again when the file is another."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stamp: tuple[int, int] = (0, 0)
        self._names: dict[str, list[str]] = {}

    def find(self, question: Question) -> Records:
        """Return the records of a name in the file; None when the name is not there.

        A name that is has no others: who writes it there wants no server asked.
        """
        self._refresh()
        name = question.name.lower().rstrip(".")
        if question.kind == "SRV":
            name = name.split(".", 2)[-1]
        addresses = self._names.get(name)
        if addresses is None:
            return None
        if question.kind not in ("A", "AAAA"):
            return ()
        return [text for text in addresses if (":" in text) == (question.kind == "AAAA")]

    def _refresh(self) -> None:
        if not self._path:
            return
        try:
            status = os.stat(self._path)
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp == self._stamp:
                return
            with open(self._path, encoding="utf-8", errors="replace") as file:
                self._names = read_hosts(file.read(_HOSTS_BYTES))
            self._stamp = stamp
        except OSError:
            self._names, self._stamp = {}, (0, 0)


def read_hosts(text: str) -> dict[str, list[str]]:
    """Return the addresses by name of a file like `/etc/hosts`; lines that are none are passed over."""
    names: dict[str, list[str]] = {}
    for line in text.splitlines():
        address, *aliases = line.partition("#")[0].split() or [""]
        try:
            host = str(ipaddress.ip_address(address))
        except ValueError:
            continue
        for alias in aliases:
            known = names.setdefault(alias.lower().rstrip("."), [])
            if host not in known and len(known) < MOST_RECORDS:
                known.append(host)
    return names
