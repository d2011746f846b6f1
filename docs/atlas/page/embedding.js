"use strict";

/* The embedding: all images on a plane, colored by class, by correctness or by how strongly a unit responds.

The state is in the address: map=pca, color=correct, class=17 (all others gray), unit=inception2.b5/17. */
{
  const { h, to, text } = atlas;

  atlas.views.embedding = async ({ state }) => {
    const [record] = await Promise.all([atlas.load("embedding"), atlas.loadImages()]);
    const unit = state.unit ? atlas.place(state.unit) : null;
    const number = Number(state.class || -1);
    if ((state.unit && unit?.view !== "unit") || (state.class && !(number in atlas.index.classes)))
      return atlas.views.lost();
    const now = {
      map: state.map === "pca" || !record.tsne.length ? "pca" : "tsne",
      color: state.color === "correct" && atlas.index.labelled ? "correct" : "",
      class: state.class || "",
      unit,
    };
    const paint = await choosePaint(record, now, number);
    const plane = atlas.plane(record[now.map], now.map, paint);
    return {
      title: "Embedding",
      up: to.network(),
      content: [
        h("h1", { id: "title" }, "Embedding"),
        h(
          "p.lead",
          {},
          "Each point is an image, placed by its features. Images with similar features lie close together.",
        ),
        controls(record, now),
        h("p.legend", { id: "legend" }, paint.legend),
        plane.content,
        atlas.what(meaning(record, now.map), "embedding"),
        h("p.soft", {}, `Features: ${record.features}.`),
      ],
      settled: plane.settled,
      leave: plane.leave,
    };
  };

  const choosePaint = (record, now, number) => {
    if (now.unit) return atlas.paint.unit(now.unit);
    return now.color ? atlas.paint.correct(record) : atlas.paint.class(record, number);
  };

  function meaning({ explained }, map) {
    if (map === "tsne")
      return "t-SNE: neighbours in the features are neighbours here. Distances between groups, and their sizes, mean little.";
    const shares = explained.map((share) => text.percent(share)).join(" and ");
    return `PCA: the two directions in which the features vary most${shares ? `; they hold ${shares} of the variance` : ""}.`;
  }

  function controls(record, now) {
    const { classes, layers, labelled } = atlas.index;
    const go = (change) => location.replace(to.embedding({ ...now, ...change }));
    const colour = now.unit ? "unit" : now.color || "class";
    const colours = [
      ["class", labelled ? "class" : "predicted class"],
      ...(labelled ? [["correct", "right or wrong"]] : []),
      ["unit", "how strongly a unit responds"],
    ];
    const start = { class: {}, correct: { color: "correct" }, unit: { unit: { layer: 0, unit: 0 } } };
    const short = (words) => (words.length > 40 ? `${words.slice(0, 40)}…` : words);
    const field = () =>
      h(
        "label.field",
        {},
        h("span", {}, "Unit"),
        h("input", {
          id: "embed-unit",
          type: "number",
          min: 0,
          max: layers[now.unit.layer].units - 1,
          value: now.unit.unit,
          onchange: (event) => go({ unit: { layer: now.unit.layer, unit: Number(event.target.value) } }),
        }),
      );
    return h(
      "div.controls",
      { role: "group", "aria-label": "Map and colors" },
      record.tsne.length
        ? atlas.choice(
            "embed-map",
            "Map",
            [
              ["tsne", "t-SNE"],
              ["pca", "PCA"],
            ],
            now.map,
            (map) => go({ map }),
          )
        : null,
      atlas.choice("embed-colour", "Color by", colours, colour, (value) =>
        go({ color: "", class: "", unit: null, ...start[value] }),
      ),
      colour === "class"
        ? atlas.choice(
            "embed-class",
            "Class",
            [["", "all"], ...classes.map((_, k) => [String(k), short(text.className(k))])],
            now.class,
            (k) => go({ class: k }),
          )
        : null,
      colour === "unit"
        ? atlas.choice(
            "embed-layer",
            "Layer",
            layers.map(({ name }, i) => [String(i), short(name)]),
            String(now.unit.layer),
            (layer) => go({ unit: { layer: Number(layer), unit: 0 } }),
          )
        : null,
      colour === "unit" ? field() : null,
    );
  }
}
