"""A folder of recordings as people have them: each is read right, or refused in one line that names it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from clotho_long.features.files import AUDIO_KEY, audio_file, read_features
from clotho_long.features.recordings import readable, search
from tests.builders import run_cli
from tests.odd_files import OddFile, odd_files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[OddFile]]:
    folder = tmp_path_factory.mktemp("odd") / "recordings"
    return folder, odd_files(folder)


def test_every_odd_file_has_its_seconds_or_one_line_with_its_name(
    folder: tuple[Path, list[OddFile]], tmp_path: Path
) -> None:
    where, files = folder
    assert len(files) >= 40
    result = run_cli("features", where, "--out", tmp_path, "--encoder", "logmel", "--jobs", 1, "--quiet")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if not line.startswith("  note: ")]
    ids = {recording.sound.path: recording.recording_id for recording in search([where]).recordings}  # type: ignore[attr-defined]
    wrong = []
    for file in files:
        said = [line for line in lines if readable(file.path) in line or os.fspath(file.path) in line]
        features = audio_file(tmp_path, ids[file.path])
        if file.seconds is None:
            if features.exists() or len(said) != 1:
                wrong.append(f"{file.path.name!a} was not refused: {said}")
        elif not features.exists():
            wrong.append(f"{file.path.name!a} was refused: {said}")
        else:
            rows, made_by = read_features(features, AUDIO_KEY)
            assert made_by is not None
            assert np.isfinite(rows).all()
            if abs(len(rows) - file.seconds) > 1 or abs(made_by["duration_s"] - file.seconds) > 0.2:
                wrong.append(
                    f"{file.path.name!a}: {len(rows)} rows, {made_by['duration_s']} s of {file.seconds}"
                )
    assert not wrong, "\n".join(wrong)
    assert len(lines) == sum(file.seconds is None for file in files) + 1
