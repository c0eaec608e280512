"""Checkpoints by name: downloaded once, checked, used without a network, refused in one line."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pooch
import pytest
import torch
from click.testing import CliRunner
from huggingface_hub import constants, file_download, utils

import amr_model
from amr_model.checkpoint import Checkpoint, checkpoint_fingerprint, load_checkpoint, save_checkpoint
from amr_model.cli import main
from amr_model.errors import TrainingError
from amr_model.public.weights_by_name import PUBLIC, local_checkpoint
from clotho_long.core.files import fingerprint_file
from tests.model.builders import make_model, small
from tests.public.standin_hub import COMMIT, Host, standing_in
from tests.public.test_checkpoint import PUBLIC_SIZES, public_state, write_public

NAME = "hf://someone/moments/run/best.pt"
LIGHTHOUSE = "lighthouse-qd_detr-clotho-moment"
RECORD, FILE = "13961029", "clap_qd_detr_clotho-moment.ckpt"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A checkpoint of ours."""
    config = small("S1")
    path = tmp_path_factory.mktemp("ours") / "best.pt"
    save_checkpoint(path, Checkpoint(config=config, model=make_model(config).state_dict()))
    return path.read_bytes()


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A checkpoint as Lighthouse writes it."""
    from amr_model.public.presets import compat_lighthouse
    from clotho_long.core.settings import override

    config = override(compat_lighthouse("qd_detr"), PUBLIC_SIZES)
    path = tmp_path_factory.mktemp("theirs") / FILE
    return write_public(path, public_state("qd_detr", config), {"nheads": 2}).read_bytes()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Host]:
    """The hub, doi.org and Zenodo, all on this machine, with empty caches."""
    with standing_in() as host:
        ask_at(host.address, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        module: Any = utils
        forget = getattr(module, "reset_sessions", None) or module.close_session  # by version
        forget()  # one that was opened offline stays offline
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)  # what a break costs
        monkeypatch.setattr("time.sleep", lambda seconds: None)  # between attempts
        monkeypatch.setattr(
            "pooch.downloaders.doi_to_url",
            lambda doi, **options: f"https://zenodo.org/records/{doi.partition('zenodo.')[2]}",
        )
        monkeypatch.setattr(pooch.downloaders.ZenodoRepository, "base_api_url", f"{host.address}/api/records")
        monkeypatch.setenv("AMR_CACHE", str(tmp_path / "archives"))
        yield host


def ask_at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hub's library ask there, as `HF_ENDPOINT` does before it is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    for module in (constants, file_download):  # versions read it in the one or the other
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)


def unplug(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on nothing answers."""
    dead = "http://127.0.0.1:9"
    ask_at(dead, monkeypatch)
    monkeypatch.setattr(pooch.downloaders.ZenodoRepository, "base_api_url", f"{dead}/api/records")
    host.asked.clear()


def test_a_file_of_the_hub_is_downloaded_once_and_then_used_without_a_network(
    host: Host, ours: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.files["someone/moments/run/best.pt"] = ours
    checkpoint = load_checkpoint(NAME)
    assert checkpoint.config == small("S1")
    assert local_checkpoint(NAME).read_bytes() == ours
    unplug(host, monkeypatch)
    again = load_checkpoint(NAME)
    assert host.asked == []
    assert all(torch.equal(again.model[name], value) for name, value in checkpoint.model.items())
    assert checkpoint_fingerprint(NAME) == fingerprint_file(local_checkpoint(NAME))


@pytest.mark.parametrize(
    "name", ["hf://someone/moments/run/best.pt@v1", "hf://someone/moments@v1/run/best.pt"]
)
def test_a_revision_is_asked_for_as_it_is_written(host: Host, ours: bytes, name: str) -> None:
    host.files["someone/moments/run/best.pt"] = ours
    assert COMMIT in str(local_checkpoint(name))
    assert {line.split()[1] for line in host.asked} == {"/someone/moments/resolve/v1/run/best.pt"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf://someone/nothing/best.pt", r"someone/nothing/best\.pt: is in no public repository; check its"),
        ("hf://someone/moments/last.pt", r"last\.pt: is a file that the repository does not have; see"),
        (f"{NAME}@v7", r"best\.pt@v7: is in a repository without that revision; check what follows the @"),
        ("hf://someone/best.pt", r"is no address of a file on the hub; write hf://OWNER/REPOSITORY/FILE\["),
        ("hf://some one/moments/best.pt", r"is no name of a repository; check its spelling"),
        ("doi:10.5281/zenodo.7", r"is no address of a file in an archive; write doi:10\.5281/zenodo\."),
        ("doi:10.5281/zenodo.7/best.ckpt", r"is in no archive that can be read.*; check the DOI"),
        (
            f"doi:10.5281/zenodo.{RECORD}/best.ckpt",
            rf"that the archive does not have; it has: {FILE}",
        ),
    ],
)
def test_what_is_not_there_is_said_in_a_line(
    host: Host, ours: bytes, theirs: bytes, name: str, message: str
) -> None:
    host.files |= {"someone/moments/run/best.pt": ours, f"{RECORD}/{FILE}": theirs}
    with pytest.raises(TrainingError, match=message):
        load_checkpoint(name)


