"use strict";

/* An image: what the network takes it for, the units that it excites, and what those see in it. */
{
  const { h, name, to, text } = atlas;
  const FEW = 12; // units with pictures of it that are shown at first

  atlas.views.image = async ({ number }) => {
    const [record] = await Promise.all([atlas.loadImage(number), atlas.loadImages()]);
    const before = number > 0 ? to.image(number - 1) : null;
    const after = number + 1 < atlas.index.images ? to.image(number + 1) : null;
    return {
      title: `image ${number}`,
      up: record.label >= 0 ? to.class(record.label) : to.network(),
      before,
      after,
      content: [
        h(
          "div.top",
          {},
          atlas.crumbs([
            ...(record.label < 0 ? [] : [[to.class(record.label), text.className(record.label)]]),
            [null, `image ${number}`],
          ]),
          atlas.around(before, after, "image"),
        ),
        h("h1", { id: "title" }, `Image ${number}`),
        h(
          "div.portrait",
          {},
          h(
            "figure",
            {},
            atlas.photo(number, text.imageWords(number)),
            h("figcaption", {}, record.name ? name(record.name) : null),
          ),
          prediction(record),
        ),
        atlas.unitsByModule(
          "The units that it excites most",
          "100 % is the response to the image that excites the unit most.",
          record.strongest,
          (share) => text.percent(share, 0),
        ),
        shown(number, record),
      ],
      settled() {
        for (const near of [number + 1, number - 1])
          if (near >= 0 && near < atlas.index.images) atlas.sheet(atlas.tilePlace("images", near).url);
      },
    };
  };

  function prediction({ label, best, loss }) {
    const right = label >= 0 && best.length && best[0][0] === label;
    const truth =
      label < 0
        ? "Its class is unknown."
        : [
            "It is of the class ",
            atlas.classLink(label),
            right ? ", and the network says so." : ["; ", h("span.wrong", {}, "✗ the network says otherwise.")],
          ];
    return h(
      "section",
      {},
      h("h2", {}, "What the network says"),
      h("p", {}, truth, loss === null ? null : ` Its loss is ${text.number(loss)}.`),
      h(
        "table.bars",
        { id: "prediction" },
        h(
          "tbody",
          {},
          best.map(([k, p]) =>
            h(
              k === label ? "tr.right" : "tr",
              {},
              h("th", { scope: "row" }, atlas.classLink(k)),
              h("td", {}, atlas.bar(p)),
              h("td.value", {}, text.percent(p)),
            ),
          ),
        ),
      ),
    );
  }

  /** The projections of this image, unit by unit. */
  function shown(number, record) {
    const units = new Map();
    for (const [layer, unit, t] of record.shown) {
      const key = `${layer}/${unit}`;
      if (!units.has(key)) units.set(key, { layer, unit, tiles: [] });
      units.get(key).tiles.push(t);
    }
    const cards = [...units.values()];
    const place = h(
      "div.seen",
      {},
      cards.slice(0, FEW).map((c) => card(number, c)),
    );
    const more = h(
      "button",
      {
        type: "button",
        id: "more",
        onclick: () => {
          place.append(...cards.slice(FEW).map((c) => card(number, c)));
          more.remove();
        },
      },
      `Show all ${text.many(cards.length, "unit")}`,
    );
    return h(
      "section",
      { id: "seen" },
      h("h2", {}, "What units see in it"),
      cards.length
        ? [
            atlas.what(
              "The image is among the nine that excite these units most, or in their row from strong to weak. If there are more than a page holds, those of the last layers are left out. Mid-gray is zero.",
            ),
            place,
            cards.length > FEW ? more : null,
          ]
        : h(
            "p.soft",
            {},
            "There are no projections of this image: it is on no unit's page, or they are zero everywhere.",
          ),
    );
  }

  function card(number, { layer, unit, tiles }) {
    const words = text.unitName(layer, unit);
    const part = (t) =>
      Object.entries(atlas.index.layout.parts).find(([, [first, many]]) => t >= first && t < first + many)?.[0] ?? "";
    return h(
      "a.seencard",
      { href: to.unit(layer, unit), "data-unit": words },
      h("span.words", {}, atlas.unitWords(layer, unit)),
      h(
        "span.row",
        {},
        tiles.map((t) =>
          h(
            "span.pic",
            {},
            atlas.unitTile(layer, unit, t, `${text.ruleName(part(t))} of image ${number}`),
            h("small", {}, part(t) === "deciles" ? "deconv" : part(t)),
          ),
        ),
      ),
    );
  }
}
