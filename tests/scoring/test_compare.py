"""Two systems on the same queries."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amr_model.scoring.compare import Comparison, as_lines, as_table, compare
from amr_model.scoring.metrics import official_result, score_queries
from amr_model.scoring.report import bootstrap, headline_values
from clotho_long.core.errors import ManifestError
from tests.retrieval_builders import make_prediction, make_query

RIGHT, WRONG = (2.0, 5.0, 0.9), (10.0, 15.0, 0.8)


def make_case(answers: list[tuple[tuple[float, float, float], ...]]):
    """Queries of one moment each, and what a system answers to each."""
    queries = [make_query(f"q{at}") for at in range(len(answers))]
    return queries, [make_prediction(f"q{at}", windows) for at, windows in enumerate(answers)]


def some_answers():
    return st.lists(
        st.lists(st.sampled_from([RIGHT, WRONG, (2.5, 5.5, 0.5)]), max_size=3), min_size=8, max_size=8
    )


def mirrored(comparison: Comparison) -> Comparison:
    """B against A."""
    return dataclasses.replace(
        comparison,
        figures={
            name: dataclasses.replace(
                own,
                a=own.b,
                b=own.a,
                difference=-own.difference,
                interval=(-own.interval[1], -own.interval[0]),
                won=own.lost,
                lost=own.won,
            )
            for name, own in comparison.figures.items()
        },
        queries=tuple(
            dataclasses.replace(
                own, a=own.b, b=own.a, first_iou_a=own.first_iou_b, first_iou_b=own.first_iou_a
            )
            for own in comparison.queries
        ),
        unanswered=comparison.unanswered[::-1],
    )


def test_figures_are_those_of_each_evaluation_and_their_difference():
    queries, a = make_case([(RIGHT,), (WRONG, RIGHT), (WRONG,), (WRONG,)])
    _, b = make_case([(RIGHT,), (RIGHT,), (WRONG,), (RIGHT, WRONG)])
    comparison = compare(queries, a, b)
    for predictions, side in ((a, "a"), (b, "b")):
        brief = official_result(score_queries(queries, predictions))["brief"]
        for name in ("R1@0.5", "R1@0.7", "mAP", "mAP@0.5", "mAP@0.75"):
            assert getattr(comparison.figures[name], side) == brief[f"MR-full-{name}"]
    first = comparison.figures["R1@0.5"]
    assert (first.a, first.b, first.difference) == (25.0, 75.0, 50.0)
    assert (first.won, first.lost, first.equal) == (2, 0, 2)
    assert [query.qid for query in comparison.queries] == ["q3", "q1", "q0", "q2"]
    assert (comparison.queries[0].first_iou_a, comparison.queries[0].first_iou_b) == (0.0, 1.0)


@given(some_answers(), some_answers())
def test_a_comparison_turned_round_is_the_same_comparison(first, second):
    queries, a = make_case([tuple(windows) for windows in first])
    _, b = make_case([tuple(windows) for windows in second])
    one, other = compare(queries, a, b), mirrored(compare(queries, b, a))
    for name, figure in one.figures.items():
        assert dataclasses.replace(figure, interval=(0, 0)) == dataclasses.replace(
            other.figures[name], interval=(0, 0)
        )
        # the same resamples, but quantiles and roundings of negated numbers may differ in the last digit
        assert figure.interval == pytest.approx(other.figures[name].interval, abs=0.0101)
        assert figure.won + figure.lost + figure.equal == len(queries)
    assert one.queries == other.queries


def test_intervals_are_those_of_the_paired_differences():
    rng = np.random.default_rng(0)
    answers = [[(RIGHT,) if right else (WRONG,) for right in rng.random(200) < 0.5] for _ in range(2)]
    (queries, a), (_, b) = map(make_case, answers)
    values_a, values_b = (headline_values(score_queries(queries, own)) for own in (a, b))
    expected = bootstrap({name: values_b[name] - values_a[name] for name in values_a}, seed=0)
    figures = compare(queries, a, b).figures
    assert {name: figures[name].interval for name in expected} == expected
    same = compare(queries, a, a).figures["mAP"]
    assert (same.difference, same.interval, same.equal) == (0.0, (0.0, 0.0), 200)


def test_what_is_not_answered_is_a_miss_of_who_did_not_answer():
    queries, a = make_case([(RIGHT,), (RIGHT,)])
    comparison = compare(queries, a, a[:1])
    assert comparison.unanswered == (0, 1)
    assert comparison.figures["R1@0.7"].b == 50.0
    assert "1 queries without a prediction of B are misses" in as_lines(comparison, top=1)


def test_answers_to_other_queries_are_refused():
    queries, a = make_case([(RIGHT,), (RIGHT,)])
    with pytest.raises(ManifestError, match="qid q1 is not among the queries"):
        compare(queries[:1], a, a)
    elsewhere = [dataclasses.replace(a[0], recording_id="r9"), a[1]]
    with pytest.raises(ManifestError, match="qid q0 is of recording r9, not r1"):
        compare(queries, a, elsewhere)
    unsaid = [dataclasses.replace(own, recording_id="") for own in a]
    assert compare(queries, a, unsaid).figures["mAP"].difference == 0.0


def test_the_table_has_a_row_a_query_and_the_lines_are_short():
    queries, a = make_case([(RIGHT,)] * 20)
    queries = [dataclasses.replace(query, query="a dog\nbarks\udcff " * 20) for query in queries]
    _, b = make_case([(WRONG,)] * 20)
    comparison = compare(queries, a, b)
    table = as_table(comparison)
    assert len(table) == 20
    assert (table["R1@0.5_a"].mean(), table["R1@0.5_b"].mean()) == (100.0, 0.0)
    lines = as_lines(comparison, top=3)
    assert sum("a dog barks" in line for line in lines) == 3
    assert all(len(line.encode()) < 110 for line in lines)
    assert not any("q0:" in line for line in as_lines(compare(queries, a, a), top=3)), "nothing differs"
