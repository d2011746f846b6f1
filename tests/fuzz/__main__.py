"""Hostile inputs, made from good ones, for every file that minidl reads: only one line and an exit code are right.

    python -m tests.fuzz [--minutes 5] [--target images] [--seed 0] [--keep fuzz-finds] [--replay FILE]

Each input is read in a forked process that may take 30 s and 1 GB. An input that reaches a line of minidl which none
before it has reached is changed further, as coverage-guided fuzzers do. A crash, a traceback, an internal error, a
hang, too much memory, a control character on the screen or a file outside the folder is a find: one line for each
kind of it, its first input kept. Exit code 1 if there was any.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

from tests.fuzz.child import Outcome, keep_find, trial
from tests.fuzz.targets import TARGETS, Target

CORPUS = 300  # inputs that are changed further


def fuzz(name: str, target: Target, minutes: float, seed: int, keep: Path, folder: Path) -> Counter[str]:
    """The kinds of finds, with how often each was met."""
    rng, finds, reached, runs = random.Random(seed), Counter(), set(), 0
    corpus: list[tuple[str, bytes]] = []
    for example, content in target.examples.items():
        outcome = _trial(target, example, lambda _, content=content: content, 0, folder)
        assert not outcome.wrong, f"the good example {example}: {outcome.wrong}\n{outcome.detail}"
        reached |= outcome.reached
        corpus.append((example, content))
    end, examples = time.monotonic() + 60 * minutes, len(corpus)
    while time.monotonic() < end:
        example, content = rng.choice(corpus if rng.random() < 0.5 else corpus[:examples])
        make = partial(target.change, name=example, content=content)
        outcome = _trial(target, example, make, rng.getrandbits(64), folder)
        runs += 1
        if outcome.wrong == "harness":
            print(f"{name}: the harness itself fails\n{outcome.detail}", file=sys.stderr)
        elif outcome.wrong:
            finds[outcome.wrong] += 1
            if finds[outcome.wrong] == 1:
                kept = keep_find(keep, name, example, (folder / "input").read_bytes(), outcome)
                print(f"{name}: {outcome.wrong}  ({kept})", flush=True)
        elif outcome.reached - reached:
            reached |= outcome.reached
            corpus.append((example, (folder / "input").read_bytes()))
            del corpus[examples : len(corpus) - CORPUS]
    print(
        f"{name}: {runs:,} inputs, {len(reached):,} lines of minidl reached, {len(finds)} kinds of finds", flush=True
    )
    return finds


def _trial(target: Target, example: str, make, seed: int, folder: Path) -> Outcome:
    return trial(make, seed, lambda path: target.run(example, path), folder)


def replay(path: Path, folder: Path) -> int:
    """Runs a kept input again and says what becomes of it."""
    name, _, example = path.name.split("+", 2)
    (folder / "examples").mkdir()
    target = TARGETS[name](folder / "examples")
    outcome = _trial(target, example.replace("+", "/"), lambda _: path.read_bytes(), 0, folder / "trial")
    print(f"{path}: {outcome.wrong or 'a right answer'}\n{outcome.detail}")
    print((folder / "trial" / "err").read_text(errors="backslashreplace"), end="")
    return int(bool(outcome.wrong))


def with_atheris(name: str, minutes: float, seed: int, keep: Path, root: Path) -> bool:
    """Whether there was a find. A process that libFuzzer ends is followed by another."""
    before, end = set(keep.glob("*")), time.monotonic() + 60 * minutes
    while (left := int(end - time.monotonic())) > 0:
        command = [sys.executable, "-m", "tests.fuzz.guided", name, str(left), str(seed), str(keep), str(root)]
        if subprocess.run(command, check=False).returncode == 0:
            break
        seed += 1
    return set(keep.glob("*")) > before


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5, help="in all (default %(default)s)")
    parser.add_argument("--target", choices=list(TARGETS), nargs="+", default=list(TARGETS), help="(default: all)")
    parser.add_argument("--seed", type=int, default=0, help="(default %(default)s)")
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz-finds"), help="folder of the finds (default %(default)s)"
    )
    parser.add_argument(
        "--atheris", action="store_true", help="let Atheris choose (pip install atheris): see guided.py"
    )
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run a kept find again, and nothing else")
    args = parser.parse_args()
    found = False
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        root = Path(temporary)
        if args.replay:
            if args.replay.name.partition("+")[0] not in TARGETS or not args.replay.is_file():
                parser.error(f"{args.replay}: not a find of this program")
            return replay(args.replay.absolute(), root)
        keep, minutes = args.keep.absolute(), args.minutes / len(args.target)
        for name in args.target:
            (root / name).mkdir()
            if args.atheris:
                found |= with_atheris(name, minutes, args.seed, keep, root / name)
            else:
                target = TARGETS[name](root / name)
                found |= bool(fuzz(name, target, minutes, args.seed, keep, root / "trial"))
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
