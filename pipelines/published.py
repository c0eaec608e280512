"""Table 1 of the technical report that this project reproduces, and the report itself: the only copy of both.

One run of each system, scored on CASTELLA's development-testing split; percent.
"""

from __future__ import annotations

FIGURES = ("R1@0.5", "R1@0.7", "mAP", "mAP@0.5", "mAP@0.75")  # columns of the table
AUTHORS = "Y. Hou, A. Liu, Z. Shu, X. Guo, Y. Wu, Y. Liu, X. Xia, X. Luo, G. Huang"
TITLE = "Quality- and Boundary-Aware Cross-Modal Refinement for Long-Audio Moment Retrieval"
KIND = "technical report, DCASE 2026 Challenge Task 6"
LINK = "https://github.com/HYZ-0514/dcase2026-quality-boundary-aware-lamr"
CITATION = f"{AUTHORS}: “{TITLE}”, {KIND}, {LINK}"

# name -> what it is, as the table describes it
ROWS = {
    "B0": "official baseline, CASTELLA only",
    "B1": "official baseline, CASTELLA + Clotho-Moment",
    "S1": "official baseline, CASTELLA + Clotho-Moment-Long",
    "S2": "UVCOM-style backbone, CASTELLA + Clotho-Moment-Long",
    "S3": "S2 + quality-aware resorting",
    "S4": "S2 + all-window saliency",
    "S5": "S4 + short proposals",
    "S6": "S5 + boundary hard negative learning",
    "S7": "S5 + quality-aware resorting",
    "S8": "S6 + quality-aware resorting",
}

_VALUES = {
    "B0": (23.16, 10.32, 9.11, 20.34, 6.96),
    "B1": (25.61, 13.59, 12.06, 23.60, 10.72),
    "S1": (29.84, 17.97, 14.60, 26.44, 14.07),
    "S2": (32.29, 20.34, 16.06, 28.53, 15.72),
    "S3": (36.38, 24.65, 18.42, 31.98, 17.66),
    "S4": (33.33, 21.31, 16.42, 28.88, 15.70),
    "S5": (33.33, 21.31, 16.87, 28.92, 16.21),
    "S6": (32.67, 21.08, 16.96, 28.59, 16.71),
    "S7": (35.93, 23.24, 17.03, 30.60, 15.74),
    "S8": (37.49, 25.09, 18.61, 31.97, 17.86),
}
PUBLISHED = {name: dict(zip(FIGURES, values, strict=True)) for name, values in _VALUES.items()}
