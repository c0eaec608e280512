"""Recordings as a network reads them. The one module of this package that reads audio."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from clotho_long.audio.choice import SoundChoice
from clotho_long.audio.io import probe, stream_mono
from clotho_long.core.units import Seconds
from clotho_long.core.work import Workers
from clotho_long.features.encode import Problem, Recording, encode_recordings
from clotho_long.features.encoder import Encoder
from clotho_long.features.extract import EncoderChoice, WindowChoice, encode_piece, pieces_of
from clotho_long.features.files import AUDIO_KEY, Features, audio_file, read_features
from clotho_long.features.recordings import readable
from clotho_long.features.windows import Convention

logger = logging.getLogger(__name__)

ROWS_AT_A_TIME = 16  # between two words about how far the encoder is


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A recording as a network reads it."""

    rows: Features  # [second, dim]
    duration_s: Seconds


def encode_recording(
    path: Path,
    encoder: Encoder,
    windows: Convention,
    sound: SoundChoice | None = None,
    *,
    on_heard: Callable[[Seconds], None] = lambda heard_s: None,
) -> Encoded:
    """The features of a recording, read piece by piece; what was mended in it is logged.

    Args:
        on_heard: is told how many seconds are encoded.
    """
    choice = sound or SoundChoice()
    stream = stream_mono(path, encoder.sample_rate_hz, channels=choice.channels, track=choice.track)
    rows: list[Features] = []
    for piece in pieces_of(stream, encoder, WindowChoice(convention=windows)):
        # the numbers of a window do not depend on those that it comes with: small steps for who waits
        for start in range(0, len(piece), ROWS_AT_A_TIME):
            rows.append(encode_piece(piece[start : start + ROWS_AT_A_TIME], encoder))
            on_heard(float(sum(map(len, rows))))
    assert stream.notes is not None, "windows are cut until the sound ends"
    if notes := str(stream.notes):
        logger.warning("note: %s: %s", readable(path), notes)
    return Encoded(rows=np.concatenate(rows), duration_s=stream.notes.duration_s)


def encode_into(
    features_dir: Path,
    recordings: Sequence[Recording],
    encoder: EncoderChoice,
    windows: Convention,
    workers: Workers,
) -> tuple[Problem, ...]:
    """Write features for `read_encoded`, as `clotho-long features` does; what could not be encoded.

    What is there already stays if just this encoder made it from just this sound.

    Raises:
        ConfigError, FeatureError, ManifestError: as `encode_recordings`.
    """
    choice = WindowChoice(convention=windows)
    return encode_recordings(
        recordings, features_dir, encoder=encoder, windows=choice, workers=workers
    ).problems


def read_encoded(features_dir: Path, recording: Path, recording_id: str = "") -> Encoded:
    """What `encode_into` or `clotho-long features` wrote of a recording, by default under its stem.

    Raises:
        AudioError: the recording cannot be read.
        FeatureError: there are no features of it.
    """
    rows, made_by = read_features(audio_file(features_dir, recording_id or recording.stem), AUDIO_KEY)
    duration_s = (made_by or {}).get("duration_s")
    if not isinstance(duration_s, int | float):
        # of earlier versions and of others: decoded for its length, as what a file says of it may be wrong
        num_samples = sum(map(len, stream_mono(recording)))
        duration_s = num_samples / probe(recording).sample_rate_hz
    return Encoded(rows=rows, duration_s=float(duration_s))
