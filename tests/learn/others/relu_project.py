"""Right and wrong answers of learners to the exercise relu_project."""

import numpy as np

from minidl.layers.base import as_rule


def right_three_cases(self, s, cache, rule):
    rule = as_rule(rule)
    if rule.name == "gradient":
        return s * cache
    if rule.name == "guided":
        return s * cache * (s > 0)
    return s * (s > 0)


def right_where(self, s, cache, rule):
    name = rule if isinstance(rule, str) else rule.name
    passes = np.ones(s.shape, bool)
    if name != "deconv":
        passes &= cache
    if name != "gradient":
        passes &= s > 0
    return np.where(passes, s, s.dtype.type(0))


def right_table(self, s, cache, rule):
    zero = np.zeros((), s.dtype)
    table = {
        "gradient": lambda: s * cache.astype(s.dtype),
        "guided": lambda: np.maximum(s, zero) * cache.astype(s.dtype),
        "deconv": lambda: np.maximum(s, zero),
    }
    return table[as_rule(rule).name]()


def right_loop(self, s, cache, rule):
    kind = as_rule(rule).name
    out = np.zeros_like(s)
    for i in np.ndindex(s.shape):
        if kind in ("gradient", "guided") and not cache[i]:
            continue
        if kind in ("guided", "deconv") and not s[i] > 0:
            continue
        out[i] = s[i]
    return out


def wrong_guided_and_deconv_exchanged(self, s, cache, rule):
    """guided and deconv are exchanged."""
    rule = as_rule(rule)
    if rule.name == "gradient":
        return self.input_grad(s, cache)
    positive = s * (s > 0)
    return positive if rule.name == "guided" else positive * cache


def wrong_deconv_with_mask(self, s, cache, rule):
    """deconv uses the mask of x too, so it does the same as guided."""
    name = as_rule(rule).name
    out = s * cache
    if name in ("guided", "deconv"):
        out = out * (out > 0)
    return out


def wrong_guided_without_mask(self, s, cache, rule):
    """guided forgets the mask of x: only the sign of s decides."""
    name = as_rule(rule).name
    return np.where(cache, s, 0) if name == "gradient" else np.where(s > 0, s, 0)


def wrong_gradient_rectified(self, s, cache, rule):
    """The plain gradient loses its negative values too."""
    rule = as_rule(rule)
    s = np.clip(s, 0, None)
    if rule.name == "deconv":
        return s
    return s * cache


def wrong_compares_rule_with_string(self, s, cache, rule):
    """Compares the Rule itself with a string, which is never equal: a Rule object always gives the gradient."""
    if rule == "guided":
        return s * cache * (s > 0)
    if rule == "deconv":
        return s * (s > 0)
    return s * cache


def wrong_only_rule_objects(self, s, cache, rule):
    """Reads rule.name without as_rule, which fails for a rule given by its name."""
    m = {"gradient": cache, "guided": cache & (s > 0), "deconv": s > 0}[rule.name]
    return s * m


def wrong_changes_s(self, s, cache, rule):
    """s[s < 0] = 0 changes the caller's signal."""
    name = as_rule(rule).name
    if name != "gradient":
        s[s < 0] = 0
    return s if name == "deconv" else s * cache


def wrong_absolute_value(self, s, cache, rule):
    """guided and deconv take |s|: negative signals become positive instead of 0."""
    name = as_rule(rule).name
    if name == "gradient":
        return s * cache
    return np.abs(s) * cache if name == "guided" else np.abs(s)


def wrong_deconv_keeps_negative(self, s, cache, rule):
    """deconv keeps the negative values and drops the positive ones."""
    name = as_rule(rule).name
    if name == "gradient":
        return s * cache
    if name == "guided":
        return s * ((s > 0) & cache)
    return s * (s <= 0)


def wrong_deconv_passes_all(self, s, cache, rule):
    """deconv lets everything pass."""
    kind = as_rule(rule).name
    if kind == "deconv":
        return s.copy()
    g = s * cache
    return np.maximum(g, 0) if kind == "guided" else g


def wrong_mask_returned(self, s, cache, rule):
    """Returns the mask as numbers instead of the signal times the mask."""
    kind = as_rule(rule).name
    masks = {"gradient": cache, "guided": cache * (s > 0), "deconv": s > 0}
    return masks[kind].astype(s.dtype)
