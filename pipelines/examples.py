"""Queries to look at and to listen to: as many failures as successes, chosen by lot."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from amr_model.answer.calibration import Calibration
from amr_model.answer.readout import Floats, smoothed_probability
from amr_model.answer.run import Found
from amr_model.config import ExperimentConfig
from amr_model.learn.train import BEST
from amr_model.scoring.metrics import score_queries
from clotho_long.audio.io import encode_mp3, resample, write_audio
from clotho_long.audio.spectrogram import spectrogram, to_png
from clotho_long.core.predictions import read_predictions
from clotho_long.core.seeds import generator
from clotho_long.corpus import Corpus
from clotho_long.stages.mixtures import MixtureTask, mixture_tasks, render_mixture
from pipelines.report import FOUND_IOU, CurveKind, Example
from pipelines.runs import PREDICTIONS, Asked, LabelledSet, ask

SHOWN_MOMENTS = 5
SOUND_RATE_HZ = 16_000  # speech quality is enough to tell sounds apart, at a quarter of the bytes
SPECTROGRAM_COLUMNS = 700


def choose_examples(
    config: ExperimentConfig,
    run: Path,
    asked: LabelledSet,
    scored: Path,
    *,
    number: int,
    seed: int,
    device: str = "cpu",
    corpus: Corpus | None = None,
    split: str = "test",
) -> list[Example]:
    """`number` queries whose first window is right, and as many whose is not; fewer if there are fewer.

    Args:
        run: whose best checkpoint answered; asked again for its curve.
        scored: where `score_step` wrote the predictions.
        corpus: where the recordings can be mixed anew to be heard; None leaves sound out.
    """
    retrieval = ask(config, asked, run / BEST, device=device)
    data = retrieval.data
    predictions = {p.qid: p for p in read_predictions(scored / PREDICTIONS)}
    scores = score_queries(data.queries, list(predictions.values()))
    iou_of = dict(zip(scores.qids, scores.first_iou.tolist(), strict=True))
    hits = [qid for qid, iou in iou_of.items() if iou >= FOUND_IOU]
    misses = [qid for qid, iou in iou_of.items() if iou < FOUND_IOU]
    rng = generator(seed, "examples")
    chosen = [*_drawn(rng, hits, number), *_drawn(rng, misses, number)]
    place = {query.qid: at for at, query in enumerate(data.queries)}
    mixtures = {} if corpus is None else {t.recipe.recording_id: t for t in mixture_tasks(corpus, [split])}
    examples = []
    for qid in chosen:
        query = data.queries[place[qid]]
        task = mixtures.get(query.recording_id)
        picture, sound = (b"", b"") if task is None else _sound_of(task)
        found = _found(retrieval, place[qid])
        kind, curve = _shown(found, retrieval.calibration)
        examples.append(
            Example(
                query=query.query,
                qid=qid,
                recording_id=query.recording_id,
                duration_s=query.duration_s,
                truth=tuple((m.onset_s, m.offset_s) for m in query.moments),
                predicted=predictions[qid].moments[:SHOWN_MOMENTS],
                first_iou=iou_of[qid],
                hit=iou_of[qid] >= FOUND_IOU,
                curve=curve,
                curve_kind=kind,
                presence=found.presence,
                spectrogram_png=picture,
                sound_mp3=sound,
            )
        )
    return examples


def _drawn(rng: np.random.Generator, qids: Sequence[str], number: int) -> list[str]:
    return [qids[at] for at in sorted(rng.permutation(len(qids))[:number])]


def _found(retrieval: Asked, place: int) -> Found:
    """What the query at `place` of the set finds, in a recording of any length."""
    data = retrieval.data
    audio, text = data.whole(place)
    (found,) = retrieval.asker.recording(audio, data.queries[place].duration_s, [text])
    return found


def _shown(found: Found, calibration: Calibration | None) -> tuple[CurveKind, tuple[float, ...]]:
    """What the curve of a network is, and its height from 0 to 1 at each second.

    Calibrated, it is the probability that the second answers, as it was read. Otherwise its numbers mean
    something beside each other alone: they are drawn between the lowest and the highest.
    """
    if calibration is not None:
        return "probability", _rounded(smoothed_probability([found.curve], calibration.readout))
    low, high = float(found.curve.min()), float(found.curve.max())
    return "saliency", _rounded((found.curve - low) / max(high - low, 1e-9))


def _rounded(heights: Floats) -> tuple[float, ...]:
    return tuple(heights.astype(np.float64).round(4).tolist())


def _sound_of(task: MixtureTask) -> tuple[bytes, bytes]:
    """The spectrogram (PNG) and the sound (MP3) of a mixture."""
    rate_hz = task.recipe.sample_rate_hz
    waveform = render_mixture(task)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mixture.wav"
        write_audio(path, waveform, rate_hz)
        picture = to_png(spectrogram(path, max_columns=SPECTROGRAM_COLUMNS))
    return picture, encode_mp3(resample(waveform, rate_hz, SOUND_RATE_HZ), SOUND_RATE_HZ)
