from __future__ import annotations

import dataclasses
import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pydantic.dataclasses import dataclass

from clotho_long.core.annotations import query_from_json, query_to_json, read_queries, write_queries
from clotho_long.core.command_line import CommandGroup
from clotho_long.core.errors import AudioError, ConfigError, FeatureError, ManifestError
from clotho_long.core.files import atomic_path, fingerprint, fingerprint_file, write_json
from clotho_long.core.jsonl import read_lines, write_lines
from clotho_long.core.records import Moment, Query
from clotho_long.core.seeds import generator
from clotho_long.core.settings import load_config, override, to_plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    rate: float = 1.0
    sizes: tuple[int, ...] = (1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    inner: Inner = dataclasses.field(default_factory=Inner)
    length_s: float = 3.0


def test_an_error_is_one_line_and_survives_a_worker() -> None:
    for kind in (ConfigError, ManifestError, AudioError, FeatureError):
        error = kind("offset 301.2 is past 300", "train.jsonl:7", "correct the line")
        assert str(error) == "train.jsonl:7: offset 301.2 is past 300; correct the line"
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (kind, str(error))


def test_settings_come_from_yaml_and_overrides(tmp_path: Path) -> None:
    path = tmp_path / "settings.yml"
    path.write_text("name: café\ninner: {rate: 2, sizes: [3, 4]}\n", encoding="utf-8")
    config = load_config(Outer, path, ["inner.rate=0.5", "length=7"])
    assert config == Outer(name="café", inner=Inner(rate=0.5, sizes=(3, 4)), length_s=7)
    assert override(config, []) == config
    assert to_plain(config) == {"name": "café", "inner": {"rate": 0.5, "sizes": [3, 4]}, "length_s": 7.0}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("inner: {}\n", r"settings\.yml: name: Field required"),
        ("name: x\nnmae: y\n", r"unknown setting nmae; did you mean name\?"),
        ("name: x\ninner: {rat: 1}\n", r"unknown setting inner\.rat; did you mean inner\.rate\?"),
        ("name: x\nlength_s: 1e-4\n", r"length_s: Input should be a valid number, got '1e-4'"),
        ("- a\n", "is not a mapping of settings"),
        ("a: [\n", "cannot be read as YAML"),
    ],
)
def test_a_mistake_in_settings_names_file_and_key(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "settings.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        load_config(Outer, path)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "result.npz"

    def write_half() -> None:
        with atomic_path(path) as part:
            assert part.suffix == ".npz"
            part.write_bytes(b"half")
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        write_half()
    assert list(path.parent.iterdir()) == []
    with atomic_path(path) as part:
        part.write_bytes(b"whole")
    assert [p.name for p in path.parent.iterdir()] == ["result.npz"]


def test_a_fingerprint_follows_content_not_order_or_time(tmp_path: Path) -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"abc")
    large.write_bytes(bytes(5 << 20))
    before = fingerprint_file(large)
    changed = bytearray(5 << 20)
    changed[(5 << 20) // 4] = 1  # in none of the pieces that earlier versions read
    large.write_bytes(changed)
    assert fingerprint_file(large) != before
    assert fingerprint_file(small) != before
    assert fingerprint_file(small) == f"sha256-{hashlib.sha256(b'abc').hexdigest()}"
    assert fingerprint_file(small, like="0123456789abcdef") == hashlib.sha256(b"3abc").hexdigest()[:16]


@pytest.mark.parametrize("stem", ["音" * 80, "a" * 250, "caf\udce9" * 20, "é" * 120])
def test_a_name_as_long_as_a_file_system_allows_can_be_written(tmp_path: Path, stem: str) -> None:
    path = tmp_path / f"{stem}.npz"
    with atomic_path(path) as part:
        part.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"


@given(seed=st.integers(0, 2**63), scope=st.lists(st.text(max_size=5), min_size=1, max_size=3))
def test_a_stream_hangs_on_its_seed_and_scope_alone(seed: int, scope: list[str]) -> None:
    first = generator(seed, *scope).integers(2**60, size=4)
    generator(seed, *scope, "other").random(10)
    np.testing.assert_array_equal(first, generator(seed, *scope).integers(2**60, size=4))
    assert not np.array_equal(first, generator(seed, *scope, "x").integers(2**60, size=4))
    assert not np.array_equal(first, generator(seed + 1, *scope).integers(2**60, size=4))


@given(
    onsets=st.lists(st.integers(0, 2900), min_size=1, max_size=5),
    query=st.text(min_size=1, max_size=20),
    level=st.none() | st.floats(-5, 5),
)
def test_an_annotation_survives_its_json(onsets: list[int], query: str, level: float | None) -> None:
    moments = tuple(Moment(onset_s=onset / 10, offset_s=(onset + 50) / 10) for onset in onsets)
    record = Query(
        qid="00012", query=query, recording_id="é, [x]", duration_s=300, moments=moments, foreground_db=level
    )
    assert query_from_json(query_to_json(record)) == record


@pytest.mark.parametrize("name", ["lines.jsonl", "lines.jsonl.gz"])
def test_lines_are_the_same_bytes_whenever_they_are_written(tmp_path: Path, name: str) -> None:
    values = [{"a": 1}, {"b": "ü"}]
    assert write_lines(tmp_path / name, values) == 2
    first = (tmp_path / name).read_bytes()
    write_lines(tmp_path / name, values)
    assert (tmp_path / name).read_bytes() == first
    assert [value for _, value in read_lines(tmp_path / name)] == values


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"qid": "1"', "not a line of JSON"),
        ('{"qid": "1", "query": "q", "duration": 3}', "field vid is missing"),
        (
            '{"qid": "1", "query": 5, "duration": 3, "vid": "v"}',
            "field query: input should be a valid string",
        ),
        (
            '{"qid": "1", "query": "q", "duration": 3, "vid": "v", "relevant_windows": [[3, 2]]}',
            r"window \[3, 2\] ends",
        ),
        ('{"qid": "1", "query": "q", "duration": 3, "vid": "v", "relevant_windows": [[3]]}', "malformed"),
        ('["qid"]', "malformed"),
    ],
)
def test_a_bad_annotation_names_its_line(tmp_path: Path, line: str, complaint: str) -> None:
    good = Query(qid="0", query="q", recording_id="v", duration_s=3, moments=(Moment(onset_s=0, offset_s=1),))
    path = tmp_path / "train.jsonl"
    write_queries(path, [good])
    path.write_text(path.read_text() + "\n" + line + "\n")
    with pytest.raises(ManifestError, match=rf"train\.jsonl:3: {complaint}"):
        list(read_queries(path))


