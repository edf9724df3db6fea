"""Random rules, documents, watchers and lists that have to do with each other."""

import random

HOME = "http://xcap.example.com/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list"
ANCHORS = [f"{HOME}%5b@name=%22{name}%22%5d" for name in ("granted", "blocked", "family")]
WATCHERS = [
    "sip:bob@example.com",
    "sip:carol@example.com",
    "sip:bob@example.org",
    "sip:dave@sub.example.org",
    "sip:erin@xn--bcher-kva.example",
    "tel:+12125551234",
    "sip:+12125551234@example.com",
]
IDS = [
    *WATCHERS,
    "sips:bob@EXAMPLE.com",
    "sip:%62ob@example.com",
    "pres:carol@example.com",
    "im:carol@example.com;transport=tcp",
    "sip:bob@example.com:5070",
    "tel:+1-212-555-1234",
    "carol@example.com",
    "mailto:bob@example.com",
    "sip:Bob@example.com",
    "",
]
DOMAINS = [
    *("example.com", "EXAMPLE.COM", "example.org", "sub.example.org", "b\u00fccher.example", "ex%61mple.com"),
    *("com", "", "exa mple..com"),
]
SPHERES = ["work", "home", "Work", "meeting"]
CLASSES = ["biz", "Biz", "family"]
CONTACTS = [
    "sip:alice@192.0.2.1:5060;transport=tcp;ob",
    "sip:alice@192.0.2.1:5060;transport=tcp",
    "sip:%61lice@192.0.2.1:5060;TRANSPORT=TCP;gr=a",
    "sip:alice@192.0.2.1:5060;transport=tcp;gr=b",
    "sip:alice@example.com",
    "sips:alice@example.com",
    "mailto:alice@example.com",
    "tel:+12125550000",
    "SIP:alice@example.com",
]
DEVICES = [
    "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
    "URN:UUID:F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6",
    "mac:8asd7d",
]
SERVICES = ["org.openmobilealliance:PoC-session", "org.gsma.videoshare"]
NOW = 1_700_000_000.0
"""2023-11-14T22:13:20Z."""
TIMES = [
    *("2023-11-14T22:13:20Z", "2023-11-14T22:13:20", "2023-11-14T22:13:20.5Z", "2023-11-14T23:13:20+01:00"),
    *("2023-11-14T17:13:20-05:00", "2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z", "2023-11-15T00:13:21+14:00"),
    *("yesterday", "2023-02-30T00:00:00Z", ""),
]
UNKNOWN = [("urn:x-foo", "foo"), ("urn:x-foo", "bar"), ("urn:ietf:params:xml:ns:pidf:cipid", "card")]

CR = "urn:ietf:params:xml:ns:common-policy"


def escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def some(rng: random.Random, choices: list, most: int = 3) -> list:
    return [rng.choice(choices) for _ in range(rng.randint(1, most))]


def often(rng: random.Random, chance: float) -> bool:
    return rng.random() < chance


def random_rules(rng: random.Random, *, oma: bool | None = None, most: int = 5) -> bytes:
    """A rules document; with conditions of OMA or without."""
    if oma is None:
        oma = often(rng, 0.4)
    rules = "".join(_rule(rng, number, oma) for number in range(rng.randint(0, most)))
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<cr:ruleset xmlns:cr="{CR}" xmlns="urn:ietf:params:xml:ns:pres-rules"'
        ' xmlns:pr="urn:ietf:params:xml:ns:pres-rules" xmlns:ocp="urn:oma:xml:xdm:common-policy"'
        f' xmlns:opr="urn:oma:xml:prs:pres-rules" xmlns:x="urn:x-foo">{rules}</cr:ruleset>'
    ).encode()


def _rule(rng: random.Random, number: int, oma: bool) -> str:
    parts = []
    if often(rng, 0.9):
        parts.append(f"<cr:conditions>{_conditions(rng, oma)}</cr:conditions>")
    if often(rng, 0.9):
        parts.append(f"<cr:actions>{_actions(rng)}</cr:actions>")
    if often(rng, 0.9):
        parts.append(f"<cr:transformations>{_transformations(rng)}</cr:transformations>")
    if often(rng, 0.02):
        parts.append("<pr:conditions/>")
    return f'<cr:rule id="r{number}">{"".join(parts)}</cr:rule>'


