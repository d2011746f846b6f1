"use strict";

/* Search: classes, layers, units, images by number or file name, and the word "dead". Without words: all there is. */
{
  const { h, name, to, text } = atlas;
  const MOST = 60; // results of a kind

  atlas.views.search = async ({ words }) => {
    const query = words.trim().toLowerCase();
    await atlas.loadImages();
    const found = query === "" ? everything() : await results(query, words.trim());
    const parts = found.filter(({ items }) => items.length);
    return {
      title: query === "" ? "Classes and layers" : `Search: ${words}`,
      up: to.network(),
      content: [
        h("h1", { id: "title" }, query === "" ? "Classes and layers" : ["Search:\u00a0", name(words)]),
        parts.length
          ? null
          : h(
              "p.lead",
              { id: "nothing" },
              "Nothing found. Try a class (volleyball), a layer (inception3.b3), a unit (inception3.b3/17), the number or file name of an image, or dead.",
            ),
        parts.map(part),
      ],
      settled() {
        const field = document.getElementById("search");
        if (document.activeElement !== field) field.value = words;
      },
    };
  };

  function part({ id, title, items, show, list = "ul.results" }) {
    const limit = id === "found-all" ? Infinity : MOST;
    return h(
      "section",
      { id },
      h("h2", {}, `${title} `, h("small", {}, text.count(items.length))),
      h(list, {}, items.slice(0, limit).map(show)),
      items.length > limit ? h("p.soft", {}, `and ${text.count(items.length - limit)} more`) : null,
    );
  }

  const classItem = (k) =>
    h(
      "li",
      {},
      atlas.classLink(k),
      h("small", {}, [
        atlas.index.classes[k].accuracy === null ? null : text.percent(atlas.index.classes[k].accuracy, 0),
      ]),
    );
  const layerItem = (l) =>
    h(
      "li",
      {},
      h("a", { href: to.layer(l), "data-layer": atlas.index.layers[l].name }, name(atlas.index.layers[l].name)),
      h("small", {}, text.many(atlas.index.layers[l].units, "unit")),
    );
  const groupItem = (g) =>
    h(
      "li",
      {},
      h("a", { href: to.group(g), "data-layer": atlas.index.groups[g].name }, name(atlas.index.groups[g].name)),
      h("small", {}, text.many(atlas.index.groups[g].units, "unit")),
    );
  const numbers = (list) => list.map((_, i) => i);

  const groups = (items) => ({ id: "found-groups", title: "Modules", items, show: groupItem });
  const layers = (items) => ({ id: "found-layers", title: "Layers", items, show: layerItem });

  const everything = () => [
    groups(numbers(atlas.index.groups)),
    layers(numbers(atlas.index.layers)),
    { id: "found-all", title: "Classes", items: numbers(atlas.index.classes), show: classItem },
  ];

  async function results(query, words) {
    const { index } = atlas;
    const classes = ranked(
      numbers(index.classes),
      (k) => `${index.classes[k].words},${index.classes[k].id},${k}`,
      query,
    );
    const units = [...unitsNamed(query), ...(query === "dead" ? await deadUnits() : [])];
    return [
      { id: "found-classes", title: "Classes", items: classes, show: classItem },
      groups(ranked(numbers(index.groups), (g) => index.groups[g].name, query)),
      layers(ranked(numbers(index.layers), (l) => index.layers[l].name, query)),
      {
        id: "found-units",
        title: query === "dead" ? "Dead units" : "Units",
        items: units,
        show: ([l, u]) => atlas.unitCard(l, u),
        list: "div.units",
      },
      {
        id: "found-images",
        title: "Images",
        items: imagesNamed(query, words),
        show: (i) => atlas.imageFigure(i, name(atlas.images.names[i] || `image ${i}`)),
        list: "div.figures",
      },
    ];
  }

  /** Those whose names contain the words: equal ones first, then those that begin with them. */
  function ranked(items, names, query) {
    const rank = (item) =>
      Math.min(
        ...names(item)
          .toLowerCase()
          .split(",")
          .map((n) => n.trim())
          .map((n) => (n === query ? 0 : n.startsWith(query) ? 1 : n.includes(query) ? 2 : 3)),
      );
    return items
      .map((item) => [rank(item), item])
      .filter(([r]) => r < 3)
      .toSorted((a, b) => a[0] - b[0])
      .map(([, item]) => item);
  }

  /** "inception2.b5/17", "b5 17", "b5[17]": units of the layers whose names contain the first part. */
  function unitsNamed(query) {
    const [, layer, digits] = query.match(/^(.+?)[\s/[]+(\d{1,9})\]?$/) || [];
    if (!layer) return [];
    const unit = Number(digits);
    const inLayers = ranked(numbers(atlas.index.layers), (l) => atlas.index.layers[l].name, layer)
      .filter((l) => unit < atlas.index.layers[l].units)
      .map((l) => [l, unit]);
    const inGroups = ranked(numbers(atlas.index.groups), (g) => atlas.index.groups[g].name, layer)
      .map((g) => atlas.unitOfGroup(g, unit))
      .filter(Boolean)
      .map((found) => [found.layer, found.unit]);
    const all = [...inGroups, ...inLayers];
    return all.filter(([l, u], i) => all.findIndex(([l2, u2]) => l === l2 && u === u2) === i);
  }

  async function deadUnits() {
    const some = numbers(atlas.index.layers).filter((l) => atlas.index.layers[l].dead > 0);
    const records = await Promise.all(some.map(atlas.loadLayer));
    return records.flatMap(({ units }, i) => units.flatMap((unit, u) => (unit.dead ? [[some[i], u]] : [])));
  }

  /** An image by its number, or by its file's name or a part of it. */
  function imagesNamed(query, words) {
    const digits = words.match(/^(?:image\s*)?(\d{1,9})$/i);
    const byNumber = digits && Number(digits[1]) < atlas.index.images ? [Number(digits[1])] : [];
    const stem = (i) => atlas.images.names[i].toLowerCase().replace(/\.\w+$/, "");
    const byName = numbers(atlas.images.names)
      .filter((i) => atlas.images.names[i].toLowerCase().includes(query) && i !== byNumber[0])
      .toSorted((a, b) => (stem(b) === query) - (stem(a) === query));
    return [...byNumber, ...byName];
  }
}
