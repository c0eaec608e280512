"""The pass of a network over recordings: the only one, for validation, evaluation, submission and prediction.

A recording of any length is answered whole. The network hears stretches of the length that it learnt on; the
curves of overlapping stretches are joined into one, which is read once, and the decoder's windows are merged
(`answer.stretches`). A recording that fits a stretch is one item of a batch.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from amr_model.answer.calibration import Calibration, presence_of
from amr_model.answer.ranking import fit_moments, rank_moments
from amr_model.answer.readout import ReadoutConfig, distinct, read_out
from amr_model.answer.stretches import (
    Curve,
    StretchAnswer,
    join,
    merge,
    stretch_starts,
    stretches_with,
)
from amr_model.config import ExperimentConfig
from amr_model.data.collate import collate, padded
from amr_model.data.rows import PreparedRows, prepare_rows
from amr_model.data.sets import RetrievalSet
from amr_model.precision import matrix_products, mixed_precision
from amr_model.tensors import Batch, Outputs
from clotho_long.core.errors import FeatureError, ManifestError
from clotho_long.core.predictions import MAX_RANKED, Prediction
from clotho_long.core.records import Query, ScoredMoment
from clotho_long.core.units import Seconds
from clotho_long.features.files import Features

Integers = npt.NDArray[np.int64]
Item = TypeVar("Item")
Network = Callable[[Batch], Outputs]  # in evaluation mode, on its device

logger = logging.getLogger(__name__)

STRETCH_ROWS = 300  # where neither training nor the settings name a length: the report's recordings
SPARE_ROWS = 1  # 300 s are 301 centred windows: one row over is a convention, and is cut as in training


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one query finds in one recording."""

    moments: tuple[ScoredMoment, ...]  # best first
    curve: Curve = field(repr=False)  # [row] the saliency's logits, of the whole recording
    presence: float | None = None  # probability that the recording holds it at all; None: not calibrated


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """A network with everything that decides how its outputs are read."""

    network: Network
    config: ExperimentConfig
    device: torch.device
    calibration: Calibration | None = None
    num_moments: int | None = MAX_RANKED  # of an answer; None: as many as are found

    @property
    def readout(self) -> ReadoutConfig:
        """How curves are read: as calibrated, else by their shape."""
        fitted = ReadoutConfig() if self.calibration is None else self.calibration.readout
        return dataclasses.replace(fitted, num_moments=self.num_moments)

    def outputs(self, batch: Batch) -> Outputs:
        """What the network says, in float32, computed in the precision of the settings."""
        kind = self.config.train.precision
        with torch.inference_mode(), matrix_products(kind), mixed_precision(self.device, kind):
            return self.network(batch).in_float32()

    def answers(self, data: RetrievalSet) -> list[Found]:
        """What each query of a set finds, in its order."""
        answers: dict[int, Found] = {}
        fits = data.full_num_rows <= stretch_rows(self.config) + SPARE_ROWS
        for indices in _batches(np.flatnonzero(fits), self.config.train.valid_batch_size):
            outputs, num_rows = self.outputs(data.batch(indices)), data.num_rows[indices]
            durations_s = [data.queries[index].duration_s for index in indices]
            answers.update(zip(indices.tolist(), self._whole(outputs, durations_s, num_rows), strict=True))
        longer: dict[str, list[int]] = {}
        for index in np.flatnonzero(~fits).tolist():
            longer.setdefault(data.queries[index].recording_id, []).append(index)
        for members in longer.values():
            audio, _ = data.whole(members[0])
            texts = [data.whole_text(index) for index in members]
            found = self.recording(audio, data.queries[members[0]].duration_s, texts)
            answers.update(zip(members, found, strict=True))
        return [answers[index] for index in range(len(data))]

    def ask(
        self,
        rows: Features,
        duration_s: Seconds,
        texts: Sequence[Features],
        *,
        where: Sequence[Integers] | None = None,
    ) -> list[Found]:
        """What each text finds in one recording of any length; features as an encoder gives them.

        Args:
            where: as for `recording`.

        Raises:
            FeatureError: the network learnt on features of another width.
        """
        audio, tokens = self._prepared(rows, texts)
        return self.recording(audio, duration_s, tokens, where=where)

    def glance(self, rows: Features, texts: Sequence[Features]) -> list[Curve]:
        """A rough curve of each text, [row]: every place is heard once, for a third of what `ask` costs.

        Raises:
            FeatureError: as `ask`.
        """
        audio, tokens = self._prepared(rows, texts)
        size = stretch_rows(self.config)
        starts = [0] if len(audio) <= size + SPARE_ROWS else stretch_starts(len(audio), size, views=1)
        curves = []
        for batch in _cut([(text, start) for text in tokens for start in starts], self._batch_size):
            parts = [audio[start : start + size] for _, start in batch]
            curves += self._curves(self._outputs_of(parts, [text for text, _ in batch]), parts)
        return [join(pieces, starts, len(audio)) for pieces in _cut(curves, len(starts))]

    @property
    def row_s(self) -> Seconds:
        """Seconds from one row to the next."""
        return self.config.features.row_s

    def _prepared(self, rows: Features, texts: Sequence[Features]) -> tuple[PreparedRows, list[Features]]:
        widths = self.config.model.audio_dim, self.config.model.text_dim
        for kind, features, width in (
            ("audio", rows, widths[0]),
            *(("text", text, widths[1]) for text in texts),
        ):
            if features.shape[1] != width:
                raise FeatureError(
                    f"the encoder gives {kind} features of {features.shape[1]} values; the checkpoint learnt "
                    f"{width}; name its encoder with --encoder"
                )
        settings = self.config.features
        audio = PreparedRows(rows, normalise=settings.audio_normalise)
        tokens = [
            prepare_rows(text, max_rows=settings.text_max, normalise=settings.text_normalise)
            for text in texts
        ]
        return audio, tokens

    def recording(
        self,
        audio: Features | PreparedRows,
        duration_s: Seconds,
        texts: Sequence[Features],
        *,
        where: Sequence[Integers] | None = None,
    ) -> list[Found]:
        """What each text finds in one recording of any length.

        Args:
            audio: [row, dim], prepared (`data.rows`); only stretches that are heard are looked at.
            texts: [token, dim] each, prepared.
            where: rows that matter to each text. Only the stretches that hold one of them are heard, all of
                those, so that such a row gets the number that it gets when everything is heard. None: all.
        """
        size = stretch_rows(self.config)
        starts = [0] if len(audio) <= size + SPARE_ROWS else stretch_starts(len(audio), size)
        row_s = self.config.features.row_s
        heard = [starts] * len(texts)
        if where is not None and len(starts) > 1:
            heard = [stretches_with(starts, size, rows) for rows in where]
        asked = [(text, start) for text, own in zip(texts, heard, strict=True) for start in own]
        outputs: list[Found] = []
        for batch in _cut(asked, self._batch_size):
            rows = [audio[start : start + size] for _, start in batch]
            # the last stretch ends where the recording ends, the others where their rows end
            durations_s = [
                duration_s - start * row_s if start == starts[-1] else len(part) * row_s
                for (_, start), part in zip(batch, rows, strict=True)
            ]
            num_rows = np.array([len(part) for part in rows])
            pieces = self._outputs_of(rows, [text for text, _ in batch])
            if len(starts) == 1:
                outputs += self._whole(pieces, durations_s, num_rows)
            else:
                outputs += self._pieces(pieces, durations_s, num_rows)
        if len(starts) == 1:
            return outputs
        pieces_of = iter(outputs)
        return [self._joined([next(pieces_of) for _ in own], own, len(audio), duration_s) for own in heard]

    @property
    def _batch_size(self) -> int:
        return self.config.train.valid_batch_size

    def _outputs_of(self, rows: Sequence[Features], texts: Sequence[Features]) -> Outputs:
        """What the network says of each stretch, asked for the text of its place."""
        return self.outputs(collate(padded(rows, self.device), padded(texts, self.device)))

    def _curves(self, outputs: Outputs, rows: Sequence[Features]) -> list[Curve]:
        """The saliency of each item, as long as it is."""
        saliency = outputs.saliency.cpu().numpy()
        return [row[: len(own)] for row, own in zip(saliency, rows, strict=True)]

    def _whole(self, outputs: Outputs, durations_s: Sequence[Seconds], num_rows: Integers) -> list[Found]:
        """Recordings that fit a stretch, read."""
        pieces = self._pieces(outputs, durations_s, num_rows)
        return [
            dataclasses.replace(found, moments=found.moments[: self.num_moments])
            for found in self._read(pieces, durations_s)
        ]

    def _pieces(self, outputs: Outputs, durations_s: Sequence[Seconds], num_rows: Integers) -> list[Found]:
        """The curve and the decoder's windows of each item."""
        saliency = outputs.saliency.cpu().numpy()
        curves = [row[:count] for row, count in zip(saliency, num_rows, strict=True)]
        windows: Sequence[tuple[ScoredMoment, ...]] = [()] * len(curves)
        if self.config.inference.readout != "curve":
            windows = rank_moments(
                outputs,
                durations_s=durations_s,
                num_rows=num_rows,
                inference=self.config.inference,
                row_s=self.config.features.row_s,
                time_scale=self.config.targets.time_scale,
            )
        elif not all(np.isfinite(curve).all() for curve in curves):
            raise ManifestError(
                "the model's outputs are not finite", "checkpoint", "train it again, or take another"
            )
        return [Found(moments=w, curve=c) for w, c in zip(windows, curves, strict=True)]

    def _joined(
        self, pieces: Sequence[Found], starts: Sequence[int], num_rows: int, duration_s: Seconds
    ) -> Found:
        """One recording from those of its stretches that were heard."""
        row_s = self.config.features.row_s
        stretches = [
            StretchAnswer(
                onset_s=start * row_s if start > 0 else float("-inf"),
                offset_s=end * row_s if (end := start + len(piece.curve)) < num_rows else float("inf"),
                moments=tuple(
                    ScoredMoment(m.onset_s + start * row_s, m.offset_s + start * row_s, m.score)
                    for m in piece.moments
                ),
            )
            for start, piece in zip(starts, pieces, strict=True)
        ]
        whole = Found(
            moments=merge(stretches, grid_s=row_s, num_moments=self.num_moments),
            curve=join([piece.curve for piece in pieces], starts, num_rows),
        )
        return self._read([whole], [duration_s])[0]

    def _read(self, answers: Sequence[Found], durations_s: Sequence[Seconds]) -> list[Found]:
        """Answers with moments by who is to answer, and with what calibration adds."""
        curves = [answer.curve for answer in answers]
        moments = [answer.moments for answer in answers]
        if self.config.inference.readout != "decoder":
            # a mean prefers the shortest candidate: only fitted weights can judge windows of another origin
            joining = [] if self.readout.weights is None else moments
            moments = read_out(
                curves,
                self.readout,
                row_s=self.config.features.row_s,
                proposals=[np.array([m[:2] for m in windows]).reshape(-1, 2) for windows in joining],
            )
            moments = [
                inside(found, duration_s, self.config.features.row_s)
                for found, duration_s in zip(moments, durations_s, strict=True)
            ]
        presence = [None] * len(curves) if self.calibration is None else presence_of(curves, self.calibration)
        return [
            Found(moments=found, curve=curve, presence=held)
            for found, curve, held in zip(moments, curves, presence, strict=True)
        ]


