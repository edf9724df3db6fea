"""What a NOTIFY body says, for people: presence (RFC 3863, RFC 4480), message summaries, watcher information.

A summary is made of values that JSON has; `describe` turns it into lines. Names are matched by namespace, so any
prefixes will do. Control characters are taken out: a stranger's text must not steer a terminal.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from lxml import etree

from presence.agents.publisher import RPID
from presence.document.message_summary import check
from presence.document.pidf import DATA_MODEL, PIDF
from presence.document.watcherinfo import WATCHERINFO
from presence.document.xml import parse_xml
from presence.errors import BadRequest

CONTENT_TYPES: Final = {
    "presence": "application/pidf+xml",
    "presence.winfo": "application/watcherinfo+xml",
    "message-summary": "application/simple-message-summary",
}
"""Event package to the type of its bodies."""

MAX_TEXT: Final = 500
"""Characters shown of one text."""

Summary = dict[str, Any]

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
_NOTES = (f"{{{PIDF}}}note", f"{{{DATA_MODEL}}}note", f"{{{RPID}}}note")


def clean(text: str | None) -> str:
    """Return text that is safe on a terminal, on one line."""
    return _CONTROLS.sub(" ", text or "").strip()[:MAX_TEXT]


def summarise(content_type: str, body: bytes) -> Summary:
    """Return what a body says; `problem` says why nothing can be said."""
    media_type = content_type.partition(";")[0].strip().lower()
    reader = _READERS.get(media_type)
    if not body:
        return {}
    if reader is None:
        return {"problem": f"{clean(media_type) or 'a body without a type'} is not understood"}
    try:
        return reader(body)
    except BadRequest as error:
        return {"problem": clean(error.reason)}


def describe(summary: Summary) -> list[str]:
    """Return a summary as lines: the first says it all, the others say more."""
    if "problem" in summary:
        return [f"unreadable body: {summary['problem']}"]
    if "status" in summary:
        return _describe_presence(summary)
    if "messages_waiting" in summary:
        return _describe_messages(summary)
    if "lists" in summary:
        return _describe_watchers(summary)
    return ["no body"]


def _read_presence(body: bytes) -> Summary:
    root = parse_xml(body)
    if root.tag != f"{{{PIDF}}}presence":
        raise BadRequest("Body Is Not a PIDF Document")
    tuples = [_read_tuple(element) for element in root.iterchildren(f"{{{PIDF}}}tuple")]
    states = {entry["status"] for entry in tuples}
    activities: list[str] = []
    for element in root.iter(f"{{{RPID}}}activities"):
        activities += [name for name in map(_read_activity, element.iterchildren(etree.Element)) if name]
    return {
        "entity": clean(root.get("entity")),
        "status": "open" if "open" in states else "closed" if "closed" in states else "unknown",
        "note": _unique(clean(note.text) for note in root.iter(*_NOTES)),
        "activities": _unique(activities),
        "tuples": tuples,
    }


def _read_tuple(element: etree._Element) -> Summary:
    contact = element.find(f"{{{PIDF}}}contact")
    entry = {
        "id": clean(element.get("id")),
        "status": clean(element.findtext(f"{{{PIDF}}}status/{{{PIDF}}}basic")).lower() or "unknown",
        "contact": clean(contact.text) if contact is not None else "",
        "priority": clean(contact.get("priority")) if contact is not None else "",
        "timestamp": clean(element.findtext(f"{{{PIDF}}}timestamp")),
        "note": " / ".join(_unique(clean(note.text) for note in element.iterchildren(*_NOTES))),
    }
    return {name: value for name, value in entry.items() if value or name in ("id", "status")}


def _read_activity(element: etree._Element) -> str:
    name = etree.QName(element)
    # A note says something about the activities; <other> says them itself (RFC 4480 section 3.2).
    if name.localname == "note":
        return ""
    return clean(element.text) or "other" if name.localname == "other" else clean(name.localname)


def _read_messages(body: bytes) -> Summary:
    lines = check(body).decode("utf-8", "replace").splitlines()
    fields = [tuple(map(str.strip, line.split(":", 1))) for line in lines]
    summary: Summary = {"messages_waiting": fields[0][1].lower() == "yes", "counts": {}}
    for name, value in fields[1:]:
        if name.lower() == "message-account":
            summary["account"] = clean(value)
        else:
            summary["counts"][clean(name).lower()] = clean(value)
    return summary


def _read_watchers(body: bytes) -> Summary:
    root = parse_xml(body)
    if root.tag != f"{{{WATCHERINFO}}}watcherinfo":
        raise BadRequest("Body Is Not a Watcher Information Document")
    return {
        "version": clean(root.get("version")),
        "state": clean(root.get("state")),
        "lists": [
            {
                "resource": clean(entry.get("resource")),
                "package": clean(entry.get("package")),
                "watchers": [_read_watcher(w) for w in entry.iterchildren(f"{{{WATCHERINFO}}}watcher")],
            }
            for entry in root.iterchildren(f"{{{WATCHERINFO}}}watcher-list")
        ],
    }


def _read_watcher(element: etree._Element) -> Summary:
    names = ("id", "status", "event", "display-name", "expiration", "duration-subscribed")
    found = {name.replace("-", "_"): clean(element.get(name)) for name in names if element.get(name)}
    return {"uri": clean(element.text), **found}


def _describe_presence(summary: Summary) -> list[str]:
    first = summary["status"]
    if summary["activities"]:
        first += f" ({', '.join(summary['activities'])})"
    if summary["note"]:
        first += f" - {' / '.join(summary['note'])}"
    lines = [first]
    for entry in summary["tuples"]:
        parts = [entry["status"], entry.get("contact", ""), entry.get("note", "")]
        if "priority" in entry:
            parts.insert(2, f"priority {entry['priority']}")
        lines.append(f"{entry['id']}: {', '.join(part for part in parts if part)}")
    return lines


def _describe_messages(summary: Summary) -> list[str]:
    first = "messages waiting" if summary["messages_waiting"] else "no messages waiting"
    if "account" in summary:
        first += f" for {summary['account']}"
    return [first, *(f"{name}: {counts} (new/old)" for name, counts in summary["counts"].items())]


def _describe_watchers(summary: Summary) -> list[str]:
    watchers = [(entry, watcher) for entry in summary["lists"] for watcher in entry["watchers"]]
    count = f"{len(watchers)} watcher{'' if len(watchers) == 1 else 's'}"
    lines = [f"{count} ({summary['state'] or 'no'} state, version {summary['version'] or 'none'})"]
    for entry, watcher in watchers:
        name = watcher.get("display_name")
        who = f"{name} <{watcher['uri']}>" if name else watcher["uri"]
        what = f"{watcher.get('status', 'unknown')} ({watcher.get('event', 'unknown')})"
        lines.append(f"{who}: {what} of {entry['resource']}")
    return lines


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))


_READERS = {
    CONTENT_TYPES["presence"]: _read_presence,
    CONTENT_TYPES["presence.winfo"]: _read_watchers,
    CONTENT_TYPES["message-summary"]: _read_messages,
}
