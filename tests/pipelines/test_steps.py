"""A step runs when something that shapes its result changed, says what, and goes on after a kill."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clotho_long.core.errors import ConfigError, ManifestError
from pipelines.processes import ProcessError
from pipelines.stamps import fingerprint_input
from pipelines.steps import Step, run_steps


def write(path: Path, text: str) -> None:
    """The action of most steps here; notes beside the output that it was called."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    with (path.parent / f"{path.name}.calls").open("a") as calls:
        calls.write("x")


def make_step(name: str, folder: Path, text: str = "text", **changes: object) -> Step:
    values: dict[str, object] = {
        "name": name,
        "action": functools.partial(write, folder / name, text),
        "outputs": (folder / name,),
        "settings": {"text": text},
        "versions": {"arithmetic": 1},
    }
    return Step(**{**values, **changes})  # type: ignore[arg-type]


def run(steps: list[Step], folder: Path, **options: object) -> dict[str, str]:
    """Why each step ran; empty where it did not."""
    done = run_steps(steps, folder / "stamps", say=lambda _: None, **options)  # type: ignore[arg-type]
    return {step.name: step.why for step in done}


def test_nothing_runs_twice(tmp_path: Path) -> None:
    steps = [make_step("a", tmp_path), make_step("b", tmp_path, after=("a",))]
    assert run(steps, tmp_path) == {"a": "no output yet", "b": "no output yet"}
    assert run(steps, tmp_path) == {"a": "", "b": ""}
    assert (tmp_path / "a.calls").read_text() == "x"


def test_a_changed_setting_is_named_and_carried_to_the_steps_after(tmp_path: Path) -> None:
    def steps(text: str) -> list[Step]:
        first = make_step("a", tmp_path, text, settings={"train": {"epochs": text, "seed": 1}})
        return [first, make_step("b", tmp_path, after=("a",)), make_step("c", tmp_path)]

    run(steps("one"), tmp_path)
    assert run(steps("two"), tmp_path) == {
        "a": "settings changed: train.epochs",
        "b": "input changed: a",
        "c": "",
    }


def test_a_step_that_makes_the_same_again_costs_nothing_after_it(tmp_path: Path) -> None:
    def steps(workers: int) -> list[Step]:
        return [make_step("a", tmp_path, settings={"w": workers}), make_step("b", tmp_path, after=("a",))]

    run(steps(1), tmp_path)
    assert run(steps(2), tmp_path) == {"a": "settings changed: w", "b": ""}


