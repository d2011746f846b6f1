"""The way back through a ReLU for pictures: gradient, guided and deconv."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from minidl.layers.activation import ReLU
from minidl.layers.base import PROBE, Rule
from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, Outcome

NAMES = ("gradient", "guided", "deconv")


def _cases(rng: np.random.Generator) -> list[Case]:
    by_hand = {"s": np.array([-1.0, 2, 3]), "x": np.array([4.0, -5, 6])}
    cases = [Case({**by_hand, "rule": name}, _about(name, 1)) for name in NAMES]
    cases += [Case({**by_hand, "rule": Rule(name)}, _about(Rule(name), 1)) for name in NAMES]
    with_zeros = {"s": np.array([1.0, -1, 0, 0, 0]), "x": np.array([0.0, 0, 2, -2, 0])}
    cases += [Case({**with_zeros, "rule": name}, _about(name, 1)) for name in NAMES]
    for n, shape in ((2, (2, 3)), (3, (3, 4, 4, 2))):
        arrays = {name: rng.normal(size=shape) for name in ("s", "x")}
        cases += [Case({**arrays, "rule": rule}, _about(rule, n)) for rule in (*NAMES, Rule("deconv", bn="scale"))]
    return cases


def _about(rule: Rule | str, n: int) -> dict[str, int | str]:
    name, kind = (rule, "text") if isinstance(rule, str) else (rule.name, "a Rule")
    return {"the rule": name, "the rule's type": kind, "N": n}


def _call(function: Callable, arguments: Arguments) -> Outcome:
    """The signal at x; the cache is the mask of a PROBE pass."""
    s, x, rule = arguments.values()
    layer = ReLU()
    return {"signal at x": function(layer, s, layer.forward(x, PROBE)[1], rule)}


def _on_paper(arguments: Arguments, name: str, index: tuple[int, ...]) -> str:
    s, x, rule = arguments.values()
    rule = rule if isinstance(rule, str) else rule.name
    s, positive, factor = float(s[index]), int(x[index] > 0), int(s[index] > 0)
    x = float(x[index])
    text = {
        "gradient": f"{s:.4g} [{x:.4g} > 0] = {s * positive + 0.0:.6g}",
        "guided": f"{s:.4g} [{x:.4g} > 0] [{s:.4g} > 0] = {s * positive * factor + 0.0:.6g}",
        "deconv": f"{s:.4g} [{s:.4g} > 0] = {s * factor + 0.0:.6g}",
    }
    return text[rule]


def _places(arguments: Arguments, name: str) -> Mapping[str, np.ndarray]:
    s, x = arguments["s"], arguments["x"]
    return {
        "where x is 0": x == 0,
        "where s is negative": s < 0,
        "where x is negative": x < 0,
    }


def _names_only(otherwise: str) -> Callable:
    """Compares the rule with texts only, so that a Rule is taken for another."""
    return lambda self, s, cache, rule: ReLU.project(self, s, cache, rule if isinstance(rule, str) else otherwise)


_TEXT = (
    'Right where the rule is a text, wrong where it is a Rule: `rule == "guided"` is never true for a Rule. Begin '
    "with "
    "as_rule(rule).name."
)


def _rules(guided: Callable, deconv: Callable, gradient: Callable = lambda s, m: s * m) -> Callable:
    """A wrong function from what it does for each rule."""

    def project(self, s, cache, rule):
        name = rule if isinstance(rule, str) else rule.name
        return {"gradient": gradient, "guided": guided, "deconv": deconv}[name](s, cache)

    return project


EXERCISE = Exercise(
    name="relu_project",
    chapter="11_looking_back",
    target="minidl.layers.activation:ReLU.project",
    task="Take the signal s back through the ReLU, by the rule that is given. `cache` is the mask of the forward "
    "pass, True where x > 0. `rule` is a Rule, or the name of one; as_rule(rule) is a Rule in both cases, and its "
    "`name` is gradient, guided or deconv.",
    cases=_cases,
    call=_call,
    places=_places,
    worked=_on_paper,
    mistakes=(
        Mistake(
            "always the gradient",
            "You use the mask of x for every rule. Guided drops the negative numbers of s too, and deconv drops only "
            "those: it doesn't look at x.",
            wrong=_rules(lambda s, m: s * m, lambda s, m: s * m),
        ),
        Mistake(
            "deconv with the mask of x",
            "Your deconv is guided: it also uses the mask of x. Deconv only drops the negative numbers of s, as if "
            "the way back were a forward pass of its own.",
            (('rectified if rule.name == "deconv" else ', ""),),
        ),
        Mistake(
            "guided without the mask of x",
            "Your guided is deconv: the mask of x is missing. Guided drops a number if x or s is not positive.",
            (('rectified if rule.name == "deconv" else self.input_grad(rectified, cache)', "rectified"),),
        ),
        Mistake(
            "exchanged",
            "Guided and deconv are exchanged: guided uses both masks, deconv only that of s.",
            (('rectified if rule.name == "deconv"', 'rectified if rule.name == "guided"'),),
        ),
        Mistake(
            "rectified always",
            "The gradient keeps its sign: a negative number of s passes where x > 0. Only guided and deconv drop it.",
            (("return self.input_grad(s, cache)", "return self.input_grad(s * (s > 0), cache)"),),
        ),
        Mistake(
            "never rectified",
            "The negative numbers of s are still there. Guided and deconv keep a number of s only if it is positive.",
            (("rectified = s * (s > 0)", "rectified = s"),),
        ),
        Mistake(
            "deconv passes everything",
            "Deconv returns s as it is. It keeps a number of s only if it is positive.",
            wrong=_rules(lambda s, m: s * m * (s > 0), lambda s, m: s),
        ),
        Mistake(
            "gradient without the mask",
            "The gradient returns s as it is. A number of s passes only where x > 0.",
            wrong=_rules(lambda s, m: s * m * (s > 0), lambda s, m: s * (s > 0), lambda s, m: s),
        ),
        Mistake(
            "mask the wrong way round",
            "The mask of x is the wrong way round: s passes where x > 0, which is where cache is True.",
            wrong=_rules(lambda s, m: s * ~m * (s > 0), lambda s, m: s * (s > 0), lambda s, m: s * ~m),
        ),
        Mistake(
            "absolute values",
            "You took absolute values. A negative number of s becomes 0, not positive.",
            (("rectified = s * (s > 0)", "rectified = abs(s)"),),
        ),
        Mistake(
            "the negative ones",
            "You keep the negative numbers of s. Guided and deconv keep the positive ones: what speaks for the unit, "
            "not against it.",
            (("(s > 0)", "(s < 0)"),),
        ),
        Mistake("a Rule taken for the gradient", _TEXT, wrong=_names_only("gradient")),
        Mistake("a Rule taken for deconv", _TEXT, wrong=_names_only("deconv")),
        Mistake(
            "mask for signal",
            "You return 1 where the signal passes, in place of the signal: multiply the mask by s.",
            wrong=_rules(lambda s, m: (m & (s > 0)) * 1.0, lambda s, m: (s > 0) * 1.0),
        ),
    ),
    hints=(
        "The three rules are made from two questions: is x > 0, and is s > 0? Which rule asks which?",
        "The gradient asks x, deconv asks s, guided asks both. cache answers the question about x.",
        "name = as_rule(rule).name; if name != 'gradient': s = s * (s > 0); if name != 'deconv': s = s * cache; "
        "return s.",
    ),
)
