"""The evaluator itself; see the package. RFC 4745 sections 7 to 10, RFC 5025 section 3, OMA presence rules."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import unquote

from lxml import etree

CP = "{urn:ietf:params:xml:ns:common-policy}"
PR = "{urn:ietf:params:xml:ns:pres-rules}"
OCP = "{urn:oma:xml:xdm:common-policy}"
OPR = "{urn:oma:xml:prs:pres-rules}"
PIDF = "{urn:ietf:params:xml:ns:pidf}"
DM = "{urn:ietf:params:xml:ns:pidf:data-model}"
RPID = "{urn:ietf:params:xml:ns:pidf:rpid}"
OP = "{urn:oma:xml:prs:pidf:oma-pres}"
GP = "{urn:ietf:params:xml:ns:pidf:geopriv10}"

HANDLINGS = ["block", "confirm", "polite-block", "allow"]
LEVELS = ["false", "bare", "thresholds", "full"]

Lists = Mapping[str, Iterable[str]]


def evaluate(
    rules: list[bytes],
    watcher: str,
    anonymous: bool,
    now: float,
    sphere: str | None,
    lists: Lists,
    default: str = "block",
) -> str:
    found = matches(rules, watcher, anonymous, now, sphere, lists)
    if not found:
        return default
    # RFC 5025 section 3.2.1: an integer, the maximum of all; block without a value.
    best = "block"
    for rule in found:
        for handling in rule.findall(f"{CP}actions/{PR}sub-handling"):
            value = token(handling)
            if value in HANDLINGS and HANDLINGS.index(value) > HANDLINGS.index(best):
                best = value
    return best


def matches(
    rules: list[bytes], watcher: str, anonymous: bool, now: float, sphere: str | None, lists: Lists
) -> list[etree._Element]:
    """Return the rules that match."""
    everything = [rule for text in rules for rule in etree.fromstring(text).findall(f"{CP}rule")]
    who = None if anonymous else identity(watcher)
    known = [rule for rule in everything if not has_unknown_condition(rule)]
    found = [
        rule
        for rule in known
        if names(rule, who, lists)
        and others(rule, who, everything, lists)
        and (not rule.findall(f"{CP}conditions/{OCP}anonymous-request") or anonymous)
        and all(in_sphere(condition, sphere) for condition in rule.findall(f"{CP}conditions/{CP}sphere"))
        and all(is_valid(condition, now) for condition in rule.findall(f"{CP}conditions/{CP}validity"))
    ]
    if any(rule.find(f"{CP}conditions/{OCP}*") is not None for rule in known):
        # OMA: who is named is judged by what names him, then by lists, then as one of the others.
        for kind in (f"{CP}identity", f"{OCP}external-list", f"{OCP}other-identity"):
            if any(rank(rule) == kind for rule in found):
                return [rule for rule in found if rank(rule) in (kind, "")]
    return found


def rank(rule: etree._Element) -> str:
    for kind in (f"{CP}identity", f"{OCP}external-list", f"{OCP}other-identity"):
        if rule.find(f"{CP}conditions/{kind}") is not None:
            return kind
    return ""


def has_unknown_condition(rule: etree._Element) -> bool:
    known = [f"{CP}identity", f"{CP}sphere", f"{CP}validity"]
    known += [f"{OCP}external-list", f"{OCP}other-identity", f"{OCP}anonymous-request"]
    if any(child.tag not in (f"{CP}conditions", f"{CP}actions", f"{CP}transformations") for child in elements(rule)):
        return True
    return any(
        child.tag not in known for conditions in rule.findall(f"{CP}conditions") for child in elements(conditions)
    )


def names(rule: etree._Element, who: tuple[str, str] | None, lists: Lists) -> bool:
    """Whether all that the rule says about who the watcher is, is true."""
    identities = rule.findall(f"{CP}conditions/{CP}identity")
    externals = rule.findall(f"{CP}conditions/{OCP}external-list")
    if who is None:
        return not identities and not externals
    return all(any(is_one(child, who) for child in elements(one)) for one in identities) and all(
        any(who in map(identity, lists.get(entry.get("anc", "").strip(), ())) for entry in one.findall(f"{OCP}entry"))
        for one in externals
    )


def others(rule: etree._Element, who: tuple[str, str] | None, everything: list[etree._Element], lists: Lists) -> bool:
    if rule.find(f"{CP}conditions/{OCP}other-identity") is None:
        return True
    if who is None:
        return False
    naming = [one for one in everything if rank(one) in (f"{CP}identity", f"{OCP}external-list")]
    return not any(names(one, who, lists) for one in naming)


def is_one(child: etree._Element, who: tuple[str, str]) -> bool:
    if child.tag == f"{CP}one":
        return not elements(child) and identity(child.get("id", "")) == who
    if child.tag != f"{CP}many" or any(one.tag != f"{CP}except" for one in elements(child)):
        return False
    if child.get("domain") is not None and not same_domain(child.get("domain"), who[1]):
        return False
    for one in child.findall(f"{CP}except"):
        if one.get("id") is not None and identity(one.get("id")) == who:
            return False
        if one.get("domain") is not None and same_domain(one.get("domain"), who[1]):
            return False
    return True


def identity(uri: str) -> tuple[str, str] | None:
    """User and domain; the number and '' of a tel URI."""
    uri = uri.strip()
    if uri.lower().startswith("tel:"):
        number = re.sub(r"[-.()]", "", uri[4:].split(";")[0])
        return (number, "") if re.fullmatch(r"\+[0-9]+", number) else None
    if ":" not in uri:
        uri = "sip:" + uri
    match = re.fullmatch(r"(?i:sips?|pres|im):(?:([^@:]+)(?::[^@]*)?@)?([^@:;?]+)(?::[0-9]+)?(?:[;?].*)?", uri)
    if match is None:
        return None
    return unquote(match[1] or ""), match[2].lower()


def same_domain(given: str, domain: str) -> bool:
    if not domain:
        # A telephone number is in no domain, also not in the empty one.
        return False
    try:
        return unquote(given).strip().encode("idna").lower() == domain.encode("idna").lower()
    except UnicodeError:
        return False


def in_sphere(condition: etree._Element, sphere: str | None) -> bool:
    if sphere is None:
        return False
    if condition.get("value") is not None:
        tokens = condition.get("value").split()
    elif elements(condition):
        tokens = [etree.QName(child).localname for child in elements(condition)]
    else:
        tokens = [token(condition)]
    return sphere.lower() in [one.lower() for one in tokens if one]


def is_valid(condition: etree._Element, now: float) -> bool:
    children = elements(condition)
    if [child.tag for child in children] != [f"{CP}from", f"{CP}until"] * (len(children) // 2):
        return False
    for at in range(0, len(children), 2):
        begin, end = instant(token(children[at])), instant(token(children[at + 1]))
        if begin is not None and end is not None and begin <= now < end:
            return True
    return False


def instant(text: str) -> float | None:
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?", text)
    if match is None:
        return None
    try:
        plain = datetime.strptime(match[1], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return None
    zone = UTC
    if match[3] and match[3] != "Z":
        hours, minutes = map(int, match[3][1:].split(":"))
        offset = timedelta(hours=hours, minutes=minutes)
        zone = timezone(-offset if match[3][0] == "-" else offset)
    return plain.replace(tzinfo=zone).timestamp() + float(match[2] or 0)


# Transformations


def granted(found: list[etree._Element], name: str) -> list[etree._Element]:
    return [one for rule in found for one in rule.findall(f"{CP}transformations/{name}")]


def is_true(found: list[etree._Element], name: str) -> bool:
    return any(token(one) in ("true", "1") for one in granted(found, name))


def visible(
    document: bytes,
    rules: list[bytes],
    watcher: str,
    anonymous: bool,
    now: float,
    sphere: str | None,
    lists: Lists,
) -> list[str]:
    found = matches(rules, watcher, anonymous, now, sphere, lists)
    root = etree.fromstring(document, etree.XMLParser(remove_comments=True, remove_pis=True))
    every = any(token(one) not in ("false", "0") for one in granted(found, f"{PR}provide-all-attributes"))
    everything = [f"{PR}provide-{kind}s/{PR}all-{kind}s" for kind in ("service", "person", "device")]
    if every and all(granted(found, name) for name in everything):
        return content(document)
    without_own = [one for one in root if one.tag == f"{DM}person" and not notes_of(one)]
    about_persons = [one for one in without_own if is_shown(one, found)]
    if not root.findall(f"{DM}person"):
        about_persons = granted(found, everything[1])
    for child in list(root):
        if child.tag == f"{PIDF}note":
            # RFC 4479 section 5: it is of each person without a note.
            if not about_persons or not (every or is_true(found, f"{PR}provide-note")):
                remove(child)
        elif child.tag not in (f"{PIDF}tuple", f"{DM}person", f"{DM}device") or not is_shown(child, found):
            remove(child)
        elif not every:
            filter_component(child, found)
    return content(etree.tostring(root))


def notes_of(component: etree._Element) -> list[etree._Element]:
    return component.findall(f"{PIDF}note") + component.findall(f"{DM}note")


def is_shown(component: etree._Element, found: list[etree._Element]) -> bool:
    """RFC 5025 section 3.3.1."""
    kind = {f"{PIDF}tuple": "service", f"{DM}person": "person", f"{DM}device": "device"}[component.tag]
    for members in granted(found, f"{PR}provide-{kind}s"):
        for member in members:
            value = token(member)
            uris = [token(contact) for contact in component.findall(f"{PIDF}contact")]
            if member.tag == f"{PR}all-{kind}s":
                return True
            if member.tag == f"{PR}class" and value in [token(one) for one in component.findall(f"{RPID}class")]:
                return True
            if member.tag == f"{PR}occurrence-id" and value == component.get("id", "").strip():
                return True
            devices = [token(one) for one in component.findall(f"{DM}deviceID")] if kind == "device" else []
            if member.tag == f"{PR}deviceID" and any(same_uri(one, value) for one in devices):
                return True
            if kind != "service":
                continue
            if member.tag == f"{PR}service-uri" and any(same_uri(uri, value) for uri in uris):
                return True
            if member.tag == f"{PR}service-uri-scheme" and value in [uri.split(":")[0] for uri in uris if ":" in uri]:
                return True
            ids = component.findall(f"{OP}service-description/{OP}service-id")
            if member.tag == f"{OPR}service-id" and value in [token(one) for one in ids]:
                return True
    return False


SIP_URI = re.compile(
    r"(?P<scheme>sips?):((?P<user>[^@]*)@)?(?P<host>[^;:?]+)(?P<port>:\d+)?(?P<params>(;[^;?]+)*)", re.I
)


def same_uri(one: str, other: str) -> bool:
    """RFC 3261 section 19.1.4 for SIP URIs without headers."""
    if one.lower().startswith("urn:uuid:") or other.lower().startswith("urn:uuid:"):
        return one.lower() == other.lower()
    a, b = SIP_URI.fullmatch(one), SIP_URI.fullmatch(other)
    if a is None or b is None:
        scheme, colon, rest = one.partition(":")
        other_scheme, other_colon, other_rest = other.partition(":")
        return (scheme.lower(), colon, rest) == (other_scheme.lower(), other_colon, other_rest)
    if a["scheme"].lower() != b["scheme"].lower() or unquote(a["user"] or "") != unquote(b["user"] or ""):
        return False
    if a["host"].lower() != b["host"].lower() or a["port"] != b["port"]:
        return False
    mine, theirs = (
        {param.partition("=")[0].lower(): param.partition("=")[2].lower() for param in m["params"].split(";") if param}
        for m in (a, b)
    )
    for name in {*mine, *theirs}:
        if name in mine and name in theirs:
            if mine[name] != theirs[name]:
                return False
        elif name in ("user", "ttl", "method", "maddr", "transport"):
            return False
    return True


ATTRIBUTES = [
    # permission, element, in which components (RFC 5025 sections 3.3.2.1 to 3.3.2.13; RFC 4480 table 1)
    (f"{PR}provide-activities", f"{RPID}activities", "person"),
    (f"{PR}provide-class", f"{RPID}class", "person tuple device"),
    (f"{PR}provide-deviceID", f"{DM}deviceID", "tuple"),
    (f"{PR}provide-mood", f"{RPID}mood", "person"),
    (f"{PR}provide-place-is", f"{RPID}place-is", "person"),
    (f"{PR}provide-place-type", f"{RPID}place-type", "person"),
    (f"{PR}provide-privacy", f"{RPID}privacy", "person tuple"),
    (f"{PR}provide-relationship", f"{RPID}relationship", "tuple"),
    (f"{PR}provide-sphere", f"{RPID}sphere", "person"),
    (f"{PR}provide-status-icon", f"{RPID}status-icon", "person tuple"),
    (f"{PR}provide-time-offset", f"{RPID}time-offset", "person"),
    (f"{PR}provide-note", f"{PIDF}note", "tuple person device"),
    (f"{PR}provide-note", f"{DM}note", "tuple person device"),
    (f"{OPR}provide-willingness", f"{OP}willingness", "tuple person"),
    (f"{OPR}provide-willingness", f"{OP}overriding-willingness", "tuple person"),
    (f"{OPR}provide-network-availability", f"{OP}network-availability", "device"),
    (f"{OPR}provide-session-participation", f"{OP}session-participation", "tuple"),
    (f"{OPR}provide-registration-state", f"{OP}registration-state", "tuple"),
    (f"{OPR}provide-barring-state", f"{OP}barring-state", "tuple"),
]
ALWAYS = [
    (f"{PIDF}contact", "tuple"),
    (f"{RPID}service-class", "tuple"),
    (f"{PIDF}status", "tuple"),
    (f"{PIDF}timestamp", "tuple person device"),
    (f"{DM}timestamp", "tuple person device"),
    (f"{DM}deviceID", "device"),
]
"""RFC 5025 section 3.3.2, before 3.3.2.1."""
GOVERNED = {element for _, element, _ in ATTRIBUTES} | {element for element, _ in ALWAYS}
GOVERNED |= {f"{RPID}user-input", f"{RPID}deviceID", f"{PIDF}basic", f"{GP}geopriv"}


def filter_component(component: etree._Element, found: list[etree._Element]) -> None:
    kind = etree.QName(component).localname
    geopriv = any(token(one) == "full" for one in granted(found, f"{OPR}provide-geopriv"))
    for name in list(component.attrib):
        if name != "id":
            del component.attrib[name]
    component.text = None
    for child in list(component):
        child.tail = None
        if child.tag == f"{RPID}user-input":
            filter_user_input(child, found)
        elif child.tag == f"{GP}geopriv":
            if not geopriv:
                remove(child)
        elif not is_attribute_shown(child, kind, found):
            remove(child)
        elif child.tag == f"{PIDF}status":
            child.attrib.clear()
            child.text = None
            for one in list(child):
                one.tail = None
                if one.tag != f"{PIDF}basic" and not (one.tag == f"{GP}geopriv" and geopriv):
                    remove(one)


def is_attribute_shown(child: etree._Element, kind: str, found: list[etree._Element]) -> bool:
    if any(child.tag == element and kind in kinds.split() for element, kinds in ALWAYS):
        return True
    for permission, element, kinds in ATTRIBUTES:
        if child.tag == element and kind in kinds.split() and is_true(found, permission):
            return True
    if child.tag in GOVERNED:
        return False
    # RFC 5025 section 3.3.2.14.
    name = etree.QName(child)
    return any(
        one.get("ns")
        and (one.get("ns"), one.get("name")) == (name.namespace, name.localname)
        and token(one) in ("true", "1")
        for one in granted(found, f"{PR}provide-unknown-attribute")
    )


def filter_user_input(element: etree._Element, found: list[etree._Element]) -> None:
    """RFC 5025 section 3.3.2.12."""
    levels = [token(one) for one in granted(found, f"{PR}provide-user-input")]
    level = max([LEVELS.index(one) for one in levels if one in LEVELS], default=0)
    if LEVELS[level] == "false":
        remove(element)
    for name in list(element.attrib):
        if LEVELS[level] == "bare" or (LEVELS[level] == "thresholds" and name != "idle-threshold"):
            del element.attrib[name]


# Trees


def content(document: bytes) -> list[str]:
    root = etree.fromstring(document, etree.XMLParser(remove_comments=True, remove_pis=True))
    said: list[str] = []

    def tell(element: etree._Element, path: str) -> None:
        identifier = element.get("id")
        path += f"/{element.tag}" + (f"#{identifier}" if identifier else "")
        said.append(path)
        said.extend(f"{path}/@{name}={value}" for name, value in element.attrib.items())
        texts = [element.text, *(child.tail for child in element)]
        said.extend(f"{path}/text()={text.strip()}" for text in texts if text and text.strip())
        for child in element:
            tell(child, path)

    tell(root, "")
    return sorted(said)


def elements(element: etree._Element) -> list[etree._Element]:
    return [child for child in element if isinstance(child.tag, str)]


def token(element: etree._Element) -> str:
    return " ".join("".join(element.xpath("text()")).split())


def remove(element: etree._Element) -> None:
    """Take an element out, and leave the text behind it where it is."""
    parent, tail = element.getparent(), element.tail
    assert parent is not None
    if tail and tail.strip():
        before = element.getprevious()
        if before is None:
            parent.text = (parent.text or "") + tail
        else:
            before.tail = (before.tail or "") + tail
    parent.remove(element)
