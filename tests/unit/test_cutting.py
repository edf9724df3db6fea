"""Cut documents made by hand: what the compiled core keeps of them, and what it does not let itself be told."""

import pytest

from presence._fastcore import CutDocument, Vocabulary, merge_xml

DECLARATIONS = [(b"p", b"urn:p"), (b"q", b"urn:q")]
PIECES = [(0, b"a", 2, b"<t id='a'/>", 0b10, True), (4, b"", 4, b"<p:x/>", 0b01, False)]


def test_a_document_tells_what_it_was_made_of() -> None:
    document = CutDocument(DECLARATIONS, PIECES)
    assert len(document) == 2
    assert document.inheritable() == DECLARATIONS
    assert [document.piece(i) for i in range(2)] == PIECES
    assert document.text == b"purn:pqurn:qa<t id='a'/><p:x/>"


def test_there_is_no_piece_behind_the_last() -> None:
    with pytest.raises(IndexError):
        CutDocument(DECLARATIONS, PIECES).piece(2)
    with pytest.raises(OverflowError):
        CutDocument(DECLARATIONS, PIECES).piece(-1)


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(ValueError, match="declarations"):
        CutDocument([(b"p%d" % i, b"urn:p") for i in range(65)], [])
    with pytest.raises(ValueError, match="pieces"):
        CutDocument([], PIECES * 32768)
    with pytest.raises(ValueError, match="head"):
        CutDocument([], [(0, b"", 5, b"<a/>", 0, False)])


def test_what_failed_half_way_reads_nothing_beyond_its_text() -> None:
    document = CutDocument(DECLARATIONS, PIECES)
    with pytest.raises(OverflowError):
        document.__init__(DECLARATIONS, [PIECES[0], (-1, b"", 4, b"<p:x/>", 0b01, False)])  # type: ignore[misc]
    assert merge_xml([document], b"<a", b">", b"</a>").startswith(b"<a")
    assert merge_xml([CutDocument.__new__(CutDocument)], b"<a", b">", b"</a>") == b"<a></a>"


def test_the_declarations_of_pieces_are_hoisted_and_conflicts_repeated() -> None:
    other = CutDocument([(b"p", b"urn:r")], [(4, b"", 4, b"<p:x/>", 1, False)])
    merged = merge_xml([other, CutDocument(DECLARATIONS, PIECES)], b"<a", b">", b"</a>")
    assert merged == b"""<a xmlns:q="urn:q" xmlns:p="urn:p"><t id='a'/><p:x/><p:x xmlns:p="urn:r"/></a>"""


def test_only_documents_merge() -> None:
    for stranger in (None, b"<a/>"):
        with pytest.raises(TypeError):
            merge_xml([stranger], b"", b"", b"")  # type: ignore[list-item]


def test_a_vocabulary_has_few_names() -> None:
    with pytest.raises(ValueError, match="names"):
        Vocabulary(("urn:a", b"a"), {("urn:a", b"b%d" % i): 0 for i in range(9)}, other=1, identified=())


@pytest.mark.parametrize("number", range(100))
def test_prefixes_ids_and_texts_of_the_same_letters_are_different_things(number: int) -> None:
    names = [b"n%d.%d" % (number, i) for i in range(32)]
    declarations = [(name, b"urn:" + name) for name in names]
    tuples = [(0, name, 1, b"<" + name, 1 << i, True) for i, name in enumerate(names)]
    notes = [(1, b"", 0, name, 0, False) for name in names]
    merged = merge_xml([CutDocument(declarations, tuples + notes)], b"", b">", b"")
    hoisted = b"".join(b' xmlns:%b="%b"' % pair for pair in declarations)
    assert merged == hoisted + b">" + b"".join(b"<" + name for name in names) + b"".join(names)
