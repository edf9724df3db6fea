"""The registrar: where a user may be reached, as far as a presence server without a proxy needs it.

RFC 3261 section 10.3 in its own order. Nothing is kept here: bindings are read from the store, and the
caller submits the writes and answers 200 when they are committed, 500 or 503 when they are refused.
"""

from dataclasses import dataclass
from itertools import islice
from typing import cast

from presence._fastcore import Message
from presence.errors import BadRequest, Forbidden, Headers, IntervalTooBrief, NotFound, OutOfOrder
from presence.sip.content import refuse_body
from presence.sip.headers import NameAddr, Params, Uri, canonical_user, parse_name_addr, parse_uri
from presence.store.base import Store, Value, Write
from presence.values import Aor

MALFORMED_EXPIRES_S = 3600  # RFC 3261 section 10.2.1.1
BRIEF_S = 3600  # only an interval below one hour may be refused (section 10.3, step 7)
MAX_CONTACT_LENGTH = 1024
_DECISIVE_PARAMETERS = ("user", "ttl", "method", "maddr", "transport")  # RFC 3261 section 19.1.4


@dataclass(frozen=True, slots=True)
class Binding:
    """One contact address of an address of record, and the REGISTER that bound it."""

    contact: str
    call_id: str
    cseq: int
    q: float | None
    expires_at: int


@dataclass(frozen=True, slots=True)
class Registration:
    """What a REGISTER comes to: the changes to commit, and the header fields of the 200 that follows."""

    aor: Aor
    writes: list[Write]
    headers: Headers


class Registrar:
    """Binds contact addresses to the addresses of record of its domains (all, when it has none)."""

    def __init__(
        self,
        store: Store,
        *,
        domains: frozenset[str] = frozenset(),
        default_expires_s: int = 3600,
        min_expires_s: int = 60,
        max_expires_s: int = 3600,
        max_bindings: int = 10,
    ) -> None:
        self._store, self._domains, self._max_bindings = store, domains, max_bindings
        self._default_expires_s = default_expires_s
        self._min_expires_s, self._max_expires_s = min_expires_s, max_expires_s

    def register(self, request: Message, now: float) -> Registration:
        """Decide about a REGISTER; who sent it is known and allowed by now (steps 3 and 4).

        Raises the `SipError` that answers it. Sees committed bindings only: the caller keeps the requests for one
        address of record in order.
        """
        refuse_body(request)
        aor = self.address_of_record(request)
        bindings = {binding.contact: binding for binding in self._current(aor, now)}
        contacts = list(islice(request.values("Contact"), self._max_bindings + 1))
        if len(contacts) > self._max_bindings:
            raise Forbidden("Too Many Contacts")
        if "*" in contacts:
            writes = self._remove_all(request, aor, bindings)
        else:
            writes = [write for contact in contacts for write in self._bind(request, aor, bindings, contact, int(now))]
        if len(bindings) > self._max_bindings:
            raise Forbidden("Too Many Contacts")
        return Registration(aor, writes, tuple(_contact_line(binding, now) for binding in bindings.values()))

    def address_of_record(self, request: Message) -> Aor:
        """Return whose bindings a REGISTER is about; raises NotFound when they are not kept here."""
        uri = parse_uri(parse_name_addr(request.header("To") or "").uri)
        if uri.scheme not in ("sip", "sips"):
            raise BadRequest("To Is Not a SIP URI")  # RFC 3261 section 10.2
        aor = uri.aor()
        served = {parse_uri(request.uri).host, aor.domain} if self._domains else set()
        if not aor.username or not served <= self._domains:
            raise NotFound  # steps 1 and 5: there is no proxy here to hand it on
        return aor

    def _current(self, aor: Aor, now: float) -> list[Binding]:
        rows = cast(
            "list[tuple[str, str, int, float | None, int, Value, Value, Value]]",
            list(self._store.read("bindings_get", (aor.username, aor.domain))),
        )
        return [Binding(*row[:5]) for row in rows if row[4] > now]

    def _remove_all(self, request: Message, aor: Aor, bindings: dict[str, Binding]) -> list[Write]:
        """Step 6: "*" stands alone and expires at once."""
        if request.values("Contact") != ["*"] or request.expires != 0:
            raise BadRequest("Contact * Needs Expires 0")
        for binding in bindings.values():
            _refuse_older(request, binding)
        writes = [_delete(aor, contact) for contact in bindings]
        bindings.clear()
        return writes

    def _bind(self, request: Message, aor: Aor, bindings: dict[str, Binding], contact: str, now_s: int) -> list[Write]:
        """Step 7 for one contact address: keep `bindings` as they will be and return how to get there."""
        address = parse_name_addr(contact)
        if len(address.uri) > MAX_CONTACT_LENGTH:
            raise BadRequest("Contact Too Long")
        parse_uri(address.uri)  # raises when it is malformed
        interval_s = self._interval(request, address)
        known = next((found for found in bindings.values() if _same_address(found.contact, address.uri)), None)
        if known is not None:
            _refuse_older(request, known)
            del bindings[known.contact]
        if interval_s == 0:
            return [_delete(aor, known.contact)] if known is not None else []
        binding = Binding(address.uri, request.call_id, request.cseq, _quality(address), now_s + interval_s)
        bindings[binding.contact] = binding
        respelled = known is not None and known.contact != binding.contact
        return [
            *([_delete(aor, known.contact)] if known is not None and respelled else []),
            _put(aor, binding, request),
        ]

    def _interval(self, request: Message, address: NameAddr) -> int:
        """Return the interval granted, 0 to remove the binding."""
        text = address.params.get("expires")
        if text is not None:
            well_formed = text.isascii() and text.isdigit() and len(text) <= 10
            requested_s = int(text) if well_formed else MALFORMED_EXPIRES_S
        else:
            requested_s = self._default_expires_s if request.expires is None else request.expires
        if 0 < requested_s < min(self._min_expires_s, BRIEF_S):
            raise IntervalTooBrief(headers=(("Min-Expires", str(self._min_expires_s)),))
        return min(requested_s, self._max_expires_s)


