"""One page on which a gradient flows through a unit's convolution, with the numbers of a network and an image.

Internal: `minidl.explain_unit` and the command `explain` use it. `records` says what the page knows, `build`
computes it, and `page/` shows it.
"""
