"""What a check says of an answer that is no typical mistake: facts that hold for every input."""

import numpy as np
import pytest

from minidl.learn.check import check_function
from minidl.learn.exercise import Case, Exercise, Mistake, changes, returns


def product(a, b, stride):
    """y = a b: the real function of the exercise in these tests."""
    return a * b


def pair(a, b):
    """(a b, a + b)"""
    return a * b, a + b


def halve(w, g):
    """w <- w - g / 2, in place."""
    w -= g / 2


def cases(rng, names=("a", "b", "stride")):
    found = []
    for n, k, stride in ((1, 2, 1), (2, 3, 1), (3, 4, 1), (4, 3, 2), (5, 2, 3)):
        values = {"a": rng.normal(size=(n, k)), "b": rng.normal(size=(n, k)), "stride": stride}
        found.append(Case({name: values[name] for name in names}, {"N": n, "K": k, "stride": stride}))
    return found


def exercise(target="product", **options):
    wanted = {
        "name": target,
        "chapter": "00",
        "target": f"tests.learn.test_diagnosis:{target}",
        "task": "",
        "cases": cases,
        "call": returns("y"),
        "mistakes": (Mistake("sum", "You added.", (("a * b", "a + b"),)),),
        "hints": ("", "", ""),
    }
    return Exercise(**wanted | options)


PRODUCT = exercise()


def once(a):
    """A product that is wrong in one entry."""
    a = a.copy()
    a[0, 0] += 1
    return a


