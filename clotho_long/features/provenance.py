"""What made a feature file: the note in each, and whether it is the one that a run would write.

A feature file is kept if its note (`made_by`) equals the one that a run would write, and refused if it
differs: another encoder, other weights, another precision, window convention or source. Nothing is kept
because its name exists.
"""

from __future__ import annotations

import json
from collections.abc import Container

from clotho_long.core.errors import FeatureError
from clotho_long.features.extract import EncoderChoice, MadeBy, WindowChoice
from clotho_long.features.files import read_made_by
from clotho_long.features.pack import SHARED_FACTS, FeatureFolder


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


def is_done(folder: FeatureFolder, item: str, note: MadeBy, *, overwrite: bool) -> bool:
    """Whether the features of an item were made by just this; False too for a missing or torn file.

    Raises:
        FeatureError: they were made otherwise, and may not be overwritten.
    """
    path = folder.file(item)
    try:
        found = read_made_by(path, folder.key) or {}
    except FeatureError:
        return False
    if found == note:
        return True
    if overwrite:
        return False
    differing = [name for name in note if found.get(name) != note[name]]
    raise FeatureError(
        _said(found, differing),
        path,
        "give --overwrite to replace it, remove it, or take another folder",
    )


def refuse_other_makers(folder: FeatureFolder, note: MadeBy, *, replaced: Container[str]) -> None:
    """Two encoders or two window conventions must not meet in one folder; `replaced` items do not count.

    Raises:
        FeatureError: a file was made otherwise, or does not say by what.
    """
    for item in folder.items():
        if item in replaced:
            continue
        try:
            found = read_made_by(folder.file(item), folder.key) or {}
        except FeatureError:
            continue  # torn: nothing can be read from it, and the store refuses it by name
        if differing := [name for name in SHARED_FACTS if name in note and found.get(name) != note[name]]:
            raise FeatureError(
                _said(found, differing),
                folder.file(item),
                "write to another folder, or remove what lies in this one",
            )


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
