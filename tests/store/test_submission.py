import pytest

from presence.store.submission import Tick, decode, encode, sift, storable

from .conftest import Answers


def test_text_that_is_no_unicode_keeps_distinct_values_distinct() -> None:
    params = storable(("al\udcffce", "al\udcfece", b"\xff", None, 7))
    assert params[0] != params[1]
    assert params[2:] == (b"\xff", None, 7)
    assert all(isinstance(value, str) and value.encode() for value in params[:2])


def test_a_record_gives_back_what_was_written() -> None:
    changes = [("presentity_refresh", (7, "a\udcffb", 1.5, None, b"\x00", -(2**63))), ("presentity_delete", (8,))]
    assert decode(encode(changes)) == changes
    with pytest.raises(ValueError, match=r"."):
        decode(encode(changes)[:-3])


def test_what_cannot_be_written_is_sifted_out_with_its_submission() -> None:
    done = Answers().done
    good, bad = ("presentity_delete", (1,)), ("presentity_delete", (object(),))
    tick = Tick([good, bad, good, good, good], [(1, done), (2, done), (0, done), (2, done)])  # type: ignore[list-item]
    writes, errors = sift(tick)
    assert writes == [good] * 3
    assert [error is None for error in errors] == [True, False, True, True]
