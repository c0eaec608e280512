"""Fit what a curve's read-out needs, on queries whose moments are known: about ten numbers.

temperature, shift   logistic regression of every second's label on its logit
smoothing, levels    the combination of a small grid whose first moments fit best (mean IoU)
score                logistic regression on the candidates' statistics, or on their mean alone: a score is the
                     share of moments of that score that overlap a true one by half or more
presence             logistic regression on each curve's peak, queries that the recording holds against
                     queries that it does not
min_score            where the F1 of moments is best, with as many absent queries as present ones
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from amr_model.answer.calibration import Calibration, PresenceWeights, presence_of, presence_statistics
from amr_model.answer.readout import (
    STATISTICS,
    Booleans,
    Curve,
    Floats,
    ReadoutConfig,
    ScoreWeights,
    Segments,
    find_segments,
    logit,
    read_out,
)
from amr_model.answer.run import Asker, Found
from amr_model.data.sets import RetrievalSet
from amr_model.data.targets import dense_labels
from amr_model.roc import area_under_roc
from clotho_long.core.errors import ManifestError
from clotho_long.core.records import Query, ScoredMoment
from clotho_long.core.seeds import generator
from clotho_long.core.units import Seconds

RIGHT_IOU = 0.5  # a moment that overlaps a true one so much is right
RIDGE = 1e-4  # of the logistic fits, on standardised statistics: keeps weights finite where classes separate
ABSENT_ROUNDS = 1  # absent queries for each query
MOST_QUERIES = 1500  # of either kind, drawn: a corpus's validation split has ten thousand, for ten numbers

SMOOTH_ROWS = (1, 3, 5)
LEVELS: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = (  # relative, absolute
    ((0.3, 0.5, 0.7), ()),
    ((0.5,), (0.1, 0.2, 0.3, 0.5, 0.7)),
    ((0.2, 0.35, 0.5, 0.65, 0.8), (0.1, 0.2, 0.3, 0.5, 0.7)),
)
# Which statistics make the score. The mean alone keeps the order of the plain read-out, where the fit of all
# of them is no better.
SCORES: tuple[tuple[str, ...], ...] = (STATISTICS, ("mean",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Curves with what is true of them. Absent curves have no moment."""

    curves: list[Curve]
    truth: list[Floats]  # [moment, 2] seconds of each curve
    proposals: list[Floats]  # [moment, 2] seconds, of a decoder that has its say; may be empty
    row_s: Seconds

    @property
    def holds(self) -> Booleans:
        """Which recordings hold their query."""
        return np.array([len(moments) > 0 for moments in self.truth])


def calibrate(asker: Asker, data: RetrievalSet, *, seed: int) -> Calibration:
    """Fit on the queries of a set, each also asked of another recording.

    Raises:
        ManifestError: no query has a moment.
    """
    decoder = asker.config.inference.readout == "both"
    plain = dataclasses.replace(asker, calibration=None)
    if decoder:  # the candidates that it adds
        inference = dataclasses.replace(asker.config.inference, readout="decoder")
        plain = dataclasses.replace(plain, config=dataclasses.replace(asker.config, inference=inference))
    queries, found = _drawn(data.queries, plain.answers(data), seed)
    for place in range(ABSENT_ROUNDS):
        elsewhere = data.asked_elsewhere(generator(seed, "absent", str(place)))
        if elsewhere is not None:
            others, theirs = _drawn(elsewhere.queries, plain.answers(elsewhere), seed)
            queries, found = queries + others, found + theirs
    return fit(known(queries, found, row_s=asker.config.features.row_s, decoder=decoder))


def _drawn(queries: Sequence[Query], found: Sequence[Found], seed: int) -> tuple[list[Query], list[Found]]:
    """At most `MOST_QUERIES` of them, in their order."""
    rng = generator(seed, "calibration", str(len(queries)))
    places = np.sort(rng.permutation(len(queries))[:MOST_QUERIES]).tolist()
    return [queries[place] for place in places], [found[place] for place in places]


def known(
    queries: Sequence[Query], found: Sequence[Found], *, row_s: Seconds, decoder: bool = False
) -> Known:
    """What was found beside what is true."""
    spans = [_spans(answer.moments) if decoder else np.zeros((0, 2)) for answer in found]
    truth = [np.array([(m.onset_s, m.offset_s) for m in query.moments]).reshape(-1, 2) for query in queries]
    return Known(curves=[answer.curve for answer in found], truth=truth, proposals=spans, row_s=row_s)


