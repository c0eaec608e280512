"""What it changes that we resample with soxr, where the published extractors used torchaudio.

    python benchmarks/extract_resampling.py FILE... [--encoder logmel] [--weights FILE] [--seconds 20]

Both resamplers get the start of every file (at its own rate, which must differ from the encoder's); printed
are the difference of the waveforms and of the features.
"""

from __future__ import annotations

import math
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from clotho_long.audio.io import probe, read_mono, resample
from clotho_long.features.encoder import Encoder
from clotho_long.features.extract import EncoderChoice, WindowChoice, encode_piece, pieces_of

Array = npt.NDArray[np.float64]

ZERO_CROSSINGS = 6  # torchaudio's `lowpass_filter_width`
ROLL_OFF = 0.99


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--encoder", "name", default="logmel", show_default=True)
@click.option("--weights", type=click.Path(exists=True, path_type=Path))
@click.option("--seconds", "duration_s", default=20, show_default=True)
def main(files: tuple[Path, ...], name: str, weights: Path | None, duration_s: int) -> None:
    """Print the deviations of each file, and of all of them."""
    encoder = EncoderChoice(name=name, weights=weights).load()
    ours, theirs = [], []
    for file in files:
        rate_hz = probe(file).sample_rate_hz
        if rate_hz == encoder.sample_rate_hz:
            raise click.UsageError(f"{file} is at {rate_hz} Hz already")
        sound = read_mono(file)[: duration_s * rate_hz]
        soxr_sound = resample(sound, rate_hz, encoder.sample_rate_hz)
        sinc_sound = sinc_resample(sound, rate_hz, encoder.sample_rate_hz)[: len(soxr_sound)]
        difference_db = 10 * np.log10(np.mean((soxr_sound - sinc_sound) ** 2) / np.mean(soxr_sound**2))
        ours.append(_encode(soxr_sound, encoder))
        theirs.append(_encode(sinc_sound, encoder))
        click.echo(f"{file.name}, {rate_hz} Hz: waveforms differ by {difference_db:.1f} dB")
    a, b = np.concatenate(ours).astype(np.float64), np.concatenate(theirs).astype(np.float64)
    mean = a.mean(axis=0)
    click.echo(f"{len(a)} windows of {encoder.name}")
    click.echo(f"relative difference: {np.linalg.norm(a - b) / np.linalg.norm(a):.2e}")
    click.echo(
        f"cosine: {_cosine(a, b):.6f}; after removing the mean vector: {_cosine(a - mean, b - mean):.6f}"
    )


def sinc_resample(sound: npt.NDArray[np.float32], from_hz: int, to_hz: int) -> npt.NDArray[np.float32]:
    """Resampling by a Hann-windowed sinc, with the defaults of torchaudio's `functional.resample` (BSD)."""
    divisor = math.gcd(from_hz, to_hz)
    step, phases = from_hz // divisor, to_hz // divisor
    cutoff = min(step, phases) * ROLL_OFF
    reach = math.ceil(ZERO_CROSSINGS * step / cutoff)
    # seen from each output sample of a period: where the input samples lie, in zero crossings of the sinc
    inputs = np.arange(-reach, reach + step) / step
    distance = np.clip(
        (inputs - np.arange(phases)[:, None] / phases) * cutoff, -ZERO_CROSSINGS, ZERO_CROSSINGS
    )
    kernel = np.sinc(distance) * np.cos(np.pi * distance / ZERO_CROSSINGS / 2) ** 2 * cutoff / step
    padded = np.pad(sound.astype(np.float64), (reach, reach + step))
    periods = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[1])[::step]
    resampled: npt.NDArray[np.float32] = (periods @ kernel.T).reshape(-1).astype(np.float32)
    return resampled[: math.ceil(len(sound) * to_hz / from_hz)]


def _encode(sound: npt.NDArray[np.float32], encoder: Encoder) -> npt.NDArray[np.float32]:
    return np.concatenate([encode_piece(p, encoder) for p in pieces_of([sound], encoder, WindowChoice())])


def _cosine(a: Array, b: Array) -> float:
    """Mean cosine of the rows."""
    return float(np.mean((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)))


if __name__ == "__main__":
    main()
