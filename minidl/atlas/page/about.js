"use strict";

/* How this atlas was made, what is in its folder, and which keys there are. */
{
  const { h, name, to, text } = atlas;

  const KEYS = [
    ["← →", "the unit, class or image before and after"],
    ["/", "search"],
    ["Esc", "back to where you came from"],
    ["Tab, Enter", "from link to link, and open"],
    ["+ − 0 and arrows", "zoom and move in the embedding"],
  ];

  const FOLDER = [
    ["index.html", "this page; double-click it"],
    ["page/", "its style and scripts"],
    ["data/", "the numbers on the pages, in JSON"],
    ["numbers/", "the arrays behind them, for NumPy"],
    ["sheets/", "all pictures, side by side in WebP files"],
  ];

  atlas.views.about = () => {
    const { index } = atlas;
    const table = (rows) =>
      h(
        "table.plain",
        {},
        h(
          "tbody",
          {},
          rows.map(([what, words]) => h("tr", {}, h("th", { scope: "row" }, what), h("td", {}, words))),
        ),
      );
    return {
      title: "About this atlas",
      up: to.network(),
      content: [
        h("h1", { id: "title" }, "About this atlas"),
        h(
          "p.lead",
          {},
          name(index.title),
          ": ",
          `${text.many(
            index.layers.reduce((sum, l) => sum + l.units, 0),
            "unit",
          )} of ${text.many(index.layers.length, "layer")}, ${text.many(index.images, `${index.split} image`.trim())}, ${text.many(index.classes.length, "class", "classes")}.`,
        ),
        h("section", {}, h("h2", {}, "How it was made"), atlas.factList(index.facts)),
        Object.keys(index.rules).length
          ? h(
              "section",
              {},
              h("h2", {}, "Pictures"),
              atlas.factList(Object.entries(index.rules)),
              h("p", {}, h("a", { href: to.trust() }, "How far to trust a picture")),
            )
          : null,
        h("section", {}, h("h2", {}, "Keys"), table(KEYS.map(([key, words]) => [h("kbd", {}, key), words]))),
        h(
          "section",
          {},
          h("h2", {}, "This folder"),
          h("p", {}, "It needs no network and no server, and it loads nothing from outside. Copy it as a whole."),
          table(FOLDER.map(([file, words]) => [h("code", {}, file), words])),
          h("p", {}, h("code", {}, "docs/atlas.md"), " of minidl says how to read the numbers in Python."),
        ),
        layers(index),
      ],
    };
  };

  function layers(index) {
    const row = (layer, l) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, h("a", { href: to.layer(l), "data-layer": layer.name }, name(layer.name))),
        h("td.value", {}, text.shape(layer.shape)),
        h("td.value", {}, text.count(layer.units)),
        h("td.value", {}, text.count(layer.dead)),
        h("td.value", {}, text.selectivity(layer.selectivity)),
      );
    const head = ["layer", "output", "units", "dead", "selectivity (median)"].map((words) =>
      h("th", { scope: "col" }, words),
    );
    return h(
      "section",
      {},
      h("h2", {}, "Layers"),
      h(
        "div.scroll",
        {},
        h("table.plain", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, index.layers.map(row))),
      ),
    );
  }
}