def _conditions(rng: random.Random, oma: bool) -> str:
    parts = []
    if often(rng, 0.7 if not oma else 0.4):
        parts.append(_identity(rng))
    if oma and often(rng, 0.6):
        parts.append(
            rng.choice(
                [
                    "<ocp:other-identity/>",
                    "<ocp:anonymous-request/>",
                    f"<ocp:external-list>{''.join(_entry(rng) for _ in range(rng.randint(0, 2)))}</ocp:external-list>",
                ]
            )
        )
    if often(rng, 0.2):
        parts.append(_sphere(rng))
    if often(rng, 0.2):
        parts.append(_validity(rng))
    if often(rng, 0.03):
        parts.append(rng.choice(["<x:moon/>", "<cr:moon/>", "<ocp:media-list/>", _identity(rng)]))
    rng.shuffle(parts)
    return "".join(parts)


def _entry(rng: random.Random) -> str:
    return f'<ocp:entry anc="{escape(rng.choice([*ANCHORS, HOME]))}"/>'


def _identity(rng: random.Random) -> str:
    children = []
    for _ in range(rng.randint(0 if often(rng, 0.05) else 1, 3)):
        inner = "<x:only/>" if often(rng, 0.03) else ""
        if often(rng, 0.6):
            children.append(f'<cr:one id="{escape(rng.choice(IDS))}">{inner}</cr:one>')
            continue
        domain = f' domain="{escape(rng.choice(DOMAINS))}"' if often(rng, 0.5) else ""
        for _ in range(rng.choice((0, 0, 1, 2))):
            inner += (
                f'<cr:except id="{escape(rng.choice(IDS))}"/>'
                if often(rng, 0.5)
                else f'<cr:except domain="{escape(rng.choice(DOMAINS))}"/>'
            )
        children.append(f"<cr:many{domain}>{inner}</cr:many>")
    if often(rng, 0.05):
        children.append("<x:everybody/>")
    return f"<cr:identity>{''.join(children)}</cr:identity>"


def _sphere(rng: random.Random) -> str:
    form = rng.randint(0, 3)
    if form == 0:
        return f"<cr:sphere><cr:{rng.choice(SPHERES)}/></cr:sphere>"
    if form == 1:
        return f"<cr:sphere> {rng.choice(SPHERES)} </cr:sphere>"
    return f'<cr:sphere value="{" ".join(some(rng, SPHERES))}"/>'


def _validity(rng: random.Random) -> str:
    pairs = [
        f"<cr:from>{rng.choice(TIMES)}</cr:from><cr:until> {rng.choice(TIMES)} </cr:until>"
        for _ in range(rng.randint(1, 2))
    ]
    return f"<cr:validity>{''.join(pairs)}{'<cr:from/>' if often(rng, 0.05) else ''}</cr:validity>"


def _actions(rng: random.Random) -> str:
    values = ["block", "confirm", "polite-block", "allow", " allow\n", "Allow", "grant", ""]
    count = rng.choice((0, 1, 1, 1, 1, 2))
    return "".join(f"<pr:sub-handling>{rng.choice(values)}</pr:sub-handling>" for _ in range(count))


BOOLEANS = [
    *("activities", "class", "deviceID", "mood", "place-is", "place-type", "privacy", "relationship"),
    *("sphere", "status-icon", "time-offset", "note"),
]
OMA_BOOLEANS = ["willingness", "network-availability", "session-participation", "registration-state", "barring-state"]


def _transformations(rng: random.Random) -> str:
    parts = [_set(rng, kind) for kind in ("service", "person", "device") if often(rng, 0.6)]
    parts += [_boolean(rng, f"pr:provide-{name}") for name in BOOLEANS if often(rng, 0.3)]
    parts += [_boolean(rng, f"opr:provide-{name}") for name in OMA_BOOLEANS if often(rng, 0.2)]
    if often(rng, 0.2):
        parts.append(f"<opr:provide-geopriv>{rng.choice(('full', 'false'))}</opr:provide-geopriv>")
    if often(rng, 0.4):
        level = rng.choice(("false", "bare", "thresholds", "full", "most"))
        parts.append(f"<pr:provide-user-input>{level}</pr:provide-user-input>")
    if often(rng, 0.3):
        ns, name = rng.choice(
            [*UNKNOWN, ("urn:ietf:params:xml:ns:pidf:rpid", "mood"), ("", "foo"), (UNKNOWN[0][0], "")]
        )
        value = rng.choice(("true", "false"))
        parts.append(f'<pr:provide-unknown-attribute ns="{ns}" name="{name}">{value}</pr:provide-unknown-attribute>')
    if often(rng, 0.1):
        parts.append("<pr:provide-all-attributes/>")
    if often(rng, 0.1):
        parts.append("<x:provide-moon>true</x:provide-moon><pr:provide-moon>true</pr:provide-moon>")
    rng.shuffle(parts)
    return "".join(parts)


