from presence.store.submission import GROUP_LIMIT, Submission, cut_groups, storable

from .conftest import Answers


def a_submission(writes: int) -> Submission:
    return Submission(((None, ()),) * writes, Answers().done)  # type: ignore[arg-type]


def test_groups_keep_the_order_and_the_limit_and_cut_no_submission() -> None:
    submissions = [a_submission(size) for size in (1, 0, GROUP_LIMIT - 1, 1, GROUP_LIMIT + 5, 2, 3)]
    groups = list(cut_groups(submissions))
    assert [len(group) for group in groups] == [3, 1, 1, 2]
    assert [submission for group in groups for submission in group] == submissions
    assert list(cut_groups([])) == []


def test_text_that_is_no_unicode_keeps_distinct_values_distinct() -> None:
    params = storable(("al\udcffce", "al\udcfece", b"\xff", None, 7))
    assert params[0] != params[1]
    assert params[2:] == (b"\xff", None, 7)
    assert all(isinstance(value, str) and value.encode() for value in params[:2])
