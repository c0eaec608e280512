"""A listener whose answers are known, and recordings to ask about."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from amr_model.answer.retriever import Retriever
from amr_model.config import system
from amr_model.tensors import Batch, Outputs
from amr_model.web.listener import Listener
from clotho_long.audio.io import write_audio
from clotho_long.features.encoders.logmel import LogMelEncoder
from tests.builders import noise, tone

RATE_HZ = 16_000
MOMENTS = ((4.0, 7.0), (12.0, 14.0), (1.0, 2.0))  # what `AlwaysThere` answers, best first


class AlwaysThere:
    """A network that finds the same moments in every recording, and counts how often it was asked."""

    def __init__(self, moments: Sequence[tuple[float, float]] = MOMENTS) -> None:
        self.moments = moments
        self.num_calls = 0

    def __call__(self, batch: Batch) -> Outputs:
        self.num_calls += 1
        items, rows = batch.audio.shape[:2]
        spans = torch.full((1, items, len(self.moments), 2), 0.5)
        logits = torch.zeros(1, items, len(self.moments), 2)
        for place, (onset_s, offset_s) in enumerate(self.moments):
            spans[0, :, place] = torch.tensor([(onset_s + offset_s) / 2, offset_s - onset_s]) / rows
            logits[0, :, place, 0] = 2.0 - place
        return Outputs(logits=logits, spans_cxw=spans, saliency=torch.zeros(items, rows))


class CountingEncoder(LogMelEncoder):
    """Counts the windows that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.num_windows = 0

    def encode_windows(self, windows: np.ndarray) -> np.ndarray:
        self.num_windows += len(windows)
        return super().encode_windows(windows)


class PatientEncoder(LogMelEncoder):
    """Waits before each second that it encodes."""

    def encode_windows(self, windows: np.ndarray) -> np.ndarray:
        time.sleep(0.5 * len(windows))
        return super().encode_windows(windows)


def make_listener(network: AlwaysThere | None = None, encoder: LogMelEncoder | None = None) -> Listener:
    retriever = Retriever(
        network=network or AlwaysThere(),
        config=system("S1"),
        encoder=encoder or LogMelEncoder(),
        device=torch.device("cpu"),
    )
    return Listener(retriever)


def write_recording(path: Path, length_s: float = 20.0) -> Path:
    """Noise with a tone in each of MOMENTS."""
    sound = noise(length_s, rate_hz=RATE_HZ, rms=0.01)
    for place, (onset_s, offset_s) in enumerate(MOMENTS):
        beep = tone(400.0 * (place + 1), offset_s - onset_s, rate_hz=RATE_HZ, peak=0.3)
        start = int(onset_s * RATE_HZ)
        sound[start : start + len(beep)] += beep
    write_audio(path, sound, RATE_HZ)
    return path


def write_silence(path: Path, length_s: float = 3.0) -> Path:
    write_audio(path, np.zeros(int(length_s * RATE_HZ), np.float32), RATE_HZ)
    return path
