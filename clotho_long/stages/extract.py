"""Features of a planned corpus, of any recordings, of any annotation file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from clotho_long.audio.choice import SoundChoice
from clotho_long.core.annotations import read_queries
from clotho_long.core.errors import ManifestError
from clotho_long.core.records import Query
from clotho_long.core.work import Workers
from clotho_long.corpus import Corpus
from clotho_long.features.encode import EncodeCounts, Recording, encode_queries, encode_recordings
from clotho_long.features.extract import EncoderChoice, WindowChoice
from clotho_long.features.recordings import FileSound, Naming, search
from clotho_long.stages.mixtures import MixtureSound, mixture_tasks

MixtureSource = Literal["recipe", "wav"]
RENDERED_SUFFIXES = ("wav", "flac")  # of `clotho-long render`, in this order of preference


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
    recordings = [item for split in chosen for item in _recordings_of(corpus, split, sound)[:limit]]
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
    counts = encode_recordings(
        found.recordings, features_dir, encoder=encoder, windows=windows, overwrite=overwrite, workers=workers
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
    """Write the text features of every line of an annotation file.

    Raises:
        ManifestError: the file is missing or malformed, or a qid stands twice.
        ConfigError, FeatureError: as `encode_recordings`.
    """
    return encode_queries(
        list(read_queries(path)), features_dir, encoder=encoder, overwrite=overwrite, workers=workers
    )


def _recordings_of(corpus: Corpus, split: str, sound: MixtureSource) -> list[Recording]:
    if sound == "recipe":
        return [
            Recording(recording_id=task.recipe.recording_id, sound=MixtureSound(task=task))
            for task in mixture_tasks(corpus, [split])
        ]
    return [
        Recording(
            recording_id=recipe.recording_id,
            sound=FileSound(path=_rendered_file(corpus, split, recipe.recording_id)),
        )
        for recipe in corpus.recipes(split)
    ]


def _rendered_file(corpus: Corpus, split: str, recording_id: str) -> Path:
    """What `render` wrote; where nothing is there, the name that is then missed."""
    candidates = [corpus.audio_file(split, recording_id, suffix) for suffix in RENDERED_SUFFIXES]
    return next((path for path in candidates if path.is_file()), candidates[0])


def _qids_of(queries: Iterable[Query], recordings: Iterable[Recording]) -> set[str]:
    wanted = {recording.recording_id for recording in recordings}
    return {query.qid for query in queries if query.recording_id in wanted}
