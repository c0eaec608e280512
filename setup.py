"""Compiles the optional kernel of the audio tower, and puts the published recipes into the package.

Everything else about the package is in pyproject.toml.

Where there is no compiler, or it fails, the package installs without the kernel and runs on torch alone. On
x86 it is built for two levels of instructions, so that what is installed runs on any processor: the right one
is picked when it is loaded (`clotho_long.features.encoders.msclap.native`).
"""

import platform
import shutil
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

FOLDER = "clotho_long/features/encoders/msclap/kernel"
ON_X86 = platform.machine().lower() in ("x86_64", "amd64")
LEVELS = {"v3": ["-march=x86-64-v3"], "v4": ["-march=x86-64-v4"]} if ON_X86 else {"base": []}


class BuildWithManifests(build_py):
    """Puts manifests/ into the package `pipelines`, which looks for it there or beside itself."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # a checkout is used where it lies
            inside = Path(self.build_lib) / "pipelines" / "manifests"
            shutil.copytree("manifests", inside, dirs_exist_ok=True)


setup(
    cmdclass={"build_py": BuildWithManifests},
    ext_modules=[
        Extension(
            f"{FOLDER.replace('/', '.')}._swin_{level}",
            sources=[f"{FOLDER}/swin.cpp"],
            depends=[f"{FOLDER}/{header}.h" for header in ("attention", "linear", "vector")],
            extra_compile_args=["-O3", "-std=c++17", "-ffp-contract=fast", "-pthread", *flags],
            extra_link_args=["-pthread"],
            optional=True,
        )
        for level, flags in LEVELS.items()
    ],
)
