"""Small synthesised sources in Clotho's and Walking Tours' layouts, for the demonstration and the tests.

Every event is a simple sound (a beep, a bell, a knock, ...) at one of five pitches, and its captions say so:
a model has something to learn. Nobody should take figures from it for figures on real sound.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from pydantic.dataclasses import dataclass

from clotho_long.audio.io import Waveform, write_audio
from clotho_long.core.files import atomic_path, write_text
from clotho_long.core.seeds import generator
from clotho_long.sources.clotho import FOLDER_OF_SPLIT, captions_file

# Raised when the same seed and size give other sounds than before.
SYNTHESIS_VERSION = 1

EVENT_RATE_HZ = 44_100
TOUR_RATE_HZ = 48_000
RUMBLE_HOLD = 120  # samples of one value: noise below about 200 Hz
EVENT_LENGTH_S = (3.0, 8.0)
PITCHES_HZ = {"very low": 130.0, "low": 300.0, "middle": 700.0, "high": 1600.0, "very high": 3600.0}
TEMPLATES = (
    "A {pitch} {sound} is heard",
    "{verb} at a {pitch} pitch",
    "There is a {pitch} {sound} nearby",
    "Someone listens to a {sound}, it is {pitch}",
    "A {sound} with a {pitch} tone, then silence",
)
TOUR_NAMES = ("Harbour walk", "Market hall", "Old town, évening", "Park", "Station")

Time = npt.NDArray[np.float64]  # [sample] seconds
Sound = Callable[[Time, float, np.random.Generator], Time]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticSize:
    """How much is synthesised."""

    events_per_sound: int = 3  # in train; a third of it, at least one, in the other splits
    num_tours: int = 5
    tour_s: float = 150.0


def synthesise_sources(root: Path, *, size: SyntheticSize, seed: int) -> tuple[Path, Path]:
    """Write `root/clotho` and `root/tours` and return the two; the same seed gives the same sound."""
    clotho, tours = root / "clotho", root / "tours"
    for split, folder in FOLDER_OF_SPLIT.items():
        _write_events(clotho, split, folder, size=size, seed=seed)
    for index in range(size.num_tours):
        name = TOUR_NAMES[index] if index < len(TOUR_NAMES) else f"Tour {index + 1}"
        write_mp4(tours / f"{name}.mp4", tour_sound(size.tour_s, generator(seed, "tour", name)), TOUR_RATE_HZ)
    return clotho, tours


def tour_sound(length_s: float, rng: np.random.Generator) -> Waveform:
    """Stereo city noise, [sample, 2]: coloured noise whose colour and level drift."""
    num_samples = int(length_s * TOUR_RATE_HZ)
    num_knots = max(2, int(length_s / 8))
    time_s = np.arange(num_samples) / TOUR_RATE_HZ

    def drift(low: float, high: float) -> Time:
        knots = rng.uniform(low, high, num_knots)
        return np.interp(time_s, np.linspace(0, length_s, num_knots), knots)

    channels = []
    for _ in range(2):
        hiss = rng.standard_normal(num_samples)
        rumble = np.repeat(rng.standard_normal(num_samples // RUMBLE_HOLD + 1), RUMBLE_HOLD)[:num_samples]
        channels.append(drift(0.01, 0.04) * hiss + drift(0.02, 0.08) * rumble)
    stereo: Waveform = np.clip(np.stack(channels, axis=1), -1, 1).astype(np.float32)
    return stereo


def write_mp4(path: Path, sound: Waveform, sample_rate_hz: int) -> None:
    """Write [sample, channel] as AAC in an mp4, as the tours come; atomic."""
    with atomic_path(path) as part, av.open(str(part), "w", format="mp4") as container:
        layout = "stereo" if sound.shape[1] == 2 else "mono"
        stream = container.add_stream(
            "aac", rate=sample_rate_hz, layout=layout, options={"aac_coder": "fast"}
        )
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.T), format="fltp", layout=layout)
        frame.sample_rate = sample_rate_hz
        to_frames = av.AudioResampler(format="fltp", layout=layout, rate=sample_rate_hz, frame_size=1024)
        for piece in [*to_frames.resample(frame), *to_frames.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


def _write_events(clotho: Path, split: str, folder: str, *, size: SyntheticSize, seed: int) -> None:
    count = size.events_per_sound if split == "train" else max(1, size.events_per_sound // 3)
    rows = []
    for sound_name, (verb, make) in SOUNDS.items():
        for pitch, pitch_hz in PITCHES_HZ.items():
            for number in range(count):
                name = f"{pitch} {sound_name}, take {number + 1} ({split}).wav"
                rng = generator(seed, "event", name)
                write_audio(clotho / folder / name, _event(make, pitch_hz, rng), EVENT_RATE_HZ)
                texts = [text.format(pitch=pitch, sound=sound_name, verb=verb) for text in TEMPLATES]
                rows.append([name, *texts])
    lines: list[str] = []
    writer = csv.writer(_Lines(lines))
    writer.writerow(["file_name", *(f"caption_{i}" for i in range(1, len(TEMPLATES) + 1))])
    writer.writerows(rows)
    write_text(captions_file(clotho, split), "".join(lines))


class _Lines:
    """What csv writes into."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def write(self, text: str) -> None:
        self._lines.append(text)


