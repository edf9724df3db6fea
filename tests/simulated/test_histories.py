"""Some hundred seeded histories (`histories.py`); `make histories N=20000` plays more, and any seed plays again."""

import os

import pytest
from histories import History
from ruled import RuledHistory

HISTORIES = int(os.environ.get("PRESENCE_HISTORIES", "400"))


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_every_watcher_knows_the_newest_state_in_the_end(seed: int) -> None:
    History(seed).run()


@pytest.mark.parametrize("seed", range(HISTORIES // 4))
def test_every_watcher_knows_what_the_rules_allow_in_the_end(seed: int) -> None:
    RuledHistory(seed).run()
