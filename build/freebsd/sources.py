"""What is fetched: each source once, to the byte that sources.toml names, from the first address that has it."""

import hashlib
import re
import tarfile
import tomllib
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import native

FILE = Path(__file__).with_name("sources.toml")
FOLDER = Path(".cache/freebsd/sources")
LICENCE = re.compile(r"[^/]+/(LICENSE(\.txt)?|copyright)")
PATIENCE = 60  # seconds without a byte


@dataclass(frozen=True)
class Source:
    name: str
    version: str
    licence: str
    """An SPDX expression."""
    url: str
    mirrors: tuple[str, ...]
    sha256: str

    @property
    def archive(self) -> Path:
        """Where it lies when fetched, from native.ROOT; named by the hash too, so an old one is not taken for it."""
        return FOLDER / f"{self.sha256[:12]}-{self.url.rpartition('/')[2]}"

    def fetch(self) -> Path:
        """Returns the archive's path. Raises BuildError."""
        path = native.ROOT / self.archive
        if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        failures = []
        for address in (self.url, *self.mirrors):
            try:
                content = _download(address)
            except (OSError, urllib.error.URLError) as error:
                failures.append(f"{address}: {error}")
                continue
            found = hashlib.sha256(content).hexdigest()
            if found == self.sha256:
                path.write_bytes(content)
                return path
            failures.append(f"{address}: has SHA-256 {found}, and not {self.sha256}")
        raise native.BuildError(
            f"{self.name} {self.version} cannot be fetched; it can be put by hand at {path}\n" + "\n".join(failures)
        )

    def unpack(self, folder: Path) -> Path:
        """Unpacks into a folder; returns the one folder that is in the archive."""
        with tarfile.open(self.fetch()) as archive:
            archive.extractall(folder)  # its hash is known, so it is trusted
            return folder / archive.getnames()[0].split("/")[0]

    @property
    def licence_text(self) -> Path:
        """Where what the archive says of it lies, when licences() has taken that out."""
        return native.ROOT / f"{self.archive}.licence"

    def take_out_licence(self) -> None:
        """Raises BuildError."""
        with tarfile.open(self.fetch()) as archive:
            found = [one for one in archive.getmembers() if one.isfile() and LICENCE.fullmatch(one.name)]
            if len(found) != 1:
                raise native.BuildError(f"{self.archive} has {len(found)} texts of its licence, and should have one")
            content = archive.extractfile(found[0])
            assert content is not None
            self.licence_text.write_bytes(content.read())


def licences() -> list[Path]:
    """The texts of all, in the order of their names. They are taken out here: the Python that Nuitka runs in reads no
    archives. Raises BuildError.
    """
    found = [source for _, source in sorted(read().items())]
    for source in found:
        source.take_out_licence()
    return [source.licence_text for source in found]


def _download(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
        content: bytes = answer.read()
    return content


def read() -> dict[str, Source]:
    """Each by its name."""
    text = FILE.read_text(encoding="utf-8")
    return {
        entry["name"]: Source(**{**entry, "mirrors": tuple(entry["mirrors"])})
        for entry in tomllib.loads(text)["source"]
    }
