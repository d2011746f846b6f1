"""The same with Atheris: libFuzzer chooses what is changed further, by the branches of minidl that an input takes.

    python -m tests.fuzz --atheris ...     runs  python -m tests.fuzz.guided TARGET SECONDS SEED KEEP FOLDER

All inputs are read in one process, so there are more of them in a second. What ends that process (a crash, 30 s
without an answer, more than 1 GB) libFuzzer leaves in KEEP, and another process goes on. The first byte of such a
file is the number of the example, in alphabetical order.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["minidl", "models", "train", "visualize"]):
    from tests.fuzz import child, targets

MEGABYTES = child.MEMORY >> 20
BEFORE = 400  # megabytes of the process itself


def main(name: str, seconds: str, seed: str, keep: Path, root: Path) -> None:
    for folder in (root / "corpus", root / "examples", keep):
        folder.mkdir(parents=True, exist_ok=True)
    target = targets.TARGETS[name](root / "examples")
    names, known, runs = sorted(target.examples), set(), 0
    known = {path.read_text().partition("\n")[0] for path in keep.glob(f"{name}+*.txt")}
    for k, example in enumerate(names):
        (root / "corpus" / f"good{k}").write_bytes(bytes([k]) + target.examples[example])

    def test(data: bytes) -> None:
        nonlocal runs
        if not data:
            return
        runs += 1
        example, folder = names[data[0] % len(names)], root / "trial"
        child.clear(folder)
        (folder / "input").write_bytes(data[1:])
        outcome = child.judged(lambda path: target.run(example, path), folder)
        if outcome.wrong and outcome.wrong not in known:
            known.add(outcome.wrong)
            print(f"{name}: {outcome.wrong}  ({child.keep_find(keep, name, example, data[1:], outcome)})", flush=True)

    def change(data: bytes, most: int, number: int) -> bytes:
        k = data[0] % len(names) if data else 0
        content = data[1:] or target.examples[names[k]]
        return (bytes([k]) + target.change(random.Random(number), names[k], content))[:most]

    flags = [f"-max_total_time={seconds}", f"-timeout={child.SECONDS}", f"-rss_limit_mb={MEGABYTES + BEFORE}"]
    flags += [f"-malloc_limit_mb={MEGABYTES}", f"-seed={int(seed) + 1}", f"-artifact_prefix={keep}/{name}+"]
    flags += ["-max_len=300000", "-detect_leaks=0", "-verbosity=0", "-print_final_stats=1", str(root / "corpus")]
    atheris.Setup([sys.argv[0], *flags], test, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(Path, sys.argv[4:]))
