"""Do the ends of the dependency ranges in pyproject.toml work? Two environments, the tests in each.

    python -m tests.dependency_ranges --out /tmp/ranges                                # all tests, both ends
    python -m tests.dependency_ranges --out /tmp/ranges --end lowest tests/features    # some, one end

`lowest` has the lowest version of everything that pyproject.toml names, with the extra `msclap`; `highest`
the highest, with the extra `pe` in its place, since the two exclude each other. Environments are made anew
unless `--keep`. Needs uv (`pip install uv`), which reads its own settings: UV_FIND_LINKS, UV_INDEX and so on.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
ENDS = {
    "lowest": ("model,web,dask,search,msclap,test", "lowest-direct"),
    "highest": ("model,web,dask,search,pe,test", "highest"),
}


@click.command()
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="For both.")
@click.option("--end", "ends", multiple=True, type=click.Choice(list(ENDS)), help="Only this one.")
@click.option("--python", default=sys.executable, show_default=True, help="Its interpreter.")
@click.option(
    "--pin", multiple=True, metavar="NAME==VERSION", help="Instead of the version that the end has."
)
@click.option("--keep", is_flag=True, help="Use the environments that are there.")
@click.argument("tests", nargs=-1, type=click.Path(exists=True))
def main(
    *, out: Path, ends: tuple[str, ...], python: str, pin: tuple[str, ...], keep: bool, tests: tuple[str, ...]
) -> None:
    """Install the lowest and the highest versions, and run TESTS (default: all) with each."""
    failed = []
    for end in ends or ENDS:
        folder = out / end
        ready = (keep and folder.is_dir()) or make(folder, end, python, pin)
        if not (ready and passes(folder, tests)):
            failed.append(end)
    if failed:
        raise click.ClickException(f"{' and '.join(failed)} failed; see above")


def make(folder: Path, end: str, python: str, pins: tuple[str, ...]) -> bool:
    """An environment with this checkout at one end of its ranges; whether it could be made."""
    shutil.rmtree(folder, ignore_errors=True)
    extras, resolution = ENDS[end]
    overrides = folder.with_suffix(".overrides.txt")
    overrides.parent.mkdir(parents=True, exist_ok=True)
    overrides.write_text("\n".join(pins))
    uv = [sys.executable, "-m", "uv"] if shutil.which("uv") is None else ["uv"]
    steps = (
        [*uv, "venv", "--quiet", "--python", python, str(folder)],
        [*uv, "pip", "install", "--python", str(interpreter(folder)), "--resolution", resolution]
        + (["--overrides", str(overrides)] if pins else [])
        + ["--editable", f"{ROOT}[{extras}]"],
    )  # fmt: skip
    return all(subprocess.run(step, check=False).returncode == 0 for step in steps)


def passes(folder: Path, tests: tuple[str, ...]) -> bool:
    """Whether the tests pass in an environment."""
    click.echo(f"{folder.name}: {' '.join(tests) or 'all tests'}")
    command = [str(interpreter(folder)), "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def interpreter(folder: Path) -> Path:
    """Of an environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


if __name__ == "__main__":
    main()