@pytest.mark.parametrize("name", [NAME, LIGHTHOUSE])
def test_without_cache_or_network_the_remedy_is_named(
    host: Host, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    unplug(host, monkeypatch)
    with pytest.raises(TrainingError, match=r"cannot be downloaded; connect to the internet once, or"):
        load_checkpoint(name)


def test_a_download_from_the_hub_that_breaks_goes_on_where_it_broke(host: Host, ours: bytes) -> None:
    host.files["someone/moments/run/best.pt"] = ours
    host.cut = [len(ours) // 2]
    with contextlib.suppress(TrainingError):  # some versions of the hub's library go on by themselves
        local_checkpoint(NAME)
    assert local_checkpoint(NAME).read_bytes() == ours
    whole, rest = (line for line in host.asked if line.startswith("GET"))
    assert whole.endswith("best.pt")
    resumed = re.search(r" bytes=(\d+)-$", rest)
    assert resumed is not None
    assert 0 < int(resumed[1]) <= len(ours) // 2


def test_a_download_from_the_hub_that_keeps_breaking_ends_in_a_line(host: Host, ours: bytes) -> None:
    host.files["someone/moments/run/best.pt"] = ours
    host.cut = [100] * 50
    with pytest.raises(
        TrainingError, match=r"could not be downloaded \(.*\); run the command again; it goes"
    ):
        local_checkpoint(NAME)


def test_what_came_otherwise_than_the_hub_announced_is_not_kept(host: Host, ours: bytes) -> None:
    host.files["someone/moments/run/best.pt"] = ours
    host.announced["someone/moments/run/best.pt"] = "0" * 64
    with pytest.raises(TrainingError, match=r"was not downloaded as the hub has it \(other SHA-256\); run"):
        load_checkpoint(NAME)
    host.announced.clear()
    assert local_checkpoint(NAME).read_bytes() == ours


def test_a_file_that_is_no_checkpoint_is_refused_by_its_name(host: Host) -> None:
    host.files["someone/moments/run/best.pt"] = b"<html>no such page</html>"
    with pytest.raises(TrainingError, match=rf"^{NAME}: cannot be read"):
        load_checkpoint(NAME)


def test_a_public_name_leads_to_its_archive_and_is_read(
    host: Host, theirs: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host.files[f"{RECORD}/{FILE}"] = theirs
    assert load_checkpoint(LIGHTHOUSE).config.system == "lighthouse-qd_detr"
    kept = tmp_path / "archives" / "10.5281" / f"zenodo.{RECORD}" / FILE
    assert kept.read_bytes() == theirs
    unplug(host, monkeypatch)
    assert local_checkpoint(LIGHTHOUSE) == kept
    assert host.asked == []


def test_a_broken_or_other_file_of_an_archive_leaves_nothing_behind(
    host: Host, theirs: bytes, tmp_path: Path
) -> None:
    host.files[f"{RECORD}/{FILE}"] = theirs
    host.cut = [len(theirs) // 2]
    with pytest.raises(TrainingError, match=r"not be downloaded as the archive has it .*; run the"):
        load_checkpoint(LIGHTHOUSE)
    host.announced[f"{RECORD}/{FILE}"] = "0" * 32
    with pytest.raises(TrainingError, match=r"could not be downloaded as the archive has it"):
        load_checkpoint(LIGHTHOUSE)
    assert [path for path in (tmp_path / "archives").rglob("*") if path.is_file()] == []


def test_a_file_of_that_name_comes_first(
    host: Host, ours: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(LIGHTHOUSE).write_bytes(ours)
    assert load_checkpoint(LIGHTHOUSE).config == small("S1")
    assert host.asked == []


def test_an_unknown_name_is_a_path_and_the_names_are_listed() -> None:
    with pytest.raises(TrainingError, match=rf"other: no such checkpoint; .*{'.*'.join(PUBLIC)}"):
        load_checkpoint("other")


def test_commands_and_python_take_names(host: Host, ours: bytes, tmp_path: Path) -> None:
    host.files["someone/moments/run/best.pt"] = ours
    result = CliRunner().invoke(main, ["convert", NAME, "--out", str(tmp_path / "converted.pt")])
    assert result.exit_code == 0, result.output
    assert load_checkpoint(tmp_path / "converted.pt").config == small("S1")
    retriever = amr_model.load(NAME, device="cpu", encoder="logmel")
    assert retriever.config.system == small("S1").system


def test_where_logging_is_set_to_warnings_there_is_no_bar(
    host: Host, theirs: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    host.files[f"{RECORD}/{FILE}"] = theirs
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.WARNING)
    try:
        local_checkpoint(LIGHTHOUSE)
    finally:
        root.setLevel(before)
    assert capfd.readouterr().err == ""


def test_every_command_that_takes_a_checkpoint_takes_a_name() -> None:
    taken = [
        (name, option)
        for name, command in main.commands.items()
        for option in command.params
        if option.name in ("checkpoint", "init", "source")
    ]
    assert {name for name, _ in taken} == {
        "predict", "search", "serve", "evaluate", "calibrate", "submit", "train", "convert"
    }  # fmt: skip
    for name, option in taken:
        assert option.type.convert("hf://a/b/c.pt", option, None) == "hf://a/b/c.pt", name
