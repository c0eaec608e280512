"""Listening by numbers: in rendered clips of real sound, events are as their recipes say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from clotho_long.audio.io import Waveform, read_mono
from clotho_long.corpus import Corpus
from clotho_long.recipe.records import ClipRecipe
from tests.builders import files_below, run_cli

CLIP_S = 120
NUM_CLIPS = 4  # of each split
RATE_HZ = 32_000
PCM_STEP = 1 / 32_768


@pytest.fixture(scope="module")
def rendered(real_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A corpus of 120 s clips from real events and tours, rendered to wav."""
    root = tmp_path_factory.mktemp("real") / "corpus"
    tours = real_audio / "WalkingTourVideos"
    for arguments in (
        (
            "scan",
            "--clotho",
            real_audio,
            "--walking-tours",
            tours,
            "--split",
            "ratio:7,1,2",
            "--out",
            root,
            "-j",
            2,
        ),
        ("plan", root, "--set", f"clip_duration={CLIP_S}", "--max-clips", NUM_CLIPS),
        ("render", root, "--jobs", 1),
        ("check", root),
    ):
        result = run_cli(*arguments)
        assert result.exit_code == 0, result.output
    return Corpus(root)


def heard(corpus: Corpus, split: str, recipe: ClipRecipe) -> tuple[Waveform, float]:
    """The clip less its background, in units of the background's RMS, and one 16-bit step in these units.

    The background is decoded anew from the tour, and its part in the mixture fitted where no event sounds.
    """
    mixture, _ = soundfile.read(corpus.audio_file(split, recipe.recording_id, "wav"), dtype="float32")
    tour = next(item for item in corpus.backgrounds() if item.background_id == recipe.background_id)
    decoded = read_mono(corpus.source_root("walking_tours") / tour.file, RATE_HZ)
    start = int(recipe.start_s * RATE_HZ)
    background = decoded[start : start + CLIP_S * RATE_HZ]
    quiet = ~sounding(recipe)
    part = float(mixture[quiet] @ background[quiet]) / float(background[quiet] @ background[quiet])
    rms = float(np.sqrt(np.mean(background.astype(np.float64) ** 2)))
    unit = part / 10 ** (recipe.background_db / 20) * rms
    return (mixture - part * background) / unit, PCM_STEP / unit


def sounding(recipe: ClipRecipe) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Where the recipe says that some event sounds, [sample]."""
    mask = np.zeros(CLIP_S * RATE_HZ, bool)
    for event in recipe.events:
        for start_s in event.starts_s:
            start = int(start_s * RATE_HZ)
            mask[start : start + int(event.duration_s * RATE_HZ)] = True
    return mask


def test_every_event_is_where_and_as_loud_as_its_recipe_says(rendered: Corpus) -> None:
    clips = [(split, recipe) for split in ("train", "valid", "test") for recipe in rendered.recipes(split)]
    assert len(clips) >= 10
    for split, recipe in clips:
        rest, step = heard(rendered, split, recipe)
        # 16-bit files are rounded down, by half a step on average
        assert np.abs(rest[~sounding(recipe)]).max() < 3 * step
        for event in recipe.events:
            for start_s in event.starts_s:
                start = int(start_s * RATE_HZ)
                piece = rest[start : start + int(event.duration_s * RATE_HZ)]
                peak_db = 20 * np.log10(np.abs(piece).max())
                assert peak_db == pytest.approx(event.foreground_db, abs=0.05 + 20 * step)


def test_real_clips_do_not_depend_on_the_number_of_jobs(rendered: Corpus, tmp_path: Path) -> None:
    page = rendered.page()
    clotho, tours = page["roots"]["clotho"], page["roots"]["walking_tours"]
    root = tmp_path / "corpus"
    run_cli(
        "scan", "--clotho", clotho, "--walking-tours", tours, "--split", "ratio:7,1,2", "--out", root, "-j", 1
    )
    run_cli("plan", root, "--set", f"clip_duration={CLIP_S}", "--max-clips", NUM_CLIPS)
    assert run_cli("render", root, "--jobs", 2).exit_code == 0
    for part in ("sources", "recipes", "text", "audio"):
        assert files_below(root / part) == files_below(rendered.root / part)
