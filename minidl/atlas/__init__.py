"""The atlas: every unit of a network in a folder of static files, for a browser.

Internal: `minidl.make_atlas` and the command `atlas` use it. `records` says what an atlas contains, `build` makes it,
and `page/` shows it.
"""
