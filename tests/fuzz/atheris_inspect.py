"""Fuzzes a decoder of inspect with atheris, which follows the branches that an input takes.

    python -m tests.fuzz.atheris_inspect TARGET FOLDER [libFuzzer's options]

TARGET is one of targets.py. FOLDER gets inputs that go new ways, and a file crash-… of one that breaks something; the
kept corpus is what it begins with. To keep what was found, without what goes no new way:

    python -m tests.fuzz.atheris_inspect TARGET tests/fuzz/corpus/TARGET FOLDER -set_cover_merge=1
"""

from __future__ import annotations

import shlex
import sys

import atheris

LONGEST = {"capture": 4_096, "fragments": 1_024}  # bytes of an input; short ones are tried more often
LONG = 512
SECONDS_FOR_ONE = 10  # an input that takes longer has found a loop
MEMORY_MOST = 1_024  # MB


def main() -> None:
    _, target, *options = sys.argv
    with atheris.instrument_imports(include=["gfwd"]):
        from tests.fuzz.targets import CORPUS, TARGETS
    if target not in TARGETS:
        sys.exit(f"{target}: is no target; right would be one of {', '.join(TARGETS)}")
    folder = next(one for one in options if not one.startswith("-"))
    settings = (
        f"-max_len={LONGEST.get(target, LONG)}",
        f"-timeout={SECONDS_FOR_ONE}",
        f"-rss_limit_mb={MEMORY_MOST}",
        f"-artifact_prefix={folder}/",
    )
    is_merge = any("merge" in one for one in options)
    corpus = () if is_merge else (str(CORPUS / target),)
    # To merge, libFuzzer calls its own program, in a shell.
    program = shlex.join([sys.executable, "-m", "tests.fuzz.atheris_inspect", target])
    atheris.Setup([program, *settings, *options, *corpus], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
