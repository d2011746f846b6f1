"use strict";

/* A unit: its nine images with what it sees in them, then everything else that is known of it. */
{
  const { h, name, to, text } = atlas;
  let rulesShown = "all"; // "all", or one rule: kept from unit to unit

  atlas.views.unit = async ({ layer, unit }) => {
    const [{ units }] = await Promise.all([atlas.loadLayer(layer), atlas.loadImages()]);
    const record = units[unit];
    const summary = atlas.index.layers[layer];
    const before = unit > 0 ? to.unit(layer, unit - 1) : null;
    const after = unit + 1 < units.length ? to.unit(layer, unit + 1) : null;
    const others = await atlas.unitOthers(layer, unit, record);
    return {
      title: text.unitName(layer, unit),
      up: to.layer(layer),
      before,
      after,
      content: [
        h("div.top", {}, crumbs(layer, unit), atlas.around(before, after, "unit")),
        h("h1", { id: "title" }, name(summary.name), h("span.number", {}, `/${unit}`)),
        lead(layer, unit, record),
        record.dead ? null : [nine(layer, unit, record), record.drawn ? atlas.control(layer, unit, record) : null],
        record.dead ? null : atlas.unitNumbers(layer, unit, record),
        atlas.connections(record),
        others,
      ],
      settled() {
        for (const near of [unit + 1, unit - 1]) if (units[near]) atlas.preloadUnit(layer, near, units[near]);
      },
    };
  };

  function crumbs(layer, unit) {
    const { name: words, group } = atlas.index.layers[layer];
    const above = group < 0 ? [] : [[to.group(group), atlas.index.groups[group].name]];
    return atlas.crumbs([...above, [to.layer(layer), words], [null, String(unit)]]);
  }

  function lead(layer, unit, record) {
    const { selectivity, logits } = atlas.index.layers[layer];
    if (record.dead)
      return h(
        "p.lead",
        {},
        `This unit is dead: it is zero on all ${text.many(atlas.index.images, "image")}. There is nothing to see.`,
      );
    const score =
      logits && unit < atlas.index.classes.length
        ? ["It is the score of the class ", atlas.classLink(unit), ". "]
        : null;
    const best = record.classes[0];
    return h(
      "p.lead",
      {},
      score,
      atlas.index.labelled
        ? [
            "Selectivity ",
            h("b", {}, text.number(record.selectivity)),
            ` (the median of this layer is ${text.number(selectivity)}).`,
          ]
        : "The images have no labels, so its selectivity is unknown.",
      best ? [" The class that excites it most is ", atlas.classLink(best[0]), "."] : null,
    );
  }

  /** The nine images, each with its projections, in columns; on a narrow screen in rows. */
  function nine(layer, unit, record) {
    const { rules, layout } = atlas.index;
    const kinds = record.drawn ? Object.keys(rules).filter((rule) => rule in layout.parts) : [];
    const grid = h("div.nine", { id: "nine" });
    const fill = () => {
      const shown = rulesShown === "all" ? kinds : kinds.filter((rule) => rule === rulesShown);
      grid.style.setProperty("--rows", shown.length + 1);
      const heads = h(
        "div.column.heads",
        {},
        h("span.rowhead", {}, "image"),
        shown.map((rule) => h("span.rowhead", {}, rule)),
      );
      grid.replaceChildren(
        ...(shown.length ? [heads] : []),
        ...record.top.map(([image, value], rank) => column(layer, unit, record, image, value, rank, shown)),
      );
    };
    if (!kinds.includes(rulesShown)) rulesShown = "all";
    const set = (value) => {
      rulesShown = value;
      fill();
    };
    fill();
    return h(
      "section",
      { "aria-labelledby": "nine-title" },
      h(
        "div.sectionhead",
        {},
        h(
          "h2",
          { id: "nine-title" },
          record.top.length === 9 ? "The nine images that excite it most" : "The images that excite it most",
        ),
        kinds.length > 1
          ? atlas.choice(
              "rules",
              "Show",
              [["all", "all side by side"], ...kinds.map((rule) => [rule, text.ruleName(rule)])],
              rulesShown,
              set,
            )
          : null,
      ),
      grid,
      h(
        "p.soft",
        {},
        `The number is ${text.strength(layer)}. ✗ stands before the class that the network takes the image for, where that is wrong.`,
      ),
      record.drawn || !layout.width
        ? null
        : h(
            "p",
            {},
            "There are no projections of this unit: only the most selective units of each layer were drawn.",
          ),
      kinds.map((rule) => atlas.what([h("b", {}, `${rule}: `), `${rules[rule]}.`], rule)),
    );
  }

  function column(layer, unit, record, image, value, rank, shown) {
    const pictures = shown.map((rule) => projection(layer, unit, record, rule, rank, image));
    return h(
      "div.column",
      {},
      atlas.imageTile(image),
      pictures,
      h("span.words", {}, atlas.imageCaption(image), h("small", {}, text.number(value))),
    );
  }

  /** The projection of a unit's image `rank` by a rule, as a link to the image; one that is zero everywhere says so. */
  function projection(layer, unit, record, part, rank, image) {
    const [first, many] = atlas.index.layout.parts[part];
    if (rank >= many) return h("span.tile.none");
    const words = `${text.ruleName(part)} of image ${image}`;
    if (record.blank.includes(first + rank))
      return h("span.tile.none", { role: "img", "aria-label": `${words}: zero everywhere` }, h("small", {}, "zero"));
    return h(
      "a.shot",
      { href: to.image(image), "data-image": image, "aria-label": words, title: words },
      atlas.unitTile(layer, unit, first + rank),
    );
  }

  atlas.projection = projection;
}
