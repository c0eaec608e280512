"""Features of a planned corpus, of any recordings, of any annotation file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from clotho_long.audio.choice import SoundChoice
from clotho_long.audio.io import Waveform, stream_mono
from clotho_long.core.annotations import read_queries, read_sentences
from clotho_long.core.errors import ManifestError
from clotho_long.core.files import tidied
from clotho_long.core.records import Query
from clotho_long.core.units import Hertz
from clotho_long.core.work import Workers
from clotho_long.corpus import Corpus
from clotho_long.features.encode import EncodeCounts, Recording, encode_queries, encode_recordings
from clotho_long.features.extract import EncoderChoice, MadeBy, WindowChoice
from clotho_long.features.recordings import Naming, search
from clotho_long.stages.mixtures import MixtureSound, MixtureTask, mixture_tasks
from clotho_long.stages.render import OVERWRITE, RENDERED_SUFFIXES, Journal

MixtureSource = Literal["recipe", "wav"]


def extract_corpus(
    corpus: Corpus,
    *,
    encoder: EncoderChoice,
    windows: WindowChoice,
    sound: MixtureSource = "recipe",
    splits: Sequence[str] = (),
    limit: int | None = None,
    overwrite: bool = False,
    workers: Workers,
) -> tuple[EncodeCounts, EncodeCounts]:
    """Write the audio and the text features of a corpus; what came of each.

    Args:
        sound: mix from the recipes in memory, or read what `render` wrote.
        splits: only these; by default all that are planned.
        limit: at most this many recordings of each split, the first ones, with all their queries.

    Raises:
        ManifestError: there is no plan, or it does not fit the sources.
        ConfigError, FeatureError: as `encode_recordings`.
    """
    chosen = tuple(splits) or corpus.planned_splits
    if not chosen:
        raise ManifestError("holds no recipes", corpus.root, "run `clotho-long plan` first")
    corpus.refuse_stale_plan()
    recordings = [item for split in chosen for item in _recordings_of(corpus, split, sound)[:limit]]
    with tidied(corpus.root):
        audio = encode_recordings(
            recordings,
            corpus.features_dir,
            encoder=encoder,
            windows=windows,
            overwrite=overwrite,
            workers=workers,
        )
    # all splits, whichever are wanted: groups of queries, and so their bytes, hang on the whole list
    queries = [q for split in corpus.planned_splits for q in read_queries(corpus.annotations_file(split))]
    with tidied(corpus.features_dir):
        text = encode_queries(
            queries,
            corpus.features_dir,
            encoder=encoder,
            wanted=_qids_of(queries, recordings),
            overwrite=overwrite,
            workers=workers,
        )
    return audio, text


def extract_recordings(
    paths: Sequence[Path],
    features_dir: Path,
    *,
    encoder: EncoderChoice,
    windows: WindowChoice,
    sound: SoundChoice | None = None,
    naming: Naming = "stem",
    overwrite: bool = False,
    workers: Workers,
) -> EncodeCounts:
    """Write the features of audio files and folders of them; one that cannot be used does not stop the rest.

    Raises:
        ConfigError, FeatureError: as `encode_recordings`.
    """
    found = search(paths, sound=sound, naming=naming)
    with tidied(features_dir):
        counts = encode_recordings(
            found.recordings,
            features_dir,
            encoder=encoder,
            windows=windows,
            overwrite=overwrite,
            workers=workers,
        )
    return EncodeCounts(written=0, done_before=0, problems=found.problems, notices=found.notices) + counts


def extract_annotations(
    path: Path,
    features_dir: Path,
    *,
    encoder: EncoderChoice,
    overwrite: bool = False,
    workers: Workers,
) -> EncodeCounts:
    """Write the text features of the `query` of every line of a file; nothing but its `qid` is needed beside.

    Raises:
        ManifestError: the file is missing, empty or malformed, a query is empty, or a qid stands twice.
        ConfigError, FeatureError: as `encode_recordings`.
    """
    with tidied(features_dir):
        return encode_queries(
            read_sentences(path), features_dir, encoder=encoder, overwrite=overwrite, workers=workers
        )


def _recordings_of(corpus: Corpus, split: str, sound: MixtureSource) -> list[Recording]:
    tasks = mixture_tasks(corpus, [split])
    if sound == "recipe":
        return [
            Recording(recording_id=task.recipe.recording_id, sound=MixtureSound(task=task)) for task in tasks
        ]
    journal = Journal(corpus.audio_dir(split))
    return [
        Recording(recording_id=task.recipe.recording_id, sound=_rendered(corpus, task, journal))
        for task in tasks
    ]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RenderedSound:
    """What `render` wrote of a recipe."""

    path: Path
    made_from: str

    def blocks(self, sample_rate_hz: Hertz) -> Iterator[Waveform]:
        """The recording, some seconds at a time."""
        return stream_mono(self.path, sample_rate_hz)

    def identity(self, earlier: MadeBy | None = None) -> MadeBy:
        """The recipe, and that it went through 16 bits: the same in wav and flac."""
        return rendered_source(self.made_from)


def rendered_source(made_from: str) -> MadeBy:
    """What features say that they were made of, if they were made of a rendered file."""
    return {"recipe": made_from, "rendered": True}


def _rendered(corpus: Corpus, task: MixtureTask, journal: Journal) -> RenderedSound:
    """The rendered file of a recipe; where nothing is there, the name that is then missed.

    Raises:
        ManifestError: the file was rendered from another recipe, or nothing says from which.
    """
    candidates = [
        corpus.audio_file(task.recipe.split, task.recipe.recording_id, suffix) for suffix in RENDERED_SUFFIXES
    ]
    path = next((path for path in candidates if path.is_file()), candidates[0])
    made_from = journal.made_from(path)
    if path.is_file() and made_from != task.fingerprint:
        problem = (
            "no finished run of `render` vouches for it"
            if made_from is None
            else "was rendered from another recipe or other sources"
        )
        raise ManifestError(problem, path, OVERWRITE)
    return RenderedSound(path=path, made_from=task.fingerprint)


def _qids_of(queries: Iterable[Query], recordings: Iterable[Recording]) -> set[str]:
    wanted = {recording.recording_id for recording in recordings}
    return {query.qid for query in queries if query.recording_id in wanted}
