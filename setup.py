"""Compiles the optional kernel of the audio tower; everything else about the package is in pyproject.toml.

Where there is no compiler, or it fails, the package installs without the kernel and runs on torch alone. On
x86 it is built for two levels of instructions, so that what is installed runs on any processor: the right one
is picked when it is loaded (`clotho_long.features.encoders.msclap.native`).
"""

import platform

from setuptools import Extension, setup

FOLDER = "clotho_long/features/encoders/msclap/kernel"
ON_X86 = platform.machine().lower() in ("x86_64", "amd64")
LEVELS = {"v3": ["-march=x86-64-v3"], "v4": ["-march=x86-64-v4"]} if ON_X86 else {"base": []}

setup(
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
    ]
)
