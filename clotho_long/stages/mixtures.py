"""From a recipe to its mixture in memory: what `render` writes and `extract` encodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from pydantic.dataclasses import dataclass

from clotho_long.audio.cache import cached_levels, cached_waveform, open_waveform
from clotho_long.audio.io import Waveform, probe, read_mono, resample, stream_mono
from clotho_long.audio.mix import PlacedEvent, measure_levels, mix
from clotho_long.audio.trim import faded, loudest_stretch
from clotho_long.core.errors import AudioError, ManifestError
from clotho_long.core.files import fingerprint, fingerprint_file
from clotho_long.core.units import Hertz, samples_from_seconds
from clotho_long.corpus import Corpus
from clotho_long.features.extract import MadeBy
from clotho_long.recipe.records import ClipRecipe, Event
from clotho_long.sources.records import Background, Foreground

# Raised when the arithmetic of a mixture changes: what was rendered before is then made anew.
MIXTURE_VERSION = 1
# Raised when another stretch of an event would be taken for the loudest, or its fades change.
CUT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A source on this machine, and the fingerprint that it had when it was scanned."""

    path: Path
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureTask:
    """A recipe with everything that a worker needs to render it."""

    recipe: ClipRecipe
    background: SourceFile
    events: tuple[SourceFile, ...]  # one for each of the recipe's events
    cache_dir: Path

    @property
    def fingerprint(self) -> str:
        """Changes when the recipe, a source file or the arithmetic does."""
        sources = [self.background.fingerprint, *(event.fingerprint for event in self.events)]
        cut = any(event.cut_from_s is not None for event in self.recipe.events)
        return fingerprint([MIXTURE_VERSION, repr(self.recipe), sources, *([CUT_VERSION] if cut else [])])


class MixtureSources:
    """The scanned sources of a corpus: from a recipe to what a worker needs.

    Raises:
        ManifestError: the corpus was not scanned.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._foregrounds = {(item.split, item.event_id): item for item in corpus.foregrounds()}
        self._backgrounds = {item.background_id: item for item in corpus.backgrounds()}
        self._clotho, self._tours = corpus.source_root("clotho"), corpus.source_root("walking_tours")

    def task(self, recipe: ClipRecipe) -> MixtureTask:
        """The task of one clip.

        Raises:
            ManifestError: the recipe names a source that was not found, or lacks what only a scan knows.
        """
        where = self._corpus.recipes_file(recipe.split)
        return MixtureTask(
            recipe=recipe,
            background=_background_file(self._tours, self._backgrounds, recipe, where),
            events=tuple(
                _event_file(self._clotho, self._foregrounds, recipe.split, event, where)
                for event in recipe.events
            ),
            cache_dir=self._corpus.cache_dir,
        )


def mixture_tasks(corpus: Corpus, splits: Iterable[str]) -> list[MixtureTask]:
    """The tasks of all clips of the splits, in the order of their recipes.

    Raises:
        ManifestError: as `MixtureSources`.
    """
    sources = MixtureSources(corpus)
    return [sources.task(recipe) for split in splits for recipe in corpus.recipes(split)]


def render_mixture(task: MixtureTask) -> Waveform:
    """The mixture of one recipe, float32 [sample] at its rate, peak 1; `mixture_blocks` in one piece."""
    return np.concatenate([block.copy() for block in mixture_blocks(task)])


def mixture_blocks(task: MixtureTask) -> Iterator[Waveform]:
    """The mixture of one recipe second by second; touches no disk but the cache.

    A block is only valid until the next one is asked for.

    Raises:
        AudioError: a source is missing, shorter than the recipe needs, or silent there.
    """
    recipe = task.recipe
    rate_hz = recipe.sample_rate_hz
    tour_file = decoded_background(task.background, rate_hz, task.cache_dir)
    tour = open_waveform(tour_file)
    start = samples_from_seconds(recipe.start_s, rate_hz)
    num_samples = samples_from_seconds(recipe.duration_s, rate_hz)
    if start + num_samples > len(tour):
        raise AudioError(
            f"has {len(tour):,} samples at {rate_hz} Hz, the recipe needs {start + num_samples:,}",
            task.background.path,
            "plan again with the recordings that you have",
        )
    events = [
        PlacedEvent(
            event_id=event.event_id,
            waveform=_event_waveform(source, event, rate_hz, task.cache_dir),
            foreground_db=event.foreground_db,
            start_samples=tuple(samples_from_seconds(start_s, rate_hz) for start_s in event.starts_s),
        )
        for source, event in zip(task.events, recipe.events, strict=True)
    ]
    background = tour[start : start + num_samples]
    levels = cached_levels(tour_file, rate_hz).between(start, start + num_samples)
    yield from mix(
        background,
        events,
        background_db=recipe.background_db,
        levels=levels or measure_levels(background, rate_hz),
        where=f"{task.background.path} from {recipe.start_s:g} s on",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureSound:
    """A recipe, mixed when it is heard."""

    task: MixtureTask

    def blocks(self, sample_rate_hz: Hertz) -> Iterator[Waveform]:
        """The mixture as one block."""
        yield resample(render_mixture(self.task), self.task.recipe.sample_rate_hz, sample_rate_hz)

    def identity(self, earlier: MadeBy | None = None) -> MadeBy:
        """The recipe, its source files and the mixer's arithmetic."""
        return {"recipe": self.task.fingerprint}


