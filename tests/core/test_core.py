from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
from pathlib import Path
from typing import ClassVar

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
from clotho_long.core.jsonl import dump_line, read_lines, write_lines
from clotho_long.core.records import Moment, Query
from clotho_long.core.seeds import generator
from clotho_long.core.settings import build_config, build_over, load_config, override, to_plain
from clotho_long.core.yaml_reader import YamlError, parse_yaml


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
        ("inner: {}\n", r"settings\.yml: name is missing"),
        ("name: x\nnmae: y\n", r"unknown setting nmae; did you mean name\?"),
        ("name: x\ninner: {rat: 1}\n", r"unknown setting inner\.rat; did you mean inner\.rate\?"),
        ("name: x\nlength_s: 1e-\n", r"length_s: Input should be a valid number, got '1e-'"),
        ("name: x\nlength_s: .inf\n", r"settings\.yml: length_s: inf is not a finite number"),
        ("name: x\ninner: {rate: .nan}\n", r"settings\.yml: inner\.rate: nan is not a finite number"),
        ("name: x\nname: y\n", r"settings\.yml: .*line 2: name is set a second time"),
        ("name: x\nlength: 1\nlength_s: 2\n", "are one setting, and both are given"),
        ("name: 2023-99-99\n", "cannot be read as YAML"),
        ("name: x\nlength_s: " + "9" * 5000 + "\n", "cannot be read as YAML|length_s: "),
        ("a: " + "[" * 3000, "nested too deeply|cannot be read as YAML"),
        ("&a [*a]\n", "unfolds to more than"),
        ("- a\n", "is not a mapping of settings"),
        ("a: [\n", "cannot be read as YAML"),
    ],
)
def test_a_mistake_in_settings_names_file_and_key(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "settings.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        load_config(Outer, path)


def test_files_without_end_are_not_read_to_their_end(tmp_path: Path) -> None:
    endless = Path("/dev/zero")
    if not endless.exists():
        pytest.skip("no /dev/zero here")
    with pytest.raises(ConfigError, match="is too large for settings"):
        load_config(Outer, endless)
    with pytest.raises(ManifestError, match="is a device, not a file"):
        list(read_lines(endless))


def test_aliases_of_aliases_do_not_unfold() -> None:
    laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
        for before, name in zip("abcdef", "bcdefg", strict=True)
    )
    with pytest.raises(YamlError, match="unfolds to more than 100,000 values"):
        parse_yaml(laughs)


@pytest.mark.parametrize("text", ["1e-4", "1.0e-4", "1E-4", "+1e-4", ".1e-3", "1e-04"])
def test_a_number_with_an_exponent_is_a_number(text: str) -> None:
    assert override(Outer(name="x"), [f"inner.rate={text}"]).inner.rate == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("inner", "'inner' is not KEY=VALUE; write for example"),
        ("=3", "'=3' is not KEY=VALUE"),
        ("inner..rate=3", r"'inner\.\.rate=3' is not KEY=VALUE"),
        ("name=[", r"the value of name cannot be read \("),
        ("inner.rate.x=3", r"inner\.rate has no parts, so no x; write inner\.rate=VALUE"),
        ("length.x=3", r"length_s has no parts, so no x"),
        ("outer.rate=3", r"unknown setting outer; known settings: name, inner, length_s"),
        ("iner.rate=3", r"unknown setting iner; did you mean inner\?"),
        ("inner.rate=fast", r"inner\.rate: Input should be a valid number, got 'fast'"),
        ("inner={rat: 3}", r"unknown setting inner\.rat; did you mean inner\.rate\?"),
        ("name=" + "x" * 500 + "]: [", "cannot be read"),
    ],
)
def test_a_mistake_in_an_override_is_the_command_lines(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "settings.yml"
    path.write_text("name: x\n")
    for attempt in (lambda: load_config(Outer, path, [text]), lambda: override(Outer(name="x"), [text])):
        with pytest.raises(ConfigError, match=complaint) as caught:
            attempt()
        assert caught.value.where == "--set"
        assert caught.value.is_usage
        assert len(str(caught.value)) < 200


def test_a_mistake_in_the_file_is_the_files_though_overrides_are_given(tmp_path: Path) -> None:
    path = tmp_path / "settings.yml"
    path.write_text("name: x\nlength_s: long\n")
    with pytest.raises(ConfigError, match=r"settings\.yml: length_s: .* got 'long'"):
        load_config(Outer, path, ["inner.rate=3"])


@pytest.mark.parametrize("pair", [["length=3", "length_s=4"], ["length_s=4", "length=3"]])
def test_an_override_in_two_spellings_is_refused(pair: list[str]) -> None:
    with pytest.raises(ConfigError, match="is given twice"):
        override(Outer(name="x"), pair)


@dataclass(frozen=True, kw_only=True)
class Renamed:
    RENAMED: ClassVar[dict[str, str]] = {"inner.speed": "inner.rate", "title": "name"}

    name: str
    inner: Inner = dataclasses.field(default_factory=Inner)


def test_renamed_settings_keep_loading_from_files_overrides_and_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "settings.yml"
    path.write_text("title: x\ninner: {speed: 3}\n")
    expected = Renamed(name="x", inner=Inner(rate=3))
    assert load_config(Renamed, path) == expected
    assert override(Renamed(name="y"), ["title=x", "inner.speed=3"]) == expected
    assert build_over(Renamed(name="y"), {"title": "x", "inner": {"speed": 3}}, where="c.pt") == expected
    assert build_config(Renamed, {"title": "x", "inner": {"speed": 3}}, where="c.pt") == expected
    with pytest.raises(ConfigError, match=r"c\.pt: title is now called name, and both are given"):
        build_config(Renamed, {"title": "x", "name": "x"}, where="c.pt")


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
            "field query: 5 is not a text",
        ),
        (
            '{"qid": "1", "query": "q", "duration": 3, "vid": "v", "relevant_windows": [[3, 2]]}',
            r"window \[3, 2\] ends",
        ),
        (
            '{"qid": "1", "query": "q", "duration": 3, "vid": "v", "relevant_windows": [[3]]}',
            r"field relevant_windows: \[3\] is not",
        ),
        ('["qid"]', r"\[.qid.\] is not a JSON object"),
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


@pytest.mark.parametrize("name", ["street.wav", "é 日本語 🎧", "caf\udce9.wav", 'a"\n\\'])
def test_a_line_of_json_is_text_whatever_a_file_is_called(name: str) -> None:
    line = dump_line({"recording": name})
    assert line.encode().count(b"\n") == 1
    assert json.loads(line) == {"recording": name}
    assert "é" not in name or "é" in line