def _boolean(rng: random.Random, name: str) -> str:
    return f"<{name}>{rng.choice(('true', 'true', '1', ' true ', 'false', 'TRUE', ''))}</{name}>"


def _set(rng: random.Random, kind: str) -> str:
    if often(rng, 0.5):
        return f"<pr:provide-{kind}s><pr:all-{kind}s/></pr:provide-{kind}s>"
    members = [
        *(f"<pr:class>{one}</pr:class>" for one in CLASSES),
        *(f"<pr:occurrence-id> {kind[0]}{number} </pr:occurrence-id>" for number in range(3)),
        "<x:moon/>",
        "<pr:all-moons/>",
        *(f"<pr:service-uri>{escape(one)}</pr:service-uri>" for one in CONTACTS),
        *(f"<pr:service-uri-scheme>{one}</pr:service-uri-scheme>" for one in ("sip", "mailto", "SIP")),
        *(f"<pr:deviceID>{one}</pr:deviceID>" for one in DEVICES),
        *(f"<opr:service-id>{one}</opr:service-id>" for one in SERVICES),
    ]
    return f"<pr:provide-{kind}s>{''.join(some(rng, members, 4))}</pr:provide-{kind}s>"


def random_document(rng: random.Random) -> bytes:
    """A presence document such as composition makes: with any prefixes, declarations anywhere, foreign elements."""
    default = often(rng, 0.8)
    p = "" if default else "p:"
    declared = f'xmlns{"" if default else ":p"}="urn:ietf:params:xml:ns:pidf"'
    declared += ' xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid"'
    declared += ' xmlns:op="urn:oma:xml:prs:pidf:oma-pres" xmlns:x="urn:x-foo"'
    parts = [_tuple(rng, number, p) for number in range(rng.randint(0, 3))]
    parts += [_note(rng, p, "root") for _ in range(rng.randint(0, 1))]
    parts += [_person(rng, number, p) for number in range(rng.randint(0, 2))]
    parts += [_device(rng, number, p) for number in range(rng.randint(0, 2))]
    if often(rng, 0.2):
        parts.append('<x:foo a="1"><x:b/></x:foo>')
    if often(rng, 0.3):
        rng.shuffle(parts)
    gap = rng.choice(("", "\n  "))
    text = f'<{p}presence {declared} entity="sip:alice@example.com">{gap}{gap.join(parts)}{gap}</{p}presence>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def _note(rng: random.Random, p: str, text: str) -> str:
    name = rng.choice((f"{p}note", "dm:note")) if text != "root" else f"{p}note"
    return f'<{name} xml:lang="en">{text} &amp; {rng.choice("ab")}</{name}>'


def _user_input(rng: random.Random) -> str:
    attributes = [' idle-threshold="600"', ' last-input="2004-10-21T13:20:00-05:00"', ' since="now"', ' x:a="b"']
    chosen = "".join(one for one in attributes if often(rng, 0.5))
    return f"<r:user-input{chosen}>{rng.choice(('idle', 'active'))}</r:user-input>"


def _foreign(rng: random.Random) -> str:
    return rng.choice(
        [
            '<x:foo y="1"><x:deep>text</x:deep></x:foo>',
            '<y:foo xmlns:y="urn:x-foo" y:z="2"/>',
            '<foo xmlns="urn:x-foo">t</foo>',
            "<x:bar/>",
            '<c:card xmlns:c="urn:ietf:params:xml:ns:pidf:cipid">http://example.com/card</c:card>',
            '<foo xmlns=""/>',
            '<g:geopriv xmlns:g="urn:ietf:params:xml:ns:pidf:geopriv10"><g:method>GPS</g:method></g:geopriv>',
        ]
    )