@pytest.mark.parametrize(
    ("answer", "found", "said"),
    [
        (lambda a, b, stride: a + b, "typical sum", "You added."),
        (lambda a, b, stride: -a * b, "sign", "y has the wrong sign."),
        (lambda a, b, stride: a * b * len(a), "factor", "y is exactly N times too large."),
        (lambda a, b, stride: a * b / len(a), "factor", "y is exactly N times too small."),
        (lambda a, b, stride: a * b / a.shape[1] ** 0.5, "factor", "y is exactly sqrt(K) times too small."),
        (lambda a, b, stride: a * b * 1.5, "factor", "y is exactly 3/2 times the right one."),
        (lambda a, b, stride: a * b * 0, "zero", "y is zero everywhere."),
        (lambda a, b, stride: a * b // 1, "rounded", "y is rounded down to whole numbers."),
        (lambda a, b, stride: a * b + 3, "offset", "the same number is added"),
        (lambda a, b, stride: (a * b)[::-1], "flipped", "y is reversed along axis 0."),
        (lambda a, b, stride: (a * b).T.reshape(a.shape), "reordered", "order of axes (1, 0)"),
        (lambda a, b, stride: (a * b).T, "shape", "y has shape (2, 1), must be (1, 2)"),
        (lambda a, b, stride: None, "kind", "y is None, must be an array (1, 2) of float64."),
        (lambda a, b, stride: (a * b, a), "kind", "y is (an array"),
        (lambda a, b, stride: np.log(-abs(a * b)), "nan", "y has a NaN"),
        (lambda a, b, stride: a * b if stride == 1 else a, "condition", "right are those where stride is 1, wrong"),
        (lambda a, b, stride: a * b if len(a) < 5 else a, "condition", "wrong are those where N is 5."),
        (lambda a, b, stride: a * b if len(a) == 1 else a, "unknown", "y[0, 0] is"),
        (lambda a, b, stride: a * b[stride - 1 : 1], "raises", "For some inputs it raises ValueError"),
        (lambda a, b, stride: a @ b, "raises", "the shapes don't fit for @: 2 columns on the left, 1 rows on the ri"),
        (lambda a, b, stride: (a * b).astype(int), "dtype", "must be float64: whole numbers have lost"),
        (lambda a, b, stride: a > 0, "dtype", "y is an array (1, 2) of bool, must be float64.\n"),
        (lambda a, b, stride: (a * b).astype(str), "kind", "y holds str '"),
        (lambda a, b, stride: (a * b).astype(object) * [[None]], "raises", "TypeError in line"),
        (lambda a, b, stride: np.full(a.shape, None), "kind", "y holds None in place of a number: does a function"),
        (lambda a, b, stride: np.multiply(a, b, out=a), "changed", "You changed a, which belongs to the caller."),
        (lambda a, b, stride: a * b * np.float64(1), "float32", "for float32 y is an array"),
        (lambda a, b, stride: once(a * b), "unknown", "y[0, 0] is"),
    ],
)  # fmt: skip
def test_a_fact_is_found_and_said(answer, found, said):
    verdict = check_function(PRODUCT, answer)
    assert not verdict.solved
    assert verdict.found == found and said in str(verdict), str(verdict)


def test_an_error_is_said_once_and_belongs_to_the_input_below():
    verdict = check_function(PRODUCT, lambda a, b, stride: a.missing)
    assert str(verdict).count("missing") == 1 and verdict.lines[0].startswith("It raises AttributeError")
    verdict = check_function(PRODUCT, lambda a, b, stride: a + 1 if stride == 1 else a.missing)
    assert verdict.lines[0].endswith("For others, such as the one below, the result is wrong.")
    assert "y[0, 0] is" in str(verdict)


def test_a_change_that_is_all_that_is_wrong_with_the_input_below_is_said_first():
    def product(a, b, stride):
        a *= b
        return a if len(a) < 5 else a + 1

    assert check_function(PRODUCT, product).lines[0] == "You changed a, which belongs to the caller. Work on a copy."


def test_two_axes_are_written_as_rows_without_blanks_that_align_them():
    verdict = check_function(PRODUCT, lambda a, b, stride: np.full(a.shape, 0.5))
    assert "y is [[0.5, 0.5]], must be [[" in str(verdict)


def test_a_right_answer_is_right():
    assert check_function(PRODUCT, lambda a, b, stride: b * a).solved


def test_numbers_read_from_memory_are_wrong_for_views():
    def product(a, b, stride):
        flat = np.ndarray(a.size, a.dtype, a if a.flags.c_contiguous else a.T.base)
        return flat.reshape(a.shape) * b

    assert check_function(PRODUCT, product).found == "arrays that are not contiguous"


def test_numbers_that_outlive_a_call_are_told_from_the_layout_in_memory():
    def product(a, b, stride, kept={}):  # noqa: B006
        kept[a.shape] = kept.get(a.shape, 0) + a * b
        return kept[a.shape]

    assert check_function(PRODUCT, product).found == "state"


def test_a_list_that_outlives_a_call_is_named():
    def product(a, b, stride, rows=[]):  # noqa: B006
        rows += list(a * b)
        return np.array(rows)

    verdict = check_function(PRODUCT, product)
    assert verdict.found == "state" and "a default argument, which is made only once" in str(verdict)


def test_the_evidence_is_the_smallest_input_and_its_first_wrong_entry():
    lines = check_function(PRODUCT, lambda a, b, stride: once(a * b)).lines
    assert lines[0] == "The smallest input that fails:"
    assert lines[3] == "    stride = 1" and lines[4].startswith("y[0, 0] is ")


def test_two_wrong_truth_values_are_not_called_exchanged():
    def call(function, arguments):
        y = function(**arguments)
        return {"finite": bool(np.isfinite(y).all()), "large": bool((abs(y) > 100).any())}

    verdict = check_function(exercise(call=call, mistakes=()), lambda a, b, stride: a * b / 0)
    assert verdict.found == "unknown"


def test_of_two_outputs_the_wrong_one_is_named():
    two = exercise("pair", call=returns("y", "z"), mistakes=(), cases=lambda rng: cases(rng, ("a", "b")))
    assert check_function(two, lambda a, b: (a + b, a * b)).found == "exchanged"
    verdict = check_function(two, lambda a, b: (a * b, once(a + b)))
    assert verdict.found == "outputs" and "y: right; wrong is z." in str(verdict)
    verdict = check_function(two, lambda a, b: a * b)
    assert verdict.found == "kind" and "Return y, z: yours returns an array" in str(verdict)


def test_what_is_changed_in_place_may_be_changed_and_nothing_else():
    place = exercise(
        "halve",
        call=changes("w"),
        changes=("w",),
        mistakes=(),
        cases=lambda rng: [Case({"w": c.arguments["a"], "g": c.arguments["b"]}, c.about) for c in cases(rng)],
    )

    def both(w, g):
        g /= 2
        w -= g

    assert check_function(place, halve).solved
    assert check_function(place, both).found == "changed"
    assert check_function(place, lambda w, g: w - g / 2).found == "unknown"


def test_special_places_are_named():
    first = exercise(places=lambda arguments, name: {"in the first row": np.eye(len(arguments["a"]), 1) > 0})

    def product(a, b, stride):
        y = a * b
        y[0] = 7
        return y

    assert "y is right, except in the first row." in str(check_function(first, product))


def test_a_central_difference_is_a_witness():
    def gradient(arguments):
        x = np.array(arguments["a"])
        return {"y": (lambda a: float((a**2 / 2 * arguments["b"]).sum()), x)}

    verdict = check_function(exercise(gradient=gradient), lambda a, b, stride: once(a * b))
    assert "a central difference, which knows no formula, says" in str(verdict)


def test_where_only_errors_agree_a_typical_mistake_is_a_likely_reason():
    one_row = Mistake("one row", "You took a batch of one.", (("return a * b", "return a.reshape(1, 2) * b"),))
    verdict = check_function(exercise(mistakes=(one_row,)), lambda a, b, stride: np.reshape(a, (1, 2)) * b)
    assert verdict.found == "typical one row"
    assert verdict.lines[0].startswith("It raises ValueError") and verdict.lines[0].endswith("A likely reason:")
    assert verdict.lines[1] == "You took a batch of one."
