"use strict";

/* Tiles: square pictures that lie side by side in sheets, sheets/SERIES-KKK.webp. */
{
  const { h } = atlas;
  const sheets = new Map(); // address -> Image, so that it stays decoded

  /** {url, x, y}: the sheet of tile `t` of a series, and its place there in pixels. */
  function place(series, t) {
    const { step, across, each } = atlas.index.tiles;
    const i = t % each;
    const url = `sheets/${series}-${atlas.three(Math.floor(t / each))}.webp`;
    return { url, x: (i % across) * step, y: Math.floor(i / across) * step };
  }

  /** Begins to load a sheet and says so if it is missing. */
  function sheet(url) {
    if (!sheets.has(url)) {
      const image = new Image();
      image.addEventListener("error", () => {
        atlas.notice(`The file ${url} of this atlas is missing: some pictures are not shown.`);
        sheets.delete(url);
      });
      image.src = url;
      sheets.set(url, image);
    }
    return sheets.get(url);
  }

  /** Loads and decodes a sheet before it is wanted. */
  const preload = (series, t) =>
    sheet(place(series, t).url)
      .decode()
      .catch(() => {}); // sheet() says what is missing

  /** Tile `t` of a series as an element. Its side is --w pixels; `label` says what it is. */
  function tile(series, t, label) {
    const { url, x, y } = place(series, t);
    sheet(url);
    // The inner square has the tile's own size and is scaled: so the size of the sheet need not be known.
    const picture = h("i", {
      style: { "background-image": `url("${url}")`, "background-position": `-${x}px -${y}px` },
    });
    return h("span.tile", label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" }, picture);
  }

  const photo = (image, label) => tile("images", image, label);

  /** The picture of a unit on the walls: its first projection. An atlas without projections has none. */
  function face(layer, unit, label) {
    if (!atlas.index.layout.width) return null;
    return tile(`wall-${atlas.three(layer)}`, unit, label);
  }

  /** Tile number `t` of a unit (see Layout). */
  function unitTile(layer, unit, t, label) {
    return tile(`units-${atlas.three(layer)}`, unit * atlas.index.layout.width + t, label);
  }

  /** Loads the sheets of a unit's pictures before they are wanted. */
  function preloadUnit(layer, unit, record) {
    const { width } = atlas.index.layout;
    if (width) {
      preload(`units-${atlas.three(layer)}`, unit * width);
      preload(`units-${atlas.three(layer)}`, unit * width + width - 1);
    }
    for (const [image] of [...record.top, ...record.deciles]) preload("images", image);
  }

  Object.assign(atlas, { tile, photo, face, unitTile, preloadUnit, tilePlace: place, sheet });
}
