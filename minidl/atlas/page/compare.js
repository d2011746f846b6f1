"use strict";

/* Two networks side by side: each unit of a layer and its match, the unit of the other that responds to the same images. */
{
  const { h, name, to, text } = atlas;

  atlas.views.compare = async ({ state }) => {
    const { other, layers, top1, title } = atlas.index;
    const chosen = state.layer ? atlas.place(state.layer) : { layer: firstOfLast() };
    if (!chosen || chosen.layer === undefined) return atlas.views.lost();
    const { layer } = chosen;
    const [matches, { units }] = await Promise.all([
      atlas.load(`other-${atlas.three(layer)}`),
      atlas.loadLayer(layer),
      atlas.loadImages(),
    ]);
    const order = matches.map((_, u) => u).toSorted((a, b) => matches[b].correlation - matches[a].correlation);
    const options = layers.map((l, i) => [String(i), l.name.length > 40 ? `${l.name.slice(0, 40)}…` : l.name]);
    return {
      title: "Compare",
      up: to.network(),
      content: [
        h("h1", { id: "title" }, "Two networks side by side"),
        h(
          "div.scroll",
          {},
          h(
            "table.plain",
            {},
            h(
              "tbody",
              {},
              side("this one", title, top1),
              side("the other", other.title, other.top1, ", on the validation images of its run"),
            ),
          ),
        ),
        h(
          "p.lead",
          {},
          `Each unit stands beside its match: the unit of the other network whose responses to the same images correlate most with its own. A best match is always found; the correlation says how good it is. Its median over all units is ${text.hundredths(other.correlation)}.`,
        ),
        h(
          "div.controls",
          {},
          atlas.choice("compare-layer", "Layer", options, String(layer), (value) =>
            location.replace(to.compare(Number(value))),
          ),
        ),
        atlas.what(
          "For each unit: its best image and what it sees in it, then the same of its match. The largest correlation comes first.",
          "deconv",
        ),
        h(
          "div.matches",
          {},
          order.map((u) => match(layer, u, units[u], matches[u])),
        ),
      ],
    };
  };

  /** The first layer of the last group, or the last layer but the scores. */
  function firstOfLast() {
    const { groups, layers } = atlas.index;
    if (groups.length) return groups.at(-1).layers[0];
    return Math.max(0, layers.length - (layers.at(-1)?.logits ? 2 : 1));
  }

  const side = (what, title, top1, where = "") =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, what),
      h("td", {}, name(title)),
      h("td", {}, top1 === null ? "" : `accuracy ${text.percent(top1)}${where}`),
    );

  function match(layer, unit, record, found) {
    const words = text.unitName(layer, unit);
    const picture = (image) => (image ? atlas.imageTile(image[0]) : h("span.tile.none"));
    const theirs = found.top[0];
    const drawn = atlas.index.layout.width > 0 && record.drawn; // so is its match
    const seen = drawn
      ? atlas.tile(
          `other-${atlas.three(layer)}`,
          unit * atlas.index.layout.parts.deconv?.[1],
          `deconvnet of the match, image ${theirs?.[0]}`,
        )
      : null;
    return h(
      "article.match",
      {},
      h(
        "a.unit",
        { href: to.unit(layer, unit), "data-unit": words, title: words },
        h("span.words", {}, atlas.unitWords(layer, unit)),
      ),
      h(
        "span.row",
        {},
        picture(record.top[0]),
        drawn ? atlas.face(layer, unit, `what ${words} sees`) : null,
        h("span.arrow", { "aria-hidden": "true" }, "↔"),
        picture(theirs),
        seen,
      ),
      h(
        "span.words",
        {},
        h("small", {}, name(found.layer), `/${found.unit}`),
        h("b", {}, text.hundredths(found.correlation)),
        atlas.bar(Math.abs(found.correlation), found.correlation),
      ),
    );
  }
}