def fit(known: Known) -> Calibration:
    """Everything, from curves whose moments are known; see the head of this file."""
    if not known.holds.any():
        raise ManifestError("no query has a moment", "calibration", "calibrate on a set with moments")
    plain = ReadoutConfig()
    temperature, shift = _scaling(known)
    scaled = dataclasses.replace(plain, temperature=temperature, shift=shift)
    shapes = [
        dataclasses.replace(scaled, smooth_rows=smooth_rows, relative=relative, absolute=absolute)
        for smooth_rows, (relative, absolute) in itertools.product(SMOOTH_ROWS, LEVELS)
    ]
    best, best_fit = plain, -1.0
    for shape, names in itertools.product(shapes, SCORES):
        candidate = dataclasses.replace(shape, weights=_score_weights(known, shape, names))
        goodness = float(first_ious(known, candidate)[known.holds].mean())
        if goodness > best_fit:
            best, best_fit = candidate, goodness
    presence = _presence(known, best)
    calibration = Calibration(
        readout=best,
        presence=presence,
        min_score=_min_score(known, best),
        queries=int(known.holds.sum()),
        absent=int((~known.holds).sum()),
        figures={},
    )
    return dataclasses.replace(calibration, figures=_figures(known, plain, calibration))


def first_ious(known: Known, readout: ReadoutConfig) -> Floats:
    """[curve] IoU of the first moment with the true one that it overlaps most; 0 without either."""
    found = _read(known, readout)
    return np.array(
        [_ious(_spans(m[:1]), truth).max(initial=0.0) for m, truth in zip(found, known.truth, strict=True)]
    )


