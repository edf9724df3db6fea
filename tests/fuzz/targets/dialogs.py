"""Dialog information: what is read is told as one well-formed document, however it is merged, absorbed or fixed.

Documents of one presentity are parted by two zero bytes.
"""

from collections.abc import Iterable
from pyexpat import ParserCreate

from dialoginfo import dialog, info, remote

from presence.document.dialoginfo import (
    DialogInfo,
    absorb,
    fix_remote_targets,
    merge_dialogs,
    parse_dialog_info,
    write_dialog_info,
)
from presence.errors import BadRequest

ENTITY = "sip:alice@example.com"
PART = b"\0\0"


def read(body: bytes) -> DialogInfo | None:
    refused = ""
    try:
        return parse_dialog_info(body)
    except BadRequest as error:
        refused = error.reason
    assert refused.isascii()
    assert refused.isprintable()
    return None


def run(data: bytes) -> None:
    bodies = data.split(PART)[:4] if not data.startswith((b"\xfe\xff", b"\xff\xfe")) else [data]
    held: DialogInfo | None = None
    documents = []
    for body in bodies:
        document = read(body)
        if document is None:
            continue
        documents.append(document)
        # Fixed, it is what it was but for its targets.
        fixed = parse_dialog_info(fix_remote_targets(body))
        assert [one.names for one in fixed.dialogs] == [one.names for one in document.dialogs]
        refused = "More than"
        try:
            held = parse_dialog_info(absorb(held, body))
        except BadRequest as error:
            refused = error.reason
        assert refused.startswith(("XML Body Exceeds", "More than"))
    if not documents:
        return
    merged = merge_dialogs(documents)
    others = [other for document in documents for other in document.others]
    told = write_dialog_info(ENTITY, 1, "full", [*(one.text for one in merged), *others])
    ParserCreate("utf-8", "\f").Parse(told, True)
    assert b"session-description" not in told or any(b"session-description" in body for body in bodies)


def seeds() -> Iterable[bytes]:
    names = {"call_id": "c", "local_tag": "l"}
    yield info(dialog("1", "early", **names)).encode()
    yield PART.join(
        info(dialog("1", state, **names, remote_tag=tag), state="partial").encode()
        for state, tag in (("trying", ""), ("confirmed", "r"), ("terminated", "r"))
    )
    sdp = "<local><session-description type='a'>v=0</session-description><session-description type='b'/></local>"
    yield info(dialog("2", "confirmed", more=sdp + remote("sip:a@b", "sip:c@d?e=f&amp;g"))).encode()
    yield (
        b'<d:dialog-info xmlns:d="urn:ietf:params:xml:ns:dialog-info" xmlns:n="urn:n" xmlns="urn:x" version="1" '
        b'state="full" entity="e"><!-- c --><d:dialog id=" &#x41; "><d:state> Early </d:state><n:x n:y=""/>'
        b"<y/></d:dialog><n:z/><![CDATA[t]]></d:dialog-info>"
    )
    yield info(dialog()).replace("1.0", "1.0' encoding='UTF-16").encode("utf-16")
    yield b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + info(dialog("&b;")).encode()
