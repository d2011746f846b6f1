"""Hostile inputs, made from good ones, for every file that minidl reads: only one line and an exit code are right.

    python -m tests.fuzz [--minutes 5] [--target images] [--seed 0] [--keep fuzz-finds] [--replay FILE]

Each input is read in a forked process that may take 30 s and 1 GB. An input that reaches a line of minidl which none
before it has reached is changed further, as coverage-guided fuzzers do. A crash, a traceback, an internal error, a
hang, too much memory, a control character on the screen or a file outside the folder is a find: one line for each
kind of it, its first input kept. Exit code 1 if there was any.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.child import Outcome, trial
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
    others, end, examples = [content for _, content in corpus], time.monotonic() + 60 * minutes, len(corpus)
    while time.monotonic() < end:
        example, content = rng.choice(corpus if rng.random() < 0.5 else corpus[:examples])
        change = target.mutation(example)
        outcome = _trial(
            target, example, lambda own, c=content, f=change: f(own, c, others), rng.getrandbits(64), folder
        )
        runs += 1
        if outcome.wrong == "harness":
            print(f"{name}: the harness itself fails\n{outcome.detail}", file=sys.stderr)
        elif outcome.wrong:
            finds[outcome.wrong] += 1
            if finds[outcome.wrong] == 1:
                kept = _keep(keep, name, example, (folder / "input").read_bytes(), outcome)
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


def _keep(keep: Path, name: str, example: str, content: bytes, outcome: Outcome) -> Path:
    digest = hashlib.sha256(content).hexdigest()[:8]
    path = keep / f"{name}+{digest}+{example.replace('/', '+')}"
    keep.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    (keep / f"{name}+{digest}.txt").write_text(f"{outcome.wrong}\n\n{outcome.detail}\n", "utf-8", "backslashreplace")
    return path


def replay(path: Path, folder: Path) -> int:
    """Runs a kept input again and says what becomes of it."""
    name, _, example = path.name.split("+", 2)
    (folder / "examples").mkdir()
    target = TARGETS[name](folder / "examples")
    outcome = _trial(target, example.replace("+", "/"), lambda _: path.read_bytes(), 0, folder / "trial")
    print(f"{path}: {outcome.wrong or 'a right answer'}\n{outcome.detail}")
    print((folder / "trial" / "err").read_text(errors="backslashreplace"), end="")
    return int(bool(outcome.wrong))


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
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run a kept find again, and nothing else")
    args = parser.parse_args()
    found = False
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        root = Path(temporary)
        if args.replay:
            return replay(args.replay.absolute(), root)
        keep = args.keep.absolute()
        for name in args.target:
            (root / name).mkdir()
            target = TARGETS[name](root / name)
            minutes = args.minutes / len(args.target)
            found |= bool(fuzz(name, target, minutes, args.seed, keep, root / "trial"))
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
