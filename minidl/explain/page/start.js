"use strict";

/* The name that all scripts of the page share, and a second one for it: dom.js and theme.js are the atlas's.
minidl/explain/records.py says what the record is. */
const explain = { views: {} };
const atlas = explain;
Object.assign(atlas, { record: JSON.parse(document.getElementById("record").textContent) });
