"""Features with the statistics of real ones: what varies, varies in a few dozen directions, over seconds.

Backgrounds, their drift, noise, and what events add all have one falling spectrum over the same directions;
rows end at the length that MS-CLAP's have. Text states share most of what they are, the first one nearly
everything. Calibrated on the MS-CLAP 2023 features of ten recordings and nineteen queries that the organisers
of DCASE 2026 Task 6 published; a test holds the simulation to them, `benchmarks/evaluation.md` shows both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from pydantic.dataclasses import dataclass

from clotho_long.core.records import Moment, Query
from clotho_long.core.seeds import generator
from clotho_long.core.units import Seconds
from clotho_long.features.files import Features
from pipelines.simulation.labels import LONGEST_S, Matrix, Vector, sounding, unit, weights_of, words_of


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedSettings:
    """What the features are made of. Strengths are norms beside `mean`, before a row gets its length."""

    seed: int = 2026
    dim: int = 768
    latent_dim: int = 48  # meanings of words; the map from text to sound has this rank
    spectrum_shift: float = 1.2  # variance along direction k is (k + shift) ** -power
    spectrum_power: float = 1.25
    level: float = 0.45  # of a moment
    level_spread: float = 0.35  # standard deviation of its logarithm, over queries
    variation: float = 0.4  # of one occurrence, against the direction of its query
    mean: float = 1.0  # what all rows share
    background: float = 0.31  # of a recording
    drift: float = 0.22  # of the background, over `drift_s`
    drift_s: Seconds = 1.7
    noise: float = 0.27
    distractors: float = 2.0  # events a recording that match no query
    blur_s: Seconds = 1.5  # length of the ramps at both ends
    jitter_s: Seconds = 0.5  # standard deviation of onset and offset
    row_norm: float = 8.3
    row_norm_spread: float = 0.25
    text_first: float = 0.96  # share of a first token's squared length that all queries have alike
    text_shared: float = 0.62  # the same of the other tokens
    text_first_cosine: float = 0.55  # between those two shared parts
    valid_share: float = 0.1  # of the training recordings
    crop_s: Seconds | None = None  # only the start of each recording; see `labels.cropped`


# with fewer directions a flatter spectrum has the same participation ratio
REDUCED = CalibratedSettings(dim=64, latent_dim=16, spectrum_power=1.0, crop_s=100.0)


class CalibratedFeatures:
    """A word's vector depends on its letters, so captions that share words are alike."""

    def __init__(self, settings: CalibratedSettings) -> None:
        self._settings = settings
        self._meanings: dict[str, Vector] = {}  # of words that were asked for
        rng = generator(settings.seed, "calibrated maps")
        variances = (np.arange(settings.dim) + settings.spectrum_shift) ** -settings.spectrum_power
        scales = np.sqrt(variances / variances.sum())
        # directions of falling weight; words fill the heaviest ones
        self._to_sound = scales[:, None] * _directions(rng, settings.dim)
        self._to_text = scales[:, None] * _directions(rng, settings.dim)
        self._mean = unit(rng.standard_normal(settings.dim))
        shared, other = _directions(rng, settings.dim)[:2]
        cosine = settings.text_first_cosine
        self._text_shared = np.sqrt(settings.text_shared) * shared
        self._text_first = np.sqrt(settings.text_first) * (cosine * shared + np.sqrt(1 - cosine**2) * other)

    def tokens(self, query: Query) -> Features:
        """[token, dim] states that see the words before them, as a causal language model's do."""
        settings = self._settings
        meanings = np.stack([self._meaning(word) for word in words_of(query.query)])
        history = np.cumsum(meanings, axis=0) / np.arange(1, len(meanings) + 1)[:, None]
        noise = generator(settings.seed, "tokens", query.qid).standard_normal((len(meanings), settings.dim))
        own = (meanings + 0.5 * history) @ self._to_text[: settings.latent_dim] + 0.2 * noise @ self._to_text
        own /= np.linalg.norm(own, axis=1, keepdims=True)
        states = self._text_shared + np.sqrt(1 - settings.text_shared) * own
        states[0] = self._text_first + np.sqrt(1 - settings.text_first) * own[0]
        made: Features = states.astype(np.float32)
        return made

    def recording(self, queries: Sequence[Query], pool: Sequence[Query]) -> Features:
        """[second, dim] of the recording that `queries` ask of; distractors are taken from `pool`."""
        settings, recording_id = self._settings, queries[0].recording_id
        rng = generator(settings.seed, "recording", recording_id)
        seconds = int(min(queries[0].duration_s, LONGEST_S))
        # what varies is drawn in the directions' own coordinates, and mapped to features once
        varying = settings.drift * _slow(rng, (seconds, settings.dim), settings.drift_s)
        varying += settings.noise * rng.standard_normal(varying.shape)
        varying += settings.background * rng.standard_normal(settings.dim)
        rows = settings.mean * self._mean + varying @ self._to_sound
        for query in queries:
            self._add_event(rows, rng, query.query, query.moments)
        for _ in range(rng.poisson(settings.distractors)):
            other = pool[rng.integers(len(pool))]
            if other.recording_id != recording_id and other.moments:
                length = other.moments[0].duration_s
                onset = float(rng.uniform(0, max(seconds - length, 1)))
                self._add_event(rows, rng, other.query, [Moment(onset_s=onset, offset_s=onset + length)])
        norms = settings.row_norm + settings.row_norm_spread * rng.standard_normal((seconds, 1))
        scaled: Matrix = rows * norms / np.linalg.norm(rows, axis=1, keepdims=True)
        made: Features = scaled.astype(np.float32)
        return made

    def _meaning(self, word: str) -> Vector:
        """[latent] of one word, drawn once."""
        known = self._meanings.get(word)
        if known is None:
            rng = generator(self._settings.seed, "word", word)
            known = self._meanings[word] = rng.standard_normal(self._settings.latent_dim)
        return known

    def direction(self, caption: str) -> Vector:
        """[dim] of unit length: how what a caption says sounds."""
        words = words_of(caption)
        meaning = np.average([self._meaning(word) for word in words], axis=0, weights=weights_of(words))
        return unit(meaning @ self._to_sound[: self._settings.latent_dim])

    def _add_event(
        self, rows: Matrix, rng: np.random.Generator, caption: str, moments: Iterable[Moment]
    ) -> None:
        """Add all occurrences of one event to the rows, in place."""
        settings = self._settings
        direction = self.direction(caption)
        level = settings.level * np.exp(settings.level_spread * rng.standard_normal())
        for moment in moments:
            onset_s = moment.onset_s + settings.jitter_s * rng.standard_normal()
            offset_s = moment.offset_s + settings.jitter_s * rng.standard_normal()
            own = unit(rng.standard_normal(settings.dim) @ self._to_sound)
            heard = unit(direction + settings.variation * own)
            rows += level * sounding(len(rows), onset_s, offset_s, settings.blur_s)[:, None] * heard


def _directions(rng: np.random.Generator, dim: int) -> Matrix:
    """[direction, dim] an orthonormal basis."""
    basis: Matrix = np.linalg.qr(rng.standard_normal((dim, dim)))[0].T
    return basis


def _slow(rng: np.random.Generator, shape: tuple[int, int], memory_s: Seconds) -> Matrix:
    """[second, direction] a random walk of unit variance that forgets within `memory_s`."""
    keep = np.exp(-1 / memory_s)
    steps = rng.standard_normal(shape)
    for second in range(1, len(steps)):
        steps[second] = keep * steps[second - 1] + np.sqrt(1 - keep**2) * steps[second]
    return steps
