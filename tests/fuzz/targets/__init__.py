"""What is fuzzed, one file a target.

A target is a function that takes bytes and raises when something is wrong; its module also has `seeds()`, the inputs
to begin with. To add one, write its module and put it into `TARGETS`.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from fuzz.targets import answers, framer, lists, node, parser, pidf, privacy, proof, values


class Target(NamedTuple):
    """One way in."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    longest: int
    """Bytes of an input."""
    sources: tuple[str, ...]
    """The files whose coverage is told."""


_SCANNING = ("find.pxi", "names.pxi", "fields.pxi", "scan.pxi", "plain.pxi", "message.pxi")
_DOCUMENTS = ("characters.pxi", "wellformed.pxi", "cutting.pxi", "merging.pxi", "outline.pxi")

TARGETS = {
    "parser": Target(parser.run, parser.seeds, 2048, (*_SCANNING, "serialise.pxi")),
    "values": Target(values.run, parser.seeds, 2048, _SCANNING),
    "framer": Target(framer.run, framer.seeds, 4096, (*_SCANNING, "framing.pxi")),
    "pidf": Target(pidf.run, pidf.seeds, 4096, _DOCUMENTS),
    "privacy": Target(privacy.run, privacy.seeds, 6000, _DOCUMENTS),
    "lists": Target(lists.run, lists.seeds, 8192, ("characters.pxi", "wellformed.pxi", "outline.pxi")),
    "proof": Target(proof.run, proof.seeds, 1024, ("hashes.pxi", "credentials.pxi")),
    "answers": Target(answers.run, answers.seeds, 2048, (*_SCANNING, "framing.pxi", "flights.pxi", "timers.pxi")),
    "node": Target(
        node.run,
        node.seeds,
        6000,
        (*_SCANNING, "transactions.pxi", "publications.pxi", "subscribing.pxi", "flights.pxi", "fanout.pxi"),
    ),
}
