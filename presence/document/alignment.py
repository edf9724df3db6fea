"""What two sequences have in common, in order (the greedy algorithm of Myers, 1986), within a bound on the work."""

from collections.abc import Hashable, Sequence


class TooCostly(Exception):
    """The work would exceed its bound."""


class Budget:
    """How many more steps of work may be done."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Take off what is about to be done; raises TooCostly."""
        self.left -= steps
        if self.left < 0:
            raise TooCostly


def align(old: Sequence[Hashable], new: Sequence[Hashable], budget: Budget) -> list[tuple[int, int]]:
    """Return the places of a longest common subsequence, in order; raises TooCostly."""
    start = 0
    while start < len(old) and start < len(new) and old[start] == new[start]:
        start += 1
    end_old, end_new = len(old), len(new)
    while end_old > start and end_new > start and old[end_old - 1] == new[end_new - 1]:
        end_old -= 1
        end_new -= 1
    budget.spend(len(old) + len(new) + 1)
    pairs = [(at, at) for at in range(start)]
    middle = _align_middle(old[start:end_old], new[start:end_new], budget)
    pairs += [(start + i, start + j) for i, j in middle]
    pairs += zip(range(end_old, len(old)), range(end_new, len(new)), strict=True)
    return pairs


def _align_middle(old: Sequence[Hashable], new: Sequence[Hashable], budget: Budget) -> list[tuple[int, int]]:
    if not old or not new or not set(old) & set(new):
        return []
    size_old, size_new = len(old), len(new)
    furthest: dict[int, int] = {1: 0}
    trail: list[dict[int, int]] = []
    for edits in range(size_old + size_new + 1):
        budget.spend(2 * edits + 1)
        trail.append(dict(furthest))
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (
                diagonal != edits and furthest.get(diagonal - 1, -1) < furthest.get(diagonal + 1, -1)
            )
            i = furthest.get(diagonal + 1, 0) if down else furthest.get(diagonal - 1, 0) + 1
            j = i - diagonal
            while i < size_old and j < size_new and old[i] == new[j]:
                i += 1
                j += 1
                budget.spend(1)
            furthest[diagonal] = i
            if i >= size_old and j >= size_new:
                return _walk_back(trail, size_old, size_new)
    return []


def _walk_back(trail: list[dict[int, int]], i: int, j: int) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    for edits in range(len(trail) - 1, -1, -1):
        furthest = trail[edits]
        diagonal = i - j
        down = diagonal == -edits or (
            diagonal != edits and furthest.get(diagonal - 1, -1) < furthest.get(diagonal + 1, -1)
        )
        previous = diagonal + 1 if down else diagonal - 1
        before_i = furthest.get(previous, 0) if edits else 0
        before_j = before_i - previous if edits else 0
        while i > before_i and j > before_j:
            i -= 1
            j -= 1
            pairs.append((i, j))
        i, j = before_i, before_j
    pairs.reverse()
    return pairs
