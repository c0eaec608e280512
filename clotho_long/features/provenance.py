"""What made a feature file: the note in each, and whether it is the one that a run would write.

A feature file is kept if its note (`made_by`) equals the one that a run would write, and refused if it
differs: another encoder, other weights, another precision, window convention or source. Nothing is kept
because its name exists. What the note tells of the sound beside that (`TOLD`) is for whoever reads it.
"""

from __future__ import annotations

import json
from collections.abc import Container

from clotho_long.core.errors import FeatureError
from clotho_long.features.extract import EncoderChoice, MadeBy, WindowChoice
from clotho_long.features.files import read_made_by
from clotho_long.features.pack import SHARED_FACTS, FeatureFolder

# Of the sound as it was heard: its length, and what was mended. Never compared.
TOLD = ("duration_s", "sound")
REPLACE = "give --overwrite to `clotho-long` to replace it, remove it, or take another folder"


def audio_note(encoder: EncoderChoice, windows: WindowChoice, source: MadeBy) -> MadeBy:
    """What is written beside audio features; `source` says what the sound was made of."""
    return _plain(
        {
            "encoder": encoder.provenance(),
            "windows": windows.convention,
            "max_s": windows.max_s,
            "source": source,
        }
    )


def text_note(encoder: EncoderChoice, query: str) -> MadeBy:
    """What is written beside text features."""
    return _plain({"encoder": encoder.provenance(), "source": {"query": query}})


def earlier_note(folder: FeatureFolder, item: str) -> MadeBy | None:
    """The note of the features that are there; None for a missing or torn file, empty for one by others."""
    try:
        return read_made_by(folder.file(item), folder.key) or {}
    except FeatureError:
        return None


def is_done(folder: FeatureFolder, item: str, found: MadeBy | None, note: MadeBy, *, overwrite: bool) -> bool:
    """Whether the features of an item, whose note is `found`, were made by just what `note` says.

    Raises:
        FeatureError: they were made otherwise, and may not be overwritten.
    """
    if found is None:
        return False
    if {name: fact for name, fact in found.items() if name not in TOLD} == note:
        return True
    if overwrite:
        return False
    differing = [name for name in note if found.get(name) != note[name]]
    raise FeatureError(
        _said(found, differing),
        folder.file(item),
        REPLACE,
    )


def refuse_other_makers(folder: FeatureFolder, note: MadeBy, *, replaced: Container[str]) -> None:
    """Two encoders or two window conventions must not meet in one folder; `replaced` items do not count.

    Raises:
        FeatureError: a file was made otherwise, or does not say by what.
    """
    for item in folder.items():
        if item in replaced:
            continue
        found = earlier_note(folder, item)
        if found is not None:  # else torn: nothing can be read from it, and the store refuses it by name
            refuse_other_maker(
                folder, item, found, note, remedy="write to another folder, or remove what lies in this one"
            )


def refuse_other_maker(folder: FeatureFolder, item: str, found: MadeBy, note: MadeBy, *, remedy: str) -> None:
    """As `refuse_other_makers`, for one item whose note is `found`."""
    if differing := [name for name in SHARED_FACTS if name in note and found.get(name) != note[name]]:
        raise FeatureError(_said(found, differing), folder.file(item), remedy)


def _said(found: MadeBy, differing: list[str]) -> str:
    """What is wrong with a file's note; that of a file by others says nothing at all."""
    if not found:
        return "does not say what made it"
    names = {"windows": "window convention", "max_s": "--max-seconds"}
    return f"was made with another {' and another '.join(names.get(name, name) for name in differing)}"


def _plain(note: MadeBy) -> MadeBy:
    """As it is read back from a file: tuples become lists."""
    plain: MadeBy = json.loads(json.dumps(note))
    return plain
