"""Examples of RFCs, word for word: each file of `examples/` is a part of an RFC without its page breaks."""

import re
from pathlib import Path

FOLDER = Path(__file__).parent / "examples"

_DOCUMENT = re.compile(r"<\?xml version=.*?(?=\n\n(?:[A-Z]|<\?xml)|\Z)", re.DOTALL)
"""A document ends with a blank line before a sentence or another document."""


def documents(name: str) -> list[str]:
    """Return the XML documents of a file in order."""
    return [found[0].rstrip() for found in _DOCUMENT.finditer((FOLDER / name).read_text())]


def sections(name: str) -> dict[str, list[str]]:
    """Return the XML documents of a file by the number of the section they are in."""
    text = (FOLDER / name).read_text()
    parts = re.split(r"^(A\.\d+)\.  .*$", text, flags=re.MULTILINE)[1:]
    return {
        number: [found[0].rstrip() for found in _DOCUMENT.finditer(content)]
        for number, content in zip(parts[::2], parts[1::2], strict=True)
    }
