"""What is fuzzed, one file a target.

A target is a function that takes bytes and raises when something is wrong; its module also has `seeds()`, the inputs
to begin with. To add one, write its module and put it into `TARGETS`.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from fuzz.targets import answers, dialogs, editing, framer, lists, node, parser, pidf, privacy, proof, values


class Target(NamedTuple):
    """One way in."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    longest: int
    """Bytes of an input."""
    sources: tuple[str, ...]
    """The files whose coverage is told."""
    python: tuple[str, ...] = ()
    """Files of Python, or folders, whose lines are counted too: where the decisions are not in the core."""
    executions: int = 10_000
    """In CI; fewer where one takes long."""


_SCANNING = ("find.pxi", "names.pxi", "fields.pxi", "scan.pxi", "plain.pxi", "message.pxi")
_DOCUMENTS = ("characters.pxi", "wellformed.pxi", "cutting.pxi", "merging.pxi", "outline.pxi")

TARGETS = {
    "parser": Target(parser.run, parser.seeds, 2048, (*_SCANNING, "serialise.pxi")),
    "values": Target(values.run, parser.seeds, 2048, _SCANNING),
    "framer": Target(framer.run, framer.seeds, 4096, (*_SCANNING, "framing.pxi")),
    "pidf": Target(pidf.run, pidf.seeds, 4096, _DOCUMENTS),
    "lists": Target(lists.run, lists.seeds, 8192, ("characters.pxi", "wellformed.pxi", "outline.pxi")),
    "privacy": Target(privacy.run, privacy.seeds, 6000, _DOCUMENTS),
    "editing": Target(editing.run, editing.seeds, 2048, ("outline.pxi",), ("xcap/",), 3000),
    "dialogs": Target(dialogs.run, dialogs.seeds, 4096, ("wellformed.pxi", "cutting.pxi", "outline.pxi")),
    "proof": Target(proof.run, proof.seeds, 1024, ("hashes.pxi", "credentials.pxi")),
    "answers": Target(answers.run, answers.seeds, 2048, (*_SCANNING, "framing.pxi", "flights.pxi", "timers.pxi")),
    "node": Target(
        node.run,
        node.seeds,
        6000,
        (*_SCANNING, "transactions.pxi", "publications.pxi", "subscribing.pxi", "flights.pxi", "fanout.pxi"),
    ),
}
