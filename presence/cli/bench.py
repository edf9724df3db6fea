"""`presence bench`: measure the whole server, beside peers and beside what the kernel alone takes."""

import argparse
import json
import resource
import signal
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from presence.errors import ConfigError, PresenceError

if TYPE_CHECKING:
    from presence.loadtool.course import Settings
    from presence.loadtool.peers import Peer
    from presence.loadtool.scenarios import Options
    from presence.loadtool.traffic import Hops

QUICK_COUNT, QUICK_NOTIFIES, QUICK_RUNS = 5_000, 30_000, 3

_DESCRIPTION = """Measure the whole server with a load generator of its own, over UDP on loopback. Every server
under test is a process of its own with a temporary folder; each scenario warms up and then measures all servers in
turn, run by run, with a raw exchange of datagrams of the same sizes between. bench/README.md says how a number is
made."""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("bench", help="measure the whole server", description=_DESCRIPTION)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="what to measure; --list shows what there is")
    parser.add_argument("--list", action="store_true", help="list scenarios and groups, and do nothing")
    parser.add_argument("--quick", action="store_true", help="small parts, few runs: under two minutes")
    _add_servers(parser.add_argument_group("servers under test"))
    _add_amounts(parser.add_argument_group("how much"))
    _add_results(parser.add_argument_group("results"))


def _add_servers(group: Any) -> None:
    group.add_argument(
        "--durability",
        default="commit",
        metavar="KIND[,KIND]",
        help="our database.durability; several are measured side by side (default: commit)",
    )
    group.add_argument(
        "--auth",
        default="off",
        metavar="KIND[,KIND]",
        help="off, or the digest algorithm with which we have every request proven (MD5, SHA-256, SHA-512-256; on is "
        "MD5); several are measured side by side (default: off)",
    )
    group.add_argument(
        "--policy",
        default="open",
        metavar="NAME[,NAME]",
        help="our server.policy; under rules each presentity has a document (default: open)",
    )
    group.add_argument("--peer", action="append", default=[], choices=["kamailio"], help="measure this one too")
    group.add_argument("--children", default="1,2", metavar="N[,N]", help="UDP receivers of Kamailio (default: 1,2)")
    group.add_argument("--server", default="", metavar="COMMAND", help="`presence` of another working copy")
    group.add_argument(
        "--server-arg",
        action="append",
        default=[],
        metavar="ARG",
        help="pass to `presence serve` (--server-arg=--set ...)",
    )
    group.add_argument("--no-own", action="store_true", help="measure only the peers")
    group.add_argument(
        "--folder", type=Path, metavar="DIR", help="where databases are made: put it on the disk that matters"
    )


def _add_amounts(group: Any) -> None:
    group.add_argument("--runs", type=int, metavar="N", help="measured parts of each scenario (default: 5)")
    group.add_argument("--count", type=int, metavar="N", help="requests in a measured part (default: 20,000)")
    group.add_argument("--notifies", type=int, metavar="N", help="NOTIFYs in a part of a fan-out (default: 100,000)")
    group.add_argument(
        "--seconds", type=float, default=5.0, metavar="S", help="length of a part at a rate (default: 5)"
    )
    group.add_argument("--window", type=int, default=256, metavar="N", help="requests in flight (default: 256)")
    group.add_argument("--scale", type=float, default=1.0, metavar="X", help="share of the size of large tables")
    group.add_argument(
        "--hops", type=int, default=16_384, metavar="N", help="next hops of the watchers (default: 16,384)"
    )
    group.add_argument(
        "--hop-style",
        choices=["addresses", "ports"],
        default="addresses",
        help="next hops are addresses of 127/8 on four sockets, or each a socket of its own",
    )
    group.add_argument("--loss", type=float, default=0.0, metavar="SHARE", help="share of datagrams dropped, both ways")
    group.add_argument("--minutes", type=int, default=20, metavar="N", help="length of `long` (default: 20)")
    group.add_argument("--rate", type=float, default=0.0, metavar="N", help="requests a second of `long`")
    group.add_argument("--fraction", type=float, default=0.5, metavar="X", help="or this share of the highest rate")


