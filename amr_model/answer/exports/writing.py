"""Writes answers as every file that was asked for: `amr predict` and `amr search` export alike.

Files of one recording (label tracks, TextGrids, subtitles, cuts) are whole as soon as it is answered. Tables
of all recordings are written at the end, also if that is Ctrl-C or an error: with what was answered by then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from amr_model.answer.exports import audacity, raven, reaper, subtitles, table, textgrid
from amr_model.answer.exports.choice import Exports
from amr_model.answer.exports.labels import by_recording
from amr_model.answer.exports.naming import named_after, prefixes
from clotho_long.audio.choice import SoundChoice
from clotho_long.core.files import write_text
from clotho_long.core.units import Seconds

if TYPE_CHECKING:
    from amr_model.answer.answers import Answer

# What makes the one file of a recording, and how the file ends.
OF_ONE_RECORDING: dict[str, tuple[Callable[[Sequence[Answer]], str], str]] = {
    "audacity": (audacity.label_track, audacity.SUFFIX),
    "textgrid": (textgrid.text_grid, textgrid.SUFFIX),
    "srt": (subtitles.subtitles, subtitles.SUFFIX),
}


@contextlib.contextmanager
def exporting(
    exports: Exports,
    recordings: Sequence[Path],
    *,
    sound: SoundChoice | None = None,
    one_ranking: bool = False,
) -> Iterator[Callable[[Sequence[Answer]], None]]:
    """Yield what is to be called with the answers for one recording, once for each that is answered.

    Args:
        recordings: all that may be answered: files made of two of one name get different ones.
        sound: what is cut out of each.
        one_ranking: the table ranks the moments of a query over all recordings, not within each.

    Raises:
        AudioError: a recording that is to be cut or drawn cannot be read any more.
        OSError: a file cannot be written.
    """
    prefix_of = prefixes(recordings)
    answered: list[Answer] = []

    def export(answers: Sequence[Answer]) -> None:
        answered.extend(answers)
        for recording, own in by_recording(answers).items():
            _write_files_of_one(exports, own, prefix_of)
            if exports.cut is not None:
                _cut(own, exports.cut, prefix=prefix_of[recording], sound=sound, pad_s=exports.pad_s)

    try:
        yield export
    except BaseException:
        if answered:  # if not, what an earlier run wrote stays
            _write_tables(exports, answered, one_ranking=one_ranking)
        raise
    _write_tables(exports, answered, one_ranking=one_ranking)
    if exports.plot is not None and answered:  # which takes long, and is not what Ctrl-C waits for
        from amr_model.answer.pictures import plot_answers

        plot_answers(answered, exports.plot)


def write_exports(
    exports: Exports,
    answers: Sequence[Answer],
    *,
    sound: SoundChoice | None = None,
    one_ranking: bool = False,
) -> None:
    """Everything at once, of answers that are all there; arguments and errors as `exporting`."""
    recordings = [answer.recording for answer in answers]
    with exporting(exports, recordings, sound=sound, one_ranking=one_ranking) as export:
        export(answers)


def _write_tables(exports: Exports, answers: Sequence[Answer], *, one_ranking: bool) -> None:
    if exports.csv is not None:
        rows = table.moments_table(answers, with_clock=exports.clock is not None, one_ranking=one_ranking)
        write_text(exports.csv, table.as_csv(rows))
    if exports.raven is not None:
        write_text(exports.raven, raven.selection_table(answers))
    if exports.reaper is not None:
        write_text(exports.reaper, reaper.region_table(answers))


def _write_files_of_one(exports: Exports, answers: Sequence[Answer], prefix_of: dict[Path, str]) -> None:
    """The files of one recording, from all its answers."""
    for option, (to_text, suffix) in OF_ONE_RECORDING.items():
        folder: Path | None = getattr(exports, option)
        if folder is not None:
            write_text(folder / named_after(answers[0].recording, prefix_of, suffix), to_text(answers))


def _cut(
    answers: Sequence[Answer], folder: Path, *, prefix: str, sound: SoundChoice | None, pad_s: Seconds
) -> None:
    """Write the moments of one recording's answers; no cut replaces another one."""
    from amr_model.answer.exports.cuts import cut_moments

    for number, answer in enumerate(answers, start=1):
        own = f"{prefix}q{number}-" if len(answers) > 1 else prefix
        cut_moments(answer, folder, prefix=own, sound=sound, pad_s=pad_s)
