"""Only what pyproject.toml cannot say: the C core is built by the project's own recipe."""

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).resolve().parent / "build"))

import native


class BuildCore(build_ext):
    def build_extension(self, ext: Extension) -> None:
        native.build(Path(self.get_ext_fullpath(ext.name)).resolve())


setup(
    cmdclass={"build_ext": BuildCore},
    ext_modules=[
        Extension(
            native.MODULE,
            sources=[str(path) for path in native.find(native.NATIVE, "*.c")],
            depends=["build/native.py", *map(str, native.find(native.NATIVE, "*.h"))],
            py_limited_api=True,
        )
    ],
    options={
        # build/ holds recipes and is tracked, so what setuptools makes goes elsewhere.
        "build": {"build_base": ".cache/build"},
        "bdist_wheel": {"py_limited_api": "cp311"},
    },
)
