"""Reads and writes lines of JSON. The field names of the annotation format live here only."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from clotho_long.core.errors import ClothoLongError, ManifestError
from clotho_long.core.files import atomic_path
from clotho_long.core.records import Moment, Query

Record = TypeVar("Record")


def read_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (`FILE:LINE`, parsed JSON) for every line that is not blank; `.gz` is unpacked.

    Raises:
        ManifestError: the file is missing or unreadable, or a line is not JSON.
    """
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig") as file
        ):
            for number, line in enumerate(file, start=1):
                if line.strip():
                    where = f"{path}:{number}"
                    try:
                        yield where, json.loads(line)
                    except json.JSONDecodeError as error:
                        raise ManifestError(
                            f"not a line of JSON ({error.msg})", where, "repair or remove the line"
                        ) from None
    except FileNotFoundError:
        raise ManifestError("no such file", path, "check the path, or run the step that writes it") from None
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ManifestError(f"cannot be read ({error})", path, "check that it is a jsonl file") from None


def write_lines(path: Path, values: Iterable[Any]) -> int:
    """Write one JSON object a line, atomically; `.gz` is packed without a time stamp. Returns the count."""
    lines = [json.dumps(value) + "\n" for value in values]
    content = "".join(lines).encode()
    with atomic_path(path) as part:
        # a fixed time stamp, so that equal content gives equal bytes
        part.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return len(lines)


def read_records(path: Path, kind: type[Record]) -> Iterator[Record]:
    """Yield the records of a file whose JSON fields are the record's own; errors name the line."""
    adapter = TypeAdapter(kind)
    for where, value in read_lines(path):
        yield _at(where, lambda value=value: adapter.validate_python(value))


def write_records(path: Path, records: Iterable[Any], kind: type[Any]) -> int:
    """Write records of one kind, one a line, atomically. Returns the count."""
    adapter = TypeAdapter(kind)
    return write_lines(path, (adapter.dump_python(record, mode="json") for record in records))


def read_queries(path: Path) -> Iterator[Query]:
    """Yield the annotations of a Lighthouse-format file; errors name the line.

    Raises:
        ManifestError: a field is missing or of the wrong type, or a window is reversed.
    """
    for where, value in read_lines(path):
        yield _at(where, lambda value=value: query_from_json(value))


def write_queries(path: Path, queries: Iterable[Query]) -> int:
    """Write annotations in the Lighthouse format, atomically. Returns the count."""
    return write_lines(path, map(query_to_json, queries))


def query_from_json(value: Any) -> Query:
    """One annotation from its JSON object; windows keep the order in which they are listed."""
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


def _at(where: str, build: Any) -> Any:
    """What `build` returns, with `FILE:LINE` added to any complaint about the value."""
    try:
        return build()
    except ClothoLongError as error:
        raise type(error)(error.problem, error.where or where, error.fix or "correct the line") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ManifestError(
            f"field {field}: {first['msg'][0].lower()}{first['msg'][1:]}", where, "correct the line"
        ) from None
    except KeyError as error:
        raise ManifestError(f"field {error.args[0]} is missing", where, "add it") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise ManifestError(f"malformed ({error})", where, "correct the line") from None
