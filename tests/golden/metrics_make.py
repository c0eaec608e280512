"""Remakes metrics_small.json: 40 made-up queries and predictions, scored by the official evaluator.

    python tests/golden/metrics_make.py LIGHTHOUSE   (a checkout of line/lighthouse d095eaa)

The cases meant: ties in IoU and score, duplicates, windows of no length, unsorted lists, 1 to 14 windows.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def make_case(rng: np.random.Generator, qid: str) -> dict:
    """One query: moments on a grid, so that ties are frequent, and windows near and far from them."""
    starts = np.sort(rng.choice(60, size=rng.integers(1, 8), replace=False)) * 5
    moments = [[int(start), int(start + rng.integers(1, 6))] for start in starts]
    windows = []
    for _ in range(rng.integers(1, 15)):
        start, end = moments[rng.integers(len(moments))] if rng.random() < 0.7 else (0, 0)
        start, end = start + rng.integers(-2, 3), end + rng.integers(-2, 3)
        windows.append([float(min(start, end)), float(max(start, end)), round(rng.integers(0, 6) / 5, 1)])
    return {"qid": qid, "relevant_windows": moments, "pred_relevant_windows": windows}


def main(lighthouse: Path) -> None:
    sys.path[:0] = [str(lighthouse / "training"), str(lighthouse / "training" / "standalone_eval")]
    from standalone_eval.eval import compute_average_precision_detection_wrapper, eval_submission

    rng = np.random.default_rng(4)
    cases = [make_case(rng, f"q{number}") for number in range(40)]
    thresholds = [round(0.5 + 0.05 * step, 2) for step in range(10)]
    for case in cases:
        truth = [{"video-id": 0, "t-start": a, "t-end": b} for a, b in case["relevant_windows"]]
        windows = [
            {"video-id": 0, "t-start": a, "t-end": b, "score": s}
            for a, b, s in case["pred_relevant_windows"][:10]
        ]
        _, precision = compute_average_precision_detection_wrapper((0, truth, windows), thresholds)
        case["average_precision"] = precision.tolist()
    expected = eval_submission(cases, cases, verbose=False)
    content = {"cases": cases, "expected": {key: expected[key] for key in ("brief", "full")}}
    (HERE / "metrics_small.json").write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
