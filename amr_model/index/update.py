"""Keeping an index true to its recordings: what is new is heard, what moved is known, what went is dropped.

Every step leaves an index that can be read, so it can be killed at any time and goes on when it is called
again: features are whole files, vectors come a recording at a time, and the list of recordings, written when
both are there, is what counts. What is no longer listed is removed last.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

from amr_model.index.catalog import (
    VECTORS,
    Catalog,
    Entry,
    Hearing,
    features_id,
    is_index,
    read_catalog,
)
from amr_model.index.vectors import VectorStore
from clotho_long.core.errors import ClothoLongError, ConfigError, FeatureError
from clotho_long.core.extras import require_package
from clotho_long.core.files import FileState, file_state, fingerprint_file, tidied
from clotho_long.core.locks import locked
from clotho_long.core.work import Workers
from clotho_long.features.encode import Problem, Recording, encode_recordings
from clotho_long.features.encoder import SharedSpace, shared_space
from clotho_long.features.extract import EncoderChoice, WindowChoice
from clotho_long.features.files import AUDIO_KEY, Features, audio_file, read_features
from clotho_long.features.pack import FeatureFolder
from clotho_long.features.recordings import FileSound, readable, search


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a run found and did, by path."""

    recordings: int  # in the index now
    heard: int  # contents that were encoded in this run
    added: tuple[Path, ...]
    changed: tuple[Path, ...]
    moved: tuple[Path, ...]  # where they are now
    removed: tuple[Path, ...]
    problems: tuple[Problem, ...]  # recordings that are not in the index, and why
    notices: tuple[Problem, ...]  # what was done on the user's behalf

    def __str__(self) -> str:
        counts = (f"{len(getattr(self, name))} {name}" for name in ("added", "changed", "moved", "removed"))
        return f"{self.recordings} recordings: {', '.join(counts)}; {self.heard} heard"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A file as this run finds it."""

    path: Path  # absolute
    content: str
    state: FileState | None


def update_index(
    folder: Path,
    paths: Sequence[Path],
    hearing: Hearing,
    *,
    forget: Sequence[Path] = (),
    device: str = "auto",
    workers: Workers,
) -> Changes:
    """Bring the index in `folder`, which is made if there is none, up to date with its recordings.

    Args:
        paths: files and folders that the index looks after from now on, beside those of earlier runs.
        hearing: how it hears; of an index that is there, what it was made with.
        forget: files and folders that it no longer looks after; what lies there is left out.

    Raises:
        ConfigError: the index was made with another `hearing`; nothing is to be indexed; LanceDB is missing.
        ManifestError: the index is damaged.
        FeatureError: the encoder's weights do not fit, or are not those of the index.
        ClothoLongError: another process works there, or a place of earlier runs is gone.
    """

    def busy(owner: str) -> ClothoLongError:
        return ClothoLongError(f"another `amr index` works here ({owner})", folder, "wait for it")

    before = read_catalog(folder) if is_index(folder) else None
    roots = _roots(before, paths, forget)
    choice = hearing.choice(device=device)
    _refuse_other_hearing(before, hearing, folder)
    encoder = choice.load()
    space = shared_space(encoder)
    if space is not None:
        require_package("lancedb")  # said before hours of work
    _refuse_other_weights(before, choice, folder)
    with locked(folder, busy):
        # read again: whoever had the lock may have changed it
        before = read_catalog(folder) if is_index(folder) else None
        catalog = Catalog(
            folder=folder,
            hearing=hearing,
            made_by=choice.provenance(),
            space_dim=None if space is None else space.dim,
            roots=roots,
            entries={} if before is None else before.entries,
        )
        with tidied(catalog.features_dir):
            return _update(catalog, choice, space, workers)


def _update(catalog: Catalog, choice: EncoderChoice, space: SharedSpace | None, workers: Workers) -> Changes:
    before = catalog.entries
    seen, problems = _look(catalog)
    catalog.write()  # how it hears is settled now, whatever becomes of this run
    first = {features_id(one.content): one for one in sorted(seen.values(), key=lambda one: one.path)}
    heard = catalog.contents  # their features were whole when they were listed
    waiting = [
        name for name in first if name not in heard or not audio_file(catalog.features_dir, name).is_file()
    ]
    counts = encode_recordings(
        [_recording(catalog, name, first[name]) for name in sorted(waiting)],
        catalog.features_dir,
        encoder=choice,
        windows=WindowChoice(convention=catalog.hearing.windows),
        float16=catalog.hearing.float16,
        workers=workers,
    )
    unheard = {problem.item: problem.reason for problem in counts.problems}
    problems += [Problem(item=readable(first[name].path), reason=reason) for name, reason in unheard.items()]
    entries, torn = _entries(catalog, seen, leave_out=unheard.keys())
    problems += torn
    after = dataclasses.replace(catalog, entries=entries)
    if space is not None:
        _keep_vectors(after, space, workers)
    after.write()
    _remove_leftovers(after)
    return Changes(
        recordings=len(entries),
        heard=counts.written,
        **_compared(before, entries),
        problems=tuple(sorted(problems, key=str)),
        notices=tuple(
            Problem(item=readable(first[notice.item].path), reason=notice.reason) for notice in counts.notices
        ),
    )


def _roots(before: Catalog | None, paths: Sequence[Path], forget: Sequence[Path]) -> tuple[Path, ...]:
    """Where the index looks: what it looked after, and `paths`, without `forget`."""
    known = [] if before is None else list(before.roots)
    roots = list(dict.fromkeys([*known, *(path.absolute() for path in paths)]))
    for path in forget:
        if path.absolute() not in roots:
            listed = ", ".join(map(readable, roots)) or "nothing"
            raise ConfigError(f"{readable(path)} is not looked after", "--forget", f"name one of: {listed}")
        roots.remove(path.absolute())
    if not roots and not forget:
        raise ConfigError("nothing is to be indexed", "--out", "name files or folders with recordings")
    for root in roots:
        # a disk that is not mounted must not cost what it took days to hear
        if not root.exists() and not root.parent.is_dir():
            raise ClothoLongError("is gone", readable(root), "mount it, or leave it out with --forget")
    return tuple(roots)


def _refuse_other_hearing(before: Catalog | None, hearing: Hearing, folder: Path) -> None:
    if before is None or before.hearing == hearing:
        return
    for field in dataclasses.fields(Hearing):
        ours, theirs = getattr(hearing, field.name), getattr(before.hearing, field.name)
        if ours != theirs and field.name != "weights":  # they may lie elsewhere today; their hash decides
            raise ConfigError(
                f"{folder} was made with {field.name} {theirs}, not {ours}",
                f"--{field.name}",
                "leave it out, or make another index",
            )


def _refuse_other_weights(before: Catalog | None, choice: EncoderChoice, folder: Path) -> None:
    if before is not None and before.made_by != choice.provenance():
        raise FeatureError(
            f"was made by another {choice.name}",
            folder,
            "give the weights and the version that it was made with, or make another index",
        )


def _look(catalog: Catalog) -> tuple[dict[Path, _Seen], list[Problem]]:
    """Every file of the collection as it is now; one that did not change is not read.

    Raises:
        ClothoLongError: a folder that held recordings holds none.
    """
    there = [root for root in catalog.roots if root.exists()]
    found = search(there, sound=catalog.hearing.sound)
    seen: dict[Path, _Seen] = {}
    problems = [problem for problem in found.problems if "audio files" in problem.reason]
    for path in found.files:
        where = path.absolute()
        known, state = catalog.entries.get(where), file_state(where)
        if known is not None and state is not None and known.state == state:
            seen[where] = _Seen(path=where, content=known.content, state=state)
            continue
        try:
            seen[where] = _Seen(path=where, content=fingerprint_file(where), state=state)
        except OSError as error:
            reason = f"cannot be read ({error.strerror}); check the path"
            problems.append(Problem(item=readable(where), reason=reason))
            if known is not None:  # what was heard of it is kept
                seen[where] = _Seen(path=where, content=known.content, state=None)
    for root in catalog.roots:
        held = [path for path in catalog.entries if root in path.parents]
        if held and not any(path.is_relative_to(root) for path in seen):
            raise ClothoLongError(
                f"held {len(held)} recordings and holds none now",
                readable(root),
                "mount it, or leave it out with --forget",
            )
    return seen, problems


def _recording(catalog: Catalog, name: str, seen: _Seen) -> Recording:
    hearing = catalog.hearing
    sound = FileSound(path=seen.path, channels=hearing.channels, track=hearing.track)
    return Recording(recording_id=name, sound=sound)


def _entries(
    catalog: Catalog, seen: Mapping[Path, _Seen], *, leave_out: Container[str]
) -> tuple[dict[Path, Entry], list[Problem]]:
    """The recordings of the index, and those that changed between two looks at them."""
    known = catalog.contents
    entries: dict[Path, Entry] = {}
    problems = []
    for path, one in seen.items():
        name = features_id(one.content)
        if name in leave_out:
            continue
        if name not in known:
            rows, note = read_features(audio_file(catalog.features_dir, name), AUDIO_KEY)
            facts = note or {}
            if facts["source"]["file"] != one.content:
                reason = "was changed while it was heard; run the same command again"
                problems.append(Problem(item=readable(path), reason=reason))
                continue
            known[name] = Entry(
                path=path,
                content=one.content,
                state=one.state,
                duration_s=float(facts.get("duration_s", len(rows))),
                rows=len(rows),
            )
        entries[path] = dataclasses.replace(known[name], path=path, content=one.content, state=one.state)
    return entries, problems


def _keep_vectors(catalog: Catalog, space: SharedSpace, workers: Workers) -> None:
    """Vectors of just the contents that are listed."""
    store = VectorStore(catalog.folder / VECTORS, space.dim)
    contents, there = catalog.contents, store.num_rows()
    stale = {name for name, rows in there.items() if name not in contents or contents[name].rows != rows}
    missing = [name for name in contents if name not in there or name in stale]

    def projected() -> Iterator[tuple[str, Features]]:
        for name in workers.watch(missing, total=len(missing), label="projecting", unit="recording"):
            yield name, space.project_rows(catalog.features(contents[name]))

    store.remove(stale)
    store.add(projected())
    if stale or missing:
        store.settle()


def _remove_leftovers(catalog: Catalog) -> None:
    """Features of contents that are no longer listed."""
    contents = catalog.contents
    for name in FeatureFolder(features_dir=catalog.features_dir, kind="audio").items():
        if name not in contents:
            audio_file(catalog.features_dir, name).unlink(missing_ok=True)


def _compared(before: Mapping[Path, Entry], after: Mapping[Path, Entry]) -> dict[str, tuple[Path, ...]]:
    """What became of the recordings, by path."""
    gone = {path for path in before if path not in after}
    left = {before[path].content for path in gone}
    fresh = [path for path in after if path not in before]
    moved = [path for path in fresh if after[path].content in left]
    arrived = {after[path].content for path in moved}
    return {
        "added": tuple(sorted(set(fresh) - set(moved))),
        "changed": tuple(sorted(p for p in after if p in before and before[p].content != after[p].content)),
        "moved": tuple(sorted(moved)),
        "removed": tuple(sorted(path for path in gone if before[path].content not in arrived)),
    }
