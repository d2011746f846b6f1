"""Mutation proof: do the tests notice when the backward code is wrong?

    python -m tests.mutation [--mutants 80 | --all] [--seed 0] [--jobs 2] [--json]

Changes one operator, sign, constant, index, argument or statement of the backward code on its syntax tree, runs
the fast tests on a copy of the project with that change, and reports the share of such mutants that fail
("killed") and every one that survives. Exits with 1 if fewer than 95 % are killed. Mutants in EQUIVALENT, which
compute the same results by another way, are run and reported apart, each with its reason.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 180  # a mutant that runs on for ever is noticed, too
BAR = 0.95

BACKWARD = {"backward", "input_grad", "project", "_join", "_batch_moments"}
# Backward code, and what it stands on: caches, the windows, the blocks.
TARGETS = {
    "minidl/layers/activation.py": BACKWARD,
    "minidl/layers/containers.py": BACKWARD,
    "minidl/layers/conv.py": BACKWARD,
    "minidl/layers/dropout.py": BACKWARD,
    "minidl/layers/linear.py": BACKWARD,
    "minidl/layers/norm.py": BACKWARD | {"forward"},
    "minidl/layers/pooling.py": BACKWARD,
    "minidl/layers/adaptive_pooling.py": BACKWARD,
    "minidl/layers/general_conv.py": BACKWARD | {"window", "full_weight"},
    "minidl/layers/general_pooling.py": BACKWARD | {"window", "_counted"},
    "minidl/layers/squashing.py": BACKWARD | {"forward"},
    "minidl/layers/side_head.py": BACKWARD | {"forward", "out_shape", "_rows", "_split"},
    "minidl/layers/heads.py": {"spine", "last_leaves", "main_line"},
    "minidl/layers/frozen.py": BACKWARD | {"forward", "_frozen"},
    "minidl/kernels/reference.py": {
        *("unpad2d", "offsets", "im2col", "col2im", "conv2d_dw", "conv2d_dx", "max_pool", "max_pool_dx"),
        *("avg_pool_dx", "batch_statistics", "batch_norm_sums", "batch_norm_dx", "relu", "relu_dx"),
        *("batch_norm_moments", "move_running", "softmax_cross_entropy", "sigmoid", "sigmoid_dx", "tanh_dx"),
    },
    "minidl/kernels/general/window.py": {"span", "positions", "same_padding", "ceil_padding", "square"},
    "minidl/kernels/general/reference.py": {
        *("pad", "unpad", "padded_zeros", "offsets", "im2col", "col2im", "grouped", "conv2d_dw", "conv2d_dx"),
        *("max_pool", "max_pool_dx", "counts", "shares", "avg_pool_dx", "bins", "adaptive_avg_pool_dx"),
    },
    "minidl/kernels/general/blocked.py": {
        *("_joined", "_finite", "_wide_filters", "_narrow_gradients", "_blocks", "_patches", "_inside", "_by_parts"),
        *("_convolution", "conv2d_dw", "conv2d_dx", "_image_blocks", "max_pool", "max_pool_dx", "avg_pool_dx"),
        "adaptive_avg_pool_dx",
    },
    "minidl/kernels/blocked.py": {
        *("_pointwise", "_image_blocks", "_patches", "conv2d_dw", "conv2d_dx", "max_pool", "max_pool_dx"),
        *("avg_pool_dx", "_wide", "_channel_sum", "_channel_dot", "batch_statistics", "batch_norm_sums"),
        *("batch_norm_dx", "relu", "relu_dx", "sigmoid", "sigmoid_dx", "tanh_dx"),
    },
    "minidl/kernels/max_pooling.py": {"max_pool", "max_pool_dx", "_inside", "_line_maxima"},
    "minidl/clipping.py": {"clip_norm", "gradient_norm"},
    "minidl/losses/cross_entropy.py": {"softmax_cross_entropy"},
    "minidl/losses/binary.py": {"binary_cross_entropy"},
    "minidl/losses/heads.py": {"__call__"},
    "minidl/losses/weighted.py": {"weighted_cross_entropy", "_own_weights", "balanced_weights"},
    "minidl/parallel/step.py": {"gradients", "_divide"},
}
TESTS = [
    "tests/kernels/test_kernels.py",
    "tests/layers/test_layers.py",
    "tests/layers/test_contract.py",
    "tests/layers/test_gradients.py",
]
SELECTION = "not whole_network and not papers_width and not refined_network"  # slow, and no mutant needs them
TESTS_OF = {
    "minidl/kernels/reference.py": [*TESTS, "tests/losses/test_cross_entropy.py"],
    "minidl/layers/side_head.py": ["tests/layers/test_side_head.py"],
    "minidl/layers/heads.py": ["tests/layers/test_side_head.py"],
    "minidl/layers/frozen.py": ["tests/layers/test_side_head.py"],
    "minidl/clipping.py": ["tests/test_clipping.py"],
    "minidl/losses/cross_entropy.py": ["tests/losses/test_cross_entropy.py", "tests/layers/test_gradients.py"],
    "minidl/losses/binary.py": ["tests/losses/test_binary.py"],
    "minidl/losses/heads.py": ["tests/losses/test_heads.py"],
    "minidl/losses/weighted.py": ["tests/losses/test_weighted.py", "tests/losses/test_on_a_gpu.py"],
    "minidl/parallel/step.py": ["tests/parallel/test_losses.py", "tests/parallel/test_step.py"],
}

# (file name, function, statement after the change): why no test can tell it from the statement before.
NEVER_POINTWISE = "never takes the shortcut for 1x1 convolutions: slower, the same numbers"
OTHER_WAY = "takes the other of two ways to dx: slower, the same numbers"
BLOCK_SIZE = "changes the size of the blocks and no number"
WIDER_BORDER = "a wider border of padding that no window reaches"
EQUIVALENT: dict[tuple[str, str, str], str] = {
    ("blocked.py", function, after): reason
    for function, after, reason in [
        ("_pointwise", "return kernel == (0, 1) and stride == 1 and (padding == 0)", NEVER_POINTWISE),
        ("_pointwise", "return kernel == (1, 0) and stride == 1 and (padding == 0)", NEVER_POINTWISE),
        ("_pointwise", "return kernel == (1, 1) and stride == 0 and (padding == 0)", NEVER_POINTWISE),
        ("_patches", "if _pointwise(stride, kernel, padding):", NEVER_POINTWISE),
        *(
            ("conv2d_dx", f"if stride == {one} and kh == kw and (padding < kh) and (f {few}):", OTHER_WAY)
            for one, few in ((0, "< MANY_FILTERS * c"), (1, "<= MANY_FILTERS * c"), (1, "< MANY_FILTERS / c"))
        ),
        ("_patches", "padded = np.zeros((most, h + 2 * padding, w + 3 * padding, c), x.dtype)", WIDER_BORDER),
        (
            "conv2d_dx",
            "for block in _image_blocks(len(dy), oh * ow * math.prod(w.shape[:4]) * dy.itemsize, PATCH_BYTES):",
            BLOCK_SIZE,
        ),
        ("_wide", "k = max(1, INNER_LENGTH * c)", BLOCK_SIZE),
        ("_wide", "step = k * max(1, ELEMENT_BYTES * (k * c * arrays[0].itemsize))", BLOCK_SIZE),
        ("_wide", "step = k * max(2, ELEMENT_BYTES // (k * c * arrays[0].itemsize))", BLOCK_SIZE),
        (
            "_patches",
            "buffer[:images, :, :, i] = runs[:images, i:i + stride * oh:stride, :]",
            "the strided view of the runs has exactly OW of them",
        ),
        (
            "batch_statistics",
            "n, mean, squares = (0, np.ones(c), np.zeros(c))",
            "the first block has all the weight: its mean replaces any start",
        ),
    ]
}
NO_WEIGHT = "a batch without any weight: 0 / -1 is 0 as 0 / 1 is"
EQUIVALENT |= {
    ("weighted.py", "weighted_cross_entropy", "scale = (total != 0) / (total - (total == 0))"): NO_WEIGHT,
    ("step.py", "gradients", "self.model.backward(dlogits, cache, need_dx=True)"): "computes a dx that nobody takes",
    ("step.py", "_divide", "scale = (weight != 0) / (weight - (weight == 0))"): NO_WEIGHT,
}

GENERAL_TESTS = [
    "tests/kernels/test_general.py",
    "tests/layers/test_general_layers.py",
    "tests/layers/test_contract.py",
]
TESTS_OF |= {
    **{
        f"minidl/{name}.py": GENERAL_TESTS
        for name in (
            *("layers/adaptive_pooling", "layers/general_conv", "layers/general_pooling", "layers/squashing"),
            *("kernels/general/window", "kernels/general/reference", "kernels/general/blocked"),
        )
    },
    "minidl/kernels/max_pooling.py": ["tests/kernels/test_general.py", *TESTS],
}

SWAPS = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult},
    **{ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr},
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And},
}
COMMUTATIVE = {"multiply", "maximum", "minimum", "min", "max", "equal", "swapaxes"}  # in their arguments
NAMES = {"maximum": "minimum", "max": "min", "min": "max", "zeros": "ones", "sum": "mean", "mean": "sum"}


@dataclass(frozen=True)
class Mutant:
    file: str
    line: int
    function: str
    before: str  # the statement (of a compound one, its first line)
    after: str
    site: int  # its number among the file's sites
    variant: int  # its number among the site's variants

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.function}:  {self.before}   ->   {self.after}"

    @property
    def reason(self) -> str | None:
        """Why it is equivalent, if it is known to be."""
        return EQUIVALENT.get((Path(self.file).name, self.function, self.after))


@dataclass
class Site:
    """A node that can be replaced, and where it hangs in the tree."""

    function: str
    statement: ast.stmt  # the smallest that contains the node
    node: ast.AST
    parent: ast.AST
    field: str
    index: int | None

    def replace(self, new: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, new)
        else:
            getattr(self.parent, self.field)[self.index] = new


def sites(tree: ast.Module, functions: set[str]) -> Iterator[Site]:
    """Every node in the bodies of `functions`, but for annotations, guards, and the 1 of reshape(-1)."""

    def skipped(parent: ast.AST, node: ast.AST) -> bool:
        guard = isinstance(node, ast.Raise) or (isinstance(node, ast.keyword) and node.arg == "strict")
        return guard or (isinstance(parent, ast.UnaryOp) and isinstance(node, ast.Constant))

    def below(function: str, statement: ast.stmt, parent: ast.AST) -> Iterator[Site]:
        for field, value in ast.iter_fields(parent):
            if field in ("annotation", "returns", "decorator_list"):
                continue
            for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(node, ast.AST) and not skipped(parent, node):
                    inner = node if isinstance(node, ast.stmt) else statement
                    yield Site(function, inner, node, parent, field, index)
                    yield from below(function, inner, node)

    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in functions:
            yield from below(node.name, node, node)


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """What is put in the place of `node`, one change each."""

    def changed(**fields) -> ast.AST:
        new = copy.deepcopy(node)
        for name, value in fields.items():
            setattr(new, name, value)
        return new

    match node:
        case ast.BinOp(op=op) if type(op) in SWAPS:
            yield changed(op=SWAPS[type(op)]())
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            yield changed(ops=[SWAPS[type(op)]()])
        case ast.BoolOp():
            yield changed(op=SWAPS[type(node.op)]())
        case ast.UnaryOp():
            yield node.operand
        case ast.Constant(value=bool()):
            yield changed(value=not node.value)
        case ast.Constant(value=int() | float()):
            yield changed(value=node.value + 1)
            if node.value == 1:
                yield changed(value=0)
        case ast.Slice():
            for bound in ("lower", "upper", "step"):
                value = getattr(node, bound)
                if value is not None and ast.unparse(value) != "0":  # 0: is : already
                    yield changed(**{bound: None})
        case ast.Subscript(slice=ast.Tuple(elts=[*_, a, b] as elts)) if ast.unparse(a) != ast.unparse(b):
            yield changed(slice=ast.Tuple([*elts[:-2], b, a], ast.Load()))
        case ast.Call(args=[a, b, *rest]) if ast.unparse(a) != ast.unparse(b) and called(node) not in COMMUTATIVE:
            yield changed(args=[b, a, *rest])
        case ast.AugAssign():
            yield ast.Assign([node.target], node.value)
            if type(node.op) in SWAPS:
                yield changed(op=SWAPS[type(node.op)]())
            yield ast.Pass()
        case ast.Assign(targets=[ast.Subscript()]) | ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.If() | ast.IfExp():
            yield changed(test=ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield changed(attr=NAMES[node.attr])


def called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def all_mutants(project: Path) -> list[Mutant]:
    """Every mutant of every target, in the order of the text."""
    found = []
    for file, functions in TARGETS.items():
        tree = ast.parse((project / file).read_text("utf-8"))
        for i, site in enumerate(sites(tree, functions)):
            before = shown(site.statement)
            for v, new in enumerate(variants(site.node)):
                site.replace(new)
                after = shown(new if site.node is site.statement else site.statement)
                site.replace(site.node)
                found.append(Mutant(file, site.statement.lineno, site.function, before, after, i, v))
    return found


def shown(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).splitlines()[0]


def source_of(project: Path, mutant: Mutant) -> str:
    tree = ast.parse((project / mutant.file).read_text("utf-8"))
    site = list(sites(tree, TARGETS[mutant.file]))[mutant.site]
    site.replace(list(variants(site.node))[mutant.variant])
    return ast.unparse(ast.fix_missing_locations(tree))


def copied(project: Path, folder: str) -> Path:
    """A copy of what the tests need, in `folder`."""
    target = Path(folder).resolve()
    for part in ("minidl", "models", "tests"):
        shutil.copytree(project / part, target / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(project / "pyproject.toml", target)
    return target


def survives(project: Path, mutant: Mutant | None = None) -> bool:
    """Whether all fast tests pass on a copy of `project` with this change, or with none."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        root = copied(project, folder)
        tests = sorted({t for file in TARGETS for t in TESTS_OF.get(file, TESTS)})
        if mutant is not None:
            (root / mutant.file).write_text(source_of(project, mutant), "utf-8")
            tests = TESTS_OF.get(mutant.file, TESTS)
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-k", SELECTION, *tests]
        env = {**os.environ, "PYTHONPATH": str(root), "MINIDL_MUTANT": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
        env |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        try:
            done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return False
    if mutant is None and done.returncode:
        print(done.stdout[-3000:], done.stderr[-3000:], file=sys.stderr)
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=80, help="how many, drawn at random by the seed (default 80)")
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="how many test runs at a time")
    parser.add_argument("--only", metavar="PATTERN", help="only of files whose path this pattern finds")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="project-") as folder:  # the text may be edited while this runs
        return prove(copied(ROOT, folder), args)