def decoded_background(source: SourceFile, rate_hz: Hertz, cache_dir: Path) -> Path:
    """The cache file of a whole tour at `rate_hz`; decoded once, in streaming."""
    made_from = {"source": source.fingerprint, "rate_hz": rate_hz}

    def blocks() -> Iterator[Waveform]:
        _refuse_changed(source)
        yield from stream_mono(source.path, rate_hz)

    return cached_waveform(cache_dir / "backgrounds", made_from, blocks)


def _event_waveform(source: SourceFile, event: Event, rate_hz: Hertz, cache_dir: Path) -> Waveform:
    """A trimmed event at `rate_hz`: cut at the file's own rate, then resampled, as published.

    Of an event that is cut shorter, the loudest stretch, with fades.
    """
    assert event.trim_onset_s is not None, "mixture_tasks refuses recipes without it"
    made_from = {
        "source": source.fingerprint,
        "onset_s": event.trim_onset_s,
        "duration_s": event.duration_s,
        "rate_hz": rate_hz,
    }
    if event.cut_from_s is not None:
        made_from |= {"cut_from_s": event.cut_from_s, "cut": CUT_VERSION}

    def blocks() -> Iterator[Waveform]:
        _refuse_changed(source)
        native_hz, waveform = probe(source.path).sample_rate_hz, read_mono(source.path)
        onset = samples_from_seconds(event.trim_onset_s or 0, native_hz)
        num_samples = samples_from_seconds(event.trimmed_s, native_hz)
        if onset + num_samples > len(waveform):
            raise AudioError("is shorter than the recipe's trimming", source.path, "scan and plan again")
        trimmed = waveform[onset : onset + num_samples]
        if event.cut_from_s is None:
            yield resample(trimmed, native_hz, rate_hz)
        else:
            stretch = loudest_stretch(trimmed, native_hz, event.duration_s)
            yield faded(resample(trimmed[stretch], native_hz, rate_hz), rate_hz)

    return open_waveform(cached_waveform(cache_dir / "events", made_from, blocks))


def _refuse_changed(source: SourceFile) -> None:
    """A missing file is left to the reader, which says so."""
    if source.path.is_file() and fingerprint_file(source.path, like=source.fingerprint) != source.fingerprint:
        raise AudioError(
            "has changed since it was scanned", source.path, "run `clotho-long scan` and `plan` again"
        )


def _background_file(
    root: Path, backgrounds: dict[str, Background], recipe: ClipRecipe, where: Path
) -> SourceFile:
    found = backgrounds.get(recipe.background_id)
    if found is None:
        raise ManifestError(
            f"recording {recipe.background_id!r} was not found by the scan",
            where,
            "add it, then scan and plan again",
        )
    return SourceFile(path=root / found.file, fingerprint=found.fingerprint)


def _event_file(
    root: Path, foregrounds: dict[tuple[str, str], Foreground], split: str, event: Event, where: Path
) -> SourceFile:
    found = foregrounds.get((split, event.event_id))
    if found is None:
        raise ManifestError(
            f"event {event.event_id!r} was not found by the scan",
            where,
            "add its file, then scan and plan again",
        )
    if event.trim_onset_s is None:
        raise ManifestError(
            f"event {event.event_id!r} has no trimming: the recipe was imported without audio",
            where,
            "import it again with --clotho and --walking-tours",
        )
    return SourceFile(path=root / found.file, fingerprint=found.fingerprint)