def test_a_changed_file_of_the_users_is_named(tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    source.write_text("one")
    steps = [make_step("a", tmp_path, files=(source,))]
    run(steps, tmp_path)
    source.write_text("two")
    assert run(steps, tmp_path) == {"a": f"input changed: {source}"}


def test_a_raised_version_is_named(tmp_path: Path) -> None:
    run([make_step("a", tmp_path)], tmp_path)
    assert run([make_step("a", tmp_path, versions={"arithmetic": 2})], tmp_path) == {
        "a": "version changed: arithmetic"
    }


def kept_aside(folder: Path, name: str) -> list[Path]:
    """What the engine moved aside of an output, oldest first."""
    return sorted(path for path in folder.glob(f"{name}.*") if not path.name.endswith(".calls"))


def test_what_no_longer_fits_is_moved_aside_with_its_stamp_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    for text in ("one", "two", "three"):
        run_steps([make_step("a", tmp_path, text)], tmp_path / "stamps", say=said.append)
    assert (tmp_path / "a").read_text() == "three"
    kept = kept_aside(tmp_path, "a")
    assert [path.read_text() for path in kept] == ["one", "two"]
    assert all(re.fullmatch(r"a\.\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(-2)?", path.name) for path in kept)
    assert [line for line in said if "kept" in line] == [
        f"a: settings changed: text; what was there is kept as {path}" for path in kept
    ]
    for path in kept:
        stamp = tmp_path / "stamps" / path.name.replace("a.", "a.json.", 1)
        assert json.loads(stamp.read_text())["settings"] == {"text": path.read_text()}


def test_what_was_moved_aside_can_be_moved_back(tmp_path: Path) -> None:
    for text in ("one", "two"):
        run([make_step("a", tmp_path, text)], tmp_path)
    (kept,) = kept_aside(tmp_path, "a")
    kept.rename(tmp_path / "a")
    (stamp,) = (tmp_path / "stamps").glob("a.json.*")
    stamp.rename(tmp_path / "stamps" / "a.json")
    assert run([make_step("a", tmp_path, "one")], tmp_path) == {"a": ""}


def test_a_changed_input_moves_a_whole_folder_aside(tmp_path: Path) -> None:
    output = tmp_path / "b"

    def make() -> None:
        assert not output.exists()
        output.mkdir()
        (output / "checkpoint").write_text((tmp_path / "a").read_text())

    def steps(text: str) -> list[Step]:
        return [make_step("a", tmp_path, text), make_step("b", tmp_path, action=make, after=("a",))]

    run(steps("one"), tmp_path)
    assert run(steps("two"), tmp_path)["b"] == "input changed: a"
    (kept,) = kept_aside(tmp_path, "b")
    assert (kept / "checkpoint").read_text() == "one"
    assert (output / "checkpoint").read_text() == "two"


@pytest.mark.parametrize("keeps_notes", [False, True])
def test_outputs_without_a_stamp_are_left_only_to_an_action_that_knows_them(
    tmp_path: Path, keeps_notes: bool
) -> None:
    output = tmp_path / "a"
    output.write_text("of somebody else")
    found: list[bool] = []

    def make() -> None:
        found.append(output.exists())
        output.touch()

    run([make_step("a", tmp_path, action=make, keeps_notes=keeps_notes)], tmp_path)
    assert found == [keeps_notes]
    assert len(kept_aside(tmp_path, "a")) == (not keeps_notes)


def stamp_of_the_previous_engine(folder: Path, **settings: object) -> None:
    """Rewrite the stamp of `a` as the engine did that named source files and the machine's settings."""
    path = folder / "stamps" / "a.json"
    stamp = json.loads(path.read_text())
    del stamp["versions"]
    stamp["settings"] |= settings
    path.write_text(json.dumps({**stamp, "code": {"clotho_long.core.seeds": "0123456789abcdef"}}))


def test_a_stamp_of_the_previous_engine_counts_by_settings_and_inputs(tmp_path: Path) -> None:
    run([make_step("a", tmp_path)], tmp_path)
    stamp_of_the_previous_engine(tmp_path, device="cuda", threads=4, processes=2)
    assert run([make_step("a", tmp_path)], tmp_path) == {"a": ""}
    assert run([make_step("a", tmp_path, versions={"arithmetic": 2})], tmp_path) == {
        "a": "version changed: arithmetic"
    }


def with_epochs(settings: dict[str, object]) -> dict[str, object]:
    return {"epochs": 200, **settings}


def test_a_setting_that_is_new_in_this_release_has_its_default_in_older_stamps(tmp_path: Path) -> None:
    run([make_step("a", tmp_path)], tmp_path)
    step = make_step("a", tmp_path, settings={"text": "text", "epochs": 200}, today=with_epochs)
    assert run([step], tmp_path) == {"a": ""}


def test_a_lost_output_is_made_again(tmp_path: Path) -> None:
    steps = [make_step("a", tmp_path)]
    run(steps, tmp_path)
    (tmp_path / "a").unlink()
    assert run(steps, tmp_path) == {"a": f"output is missing: {tmp_path / 'a'}"}


def test_from_makes_a_finished_step_anew_beside_the_old_one(tmp_path: Path) -> None:
    steps = [make_step("a", tmp_path)]
    run(steps, tmp_path)
    assert run(steps, tmp_path, start="a") == {"a": "asked for"}
    assert len(kept_aside(tmp_path, "a")) == 1
    assert (tmp_path / "a").read_text() == "text"


def test_from_takes_earlier_steps_as_they_are_and_runs_the_named_one(tmp_path: Path) -> None:
    steps = [make_step("a", tmp_path), make_step("b", tmp_path, after=("a",)), make_step("c", tmp_path)]
    run(steps, tmp_path)
    (tmp_path / "a").unlink()
    assert run(steps, tmp_path, start="b") == {"b": "asked for", "c": ""}


def test_from_refuses_what_was_never_finished(tmp_path: Path) -> None:
    steps = [make_step("a", tmp_path), make_step("b", tmp_path, after=("a",))]
    with pytest.raises(ManifestError, match="step a was never finished; start with a"):
        run(steps, tmp_path, start="b")


def test_until_stops_after_the_named_step(tmp_path: Path) -> None:
    steps = [make_step("a", tmp_path), make_step("b", tmp_path)]
    assert run(steps, tmp_path, until="a") == {"a": "no output yet"}
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("option", ["start", "until"])
def test_a_step_that_does_not_exist_is_refused(tmp_path: Path, option: str) -> None:
    with pytest.raises(ConfigError, match="no step 'x'; the steps are a"):
        run([make_step("a", tmp_path)], tmp_path, **{option: "x"})


def test_a_step_without_its_output_is_an_error_and_not_finished(tmp_path: Path) -> None:
    steps = [make_step("a", tmp_path, outputs=(tmp_path / "other",))]
    for expected in (1, 2):
        with pytest.raises(ManifestError, match="step a did not make it"):
            run(steps, tmp_path)
        assert len((tmp_path / "a.calls").read_text()) == expected


def test_an_interrupted_step_goes_on_with_its_part_and_a_changed_one_does_not(tmp_path: Path) -> None:
    output = tmp_path / "a"

    def stop_half_way() -> None:
        output.mkdir(exist_ok=True)
        (output / "part").write_text("half")
        raise KeyboardInterrupt

    seen: list[bool] = []

    def look() -> None:
        seen.append((output / "part").exists())
        output.mkdir(exist_ok=True)

    stopped = make_step("a", tmp_path, action=stop_half_way)
    with pytest.raises(KeyboardInterrupt):
        run([stopped], tmp_path)
    assert run([dataclasses.replace(stopped, action=look)], tmp_path) == {"a": "was interrupted, goes on"}
    with pytest.raises(KeyboardInterrupt):
        run([dataclasses.replace(stopped, settings={"text": "other"})], tmp_path)
    run([dataclasses.replace(stopped, settings={"text": "third"}, action=look)], tmp_path)
    assert seen == [True, False]
    assert [(path / "part").read_text() for path in kept_aside(tmp_path, "a")] == ["half", "half"]


def test_two_pipelines_do_not_work_in_one_folder(tmp_path: Path) -> None:
    steps = [make_step("a", tmp_path, action=lambda: run(steps, tmp_path))]
    with pytest.raises(ManifestError, match="another pipeline works in this folder; wait for it, or choose"):
        run(steps, tmp_path)
    assert run([make_step("a", tmp_path)], tmp_path) == {"a": "was interrupted, goes on"}


def test_nothing_of_the_source_or_the_machine_is_in_a_stamp(tmp_path: Path) -> None:
    """So that a changed comment, device or number of processes changes no step."""
    run([make_step("a", tmp_path)], tmp_path)
    stamp = json.loads((tmp_path / "stamps" / "a.json").read_text())
    assert set(stamp) == {"settings", "inputs", "versions", "finished", "made", "seconds"}
    assert stamp["settings"] == {"text": "text"}


KILLED = """
import sys, time
from pathlib import Path
from tests.pipelines.test_steps import make_step, run
folder = Path(sys.argv[1])
def hang():
    (folder / "b").write_text("half")
    time.sleep(60)
run([make_step("a", folder), make_step("b", folder, action=hang, after=("a",))], folder)
"""


def test_a_killed_pipeline_goes_on_with_the_step_that_it_was_in(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)])
    while not (tmp_path / "b").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    steps = [make_step("a", tmp_path), make_step("b", tmp_path, after=("a",))]
    assert run(steps, tmp_path) == {"a": "", "b": "was interrupted, goes on"}
    assert (tmp_path / "b").read_text() == "text"


