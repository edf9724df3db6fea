"""`presence user`: who may prove to be whom. A running server sees a change within a second."""

import argparse
import getpass
import json
import sys
from typing import Any

from presence.cli.configuration import add_arguments, load_config
from presence.config import Config
from presence.errors import ConfigError
from presence.shape import parse_user
from presence.sip.digest import hash_account
from presence.values import Aor

PASSWORD_LONGEST = 1024

_ACTIONS = {
    "add": "add a user",
    "passwd": "change a user's password",
    "remove": "remove a user",
    "list": "list the users",
}


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "user",
        help="add, change, remove and list users",
        description="Keep the users of digest authentication, in the table subscriber of the database. A server "
        "that runs sees a change within a second. Passwords are not kept, only their hashes for auth.realm.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in _ACTIONS.items():
        action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name == "list":
            action.add_argument("--json", action="store_true", help="print JSON, one line each")
        else:
            action.add_argument("user", metavar="USER@DOMAIN", type=_user)
        if name in ("add", "passwd"):
            action.add_argument(
                "--password-stdin", action="store_true", help="read the password from the first line of standard input"
            )
        add_arguments(action)


def run(args: argparse.Namespace) -> int:
    """Do it, and say what was done."""
    from presence.store.users import add_user, change_password, remove_user

    config = load_config(args)
    path = config.database.path
    if args.action == "list":
        return _list(path, as_json=args.json)
    aor: Aor = args.user
    name = "@".join(aor)
    if args.action == "remove":
        remove_user(path, aor)
        print(f"removed {name}")
        return 0
    realm = config.auth.realm or aor.domain
    hashes = _hash(aor, realm, read_password(name, from_stdin=args.password_stdin))
    if args.action == "add":
        add_user(path, aor, hashes)
        print(f"added {name} (realm {realm})")
        _warn(config, aor)
    else:
        change_password(path, aor, hashes)
        print(f"changed the password of {name} (realm {realm})")
    return 0


def read_password(name: str, *, from_stdin: bool) -> str:
    """Return a password from standard input, or as a person types it twice; raises ConfigError."""
    if from_stdin:
        password = sys.stdin.readline(PASSWORD_LONGEST + 2).rstrip("\r\n")
    else:
        password = getpass.getpass(f"Password of {name}: ")
        if getpass.getpass("Again: ") != password:
            raise ConfigError("the two passwords differ")
    if not password or len(password) > PASSWORD_LONGEST or not password.isprintable():
        raise ConfigError(f"a password has 1 to {PASSWORD_LONGEST} printable characters")
    return password


def _user(text: str) -> Aor:
    try:
        return parse_user(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a user such as alice@example.com") from None


def _hash(aor: Aor, realm: str, password: str) -> Any:
    from presence.store.users import Hashes

    return Hashes(
        hash_account("MD5", aor.username, realm, password),
        hash_account("MD5", "@".join(aor), realm, password),
        hash_account("SHA-256", aor.username, realm, password),
        hash_account("SHA-512-256", aor.username, realm, password),
    )


def _list(path: str, *, as_json: bool) -> int:
    from presence.store.users import list_users

    for user in list_users(path):
        if as_json:
            print(json.dumps({"user": "@".join(user.aor), "algorithms": user.algorithms}))
        else:
            print(f"{'@'.join(user.aor):<40} {' '.join(user.algorithms) or 'no password'}")
    return 0


def _warn(config: Config, aor: Aor) -> None:
    if config.server.domain and aor.domain not in config.server.domain:
        print(f"presence: {aor.domain} is not among server.domain", file=sys.stderr)
