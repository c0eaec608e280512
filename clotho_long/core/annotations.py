"""Annotation files: the Lighthouse lines. Their JSON field names live here only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clotho_long.core.errors import ManifestError
from clotho_long.core.jsonl import at_line, dump_lines, read_lines, write_lines
from clotho_long.core.records import Moment, Query


def read_queries(path: Path) -> Iterator[Query]:
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


def query_from_json(value: Any) -> Query:
    """One annotation from its JSON object; windows keep the order in which they are listed.

    Raises:
        ManifestError, KeyError, TypeError, ValueError: the value is no annotation; `at_line` says it.
    """
    if not isinstance(value, dict):
        raise ManifestError("malformed (not a JSON object)")
    if value["qid"] is None:
        raise ManifestError("field qid: is null")
    windows = value.get("relevant_windows") or []
    return Query(
        qid=str(value["qid"]),
        query=value["query"],
        recording_id=value["vid"],
        duration_s=value["duration"],
        moments=tuple(Moment(onset_s=start, offset_s=end) for start, end in windows),
        foreground_db=value.get("fg_dB"),
    )


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
