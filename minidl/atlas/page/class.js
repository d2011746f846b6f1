"use strict";

/* A class: its images, what it is mistaken for and by which units, and the units that are selective for it. */
{
  const { h, name, to, text } = atlas;

  atlas.views.class = async ({ number }) => {
    const [record] = await Promise.all([atlas.loadClass(number), atlas.loadImages()]);
    const { classes } = atlas.index;
    const before = number > 0 ? to.class(number - 1) : null;
    const after = number + 1 < classes.length ? to.class(number + 1) : null;
    return {
      title: text.className(number),
      up: to.search(""),
      before,
      after,
      content: [
        h(
          "div.top",
          {},
          atlas.crumbs([
            [to.search(""), "Classes"],
            [null, text.className(number)],
          ]),
          atlas.around(before, after, "class"),
        ),
        h("h1", { id: "title" }, name(text.className(number), text.classWords(number))),
        lead(number, classes[number]),
        h(
          "div.columns.two",
          {},
          gallery("Surest", "Recognised, with the highest probability first.", record.surest, number),
          gallery(
            "Largest loss",
            "The images that the network finds hardest, the largest loss first.",
            record.worst,
            number,
          ),
        ),
        atlas.index.labelled
          ? h("div.columns.uneven", {}, mistakes(record.mistakes), taken(record.taken))
          : null,
        atlas.unitsByModule(
          "Its most selective units",
          "The units that this class excites most, compared with the other classes. The number is the selectivity for the class.",
          record.selective,
          text.number,
        ),
      ],
    };
  };

  function lead(number, { id, words, images, accuracy, predicted }) {
    const scores = atlas.index.layers.findIndex((layer) => layer.logits);
    return [
      h(
        "p.names",
        {},
        h("span.soft", {}, `class ${number}, `),
        name(id),
        words.includes(",") ? [h("span.soft", {}, ": "), h("bdi.full", {}, words)] : null,
      ),
      h(
        "p.lead",
        {},
        accuracy === null
          ? "No image is known to be of this class. "
          : [h("b", {}, text.percent(accuracy)), ` of its ${text.many(images, "image")} are recognised. `],
        `${text.many(predicted, "image")} ${predicted === 1 ? "is" : "are"} taken for it.`,
        scores >= 0 && number < atlas.index.layers[scores].units
          ? [
              " ",
              h(
                "a",
                { href: to.unit(scores, number), "data-unit": text.unitName(scores, number) },
                "The unit of its score",
              ),
            ]
          : null,
        atlas.index.embedding
          ? [" · ", h("a", { href: to.embedding({ class: String(number) }) }, "Where its images lie")]
          : null,
      ),
    ];
  }

  /** What the images of class `number` are taken for is said only if it is wrong. */
  function gallery(title, what, list, number) {
    return h(
      "section",
      {},
      h("h2", {}, title),
      h("p.soft", {}, what),
      list.length
        ? h(
            "div.figures",
            {},
            list.map((image) => h("figure", {}, atlas.imageTile(image), h("figcaption", {}, caption(image, number)))),
          )
        : h("p.soft", {}, "None."),
    );
  }

  function caption(image, number) {
    const predicted = atlas.images.predicted[image] ?? number;
    return predicted === number ? h("small", {}, `image ${image}`) : atlas.mistaken(predicted);
  }

  function mistakes(list) {
    return h(
      "section",
      { id: "mistakes" },
      h("h2", {}, "Mistaken for"),
      list.length
        ? [
            h(
              "p.soft",
              {},
              "Below each: the units of the last module that raise the wrong class's score most above the right one's, estimated to first order. ",
              h("a", { href: to.trust("effects") }, "How far to trust this"),
            ),
            list.map((m) =>
              h(
                "div.mistake",
                {},
                h("h3", {}, atlas.classLink(m.predicted), h("small", {}, ` ${text.many(m.images, "image")}`)),
                h(
                  "div.units",
                  {},
                  m.units.map(([l, u, v]) => atlas.unitCard(l, u, text.signed(v))),
                ),
              ),
            ),
          ]
        : h("p.soft", {}, "No image of it is taken for another class."),
    );
  }

  function taken(list) {
    const most = Math.max(...list.map(([, n]) => n), 1);
    return h(
      "section",
      {},
      h("h2", {}, "Taken for it"),
      list.length
        ? h(
            "table.bars",
            {},
            h(
              "tbody",
              {},
              list.map(([k, n]) =>
                h(
                  "tr",
                  {},
                  h("th", { scope: "row" }, atlas.classLink(k)),
                  h("td", {}, atlas.bar(n / most)),
                  h("td.value", {}, text.many(n, "image")),
                ),
              ),
            ),
          )
        : h("p.soft", {}, "No image of another class is taken for it."),
    );
  }

  /** Units in rows, one for each module. `show` writes a unit's number. */
  atlas.unitsByModule = (title, what, modules, show) =>
    modules.some(([, links]) => links.length)
      ? h(
          "section",
          { id: "modules" },
          h("h2", {}, title),
          h("p.soft", {}, what),
          modules.map(([module, links]) =>
            h(
              "div.module",
              {},
              h("h3", {}, name(module)),
              h(
                "div.units",
                {},
                links.map(([l, u, v]) => atlas.unitCard(l, u, show(v))),
              ),
            ),
          ),
        )
      : null;
}
