"""The users of table `subscriber`, kept as they were read until the table changes."""

from collections.abc import Callable

from presence.errors import StoreError
from presence.sip.digest import Account
from presence.store.base import Store, Value
from presence.values import Aor

ACCOUNTS_KEPT = 65_536
LOOK_EVERY_S = 0.5
"""How long a change of the table may go unseen."""


class Subscribers:
    """Finds accounts, for SIP and HTTP together.

    Triggers count the changes of the table, so that an operator's own SQL is seen as `presence user` is.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, str], Account] = {}
        self._changes: Value = None
        self._look_at = 0.0
        self.changed: list[Callable[[], None]] = []
        """Called when accounts found before may be wrong."""

    def find(self, username: str, domain: str) -> Account | None:
        """Return an account, None for nobody; raises StoreError."""
        account = self._known.get((username, domain))
        if account is None:
            account = self._read(username, domain)
            if account is not None:
                if len(self._known) >= ACCOUNTS_KEPT:
                    self._known.clear()
                self._known[username, domain] = account
        return account

    def _read(self, username: str, domain: str) -> Account | None:
        for row in self._store.read("subscriber_get", (username, domain)):
            # What other tools wrote may be in capitals.
            md5, md5_b, sha256, sha512 = (str(value or "").strip().lower() for value in row)
            hashes = {"MD5": md5, "SHA-256": sha256, "SHA-512-256": sha512}
            return Account(Aor(username, domain), hashes, md5_b)
        return None

    def refresh(self, now: float) -> None:
        """Look whether the table has changed, now and then."""
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY_S
        try:
            rows = list(self._store.read("subscriber_changes"))
            changes = rows[0][0] if rows else None
        except StoreError:
            # Nobody is let in by what can no longer be read.
            changes = None
        if changes is None or changes != self._changes:
            self._changes = changes
            self._known.clear()
            for forget in self.changed:
                forget()
