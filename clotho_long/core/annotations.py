"""Annotation files: the Lighthouse lines. Their JSON field names live here only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clotho_long.core.errors import ManifestError
from clotho_long.core.jsonl import at_line, dump_lines, read_by_qid, read_lines, write_lines
from clotho_long.core.records import Moment, Query, Sentence
from clotho_long.core.settings import shown


def read_queries(path: Path | str) -> Iterator[Query]:
    """Yield the annotations of a Lighthouse-format file; errors name the line.

    Raises:
        ManifestError: a field is missing or of the wrong type, or a window is reversed.
    """
    for where, value in read_lines(path):
        yield at_line(where, lambda value=value: query_from_json(value))


def write_queries(path: Path, queries: Iterable[Query]) -> int:
    """Write annotations in the Lighthouse format, atomically. Returns the count."""
    return write_lines(path, map(query_to_json, queries))


def dump_queries(queries: Iterable[Query]) -> bytes:
    """What `write_queries` writes."""
    return dump_lines(map(query_to_json, queries))


def read_annotations(path: Path | str) -> list[Query]:
    """The queries of a Lighthouse-format file.

    Raises:
        ManifestError: a line is malformed, a qid occurs twice, a duration is not above 0, or no line.
    """
    return read_by_qid(path, query_from_json, of="query")


def read_sentences(path: Path | str) -> list[Sentence]:
    """The `query` of each line and its `qid`, whatever else the lines say or lack.

    Raises:
        ManifestError: one of the two is missing or of the wrong type, a query is empty, a qid occurs twice,
            or no line.
    """
    return read_by_qid(path, _sentence_from_json, of="query")


def query_from_json(value: Any) -> Query:
    """One annotation from its JSON object; windows keep the order in which they are listed.

    Raises:
        ManifestError: a field is of the wrong type, or a window is reversed. Errors name the JSON's fields.
        KeyError: a field is missing.
    """
    listed = _object(value).get("relevant_windows")
    if not isinstance(listed, list | None):
        raise ManifestError(f"field relevant_windows: {shown(listed)} is not a list of [onset, offset]")
    level = value.get("fg_dB")
    return Query(
        qid=_id(value, "qid"),
        query=_text(value, "query"),
        recording_id=_text(value, "vid"),
        duration_s=_number(value["duration"], "duration"),
        moments=tuple(_moment(window) for window in listed or ()),
        foreground_db=None if level is None else _number(level, "fg_dB"),
    )


def _sentence_from_json(value: Any) -> Sentence:
    query = _text(_object(value), "query")
    if not query.strip():
        raise ManifestError("field query is empty", fix="write what is to be found")
    return Sentence(qid=_id(value, "qid"), query=query)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ManifestError(
            f"{shown(value)} is not a JSON object", fix="write {...} with the fields of a query"
        )
    return value


def _id(value: dict[str, Any], name: str) -> str:
    """Published files number their queries, ours name them."""
    item = value[name]
    if isinstance(item, bool) or not isinstance(item, str | int):
        raise ManifestError(f"field {name}: {shown(item)} is not a text or a whole number")
    return str(item)


def _text(value: dict[str, Any], name: str) -> str:
    if not isinstance(value[name], str):
        raise ManifestError(f"field {name}: {shown(value[name])} is not a text")
    return str(value[name])


def _number(item: Any, name: str) -> float:
    if isinstance(item, bool) or not isinstance(item, int | float):
        raise ManifestError(f"field {name}: {shown(item)} is not a number")
    try:
        number = float(item)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ManifestError(f"field {name}: {shown(item)} is not a finite number")
    return number


def _moment(window: Any) -> Moment:
    if not isinstance(window, list) or len(window) != 2:
        raise ManifestError(f"field relevant_windows: {shown(window)} is not [onset, offset]")
    onset_s, offset_s = (_number(edge, "relevant_windows") for edge in window)
    return Moment(onset_s=onset_s, offset_s=offset_s)


def query_to_json(query: Query) -> dict[str, Any]:
    """One annotation as its JSON object. Windows carry one decimal, as published."""
    value: dict[str, Any] = {
        "qid": query.qid,
        "query": query.query,
        "duration": int(query.duration_s) if float(query.duration_s).is_integer() else query.duration_s,
        "vid": query.recording_id,
        "relevant_windows": [[float(f"{m.onset_s:.1f}"), float(f"{m.offset_s:.1f}")] for m in query.moments],
    }
    return value if query.foreground_db is None else {**value, "fg_dB": query.foreground_db}
