"use strict";

/* The data of an atlas, and the one name that all scripts share.

Each file data/NAME.js calls atlas.put(NAME, record); minidl/atlas/records.py says what the records are.
atlas.load(NAME) brings a file, once. All files are scripts, because a page that is opened from a disk may not read
other files. Every script of the page is a block, so that nothing else of it is global. */
const atlas = {
  index: null, // the record "atlas": main.js loads it before any view
  images: null, // the record "images"
  views: {}, // name -> function of an address that returns (a promise of) a page; see main.js
};

{
  const PER_CHUNK = 200; // images and classes in a file
  const records = new Map();
  const loading = new Map(); // name -> promise of its record

  function put(name, record) {
    records.set(name, record);
  }

  /** A promise of the record of data/NAME.js. If there is none, the error's message and its `file` name it. */
  function load(name) {
    if (!loading.has(name)) {
      const promise = new Promise((resolve, reject) => {
        const script = document.createElement("script");
        const fail = (what) =>
          reject(Object.assign(new Error(`The file data/${name}.js of this atlas ${what}.`), { file: name }));
        script.src = `data/${name}.js`;
        script.addEventListener("load", () => (records.has(name) ? resolve(records.get(name)) : fail("is damaged")));
        script.addEventListener("error", () => fail("is missing"));
        document.head.append(script);
      });
      promise.catch(() => loading.delete(name)); // it may be there the next time
      loading.set(name, promise);
    }
    return loading.get(name);
  }

  /** 7 -> "007" */
  const three = (number) => String(number).padStart(3, "0");

  async function inChunk(series, number) {
    const chunk = await load(`${series}-${three(Math.floor(number / PER_CHUNK))}`);
    return chunk[number % PER_CHUNK];
  }

  /** Makes atlas.images available; if it is missing, the page goes on without captions, and says so. */
  async function loadImages() {
    try {
      atlas.images = await load("images");
    } catch (error) {
      notice(error.message);
      atlas.images = { labels: [], predicted: [], names: [] };
    }
  }

  /** Says something in a line under the head of the page. It stays until the next address. */
  function notice(text) {
    const line = document.getElementById("notice");
    line.textContent = text;
    line.hidden = !text;
  }

  Object.assign(atlas, {
    put,
    load,
    three,
    loadImages,
    notice,
    loadLayer: (layer) => load(`layer-${three(layer)}`),
    loadClass: (number) => inChunk("classes", number),
    loadImage: (number) => inChunk("images", number),
  });
}