def logistic_fit(statistics: Floats, labels: Floats, weights: Floats | None = None) -> tuple[float, Floats]:
    """Intercept and weights of a logistic regression; labels in [0, 1], a small ridge."""
    middle, spread = statistics.mean(axis=0), statistics.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    design = np.concatenate([np.ones((len(statistics), 1)), (statistics - middle) / spread], axis=1)
    share = np.full(len(labels), 1.0) if weights is None else weights
    share = share / share.sum()
    ridge = np.r_[0.0, np.full(statistics.shape[1], RIDGE)]

    def cost(parameters: Floats) -> tuple[float, Floats]:
        z = design @ parameters
        value = share @ (np.logaddexp(0, z) - labels * z) + 0.5 * ridge @ parameters**2
        slope = design.T @ (share * (1 / (1 + np.exp(-np.clip(z, -500, 500))) - labels)) + ridge * parameters
        return float(value), slope

    found = minimize(cost, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B").x
    slopes: Floats = found[1:] / spread
    return float(found[0] - slopes @ middle), slopes


def _scaling(known: Known) -> tuple[float, float]:
    """Temperature and shift that make sigmoid a probability of a second to answer."""
    z = np.concatenate(known.curves).astype(np.float64)
    labels = np.concatenate(
        [
            dense_labels(truth, len(curve), known.row_s)
            for curve, truth in zip(known.curves, known.truth, strict=True)
        ]
    )
    intercept, (slope,) = logistic_fit(z[:, None], labels.astype(np.float64))
    if slope <= 0:  # the curve says nothing: as it is
        return 1.0, 0.0
    return float(1 / slope), float(-intercept / slope)


def _score_weights(known: Known, readout: ReadoutConfig, names: Sequence[str]) -> ScoreWeights | None:
    """Weights of the named statistics; None if there is no candidate, or none is right."""
    segments = _candidates(known, readout)
    right = (_segment_ious(known, segments) >= RIGHT_IOU).astype(np.float64)
    if not right.any():
        return None
    # every curve weighs the same, however many candidates it gave
    counts = np.bincount(segments.curve, minlength=len(known.curves))
    used = [STATISTICS.index(name) for name in names]
    slopes = np.zeros(len(STATISTICS))
    intercept, slopes[used] = logistic_fit(segments.statistics[:, used], right, 1.0 / counts[segments.curve])
    weights = _weights(intercept, slopes)
    # the order stands; what is listed first is better than what was left out, so the level is fitted again
    listed = _read(known, dataclasses.replace(readout, weights=weights))
    scores, hits = _scores_and_hits(known, listed)
    level, (slope,) = logistic_fit(logit(scores)[:, None], hits.astype(np.float64))
    if slope <= 0:
        return weights
    return _weights(level + slope * intercept, slope * slopes)


def _weights(intercept: float, slopes: Floats) -> ScoreWeights:
    named = dict(zip(STATISTICS, slopes.tolist(), strict=True))
    return ScoreWeights(intercept=float(intercept), **named)


def _presence(known: Known, readout: ReadoutConfig) -> PresenceWeights:
    statistics, holds = presence_statistics(known.curves, readout), known.holds
    if holds.all():  # a set of one recording: nobody can be absent, and nothing is known
        return PresenceWeights(intercept=0.0, highest=0.0, best=0.0)
    balance = np.where(holds, 0.5 / holds.sum(), 0.5 / (~holds).sum())
    intercept, slopes = logistic_fit(statistics, holds.astype(np.float64), balance)
    highest, best = slopes.tolist()
    return PresenceWeights(intercept=intercept, highest=highest, best=best)


def _min_score(known: Known, readout: ReadoutConfig) -> float:
    """The score with the best F1 of the moments at or above it: each right once, every true one wanted."""
    listed = _read(known, readout)
    scores, hits = _scores_and_hits(known, listed)
    if not hits.any():
        return 0.0
    order = np.argsort(-scores, kind="stable")
    precision_sum = np.cumsum(hits[order])
    wanted = sum(len(truth) for truth in known.truth)
    f1 = 2 * precision_sum / (np.arange(1, len(order) + 1) + wanted)
    return round(float(scores[order][f1.argmax()]), 4)


def _figures(known: Known, plain: ReadoutConfig, calibration: Calibration) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, readout in (("", calibration.readout), (" uncalibrated", plain)):
        ious = first_ious(known, readout)[known.holds]
        figures |= {
            f"R1@{level}{name}": round(100 * float((ious >= level).mean()), 2) for level in (0.5, 0.7)
        }
    presence = np.array(presence_of(known.curves, calibration))
    if not known.holds.all():
        figures["area under ROC of presence"] = round(area_under_roc(presence, known.holds), 4)
    return figures


def _read(known: Known, readout: ReadoutConfig) -> list[tuple[ScoredMoment, ...]]:
    return read_out(known.curves, readout, row_s=known.row_s, proposals=known.proposals)


def _candidates(known: Known, readout: ReadoutConfig) -> Segments:
    return find_segments(known.curves, readout, row_s=known.row_s, proposals=known.proposals)


def _scores_and_hits(known: Known, listed: Sequence[tuple[ScoredMoment, ...]]) -> tuple[Floats, Booleans]:
    """Scores of all listed moments, and which are right; a true moment makes only its first one right."""
    scores, hits = [], []
    for moments, truth in zip(listed, known.truth, strict=True):
        ious = _ious(_spans(moments), truth)
        free = np.ones(len(truth), dtype=bool)
        for moment, row in zip(moments, ious, strict=True):
            fits = np.where(free, row, 0.0)
            hit = fits.max(initial=0.0) >= RIGHT_IOU
            if hit:
                free[fits.argmax()] = False
            scores.append(moment.score)
            hits.append(bool(hit))
    return np.array(scores, dtype=np.float64), np.array(hits, dtype=bool)


def _segment_ious(known: Known, segments: Segments) -> Floats:
    """[segment] IoU with the true moment that it overlaps most."""
    ious = np.zeros(len(segments.curve))
    spans = np.stack([segments.start, segments.end], axis=1) * known.row_s
    for place in np.flatnonzero(known.holds).tolist():
        members = segments.of_curve(place)
        ious[members] = _ious(spans[members], known.truth[place]).max(axis=1, initial=0.0)
    return ious


def _spans(moments: Sequence[ScoredMoment]) -> Floats:
    return np.array([moment[:2] for moment in moments], dtype=np.float64).reshape(-1, 2)


def _ious(spans: Floats, truth: Floats) -> Floats:
    """[span, moment]"""
    a, b = spans[:, None], truth[None]
    inter = np.clip(np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0]), 0, None)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - inter
    ratio: Floats = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return ratio
