"use strict";

/* A unit in numbers: a sample from strong to weak, the histogram, the classes, and what they lose without it. */
{
  const { h, to, text } = atlas;

  atlas.unitNumbers = (layer, unit, record) => [
    deciles(layer, unit, record),
    h("div.columns", {}, distribution(layer, unit, record), classes(layer, record), effects(layer, record)),
  ];

  /** Whether the layer's units are single numbers, with a sign, and not maps. */
  const isNumber = (layer) => atlas.index.layers[layer].shape.length === 1;

  function meanOf(layer) {
    if (atlas.index.layers[layer].logits) return "score";
    return isNumber(layer) ? "activation" : "|activation|";
  }

  function deciles(layer, unit, record) {
    const shown = record.drawn && "deciles" in atlas.index.layout.parts;
    const column = ([image, value], rank) =>
      h(
        "div.column",
        {},
        atlas.imageTile(image),
        shown ? atlas.projection(layer, unit, record, "deciles", rank, image) : null,
        h("span.words", {}, atlas.imageCaption(image), h("small", {}, text.number(value))),
      );
    if (!record.deciles.length) return null;
    return h(
      "section",
      {},
      h("h2", {}, "From strong to weak"),
      atlas.what(
        `All images sorted by how strongly they excite the unit, in ten equal parts: the middle image of each${shown ? ", and its deconvnet" : ""}. The strongest images alone can mislead.`,
        "deciles",
      ),
      h("div.nine.deciles", { style: { "--rows": shown ? 2 : 1 } }, record.deciles.map(column)),
    );
  }

  function distribution(layer, unit, record) {
    const largest = Math.max(record.top[0]?.[1] ?? 0, 0) || 1; // as minidl/atlas/scan.py has it
    const all = record.histogram.reduce((a, b) => a + b, 0);
    return h(
      "section",
      {},
      h("h2", {}, "How strongly images excite it"),
      atlas.histogram(record.histogram, largest),
      h(
        "p.soft",
        {},
        `${text.many(all, "image")} by ${text.strength(layer)}. The heights are logarithms of their number.${isNumber(layer) ? " A value below 0 is in the first bar." : ""}`,
      ),
      atlas.index.embedding
        ? h(
            "p",
            {},
            h("a", { href: to.embedding({ unit: { layer, unit } }) }, "Where these images lie in the embedding"),
          )
        : null,
    );
  }

  function classes(layer, record) {
    if (!record.classes.length) return null;
    const most = Math.max(...record.classes.map(([, value]) => Math.abs(value))) || 1;
    return h(
      "section",
      {},
      h("h2", {}, "Classes that excite it"),
      h(
        "table.bars",
        {},
        h(
          "tbody",
          {},
          record.classes.map(([k, value]) => row(k, value, most, text.number(value))),
        ),
      ),
      h("p.soft", {}, `The mean ${meanOf(layer)} over the images of the class.`),
    );
  }

  /** How well the estimate agrees with setting units of the layer to zero. */
  function check(layer) {
    const { all, images, layers } = atlas.index.effects;
    const { correlation, units } = layers[layer];
    if (all.units && !units) return "For a score it is exact.";
    if (correlation === null) return "It was not compared with really setting units to zero.";
    return `For ${text.many(units, "unit")} of this layer that were really set to zero on ${text.many(images, "image")}, its correlation with the real change is ${text.hundredths(correlation)}.`;
  }

  function effects(layer, record) {
    if (!record.effects.length) return null;
    const most = Math.max(...record.effects.map(([, value]) => Math.abs(value))) || 1;
    return h(
      "section",
      {},
      h("h2", {}, "What classes lose without it"),
      h(
        "table.bars",
        {},
        h(
          "tbody",
          {},
          record.effects.map(([k, value]) => row(k, value, most, text.signed(value))),
        ),
      ),
      h(
        "p.soft",
        {},
        `By how much the score of a class would change without the unit, as a mean over images that are taken for the class. It is estimated to first order (activation times gradient) from ${text.many(atlas.index.effects.over, "image")} of all classes together. ${check(layer)} `,
        h("a", { href: to.trust("effects") }, "How far to trust this"),
      ),
    );
  }

  const row = (k, value, most, words) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, atlas.classLink(k)),
      h("td", {}, atlas.bar(Math.abs(value) / most, value)),
      h("td.value", {}, words),
    );
}
