"""Rules documents for tests, written shortly, and asking them."""

from collections.abc import Mapping

from presence.policy.rules import Circumstances, Outcome, Rules, Watcher, compile_rules
from presence.sip.headers import parse_uri
from presence.values import Aor

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<cp:ruleset xmlns:cp="urn:ietf:params:xml:ns:common-policy" '
    'xmlns="urn:ietf:params:xml:ns:pres-rules" xmlns:ocp="urn:oma:xml:xdm:common-policy" '
    'xmlns:opr="urn:oma:xml:prs:pres-rules" xmlns:x="urn:x-unknown">'
)
NOW = 1_700_000_000.0
"""2023-11-14T22:13:20Z."""


def rule(conditions: str | None = None, handling: str | None = "allow", transformations: str | None = None) -> str:
    """One rule; without conditions it matches everybody."""
    parts = ["" if conditions is None else f"<cp:conditions>{conditions}</cp:conditions>"]
    if handling is not None:
        parts.append(f"<cp:actions><sub-handling>{handling}</sub-handling></cp:actions>")
    if transformations is not None:
        parts.append(f"<cp:transformations>{transformations}</cp:transformations>")
    return f'<cp:rule id="a">{"".join(parts)}</cp:rule>'


def identity(children: str) -> str:
    return f"<cp:identity>{children}</cp:identity>"


def one(uri: str) -> str:
    return identity(f'<cp:one id="{uri}"/>')


def ruleset(*rules: str) -> bytes:
    return f"{HEAD}{''.join(rules)}</cp:ruleset>".encode()


def ask(
    rules: Rules | bytes,
    watcher: str = "sip:bob@example.com",
    *,
    anonymous: bool = False,
    now: float = NOW,
    sphere: str | None = None,
    lists: Mapping[str, tuple[str, ...]] = {},
) -> Outcome:
    """Evaluate rules for a watcher."""
    compiled = compile_rules(rules) if isinstance(rules, bytes) else rules

    def in_list(anchor: str, aor: Aor) -> bool:
        return aor in [parse_uri(uri).aor() for uri in lists.get(anchor, ())]

    return compiled.evaluate(Watcher(parse_uri(watcher).aor(), anonymous), Circumstances(now, sphere, in_list))


def matches(conditions: str | None, watcher: str = "sip:bob@example.com", **circumstances) -> bool:
    """Return whether a rule with these conditions matches."""
    return ask(ruleset(rule(conditions)), watcher, **circumstances).matched
