"use strict";

/* The one name that all scripts of the page share; minidl/explain/records.py says what the record is. */
const explain = { views: {}, record: JSON.parse(document.getElementById("record").textContent) };
const atlas = explain; // dom.js and theme.js are the atlas's
