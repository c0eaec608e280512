"""Systems by name: the report's S1 to S8, and the public baselines as they were trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from amr_model.config import SYSTEMS, ExperimentConfig
from amr_model.config import system as report_system
from amr_model.public.presets import compat_dcase, compat_lighthouse
from clotho_long.core.errors import ConfigError
from clotho_long.core.settings import build_config, build_over, read_settings

PUBLIC: dict[str, Callable[[], ExperimentConfig]] = {
    "lighthouse-qd_detr": lambda: compat_lighthouse("qd_detr"),
    "lighthouse-uvcom": lambda: compat_lighthouse("uvcom"),
    "dcase-baseline": compat_dcase,
}
NAMES = (*SYSTEMS, *PUBLIC)


def system(name: str) -> ExperimentConfig:
    """The settings of a system of the report, or of a public baseline with its arithmetic.

    Raises:
        ConfigError: there is no such system.
    """
    if name in PUBLIC:
        return PUBLIC[name]()
    if name not in SYSTEMS:
        raise ConfigError(f"no system is called {name!r}", "--system", f"take one of {', '.join(NAMES)}")
    return report_system(name)


def load_experiment(path: Path | str) -> ExperimentConfig:
    """Settings from a YAML file. What it leaves out is as in the `system` that it names, by default S1.

    A file may give its system a name of its own: then the defaults of `amr_model.config` stand below it.

    Raises:
        ConfigError: the file is unreadable, or a key or value does not fit.
    """
    values = read_settings(Path(path))
    name = values.get("system", "S1")
    if isinstance(name, str) and name in NAMES:
        return build_over(system(name), values, where=str(path))
    return build_config(ExperimentConfig, values, where=str(path))
