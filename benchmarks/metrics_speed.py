"""Our metrics beside the official evaluator's, on the same 1,347 made-up queries, in alternation.

    python benchmarks/metrics_speed.py LIGHTHOUSE

LIGHTHOUSE is a checkout of line/lighthouse d095eaa, which needs scikit-learn. Both get what they read from
files, already parsed. The official evaluator starts eight processes; `--one-process` spares it that, which
favours it on few cores. Prints the medians, their ratio, and whether the results are equal.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from amr_model.scoring.metrics import official_result, score_queries
from clotho_long.core.predictions import Prediction
from clotho_long.core.records import Moment, Query

NUM_QUERIES = 1347  # CASTELLA's test split
DURATION_S = 300


def make_case(seed: int) -> tuple[list[dict], list[dict]]:
    """Annotations and predictions in the Lighthouse format: about CASTELLA's moments a query, ten windows."""
    rng = np.random.default_rng(seed)
    annotations, predictions = [], []
    for number in range(NUM_QUERIES):
        count = int(min(rng.geometric(0.4) + (rng.random() < 0.1) * rng.integers(5, 20), 30))
        onsets = np.sort(rng.choice(DURATION_S - 30, size=count, replace=False))
        moments = [[int(onset), int(onset + rng.integers(1, 30))] for onset in onsets]
        near = [moments[at] for at in rng.integers(0, count, 10)]
        windows = [
            [max(0.0, start - before), end + after, round(rng.random(), 4)]
            for (start, end), (before, after) in zip(near, rng.uniform(0, 6, (10, 2)), strict=True)
        ]
        windows.sort(key=lambda window: -window[2])
        common = {"qid": f"q{number}", "query": "a dog barks", "vid": f"r{number // 3}"}
        annotations.append({**common, "duration": DURATION_S, "relevant_windows": moments})
        predictions.append({**common, "pred_relevant_windows": windows})
    return annotations, predictions


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lighthouse", type=Path)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--one-process", action="store_true")
    options = parser.parse_args()
    sys.path[:0] = [
        str(options.lighthouse / "training"),
        str(options.lighthouse / "training" / "standalone_eval"),
    ]
    from standalone_eval import eval as official

    annotations, predictions = make_case(seed=1)
    if options.one_process:
        compute = official.compute_mr_ap
        official.compute_mr_ap = lambda *args, **kwargs: compute(*args, **{**kwargs, "num_workers": 1})
    queries = [
        Query(
            qid=line["qid"],
            query=line["query"],
            recording_id=line["vid"],
            duration_s=line["duration"],
            moments=tuple(Moment(onset_s=a, offset_s=b) for a, b in line["relevant_windows"]),
        )
        for line in annotations
    ]
    answers = [
        Prediction(
            qid=line["qid"],
            query=line["query"],
            recording_id=line["vid"],
            moments=tuple((a, b, s) for a, b, s in line["pred_relevant_windows"]),
        )
        for line in predictions
    ]
    ours_s, theirs_s = [], []
    for _ in range(options.repeats):
        start = time.perf_counter()
        ours = official_result(score_queries(queries, answers))
        ours_s.append(time.perf_counter() - start)
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            theirs = official.eval_submission(predictions, annotations, verbose=False)
        theirs_s.append(time.perf_counter() - start)
    slow, fast = statistics.median(theirs_s), statistics.median(ours_s)
    print(f"{NUM_QUERIES} queries, {options.repeats} repeats in alternation")
    print(f"official {slow * 1000:.0f} ms, ours {fast * 1000:.1f} ms, ratio {slow / fast:.0f}")
    print(f"results equal: {ours == {key: theirs[key] for key in ('brief', 'full')}}")


if __name__ == "__main__":
    main()
