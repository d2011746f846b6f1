"use strict";

/* The wall of a layer, or of a group of layers: every unit as one tile, sorted and filtered. */
{
  const { h, name, to, text } = atlas;
  const firstRule = () => Object.keys(atlas.index.rules)[0];

  atlas.views.wall = async ({ layer, group }) => {
    const { index } = atlas;
    const layers = layer === undefined ? index.groups[group].layers : [layer];
    const records = await Promise.all(layers.map(atlas.loadLayer));
    if (!index.layout.width) await atlas.loadImages();
    const items = records.flatMap((record, i) =>
      record.units.map((unit, u) => ({ layer: layers[i], unit: u, record: unit })),
    );
    items.forEach((item, place) => Object.assign(item, { place, cell: cell(item, group) }));
    const title = layer === undefined ? index.groups[group].name : index.layers[layer].name;
    return {
      title,
      up: layer !== undefined && index.layers[layer].group >= 0 ? to.group(index.layers[layer].group) : to.network(),
      content: [
        crumbs(layer, group),
        h("h1", { id: "title" }, name(title)),
        about(layers, group, items),
        wall(items, layers, title),
      ],
    };
  };

  function crumbs(layer, group) {
    const { index } = atlas;
    if (layer === undefined) return atlas.crumbs([[null, index.groups[group].name]]);
    const of = index.layers[layer].group;
    return atlas.crumbs([
      ...(of < 0 ? [] : [[to.group(of), index.groups[of].name]]),
      [null, index.layers[layer].name],
    ]);
  }

  function about(layers, group, items) {
    const all = layers.map((l) => atlas.index.layers[l]);
    const units = all.reduce((sum, l) => sum + l.units, 0);
    const dead = all.reduce((sum, l) => sum + l.dead, 0);
    const first = group === undefined ? `${all[0].kind}, output ${text.shape(all[0].shape)}. ` : "";
    const parts =
      group === undefined
        ? null
        : [
            " It is put together from ",
            all.map((l, i) => [
              i ? ", " : "",
              h("a", { href: to.layer(layers[i]), "data-layer": l.name }, name(l.name)),
            ]),
            ".",
          ];
    const picture = atlas.index.layout.width
      ? `Each tile is what a unit sees in the image that excites it most (${atlas.index.rules[firstRule()]}).${items.every(({ record }) => record.drawn) ? "" : " For a unit that was not drawn it is the image itself."}`
      : "Each tile is the image that excites a unit most.";
    return [
      h(
        "p.lead",
        {},
        first,
        `${text.many(units, "unit")}${dead ? `, ${text.count(dead)} of them dead (zero on every image)` : ""}.`,
        parts,
      ),
      atlas.what(picture, firstRule() || ""),
    ];
  }

  /** On the wall of a layer the number, on that of a group also the rest of the layer's name; of scores, the class. */
  function short(layer, unit, group) {
    if (atlas.index.layers[layer].logits && unit < atlas.index.classes.length) return text.className(unit);
    if (group === undefined) return String(unit);
    const full = text.unitName(layer, unit);
    const start = `${atlas.index.groups[group].name}.`;
    return full.startsWith(start) ? full.slice(start.length) : full;
  }

  /** A unit's tile as a link. */
  function cell({ layer, unit, record }, group) {
    const words = text.unitName(layer, unit);
    const best = record.classes[0];
    const label = `${words}${record.dead ? ", dead" : best ? `, most excited by ${text.className(best[0])}` : ""}`;
    const seen = atlas.index.layout.width && record.drawn;
    const picture = seen || !record.top.length ? atlas.face(layer, unit) : atlas.photo(record.top[0][0]);
    return h(
      record.dead ? "a.cell.dead" : "a.cell",
      { href: to.unit(layer, unit), "data-unit": words, "aria-label": label },
      picture,
      h("small", {}, name(short(layer, unit, group))),
    );
  }

  function wall(items, layers, title) {
    const grid = h("div.wall", { id: "wall" });
    const shown = h("p.soft", { id: "shown", role: "status" });
    const detail = h(
      "aside.detail",
      { id: "detail", "aria-live": "off" },
      h("p.soft", {}, "Point at a unit, or move to it with Tab, to read its numbers."),
    );
    const byCell = new Map(items.map((item) => [item.cell, item]));
    const tell = (event) => {
      const item = byCell.get(event.target.closest(".cell"));
      if (item) detail.replaceChildren(...numbers(item));
    };
    grid.addEventListener("pointerover", tell);
    grid.addEventListener("focusin", tell);
    grid.addEventListener("keydown", (event) => walk(event, grid));
    const { controls, choose } = atlas.wallChoice(title, layers);
    const update = () => {
      const chosen = choose(items);
      grid.replaceChildren(...chosen.map((item) => item.cell));
      shown.textContent = `${text.count(chosen.length)} of ${text.many(items.length, "unit")} shown`;
    };
    update();
    return [controls(update), shown, h("div.beside.wide", {}, grid, detail)];
  }

  /** What is said of the unit that is pointed at. */
  function numbers({ layer, unit, record }) {
    const best = record.top[0];
    return [
      h("div.pair", {}, record.drawn ? atlas.face(layer, unit) : null, best ? atlas.photo(best[0]) : null),
      h("h2", {}, atlas.unitWords(layer, unit)),
      record.dead ? h("p", {}, "Dead: zero on every image.") : null,
      h(
        "dl",
        {},
        h("dt", {}, "selectivity"),
        h("dd", {}, text.selectivity(record.selectivity)),
        h("dt", {}, "strength"),
        h("dd", {}, text.number(best?.[1] ?? 0)),
        Object.entries(record.likeness).map(([rule, value]) => [
          h("dt", {}, `likeness, ${rule}`),
          h("dd", {}, text.number(value)),
        ]),
        h("dt", {}, "classes"),
        h(
          "dd",
          {},
          record.classes.slice(0, 3).map(([k], i) => [i ? ", " : "", name(text.className(k))]),
        ),
      ),
    ];
  }

  /** Arrow keys move over the wall. */
  function walk(event, grid) {
    const cells = [...grid.children];
    const here = cells.indexOf(document.activeElement);
    if (here < 0) return;
    const across = cells.filter((c) => c.offsetTop === cells[0].offsetTop).length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    cells[here + step]?.focus();
  }
}