def predict_set(
    network: Network,
    data: RetrievalSet,
    config: ExperimentConfig,
    calibration: Calibration | None = None,
) -> list[Prediction]:
    """The answer to each query of a set, in its order; `network` is in evaluation mode on its device.

    Raises:
        ManifestError: the outputs are not finite.
    """
    asker = Asker(
        network=network,
        config=config,
        device=data.device,
        calibration=calibration,
        num_moments=config.inference.num_moments,
    )
    return as_predictions(data.queries, asker.answers(data))


def as_predictions(queries: Sequence[Query], found: Sequence[Found]) -> list[Prediction]:
    """What is written: the moments of each query."""
    return [
        Prediction(qid=query.qid, query=query.query, recording_id=query.recording_id, moments=answer.moments)
        for query, answer in zip(queries, found, strict=True)
    ]


def stretch_rows(config: ExperimentConfig) -> int:
    """Rows that the network is asked about at once: what it learnt on, see `FeatureConfig.stretch_rows`."""
    features = config.features
    if features.stretch_rows is None:
        rows = features.audio_max or STRETCH_ROWS
        _say_assumed(rows, config.system)
        return rows
    return min(features.stretch_rows, features.audio_max or features.stretch_rows)


def distinct_moments(
    moments: Sequence[ScoredMoment], *, limit: int | None, most: float
) -> tuple[ScoredMoment, ...]:
    """Moments, best first, without those of which a better one covers (or fills) more than `most`."""
    spans = np.array([moment[:2] for moment in moments]).reshape(-1, 2)
    kept = distinct(spans, limit=limit, most=most, overlap="shorter")
    return tuple(moments[place] for place in kept)


@functools.lru_cache
def _say_assumed(rows: int, system: str) -> None:
    """Once for each model: what is assumed about it."""
    logger.info(
        "%s does not say on how long recordings it learnt: %d rows are taken (features.audio_max); "
        "longer ones are heard in stretches of it. --set features.stretch_rows=N says better",
        system,
        rows,
    )


def inside(
    moments: tuple[ScoredMoment, ...], duration_s: Seconds, row_s: Seconds
) -> tuple[ScoredMoment, ...]:
    """Moments cut to the recording, whose last row may reach beyond it."""
    if all(moment.offset_s <= duration_s for moment in moments):
        return moments
    spans = np.array([[moment[:2] for moment in moments]], dtype=np.float64)
    (fitted,) = fit_moments(spans, np.array([duration_s]), grid_s=row_s, min_length_s=row_s)
    return tuple(
        ScoredMoment(float(onset), float(offset), moment.score)
        for (onset, offset), moment in zip(fitted, moments, strict=True)
    )


def _batches(indices: Integers, size: int) -> Iterator[Integers]:
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


def _cut(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
