"""What makes the rules of a watched presentity say something else while its documents stay: time, lists, its sphere."""

from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from math import inf

from presence.errors import StoreError
from presence.policy.rulebook import Rulebook
from presence.subscription.notify import Resource
from presence.values import Aor

DependsOn = Callable[[str, Aor], Iterable[object]]
"""The documents on which the members of a list depend, which a document of a user refers to by an anchor."""

LOOK_AGAIN_S = 5.0
"""When the database could not be read."""


class Triggers:
    """Knows for each watched resource what its rules wait for."""

    def __init__(self, rulebook: Rulebook, depends_on: DependsOn) -> None:
        self._rulebook = rulebook
        self._depends_on = depends_on
        self._due: dict[Resource, float] = {}
        self._times: list[tuple[float, int, Resource]] = []
        self._order = 0
        self._lists: dict[Resource, frozenset[object]] = {}
        self._listed: dict[object, set[Resource]] = {}
        self._spheres: dict[Aor, set[Resource]] = {}

    def __len__(self) -> int:
        return len(self._due) + len(self._lists) + len(self._spheres)

    def set(self, resource: Resource, now: float) -> bool:
        """Wait for what a resource's rules depend on now; return whether there are rules."""
        self.clear(resource)
        presentity = resource.presentity
        try:
            rules = self._rulebook.rules(presentity, resource.package.name)
            if rules is None:
                return False
            lists = frozenset(key for anchor in rules.lists for key in self._depends_on(anchor, presentity))
        except StoreError:
            self._wait(resource, now + LOOK_AGAIN_S)
            return False
        at = rules.next_change(now)
        if at is not None:
            self._wait(resource, at)
        if lists:
            self._lists[resource] = lists
            for key in lists:
                self._listed.setdefault(key, set()).add(resource)
        if rules.uses_sphere:
            self._spheres.setdefault(presentity, set()).add(resource)
            self._rulebook.follow(presentity, follows=True)
        return True

    def clear(self, resource: Resource) -> None:
        """Wait for nothing any more."""
        self._due.pop(resource, None)
        for key in self._lists.pop(resource, ()):
            self._listed[key].discard(resource)
            if not self._listed[key]:
                del self._listed[key]
        watched = self._spheres.get(resource.presentity)
        if watched is not None:
            watched.discard(resource)
            if not watched:
                del self._spheres[resource.presentity]
                self._rulebook.follow(resource.presentity, follows=False)

    def _wait(self, resource: Resource, at: float) -> None:
        self._due[resource] = at
        self._order += 1
        heappush(self._times, (at, self._order, resource))

    def take_due(self, now: float) -> list[Resource]:
        """Return the resources whose time has come."""
        due = []
        while self._times and self._times[0][0] <= now:
            at, _, resource = heappop(self._times)
            if self._due.get(resource) == at:
                del self._due[resource]
                due.append(resource)
        if len(self._times) > 64 + 2 * len(self._due):
            # Mostly of resources nobody watches any more.
            self._times = sorted(entry for entry in self._times if self._due.get(entry[2], inf) == entry[0])
        return due

    def depending(self, key: object) -> list[Resource]:
        """Return the resources whose rules depend on a document of lists."""
        return list(self._listed.get(key, ()))

    def in_sphere(self, presentity: Aor) -> list[Resource]:
        """Return the resources whose rules ask for the sphere of a presentity."""
        return list(self._spheres.get(presentity, ()))
