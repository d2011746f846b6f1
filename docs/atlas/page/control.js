"use strict";

/* The control: the same images through the network before training, and how alike the pictures are. */
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
      h("h2", { id: "control-title" }, "Would any weights do?"),
      atlas.what(
        "The same images through the control, the network before training. If the pictures look alike, they show the image more than what was learned.",
        "likeness",
      ),
      h(
        "div.control",
        {},
        kinds.map((rule) => comparison(layer, unit, record, rule, record.likeness[rule], summary.null[rule])),
      ),
      h("p.soft", {}, `Likeness: ${atlas.index.measure}.`),
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
      row(`random ${rule}`, "untrained"),
      likeness === undefined || likeness === null || !none ? null : verdict(likeness, none),
    );
  }

  /** What the number means, in words: it is nothing without its null. */
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
            ? "Above the bound: a part of the picture is there with any weights."
            : "Below the bound: the picture depends on what was learned.",
        ),
      ),
      h(
        "p.soft",
        {},
        `Pictures of different images reach ${text.number(none.median)} (median over the units of this layer); 95 % stay below the bound, ${text.number(none.upper)}.`,
      ),
    );
  }
}
