"""Every path to a watcher against the reference evaluator of rules.

`python -m pytest tests/property/test_privacy_paths.py -s` plays some histories; PRESENCE_PATHS=500 as many as that.
"""

import os
from collections import Counter

from net import PERFECT, Faults
from privacy_paths import STEPS, play

HISTORIES = int(os.environ.get("PRESENCE_PATHS", "12"))
STEPS_EACH = 40


def run(histories: range, faults: Faults = PERFECT) -> Counter[str]:
    paths: Counter[str] = Counter()
    sent = 0
    for seed in histories:
        history = play(seed, STEPS_EACH, faults)
        assert not history.wrong, history.wrong[0]
        paths += history.paths
        sent += history.sent
    print(f"\n{len(histories)} histories, {sent} NOTIFYs compared, {dict(sorted(paths.items()))}")
    return paths


def test_every_path_to_a_watcher_shows_what_the_rules_allow_and_nothing_else() -> None:
    paths = run(range(HISTORIES))
    assert set(STEPS) <= set(paths)
    changes = [name for name in paths if " -> " in name]
    assert len(changes) > 5, paths


def test_nothing_else_leaves_when_datagrams_are_lost_doubled_and_late() -> None:
    run(range(10_000, 10_000 + max(2, HISTORIES // 4)), Faults(drop=0.2, duplicate=0.1, delay_s=0.3))
