from __future__ import annotations

import pytest

from clotho_long.core.records import Moment, Query
from pipelines.simulation.joined import (
    Answer,
    area_under_roc,
    found_again,
    is_false,
    join_recordings,
)

LENGTHS = {f"r{number}": 50 + 10 * number for number in range(6)}  # rows


def queries() -> list[Query]:
    """Two of each recording: one caption of its own, one that even recordings share."""
    made = []
    for number, (recording_id, rows) in enumerate(LENGTHS.items()):
        texts = (f"sound {number}", "rain " if number % 2 == 0 else f"wind {number}")
        for place, text in enumerate(texts):
            moments = (Moment(onset_s=4.0, offset_s=9.0), Moment(onset_s=rows - 5.0, offset_s=rows + 3.0))
            qid = f"{number}{place}"
            made.append(
                Query(qid=qid, query=text, recording_id=recording_id, duration_s=rows + 0.4, moments=moments)
            )
    return made


def test_moments_stand_where_their_part_does() -> None:
    wholes = list(join_recordings(queries(), LENGTHS, 150.0))
    assert [part for whole in wholes for part in whole.parts] == [
        part for whole in wholes for part in dict.fromkeys(whole.parts)
    ]
    assert wholes
    for whole in wholes:
        assert whole.duration_s == sum(LENGTHS[part] for part in whole.parts) >= 150
        assert whole.duration_s - LENGTHS[whole.parts[-1]] < 150
        for query in whole.present:
            part = whole.parts.index(query.recording_id)
            start_s = sum(LENGTHS[other] for other in whole.parts[:part])
            end_s = start_s + LENGTHS[query.recording_id]
            # the second moment ends with its rows: what lies behind them is the next recording's
            assert query.moments == (
                Moment(onset_s=start_s + 4, offset_s=start_s + 9),
                Moment(onset_s=end_s - 5, offset_s=end_s),
            )
            assert query.duration_s == whole.duration_s


def test_a_caption_that_stands_twice_is_not_asked_and_absent_ones_stand_nowhere() -> None:
    (whole,) = join_recordings(queries(), LENGTHS, sum(LENGTHS.values()))
    assert "rain " not in [query.query for query in whole.present]
    assert len(whole.present) == 9
    assert whole.absent == ()  # every caption stands somewhere in it
    for part in join_recordings(queries(), LENGTHS, 110.0):
        here = {q.query.strip() for q in queries() if q.recording_id in part.parts}
        assert not here & {query.query.strip() for query in part.absent}
        assert all(query.moments == () and query.duration_s == part.duration_s for query in part.absent)
        assert len(part.absent) == len(part.present)


def test_the_order_depends_on_the_seed_and_on_nothing_else() -> None:
    first = list(join_recordings(queries(), LENGTHS, 150.0))
    assert next(join_recordings(queries()[::-1], LENGTHS, 150.0)).parts == first[0].parts
    others = [next(join_recordings(queries(), LENGTHS, 150.0, seed=seed)).parts for seed in range(1, 6)]
    assert any(parts != first[0].parts for parts in others)


@pytest.mark.parametrize(
    ("whole", "shortened", "expected"),
    [
        ((60.0, 70.0), (10.4, 19.2), True),
        ((60.0, 70.0), (11.5, 20.0), False),
        ((60.0, 70.0), None, False),
        ((49.0, 70.0), (0.0, 20.0), None),  # begins in what was cut off
        (None, (1.0, 2.0), None),
    ],
)
def test_an_answer_is_found_again_within_a_second(
    whole: tuple[float, float] | None, shortened: tuple[float, float] | None, expected: bool | None
) -> None:
    def answer(edges: tuple[float, float] | None) -> Answer:
        return Answer(moments=() if edges is None else ((*edges, 0.5),), presence=0.5)

    assert found_again(answer(whole), answer(shortened), 50.0) is expected


def test_the_area_counts_ordered_pairs() -> None:
    assert area_under_roc([3.0, 2.0], [1.0, 0.0]) == 1
    assert area_under_roc([1.0], [1.0, 1.0]) == 0.5
    assert area_under_roc([2.0, 0.5], [1.0]) == 0.5
    assert area_under_roc([0.0], [1.0, 2.0, -1.0]) == pytest.approx(1 / 3)


def test_an_answer_that_touches_no_moment_is_false() -> None:
    truth = [Moment(onset_s=5.0, offset_s=9.0)]
    assert is_false((0.0, 5.0, 1.0), truth)
    assert is_false((9.0, 12.0, 1.0), truth)
    assert not is_false((0.0, 5.1, 1.0), truth)
    assert is_false((0.0, 5.1, 1.0), [])