def _rich(rng: random.Random) -> str:
    """Anything of RPID, whether it may stand there or not."""
    return rng.choice(
        [
            '<r:activities from="2005-05-30T12:00:00Z"><r:note>Far</r:note><r:away/></r:activities>',
            "<r:mood><r:angry/></r:mood>",
            '<m:mood xmlns:m="urn:ietf:params:xml:ns:pidf:rpid"><m:happy/></m:mood>',
            "<r:place-is><r:audio><r:noisy/></r:audio></r:place-is>",
            "<r:place-type><x:residence/></r:place-type>",
            "<r:privacy><r:unknown/></r:privacy>",
            "<r:relationship><r:friend/></r:relationship>",
            "<r:service-class><r:electronic/></r:service-class>",
            f"<r:sphere><r:{rng.choice(('work', 'home'))}/></r:sphere>",
            "<r:status-icon>http://example.com/i.gif</r:status-icon>",
            '<r:time-offset description="x">-300</r:time-offset>',
            "<op:willingness><op:basic>open</op:basic></op:willingness>",
            "<op:overriding-willingness/>",
            '<op:network-availability><op:network id="IMS"/></op:network-availability>',
            "<op:session-participation/>",
            "<op:registration-state/>",
            "<op:barring-state/>",
            f"<op:service-description><op:service-id>{rng.choice(SERVICES)}</op:service-id></op:service-description>",
            f"<dm:deviceID>{rng.choice(DEVICES)}</dm:deviceID>",
            f"<r:class>{rng.choice(CLASSES)}</r:class>",
            f"<r:class><![CDATA[{rng.choice(CLASSES)}]]></r:class>",
        ]
    )


def _component(rng: random.Random, name: str, identifier: str, parts: list[str]) -> str:
    rng.shuffle(parts)
    gap = rng.choice(("", "\n    ", "<!-- hidden -->"))
    extra = rng.choice(("", "", "", ' x:secret="1"', ' xmlns:z="urn:z"'))
    if not parts and often(rng, 0.5):
        return f'<{name} id="{identifier}"{extra}/>'
    return f'<{name} id="{identifier}"{extra}>{gap}{gap.join(parts)}{gap}</{name}>'


def _extras(rng: random.Random, p: str) -> list[str]:
    parts = [_rich(rng) for _ in range(rng.randint(0, 5))]
    parts += [_foreign(rng) for _ in range(rng.randint(0, 2))]
    parts += [_note(rng, p, "own") for _ in range(rng.randint(0, 1))]
    if often(rng, 0.4):
        parts.append(_user_input(rng))
    if often(rng, 0.5):
        name = rng.choice((f"{p}timestamp", "dm:timestamp"))
        parts.append(f"<{name}>2005-10-27T16:49:29Z</{name}>")
    return parts


def _tuple(rng: random.Random, number: int, p: str) -> str:
    inner = f"<{p}basic>{rng.choice(('open', 'closed'))}</{p}basic>"
    if often(rng, 0.2):
        inner += _foreign(rng)
    status = rng.choice(
        (f"<{p}status>{inner}</{p}status>", f'<{p}status x:a="b">\n{inner}\n</{p}status>', f"<{p}status/>")
    )
    parts = [status, *_extras(rng, p)]
    if often(rng, 0.8):
        parts.append(f'<{p}contact priority="0.8">{escape(rng.choice(CONTACTS))}</{p}contact>')
    return _component(rng, f"{p}tuple", f"s{number}", parts)


def _person(rng: random.Random, number: int, p: str) -> str:
    return _component(rng, "dm:person", f"p{number}", _extras(rng, p))


def _device(rng: random.Random, number: int, p: str) -> str:
    parts = [f"<dm:deviceID>{rng.choice(DEVICES)}</dm:deviceID>", *_extras(rng, p)]
    return _component(rng, "dm:device", f"d{number}", parts)


def random_lists(rng: random.Random) -> dict[str, list[str]]:
    """The lists at the anchors that rules speak of."""
    return {anchor: some(rng, WATCHERS) for anchor in ANCHORS if often(rng, 0.8)}


def random_watcher(rng: random.Random) -> str:
    """A watcher's URI."""
    return rng.choice(WATCHERS)


def random_sphere(rng: random.Random) -> str | None:
    """A sphere, or that it is undefined."""
    return rng.choice([None, *SPHERES])


def random_now(rng: random.Random) -> float:
    """An instant about which validities begin and end."""
    return NOW + rng.choice((-1e8, -1.0, -0.25, 0.0, 0.5, 1.0, 60.0, 7200.0, 1e9))