def prove(project: Path, args: argparse.Namespace) -> int:
    mutants = all_mutants(project)
    total = len(mutants)
    known = {(Path(m.file).name, m.function, m.after) for m in mutants}
    if stale := [key for key in EQUIVALENT if key not in known]:
        print(f"EQUIVALENT explains mutants that do not exist: {stale}", file=sys.stderr)
        return 2
    if args.only:
        mutants = [m for m in mutants if re.search(args.only, m.file)]
        total = len(mutants)
    if not args.all:
        chosen = random.Random(args.seed).sample(range(total), min(args.mutants, total))
        mutants = [mutants[i] for i in sorted(chosen)]
    if not survives(project):
        print("the tests fail without any change: nothing to prove", file=sys.stderr)
        return 2

    outcome: dict[str, list[Mutant]] = {"killed": [], "survived": [], "equivalent": []}
    with ThreadPoolExecutor(args.jobs) as pool:
        for mutant, alive in zip(mutants, pool.map(partial(survives, project), mutants), strict=True):
            kind = "killed" if not alive else "equivalent" if mutant.reason else "survived"
            outcome[kind].append(mutant)
            print(f"{kind:10}  {mutant}", file=sys.stderr, flush=True)

    killed, alive = len(outcome["killed"]), len(outcome["survived"])
    share = killed / max(1, killed + alive)
    if args.json:
        lists = {kind: [asdict(m) | {"reason": m.reason} for m in found] for kind, found in outcome.items()}
        print(json.dumps({"share_killed": share, "seed": args.seed, "of": total, **lists}, indent=1))
    else:
        same = len(outcome["equivalent"])
        print(f"\n{killed + alive + same} of {total} mutants (seed {args.seed}): {killed} killed, {alive} survived,")
        print(f"{same} equivalent, explained; killed of all that could be: {share:.1%}")
        for mutant in outcome["equivalent"]:
            print(f"equivalent: {mutant}\n            {mutant.reason}")
        for mutant in outcome["survived"]:
            print(f"SURVIVED:   {mutant}")
    return 0 if share >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
