"""Lines of JSON: read with the place of every mistake, written whole or not at all."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from clotho_long.core.errors import ClothoLongError, ManifestError
from clotho_long.core.files import atomic_path


class _OfQuery(Protocol):
    @property
    def qid(self) -> str: ...


Asked = TypeVar("Asked", bound=_OfQuery)
Record = TypeVar("Record")


def read_lines(path: Path | str) -> Iterator[tuple[str, Any]]:
    """Yield (`FILE:LINE`, parsed JSON) for every line that is not blank; `.gz` is unpacked.

    Raises:
        ManifestError: the file is missing or unreadable, or a line is not JSON.
    """
    for where, value in scan_lines(path):
        if isinstance(value, ManifestError):
            raise value
        yield where, value


def scan_lines(path: Path | str) -> Iterator[tuple[str, Any | ManifestError]]:
    """`read_lines` that goes on: a line that is not JSON comes as its error.

    Raises:
        ManifestError: the file is missing or unreadable.
    """
    path = Path(path)
    if path.is_char_device():  # such as /dev/zero, whose first line has no end
        raise ManifestError("is a device, not a file", path, "check the path")
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig") as file
        ):
            for number, line in enumerate(file, start=1):
                if line.strip():
                    where = f"{path}:{number}"
                    yield where, _parsed(line, where)
    except FileNotFoundError:
        raise ManifestError("no such file", path, "check the path, or run the step that writes it") from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else error
        raise ManifestError(f"cannot be read ({reason})", path, "check that it is a jsonl file") from None


def _parsed(line: str, where: str) -> Any | ManifestError:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        problem = getattr(error, "msg", None) or str(error).split(";")[0]  # digits without end are long
        return ManifestError(f"not a line of JSON ({problem})", where, "repair or remove the line")


def read_by_qid(path: Path | str, from_json: Callable[[Any], Asked], *, of: str) -> list[Asked]:
    """What each line of a file says of a query, in order.

    Args:
        of: what a line holds, for messages.

    Raises:
        ManifestError: a line is malformed, a qid occurs twice, or there is no line.
    """
    places: dict[str, str] = {}
    asked: list[Asked] = []
    for where, value in read_lines(path):
        one: Asked = at_line(where, partial(from_json, value))
        if one.qid in places:
            raise ManifestError(
                f"qid {one.qid} occurs twice (first in {places[one.qid]})",
                where,
                "keep one line for each qid",
            )
        places[one.qid] = where
        asked.append(one)
    if not asked:
        raise ManifestError(f"holds no {of}", path, "check that it is the file that you mean")
    return asked


def write_lines(path: Path, values: Iterable[Any]) -> int:
    """Write one JSON object a line, atomically; `.gz` is packed without a time stamp. Returns the count."""
    content = dump_lines(values)
    with atomic_path(path) as part:
        # a fixed time stamp, so that equal content gives equal bytes
        part.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return content.count(b"\n")


def dump_lines(values: Iterable[Any]) -> bytes:
    """What `write_lines` writes."""
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def dump_line(value: Any) -> str:
    """One line of JSON for a terminal or a pipe, its letters as they are.

    A file name that is no UTF-8 is told by escapes, from which `json.loads` makes the same name again.
    """
    text = json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode() + "\n"


def read_records(path: Path, kind: type[Record]) -> Iterator[Record]:
    """Yield the records of a file whose JSON fields are the record's own; errors name the line."""
    adapter = TypeAdapter(kind)
    for where, value in read_lines(path):
        yield at_line(where, lambda value=value: adapter.validate_python(value))


def scan_records(path: Path, kind: type[Record]) -> Iterator[Record | ManifestError]:
    """`read_records` that goes on: a line that holds no such record comes as its error."""
    adapter = TypeAdapter(kind)
    for where, value in scan_lines(path):
        if isinstance(value, ManifestError):
            yield value
            continue
        try:
            yield at_line(where, lambda value=value: adapter.validate_python(value))
        except ManifestError as error:
            yield error


def write_records(path: Path, records: Iterable[Any], kind: type[Any]) -> int:
    """Write records of one kind, one a line, atomically. Returns the count."""
    return write_lines(path, _plain(records, kind))


def dump_records(records: Iterable[Any], kind: type[Any]) -> bytes:
    """What `write_records` writes."""
    return dump_lines(_plain(records, kind))


def _plain(records: Iterable[Any], kind: type[Any]) -> Iterator[Any]:
    adapter = TypeAdapter(kind)
    return (adapter.dump_python(record, mode="json") for record in records)


def at_line(where: str, build: Any) -> Any:
    """What `build` returns, with `FILE:LINE` added to any complaint about the value."""
    try:
        return build()
    except ClothoLongError as error:
        raise type(error)(error.problem, error.where or where, error.fix or "correct the line") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(f"field {part}: " for part in [".".join(map(str, first["loc"]))] if part)
        message = f"{first['msg'][0].lower()}{first['msg'][1:]}"
        raise ManifestError(f"{place}{message}", where, "correct the line") from None
    except KeyError as error:
        raise ManifestError(f"field {error.args[0]} is missing", where, "add it") from None
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise ManifestError(f"malformed ({error})", where, "correct the line") from None
