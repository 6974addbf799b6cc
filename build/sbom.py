"""What is in the single binary, of which version and under which licence: for `gfwd --licences`, and as an SBOM.

Of gfwd.dist, the folder that is packed, each shared library and each Python module is given to a component, and one
that nobody answers for ends the build: what is not listed is not shipped. Written are

    gfwd.dist/gfwd/licences.txt    names, versions, licences and their texts; packed with the rest
    gfwd.licences.txt              the same, beside the binary
    gfwd.sbom.json                 CycloneDX 1.5, for machines

Nothing in them says when or where they were made, so that the same parts give the same bytes.
"""

import json
import os
import platform
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import native

# Under which licence the system's libraries are, by Debian's package: its copyright file is prose for people. Who adds
# one has read that file.
LIBRARIES = {
    "libbz2-1.0": "bzip2-1.0.6",
    "libexpat1": "MIT",
    "libffi8": "MIT",
    "liblzma5": "LicenseRef-public-domain",
    "libmpdec3": "BSD-2-Clause",
    "libssl3": "Apache-2.0",
    "libuuid1": "BSD-3-Clause",
    "zlib1g": "Zlib",
}

# Of a choice, what gfwd takes.
CHOSEN = {"pyroute2": "Apache-2.0"}

LICENCE_FILE = re.compile(r"licen[cs]e|copying|notice|authors", re.IGNORECASE)


@dataclass
class Component:
    name: str
    version: str
    licence: str
    """An SPDX expression."""
    texts: list[Path]
    origin: str = ""
    """A package URL."""
    holds: list[str] = field(default_factory=list)
    """Files of the folder, and Python modules of the top level."""


def write(folder: Path, modules: Iterable[str]) -> None:
    """Raises BuildError where something has no licence that is known. modules: by their full names."""
    parts = components(folder, modules)
    text = licences(parts)
    (folder / "gfwd").mkdir(exist_ok=True)
    (folder / "gfwd/licences.txt").write_text(text, "utf-8")
    folder.with_name("gfwd.licences.txt").write_text(text, "utf-8")
    document = json.dumps(cyclonedx(parts), indent=1, ensure_ascii=False)
    folder.with_name("gfwd.sbom.json").write_text(document + "\n", "utf-8")


def components(folder: Path, modules: Iterable[str]) -> list[Component]:
    """What the folder and the modules belong to, gfwd first. Raises BuildError."""
    built_in = of_sources()
    python = built_in.pop("cpython", None) or of_python()
    by_name = {part.name: part for part in (of_gfwd(), python, *built_in.values(), *of_nuitka(), of_netmap())}
    for path in sorted(file for file in folder.rglob("*") if ".so" in file.suffixes):
        name = str(path.relative_to(folder))
        part = owner(path, by_name)
        part.holds.append(name)
        by_name[part.name] = part
    distributions = metadata.packages_distributions()
    for module in sorted({name.split(".")[0].split("-")[0] for name in modules}):
        if module == "gfwd" or module in sys.stdlib_module_names or module.startswith(("__", "_sysconfigdata")):
            continue  # ours, or Python's as a whole
        if module not in distributions:
            raise native.BuildError(f"build/sbom.py: the module {module} belongs to no package that is installed")
        name = distributions[module][0]
        by_name[name] = by_name.get(name) or of_distribution(name)
        by_name[name].holds.append(module)
    python.holds.append("the standard library")
    return list(by_name.values())


def owner(path: Path, known: dict[str, Component]) -> Component:
    """Whose a shared library is."""
    if path.parent.name == "native":
        return known["gfwd"]
    if path.name.startswith("lib"):
        return of_library(path.name, known)
    if path.name.startswith("_cffi_backend"):
        return known.get("cffi") or of_distribution("cffi")
    return known["CPython"]


# ---- where each is from ----


def of_gfwd() -> Component:
    text = (native.ROOT / "gfwd/__init__.py").read_text("utf-8")
    version = re.search(r'^__version__ = "(.+)"', text, re.MULTILINE)
    assert version is not None
    return Component("gfwd", version[1], "BSD-2-Clause", [native.ROOT / "LICENSE"])


def of_python() -> Component:
    texts = [Path(sysconfig.get_path("stdlib"), "LICENSE.txt")]
    debian = Path(f"/usr/share/doc/libpython3.{sys.version_info.minor}-minimal/copyright")
    if Path(sysconfig.get_path("stdlib")) == Path(f"/usr/lib/python3.{sys.version_info.minor}"):
        texts.append(debian)  # with what others have in it
    version = platform.python_version()
    return Component("CPython", version, "PSF-2.0", texts, f"pkg:generic/python@{version}")


def of_sources() -> dict[str, Component]:
    """What an executable for another system is made of from the sources on (build/freebsd), where it is one."""
    if "GFWD_BUILT_IN" not in os.environ:
        return {}
    from freebsd import sources

    found = {}
    for name, source in sources.read().items():
        own = "CPython" if name == "cpython" else name
        origin = f"pkg:generic/{name}@{source.version}"
        found[name] = Component(own, source.version, source.licence, [source.licence_text], origin, ["built in"])
    return found


