"""Segments divide a span among its sub-codes, and the tables agree with the segments."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.codec.code_layout import Segment, layout, segments

SUBCODES = st.integers(1, 8)
GAPS = st.integers(1, 40)
some = settings(max_examples=25)


@some
@given(GAPS, SUBCODES)
def test_every_sub_code_has_a_segment(gap: int, subcodes: int) -> None:
    assert len(segments(gap, subcodes)) == subcodes


@some
@given(GAPS, SUBCODES)
def test_every_token_of_a_span_lies_in_a_segment(gap: int, subcodes: int) -> None:
    covered = {segment.start + i for segment in segments(gap, subcodes) for i in range(segment.size)}
    assert covered == set(range(gap))


@some
@given(GAPS, SUBCODES)
def test_first_stages_cut_a_span_into_adjacent_runs(gap: int, subcodes: int) -> None:
    runs = [segment for segment in segments(gap, subcodes) if segment.stage == 0]
    tokens = [segment.start + i for segment in runs for i in range(segment.size)]
    assert tokens == list(range(gap))
    assert max(run.size for run in runs) - min(run.size for run in runs) <= 1


@some
@given(GAPS, SUBCODES)
def test_only_segments_of_one_token_have_later_stages(gap: int, subcodes: int) -> None:
    next_stage: dict[int, int] = {}
    for segment in segments(gap, subcodes):
        assert segment.stage == next_stage.get(segment.start, 0)
        assert segment.size == 1 or segment.stage == 0
        next_stage[segment.start] = segment.stage + 1


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (1, [Segment(0, 1, 0), Segment(0, 1, 1), Segment(0, 1, 2)]),
        (2, [Segment(0, 1, 0), Segment(0, 1, 1), Segment(1, 1, 0)]),
        (3, [Segment(0, 1, 0), Segment(1, 1, 0), Segment(2, 1, 0)]),
        (5, [Segment(0, 2, 0), Segment(2, 2, 0), Segment(4, 1, 0)]),
    ],
)
def test_three_sub_codes_divide_short_spans(gap: int, expected: list[Segment]) -> None:
    assert segments(gap, 3) == expected


@some
@given(GAPS, SUBCODES)
def test_the_tables_agree_with_the_segments(max_gap: int, subcodes: int) -> None:
    tables = layout(subcodes, max_gap)
    for gap in range(1, max_gap + 1):
        for m, segment in enumerate(segments(gap, subcodes)):
            assert tables.start[gap, m] == segment.start
            assert tables.sizes[tables.role[gap, m]] == segment.size
            assert segment.size > 1 or tables.role[gap, m] == segment.stage


@some
@given(GAPS, SUBCODES)
def test_the_place_of_a_token_is_its_position_in_its_last_segment(max_gap: int, subcodes: int) -> None:
    tables = layout(subcodes, max_gap)
    for gap in range(1, max_gap + 1):
        for token in range(gap):
            m, segment = last_segment_of(token, gap, subcodes)
            assert tables.place[gap, token] == tables.first_place[tables.role[gap, m]] + token - segment.start


@some
@given(GAPS, SUBCODES)
def test_the_follower_of_a_token_is_the_sub_code_after_its_last(max_gap: int, subcodes: int) -> None:
    tables = layout(subcodes, max_gap)
    for gap in range(1, max_gap + 1):
        for token in range(gap):
            m, _ = last_segment_of(token, gap, subcodes)
            if m + 1 == subcodes:
                assert tables.follower[gap, token] == -1
            else:
                assert tables.follower[gap, token] == tables.role[gap, m + 1]
                assert tables.follower_start[gap, token] == tables.start[gap, m + 1]


@some
@given(GAPS, SUBCODES)
def test_roles_share_no_places(max_gap: int, subcodes: int) -> None:
    tables = layout(subcodes, max_gap)
    places = [first + i for first, size in zip(tables.first_place, tables.sizes, strict=True) for i in range(size)]
    assert places == list(range(tables.places))
    assert tables.place.max() < tables.places


def last_segment_of(token: int, gap: int, subcodes: int) -> tuple[int, Segment]:
    covering = [(m, s) for m, s in enumerate(segments(gap, subcodes)) if s.start <= token < s.start + s.size]
    return covering[-1]
