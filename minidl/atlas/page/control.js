"use strict";

/* The control: the same images through the same network with random weights, and how alike the pictures are. */
{
  const { h, text } = atlas;

  atlas.control = function control(layer, unit, record) {
    const { layout, layers } = atlas.index;
    const summary = layers[layer];
    const kinds = Object.keys(atlas.index.rules).filter((rule) => `random ${rule}` in layout.parts);
    if (!kinds.length) return null;
    return h(
      "section",
      { "aria-labelledby": "control-title", id: "control" },
      h("h2", { id: "control-title" }, "Is it the training, or would any weights do?"),
      atlas.what(
        "The same images through the same network with random weights. If the pictures look alike, they show the image more than what was learnt.",
        "likeness",
      ),
      h(
        "div.control",
        {},
        kinds.map((rule) => comparison(layer, unit, record, rule, record.likeness[rule], summary.null[rule])),
      ),
      h("p.soft", {}, `Likeness: ${atlas.index.measure}`),
    );
  };

  function comparison(layer, unit, record, rule, likeness, none) {
    const many = Math.min(atlas.index.layout.parts[`random ${rule}`][1], record.top.length);
    const row = (part, words) =>
      h(
        "div.row",
        {},
        h("span.rowhead", {}, words),
        record.top.slice(0, many).map(([image], rank) => atlas.projection(layer, unit, record, part, rank, image)),
      );
    return h(
      "div.card",
      {},
      h("h3", {}, text.ruleName(rule)),
      row(rule, "trained"),
      row(`random ${rule}`, "random"),
      likeness === undefined || likeness === null || !none ? null : verdict(likeness, none),
    );
  }

  /** What the number means, in words: it is nothing without what unrelated pictures reach. */
  function verdict(likeness, none) {
    const alike = likeness > none.upper;
    return h(
      "div.verdict",
      {},
      atlas.scale(likeness, none),
      h(
        "p",
        {},
        "Likeness ",
        h("b", {}, text.number(likeness)),
        ". ",
        h(
          "span",
          { class: alike ? "alike" : "unlike" },
          alike
            ? "More than 95 % of unrelated pictures: part of what it shows is there with any weights."
            : "No more than unrelated pictures: what it shows depends on the learnt weights.",
        ),
      ),
      h(
        "p.soft",
        {},
        `Pictures that have nothing to do with each other reach ${text.number(none.median)} (median); 95 % of them stay below ${text.number(none.upper)}.`,
      ),
    );
  }
}