def _add_results(group: Any) -> None:
    group.add_argument("--json", type=Path, metavar="FILE", help="write everything measured, with the machine's facts")
    group.add_argument("--check", type=Path, metavar="FILE", help="fail when a ratio fell 25 %% below this baseline")
    group.add_argument("--save-baseline", type=Path, metavar="FILE", help="write the ratios as a baseline")


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, and compare with the baseline when there is one."""
    from presence.loadtool import course, report
    from presence.loadtool.scenarios import expand

    if args.list:
        return _list()
    try:
        scenarios = expand(args.scenarios or ["quick"])
    except KeyError as unknown:
        raise ConfigError(f"no scenario {unknown.args[0]!r}; presence bench --list shows what there is") from None
    stored = _read_baseline(args.check) if args.check else {}
    peers, settings = _peers(args), _settings(args)
    if not peers:
        raise ConfigError("nothing to measure")
    # Each server has a generator of its own, and there is the raw exchange.
    _allow_sockets((len(peers) + 1) * settings.hops.sockets)
    # Being ended must end the servers under test too.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        results = [course.run(scenario, peers, settings, _say) for scenario in scenarios]
    finally:
        signal.signal(signal.SIGTERM, before)
    print(report.table(results))
    if args.json:
        _write(args.json, report.as_json(results, _facts(args, peers)))
    if args.save_baseline:
        _write(args.save_baseline, report.baseline(results))
    fallen = report.fallen(results, stored)
    for line in fallen:
        print(f"presence: fell: {line}", file=sys.stderr)
    failed = any(outcome.failure for result in results for outcome in result.outcomes)
    return 1 if fallen or failed else 0


def _list() -> int:
    from presence.loadtool.scenarios import GROUPS, SCENARIOS

    for scenario in SCENARIOS.values():
        print(f"{scenario.name:<18} {scenario.help}")
    print()
    for name, members in GROUPS.items():
        print(f"{name:<18} {' '.join(members)}")
    return 0


def _settings(args: argparse.Namespace) -> "Settings":
    from presence.loadtool.course import Settings

    if args.folder:
        args.folder.mkdir(parents=True, exist_ok=True)
    return Settings(
        options=_options(args),
        runs=args.runs or (QUICK_RUNS if args.quick else 5),
        hops=_hops(args.hops, args.hop_style),
        window=args.window,
        loss=args.loss,
        folder=args.folder,
    )


def _options(args: argparse.Namespace) -> "Options":
    from presence.loadtool.scenarios import Options

    return Options(
        count=args.count or (QUICK_COUNT if args.quick else Options.count),
        notifies=args.notifies or (QUICK_NOTIFIES if args.quick else Options.notifies),
        scale=args.scale,
        seconds=args.seconds,
        rate_per_s=args.rate,
        fraction=args.fraction,
        minutes=args.minutes,
    )


def _hops(count: int, style: str) -> "Hops":
    from presence.loadtool.traffic import Hops

    if count < 1:
        raise ConfigError("--hops must be at least 1")
    if style == "ports":
        return Hops(count, 1)
    sockets = min(4, count)
    return Hops(sockets, -(-count // sockets))


def _policies(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in ("open", "rules"):
            raise ConfigError(f"--policy {name}: expected open, rules")
    return names


def _peers(args: argparse.Namespace) -> "Sequence[Peer]":
    """Return the servers to measure; one that is not installed is said so and left out."""
    from presence.loadtool.peers import Kamailio, PeerMissing, Presence

    found: list[Peer] = []
    if not args.no_own:
        kinds = product(args.durability.split(","), _algorithms(args.auth), _policies(args.policy))
        found += [Presence(kind, args.server, args.server_arg, auth=auth, policy=name) for kind, auth, name in kinds]
    wanted = [(mode, int(n)) for mode in ("memory", "durable") for n in args.children.split(",") if args.peer]
    for mode, children in wanted:
        try:
            found.append(Kamailio(mode, children))
        except PeerMissing as missing:
            _say(f"skipped: {missing}")
    return found


def _algorithms(given: str) -> list[str]:
    from presence.sip.digest import ALGORITHMS

    meant = [{"off": "", "on": "MD5"}.get(entry, entry) for entry in given.split(",")]
    for name in meant:
        if name and name not in ALGORITHMS:
            raise ConfigError(f"--auth {name}: expected off, on, {', '.join(ALGORITHMS)}")
    return meant


def _allow_sockets(count: int) -> None:
    least = count + 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < least:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (least, max(hard, least)))
        except (OSError, ValueError):
            raise ConfigError(f"{count} sockets need more open files than the limit of {soft}") from None


def _facts(args: argparse.Namespace, peers: "Sequence[Peer]") -> dict[str, object]:
    import tempfile

    from presence.loadtool.course import stamp
    from presence.loadtool.process import machine

    return {
        "at": stamp(),
        "machine": machine(args.folder or Path(tempfile.gettempdir())),
        "versions": {peer.name: peer.version() for peer in peers},
        "options": {name: str(value) for name, value in vars(args).items() if name not in ("command", "json")},
    }


def _read_baseline(path: Path) -> dict[str, dict[str, float]]:
    try:
        stored: dict[str, dict[str, float]] = json.loads(path.read_text())
    except (OSError, ValueError) as failure:
        raise ConfigError(f"no baseline in {path}: {failure}") from None
    return stored


def _write(path: Path, value: object) -> None:
    try:
        path.write_text(json.dumps(value, indent=2) + "\n")
    except OSError as failure:
        raise PresenceError(f"cannot write {path}: {failure.strerror}") from failure


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
