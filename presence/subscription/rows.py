"""Subscriptions as rows of `active_watchers`, and back."""

from collections.abc import Iterator
from typing import NamedTuple

from presence._fastcore import CSEQ_STRIDE
from presence.sip.headers import parse_uri, split_values
from presence.store.base import Value, Write, as_received
from presence.subscription.dialog import Dialog, Target
from presence.values import Aor, SubscriptionStatus


class StoredSubscription(NamedTuple):
    """A row read at start; behind the id the columns in the order of `active_watchers_insert`."""

    id: int
    presentity_uri: str
    watcher_username: str
    watcher_domain: str
    to_user: str
    to_domain: str
    event: str
    event_id: str
    to_tag: str
    from_tag: str
    callid: str
    local_cseq: int
    remote_cseq: int
    contact: str
    record_route: str | None
    expires: int
    status: int
    reason: str | None
    version: int
    socket_info: str
    local_contact: str
    from_hdr: str | None
    to_hdr: str | None
    subscribed_at: int | None
    target: str | None
    boot: int | None

    @property
    def presentity(self) -> Aor:
        """Whose state is watched."""
        return parse_uri(self.presentity_uri).aor()

    def dialog(self) -> Dialog:
        """The dialog; a row that OpenSIPS wrote has lost display names and URI parameters."""
        return Dialog(
            call_id=self.callid,
            local=self.to_hdr or f"<{Aor(self.to_user, self.to_domain).uri}>",
            remote=self.from_hdr or f"<{Aor(self.watcher_username, self.watcher_domain).uri}>",
            remote_tag=self.from_tag,
            contact=self.contact,
            route=tuple(split_values(self.record_route or "")),
        )

    def reached_cseq(self, boot: int) -> int:
        """Return a CSeq that is above everything sent in this dialog so far.

        `local_cseq` is what was reserved when the row was written; each start since then may have used one more
        stride without writing it (so a start writes one number, not a row per subscription).
        """
        starts = boot - 1 if self.boot is None else boot - self.boot - 1
        return self.local_cseq + CSEQ_STRIDE * max(0, starts)


def read_rows(rows: Iterator[tuple[Value, ...]]) -> Iterator[StoredSubscription]:
    """Turn rows into values."""
    for row in rows:
        yield StoredSubscription(*map(as_received, row))  # type: ignore[arg-type]


class Key(NamedTuple):
    """What names a subscription's row: its id, in `shared_watchers` for all but the first of a dialog."""

    row_id: int
    shared: bool

    @property
    def table(self) -> str:
        """The table the row is in."""
        return "shared_watchers" if self.shared else "active_watchers"

    def delete(self) -> Write:
        """Remove the subscription."""
        return f"{self.table}_delete", (self.row_id,)

    def reserve(self, cseq_mark: int, boot: int) -> Write:
        """Reserve CSeq numbers up to `cseq_mark`."""
        return f"{self.table}_reserve", (self.row_id, cseq_mark, 0, boot)

    def judge(self, status: SubscriptionStatus, reason: str) -> Write:
        """Write what was decided about the subscription."""
        return f"{self.table}_judge", (self.row_id, int(status), reason)

    def refresh(
        self,
        *,
        expires_at: int,
        remote_cseq: int,
        cseq_mark: int,
        contact: str,
        status: SubscriptionStatus,
        reason: str,
        boot: int,
        target: Target,
    ) -> Write:
        """Extend the subscription."""
        values = (expires_at, remote_cseq, cseq_mark, contact, int(status), reason, 0, boot, str(target))
        return f"{self.table}_refresh", (self.row_id, *values)
