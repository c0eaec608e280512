"""The first simulation: independent noise in every direction.

A recording is a slowly varying background; a query's moments add a direction that is a fixed random map of
its words, blurred at both ends, different at every occurrence; captions of other recordings are heard as
well, and nobody asks for them. Real features vary in a few dozen directions only: see `calibrated`.
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
class WhiteSettings:
    """What the features are made of. Strengths are norms; a row's white noise has norm `noise`."""

    seed: int = 2026
    dim: int = 768
    latent_dim: int = 48  # meanings of words; the map from text to sound has this rank
    level: float = 0.9  # of a moment
    level_spread: float = 0.35  # standard deviation of its logarithm, over queries
    variation: float = 0.6  # of one occurrence, against the direction of its query
    mean: float = 1.0  # what all rows share, as CLAP's do
    background: float = 0.8  # of a recording
    drift: float = 0.5  # of the background, over `drift_s`
    drift_s: Seconds = 15.0
    noise: float = 1.0
    distractors: float = 3.0  # events a recording that match no query
    blur_s: Seconds = 1.5  # length of the ramps at both ends
    jitter_s: Seconds = 0.5  # standard deviation of onset and offset
    valid_share: float = 0.1  # of the training recordings
    crop_s: Seconds | None = None  # only the start of each recording; see `labels.cropped`


REDUCED = WhiteSettings(dim=64, latent_dim=16, level=1.5, crop_s=100.0)


class WhiteFeatures:
    """A word's vector depends on its letters, so captions that share words are alike."""

    def __init__(self, settings: WhiteSettings) -> None:
        self._settings = settings
        rng = generator(settings.seed, "maps")
        shape = (settings.latent_dim, settings.dim)
        self._to_text = rng.standard_normal(shape) / np.sqrt(settings.latent_dim)
        self._to_sound = rng.standard_normal(shape) / np.sqrt(settings.dim)
        self._text_mean = rng.standard_normal(settings.dim)

    def tokens(self, query: Query) -> Features:
        """[token, dim] states that see the words before them, as a causal language model's do."""
        meanings = self._meanings(query.query)
        history = np.cumsum(meanings, axis=0) / np.arange(1, len(meanings) + 1)[:, None]
        noise = generator(self._settings.seed, "tokens", query.qid).standard_normal(
            (len(meanings), self._settings.dim)
        )
        states = (meanings + 0.5 * history) @ self._to_text + self._text_mean + 0.2 * noise
        made: Features = states.astype(np.float32)
        return made

    def recording(self, queries: Sequence[Query], pool: Sequence[Query]) -> Features:
        """[second, dim] of the recording that `queries` ask of; distractors are taken from `pool`."""
        settings, recording_id = self._settings, queries[0].recording_id
        rng = generator(settings.seed, "recording", recording_id)
        seconds = int(min(queries[0].duration_s, LONGEST_S))
        mean = unit(generator(settings.seed, "mean").standard_normal(settings.dim))
        rows = settings.mean * mean + settings.background * unit(rng.standard_normal(settings.dim))
        rows = rows + settings.drift * self._slow(rng, seconds)
        for query in queries:
            self._add_event(rows, rng, self._direction(query.query), query.moments)
        for _ in range(rng.poisson(settings.distractors)):
            other = pool[rng.integers(len(pool))]
            if other.recording_id != recording_id and other.moments:
                length = other.moments[0].duration_s
                onset = float(rng.uniform(0, max(seconds - length, 1)))
                moment = Moment(onset_s=onset, offset_s=onset + length)
                self._add_event(rows, rng, self._direction(other.query), [moment])
        rows += settings.noise * rng.standard_normal(rows.shape) / np.sqrt(settings.dim)
        made: Features = rows.astype(np.float32)
        return made

    def _direction(self, caption: str) -> Vector:
        """[dim] of unit length: how what a caption says sounds."""
        weights = weights_of(words_of(caption))
        return unit(np.average(self._meanings(caption), axis=0, weights=weights) @ self._to_sound)

    def _meanings(self, caption: str) -> Matrix:
        settings = self._settings
        return np.stack(
            [
                generator(settings.seed, "word", word).standard_normal(settings.latent_dim)
                for word in words_of(caption)
            ]
        )

    def _add_event(
        self, rows: Matrix, rng: np.random.Generator, direction: Vector, moments: Iterable[Moment]
    ) -> None:
        """Add all occurrences of one event to the rows, in place."""
        settings = self._settings
        level = settings.level * np.exp(settings.level_spread * rng.standard_normal())
        for moment in moments:
            onset_s = moment.onset_s + settings.jitter_s * rng.standard_normal()
            offset_s = moment.offset_s + settings.jitter_s * rng.standard_normal()
            heard = unit(direction + settings.variation * unit(rng.standard_normal(settings.dim)))
            rows += level * sounding(len(rows), onset_s, offset_s, settings.blur_s)[:, None] * heard

    def _slow(self, rng: np.random.Generator, seconds: int) -> Matrix:
        """[second, dim] a random walk that forgets within `drift_s`; rows have about unit norm."""
        keep = np.exp(-1 / self._settings.drift_s)
        steps: Matrix = rng.standard_normal((seconds, self._settings.dim)) / np.sqrt(self._settings.dim)
        for second in range(1, seconds):
            steps[second] = keep * steps[second - 1] + np.sqrt(1 - keep**2) * steps[second]
        return steps
