"""Finds and measures the sources of a corpus."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
from pydantic.dataclasses import dataclass

from clotho_long.audio.cache import READING_VERSION, open_waveform
from clotho_long.audio.io import Waveform, probe
from clotho_long.audio.mix import peak_of
from clotho_long.audio.trim import TRIM_DB
from clotho_long.core.errors import AudioError, ConfigError, ManifestError
from clotho_long.core.files import fingerprint, same_fingerprint, tidied
from clotho_long.core.jsonl import write_records
from clotho_long.core.records import SPLITS
from clotho_long.core.units import Decibels, Hertz
from clotho_long.core.work import Watch, Workers, unwatched
from clotho_long.corpus import Corpus
from clotho_long.sources.clotho import CaptionedFile, find_events, measure_event
from clotho_long.sources.records import Background, Foreground, Skipped
from clotho_long.sources.walking_tours import TourFile, find_tours, split_recordings
from clotho_long.stages.mixtures import SourceFile, decoded_background

# What the presets mix at; decoding for it during the scan also fills the cache that they read.
SCAN_RATE_HZ: Hertz = 32_000
BLOCK_SAMPLES = 60 * SCAN_RATE_HZ  # of a tour that are looked at together
SPLIT_PENDING = ""  # of a tour: a ratio counts those that turn out to be usable
# Raised when the measurement changes, so that what an earlier version remembered is measured again.
SCAN_VERSION = 2
# Shorter silence is part of a walk; longer than a clip, nothing can be mixed into it.
MIN_SILENCE_S = 1.0
# The square of a smaller sample is nothing in float32.
SILENT_PEAK = 1e-20

# What earlier versions read as another sound, or with another length.
READ_ANEW = frozenset((".mp3", ".ogg", ".oga", ".opus"))

Measured = Foreground | Background | Skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanCounts:
    """What a scan found."""

    foregrounds: dict[str, int]  # by split
    backgrounds: dict[str, int]
    background_s: float  # length of all tours together
    skipped: tuple[Skipped, ...]


def scan(
    corpus: Corpus,
    clotho: Path,
    walking_tours: Path,
    *,
    split_rule: str = "published",
    trim_db: Decibels = TRIM_DB,
    jobs: int = 1,
    scheduler: str | None = None,
    watch: Watch = unwatched,
) -> ScanCounts:
    """Measure every source and write `sources/*.jsonl`; a file measured before is not decoded again.

    Args:
        scheduler: address of a Dask scheduler whose workers see the same files; instead of `jobs` processes.

    Raises:
        ManifestError: a folder is not what it should be, or nothing usable is in it.
        ConfigError: the split rule does not fit the recordings, or the corpus lies among them.
    """
    if walking_tours.resolve() in (corpus.root.resolve(), *corpus.root.resolve().parents):
        raise ConfigError(
            f"lies inside the tours' folder {walking_tours}: what is rendered would be taken for tours",
            corpus.root,
            "give another --out",
        )
    events = list(find_events(clotho))
    found_tours = list(find_tours(walking_tours))
    tours = [tour for tour in found_tours if isinstance(tour, TourFile)]
    # a rule that does not fit is said before hours of decoding
    split_recordings([tour.background_id for tour in tours], split_rule, where=str(walking_tours))
    known = _known_fingerprints(corpus)
    tasks: list[_Task] = [
        _MeasureTour(
            root=walking_tours, found=tour, cache_dir=corpus.cache_dir, known=known.get(tour.file, "")
        )
        for tour in tours
    ]
    tasks += [
        _MeasureEvent(
            root=clotho,
            found=event,
            trim_db=trim_db,
            cache_dir=corpus.cache_dir,
            known=known.get(event.file, ""),
        )
        for event in events
        if isinstance(event, CaptionedFile)
    ]
    workers = Workers(jobs=jobs, scheduler=scheduler, watch=watch)
    with tidied(corpus.root):
        measured = list(workers.each(_measure, tasks, label="scanning", unit="file"))
    usable = [item.background_id for item in measured if isinstance(item, Background)]
    split_of = split_recordings(usable, split_rule, where=str(walking_tours))
    foregrounds = sorted(
        (m for m in measured if isinstance(m, Foreground)), key=lambda m: (_order(m), m.event_id)
    )
    backgrounds = sorted(
        (
            dataclasses.replace(m, split=split_of[m.background_id])
            for m in measured
            if isinstance(m, Background)
        ),
        key=lambda m: (_order(m), m.background_id),
    )
    skipped = sorted(
        (m for m in [*events, *found_tours, *measured] if isinstance(m, Skipped)), key=lambda m: m.file
    )
    for found, where in ((foregrounds, clotho), (backgrounds, walking_tours)):
        if not found:
            reasons = "; ".join(f"{item.file} {item.reason}" for item in skipped[:3])
            raise ManifestError(f"holds no usable sound ({reasons})", where, "check the folder")
    write_records(corpus.foregrounds_file, foregrounds, Foreground)
    write_records(corpus.backgrounds_file, backgrounds, Background)
    write_records(corpus.skipped_file, skipped, Skipped)
    counts = ScanCounts(
        foregrounds=dict(Counter(item.split for item in foregrounds)),
        backgrounds=dict(Counter(item.split for item in backgrounds)),
        background_s=sum(item.length_s for item in backgrounds),
        skipped=tuple(skipped),
    )
    corpus.update_page(
        roots={"clotho": str(clotho.resolve()), "walking_tours": str(walking_tours.resolve())},
        scan={
            "split": split_rule,
            "trim_db": trim_db,
            "foregrounds": counts.foregrounds,
            "backgrounds": counts.backgrounds,
            "skipped": len(skipped),
            "fingerprint": fingerprint([repr(item) for item in [*foregrounds, *backgrounds]]),
        },
    )
    return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class _MeasureEvent:
    root: Path
    found: CaptionedFile
    trim_db: Decibels
    cache_dir: Path
    known: str = ""

    def measure(self) -> Measured:
        return measure_event(self.root, self.found, trim_db=self.trim_db, known=self.known)


@dataclass(frozen=True, slots=True, kw_only=True)
class _MeasureTour:
    root: Path
    found: TourFile
    cache_dir: Path
    known: str = ""

    def measure(self) -> Measured:
        """Decode the tour into the cache, so that its length is what can really be cut from it."""
        path = self.root / self.found.file
        try:
            info = probe(path)
            source = SourceFile(path=path, fingerprint=same_fingerprint(path, self.known))
            tour = open_waveform(decoded_background(source, SCAN_RATE_HZ, self.cache_dir))
        except AudioError as error:
            return Skipped(file=self.found.file, reason=error.problem)
        if peak_of(tour) == 0:
            return Skipped(file=self.found.file, reason="is silent")
        return Background(
            background_id=self.found.background_id,
            split=SPLIT_PENDING,
            file=self.found.file,
            fingerprint=source.fingerprint,
            sample_rate_hz=info.sample_rate_hz,
            num_channels=info.num_channels,
            length_s=len(tour) / SCAN_RATE_HZ,
            silences_s=_silences(tour),
        )


_Task = _MeasureEvent | _MeasureTour


def _measure(task: _Task) -> Measured:
    """Measure one file, or remember it: this is what makes an interrupted scan continue."""
    path = task.root / task.found.file
    stat = path.stat()
    version = [SCAN_VERSION, READING_VERSION] if path.suffix.lower() in READ_ANEW else [SCAN_VERSION]
    identity = fingerprint(
        [*version, repr(dataclasses.replace(task, known="")), stat.st_size, stat.st_mtime_ns]
    )
    remember: Callable[[str, object], Measured] = joblib.Memory(task.cache_dir / "scan", verbose=0).cache(
        _measure_anew, ignore=["task"]
    )
    return remember(identity, task)


def _measure_anew(identity: str, task: _Task) -> Measured:
    return task.measure()


def _silences(tour: Waveform) -> tuple[tuple[float, float], ...]:
    """Where a tour at the scan's rate is silent for long, in seconds."""
    silences = []
    last = -1  # index of the last sample that sounds
    for start in range(0, len(tour), BLOCK_SAMPLES):
        sounding = np.flatnonzero(np.abs(tour[start : start + BLOCK_SAMPLES]) > SILENT_PEAK) + start
        for gap in np.flatnonzero(np.diff(sounding, prepend=last) > MIN_SILENCE_S * SCAN_RATE_HZ):
            before = last if gap == 0 else int(sounding[gap - 1])
            silences.append((before + 1, int(sounding[gap])))
        last = int(sounding[-1]) if len(sounding) else last
    if len(tour) - 1 - last > MIN_SILENCE_S * SCAN_RATE_HZ:
        silences.append((last + 1, len(tour)))
    return tuple((start / SCAN_RATE_HZ, stop / SCAN_RATE_HZ) for start, stop in silences)


def _known_fingerprints(corpus: Corpus) -> dict[str, str]:
    """By file, what an earlier scan of this corpus gave: what was made of those sources is still of them."""
    known: dict[str, str] = {}
    for path, read in (
        (corpus.foregrounds_file, corpus.foregrounds),
        (corpus.backgrounds_file, corpus.backgrounds),
    ):
        if path.is_file():
            with contextlib.suppress(ManifestError):  # torn: it is written anew
                known |= {item.file: item.fingerprint for item in read()}
    return known


def _order(item: Foreground | Background) -> int:
    return SPLITS.index(item.split)