def _refuse_older(request: Message, binding: Binding) -> None:
    """Abort what is no newer than the binding (section 10.3, steps 6 and 7); transactions absorb retransmissions."""
    if binding.call_id == request.call_id and request.cseq <= binding.cseq:
        raise OutOfOrder


def _put(aor: Aor, binding: Binding, request: Message) -> Write:
    host, port = request.source
    literal = f"[{host}]" if ":" in host else host
    return (
        "bindings_put",
        (
            aor.username,
            aor.domain,
            binding.contact,
            binding.call_id,
            binding.cseq,
            binding.q,
            binding.expires_at,
            None,  # path: RFC 3327 is for registrars behind a proxy
            (request.header("User-Agent") or "")[:255] or None,
            f"sip:{literal}:{port}" if host else None,
        ),
    )


def _delete(aor: Aor, contact: str) -> Write:
    return ("bindings_delete", (aor.username, aor.domain, contact))


def _contact_line(binding: Binding, now: float) -> tuple[str, str]:
    q = "" if binding.q is None else f";q={binding.q:.3g}"
    return "Contact", f"<{binding.contact}>;expires={binding.expires_at - int(now)}{q}"


def _quality(address: NameAddr) -> float | None:
    """Return the q value (RFC 3261 section 25.1: 0 to 1); one that is malformed is as if absent."""
    try:
        q = float(address.params.get("q") or "")
    except ValueError:
        return None
    return q if 0 <= q <= 1 else None


def _same_address(one: str, other: str) -> bool:
    """Compare contact addresses (RFC 3261 section 19.1.4)."""
    if one == other:
        return True
    a, b = parse_uri(one), parse_uri(other)
    return _identity(a) == _identity(b) and _agree(a.params, b.params)


def _identity(uri: Uri) -> tuple[object, ...]:
    return uri.scheme, canonical_user(uri.user), uri.host, uri.port, uri.headers


def _agree(one: Params, other: Params) -> bool:
    for name in one.keys() | other.keys():
        decisive = name in _DECISIVE_PARAMETERS or (name in one and name in other)
        if decisive and one.get(name, "").lower() != other.get(name, "").lower():
            return False
    return True