def beat(path: Path) -> None:
    for number in range(3000):
        path.write_text(str(number))
        time.sleep(0.02)


KILLED_WITH_PROCESSES = """
import functools, sys
from pathlib import Path
from tests.pipelines.test_steps import beat, make_step, run
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    action = functools.partial(beat, folder / "a")
    run([make_step("a", folder, action=action, whole_machine=False)], folder, jobs=2)
"""


def test_no_process_outlives_a_killed_pipeline(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED_WITH_PROCESSES, str(tmp_path)])
    while not (tmp_path / "a").exists() or not (tmp_path / "a").read_text():
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = ""
    while (now := (tmp_path / "a").read_text()) != before:
        assert now != "2999", "it ran to its end"
        before = now
        time.sleep(0.5)


def test_a_stamp_that_cannot_be_read_lets_its_step_run(tmp_path: Path) -> None:
    steps = [make_step("a", tmp_path)]
    run(steps, tmp_path)
    (tmp_path / "stamps" / "a.json").write_text("{")
    assert run(steps, tmp_path) == {"a": "no output yet"}


def test_steps_side_by_side_make_the_same_as_one_after_the_other(tmp_path: Path) -> None:
    def steps(folder: Path) -> list[Step]:
        single = functools.partial(make_step, folder=folder, whole_machine=False)
        return [
            make_step("a", folder),
            single("b", after=("a",)),
            single("c", after=("a",)),
            single("d", after=("b",)),
            make_step("e", folder, after=("c", "d")),
        ]

    made: list[dict[str, str]] = []
    for jobs in (1, 2):
        folder = tmp_path / str(jobs)
        assert list(run(steps(folder), folder, jobs=jobs)) == ["a", "b", "c", "d", "e"]
        made.append({path.name: path.read_text() for path in folder.iterdir() if path.is_file()})
        assert set(run(steps(folder), folder, jobs=jobs).values()) == {""}
    assert made[0] == made[1]


def test_an_error_in_another_process_arrives(tmp_path: Path) -> None:
    steps = [make_step("a", tmp_path, whole_machine=False, outputs=(tmp_path / "other",))]
    with pytest.raises(ManifestError, match="step a did not make it"):
        run(steps, tmp_path, jobs=2)


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_of_a_step_is_one_line(tmp_path: Path) -> None:
    steps = [make_step("a", tmp_path, action=be_killed, whole_machine=False)]
    with pytest.raises(
        ProcessError, match=r"^a: a process of this step was killed, often for its memory; run"
    ):
        run(steps, tmp_path, jobs=2)


def test_a_cache_of_features_is_no_change_of_their_folder(tmp_path: Path) -> None:
    (tmp_path / "clap").mkdir()
    (tmp_path / "clap" / "a.npz").write_bytes(b"1")
    before = fingerprint_input(tmp_path)
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "audio.npy").write_bytes(b"2")
    assert fingerprint_input(tmp_path) == before
    (tmp_path / "clap" / "b.npz").write_bytes(b"3")
    assert fingerprint_input(tmp_path) != before


def test_an_input_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="nowhere: no such file or folder"):
        run([make_step("a", tmp_path, files=(tmp_path / "nowhere",))], tmp_path)