def group_that(action: object) -> CommandGroup:
    """A program whose only command does this."""
    import click

    group = CommandGroup("program")
    group.add_command(click.command("go")(action))  # type: ignore[arg-type]
    return group


def test_commands_end_with_the_statuses_of_the_contract(tmp_path: Path) -> None:
    def succeed() -> None:
        write_json(tmp_path / "x.json", {})

    def fail() -> None:
        raise AudioError("is silent", "a.wav", "drop it")

    def lack() -> None:
        (tmp_path / "nothing").read_text()

    def interrupt() -> None:
        raise KeyboardInterrupt

    expected = [
        (succeed, 0, ""),
        (fail, 1, "error: a.wav: is silent; drop it\n"),
        (interrupt, 130, "error: interrupted"),
    ]
    for action, status, stderr in expected:
        result = CliRunner().invoke(group_that(action), ["go"])
        assert result.exit_code == status
        assert result.stderr.lstrip().startswith(stderr)  # click ends the line that ^C was typed on
    missing = CliRunner().invoke(group_that(lack), ["go"])
    assert missing.exit_code == 1
    assert missing.stderr == f"error: {tmp_path / 'nothing'}: no such file or directory; check the path\n"
    assert CliRunner().invoke(group_that(succeed), ["gone"]).exit_code == 2
    assert CliRunner().invoke(group_that(succeed), ["--help"]).exit_code == 0