def _event(make: Sound, pitch_hz: float, rng: np.random.Generator) -> Waveform:
    """A sound between two short silences, as recordings of events have them."""
    length_s = float(rng.uniform(*EVENT_LENGTH_S))
    time_s = np.arange(int(length_s * EVENT_RATE_HZ)) / EVENT_RATE_HZ
    sound = make(time_s, pitch_hz * float(rng.uniform(0.94, 1.06)), rng)
    silence = np.zeros(int(rng.uniform(0.2, 0.8) * EVENT_RATE_HZ))
    whole = np.concatenate([silence, sound / np.abs(sound).max(), silence])
    noise = 1e-3 * rng.standard_normal(len(whole))
    event: Waveform = (0.8 * whole + noise).astype(np.float32)
    return event


def _sine(frequency_hz: float, time_s: Time) -> Time:
    wave: Time = np.sin(2 * np.pi * frequency_hz * time_s)
    return wave


def _beep(time_s: Time, pitch_hz: float, rng: np.random.Generator) -> Time:
    on = (time_s * rng.uniform(2.0, 3.0)) % 1 < 0.5
    return _sine(pitch_hz, time_s) * on


def _buzz(time_s: Time, pitch_hz: float, rng: np.random.Generator) -> Time:
    square: Time = np.sign(_sine(pitch_hz, time_s))
    return square * (0.8 + 0.2 * _sine(rng.uniform(4, 7), time_s))


def _bell(time_s: Time, pitch_hz: float, rng: np.random.Generator) -> Time:
    decay: Time = np.exp(-3 * (time_s % rng.uniform(0.9, 1.4)))
    partials = (_sine(pitch_hz * ratio, time_s) / ratio for ratio in (1.0, 2.76, 5.4))
    return decay * sum(partials, start=np.zeros_like(time_s))


def _siren(time_s: Time, pitch_hz: float, rng: np.random.Generator) -> Time:
    rate_hz = rng.uniform(0.4, 0.7)
    swing_s = 0.06 / rate_hz * np.cos(2 * np.pi * rate_hz * time_s)
    return _sine(pitch_hz, time_s - swing_s)


def _knock(time_s: Time, pitch_hz: float, rng: np.random.Generator) -> Time:
    since = time_s % rng.uniform(0.3, 0.5)
    decay: Time = np.exp(-35 * since)
    return decay * (_sine(pitch_hz, since) + 0.5 * rng.standard_normal(len(time_s)))


def _hiss(time_s: Time, pitch_hz: float, rng: np.random.Generator) -> Time:
    noise = np.convolve(rng.standard_normal(len(time_s)), np.hanning(200), mode="same")
    return _sine(pitch_hz, time_s) * noise


SOUNDS: dict[str, tuple[str, Sound]] = {
    "beep": ("Something beeps", _beep),
    "buzz": ("A machine buzzes", _buzz),
    "bell": ("A bell rings", _bell),
    "siren": ("A siren wails", _siren),
    "knock": ("Somebody knocks", _knock),
    "hiss": ("Steam hisses", _hiss),
}
