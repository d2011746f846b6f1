"""The atlas: every unit of a network in a folder of static files, for a browser.

`records` says what an atlas contains; `build` makes it; `page/` shows it.
"""