def of_nuitka() -> list[Component]:
    """What Nuitka brings: its runtime, and in the program that unpacks, zstd and a part of zlib."""
    runtime = of_distribution("nuitka")
    runtime.name = "Nuitka (runtime)"
    runtime.licence = "AGPL-3.0-only WITH LicenseRef-Nuitka-Runtime-Library-Exception-1.0"
    runtime.texts = [text for text in runtime.texts if text.name in ("LICENSE-RUNTIME.txt", "NOTICE.txt")]
    copies = Path(str(metadata.distribution("nuitka").locate_file("nuitka/build/inline_copy")))
    header = (copies / "zstd/zstd.h").read_text("utf-8")
    numbers = [re.search(rf"ZSTD_VERSION_{part}\s+(\d+)", header) for part in ("MAJOR", "MINOR", "RELEASE")]
    version = ".".join(number[1] for number in numbers if number)
    return [
        runtime,
        Component("zstd", version, "BSD-3-Clause", [copies / "zstd/LICENSE.txt"], f"pkg:generic/zstd@{version}"),
        Component("zlib (crc32)", "as in Nuitka", "Zlib", [copies / "zlib/LICENSE"]),
    ]


def of_netmap() -> Component:
    """The headers of netmap, whose inline functions are in the core."""
    header = next(Path(flag) for flag in (*native.netmap_flags(), "/usr/include") if not flag.startswith("-"))
    text = native.ROOT / header / "net/netmap.h"
    return Component("netmap (headers)", f"NETMAP_API {native.netmap_api()}", "BSD-2-Clause", [text])


def of_distribution(name: str) -> Component:
    """A package from PyPI, as it is installed here."""
    found = metadata.distribution(name)
    said = found.metadata
    classifiers = [line.rpartition(" :: ")[2] for line in said.get_all("Classifier") or () if "License ::" in line]
    licence = [*(said.get_all("License-Expression") or said.get_all("License") or []), " ".join(classifiers)][0]
    texts = [
        Path(str(found.locate_file(file)))
        for file in found.files or ()
        if ".dist-info" in str(file) and LICENCE_FILE.search(file.name)
    ]
    if name in CHOSEN:
        licence = CHOSEN[name]
        texts = [text for text in texts if "GPL" not in text.name]
    licence = {"MIT License": "MIT"}.get(licence, licence)
    if not re.fullmatch(r"[\w.+-]+( (AND|OR|WITH) [\w.+-]+)*|GNU Affero.*", licence) or not texts:
        raise native.BuildError(f"build/sbom.py: {name} {found.version} does not say its licence: {licence!r}, {texts}")
    return Component(name, found.version, licence, sorted(texts), f"pkg:pypi/{name.lower()}@{found.version}")


def of_library(name: str, known: dict[str, Component]) -> Component:
    """A library of the system: by its package, where dpkg is; else by its name alone."""
    if shutil.which("dpkg") is None:
        return Component(name, "of the system", "NOASSERTION", [])
    # With /lib a link to /usr/lib, a package may say either.
    answer = native.output("dpkg", "-S", f"*/{name}")
    package = next(iter(sorted({line.split(":")[0] for line in answer.splitlines() if line.endswith(f"/{name}")})))
    if package in known:
        return known[package]
    if package not in LIBRARIES:
        raise native.BuildError(f"build/sbom.py: {name} is in the binary: say under which licence {package} is")
    version = native.output("dpkg-query", "-W", "-f", "${Version}\n", package).splitlines()[0]
    origin = f"pkg:deb/debian/{package}@{version}"
    return Component(package, version, LIBRARIES[package], [Path("/usr/share/doc", package, "copyright")], origin)


# ---- as text and as JSON ----


def licences(parts: list[Component]) -> str:
    table = "".join(f"  {part.name} {part.version}: {part.licence}\n" for part in parts)
    texts = "".join(
        f"\n{'=' * 100}\n{part.name} {part.version} ({part.licence})\n{'=' * 100}\n\n{licence_of(text)}\n"
        for part in parts
        for text in part.texts
    )
    return (
        "The single binary of gfwd holds, each under its own licence:\n\n"
        f"{table}\nTheir texts, in the same order, as those who wrote them ask for.\n{texts}"
    )


def licence_of(file: Path) -> str:
    """The text of a file of licences; of a C header, that is its first comment."""
    text = file.read_text("utf-8", "replace").strip()
    return text.split("*/")[0] + "*/" if file.suffix == ".h" else text


def cyclonedx(parts: list[Component]) -> dict[str, object]:
    """https://cyclonedx.org/docs/1.5/json/"""

    def entry(part: Component) -> dict[str, object]:
        return {
            "type": "application" if part.name == "gfwd" else "library",
            "bom-ref": f"{part.name} {part.version}",
            "name": part.name,
            "version": part.version,
            "licenses": [{"expression": part.licence}],
            **({"purl": part.origin} if part.origin else {}),
            "properties": [{"name": "gfwd:holds", "value": name} for name in part.holds],
        }

    first, *others = map(entry, parts)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": first},
        "components": others,
    }


if __name__ == "__main__":
    sys.exit("build/binary.py writes it, since only a build knows what is in the binary")
