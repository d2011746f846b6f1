"""Wrong answers to relu_project; each says first which diagnosis it must get."""

import numpy as np

from minidl.layers.base import as_rule


def wrong_only_masks(self, s, cache, rule):
    """typical always the gradient: np.where with the cache"""
    return np.where(cache, s, 0)


def wrong_deconv_masked(self, s, cache, rule):
    """typical deconv with the mask of x: maximum, then the mask"""
    out = np.array(s)
    if as_rule(rule).name in ("guided", "deconv"):
        out = np.maximum(out, 0)
    out[~cache] = 0
    return out


def wrong_guided_unmasked(self, s, cache, rule):
    """typical guided without the mask of x: masks for the gradient alone"""
    return s * cache if as_rule(rule).name == "gradient" else np.clip(s, 0, None)


def wrong_exchanged_names(self, s, cache, rule):
    """typical exchanged: deconv asks both"""
    name = as_rule(rule).name
    keep = cache.copy()
    if name == "deconv":
        keep &= s > 0
    elif name == "guided":
        keep = s > 0
    return np.where(keep, s, 0)


def wrong_relu_always(self, s, cache, rule):
    """typical rectified always: a ReLU at the beginning"""
    s = np.maximum(s, 0)
    return s if as_rule(rule).name == "deconv" else np.where(cache, s, 0)


def wrong_text_only(self, s, cache, rule):
    """typical a Rule taken for the gradient: compares the rule with text"""
    if rule in ("guided", "deconv"):
        s = np.maximum(s, 0)
    return s if rule == "deconv" else s * cache


def wrong_rule_object(self, s, cache, rule):
    """raises: asks a text for its name"""
    s = s if rule.name == "gradient" else np.maximum(s, 0)
    return s if rule.name == "deconv" else s * cache


def wrong_writes_into_s(self, s, cache, rule):
    """changed: sets entries of s to zero"""
    name = as_rule(rule).name
    if name != "gradient":
        s[s < 0] = 0
    if name != "deconv":
        s[~cache] = 0
    return s


def wrong_twice(self, s, cache, rule):
    """factor: counts everything twice"""
    s = s + s
    name = as_rule(rule).name
    return {"gradient": s * cache, "guided": np.where(cache & (s > 0), s, 0), "deconv": np.maximum(s, 0)}[name]
