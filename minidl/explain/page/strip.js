"use strict";

/* Where we are: the image, and the network as a strip. */
{
  const { h, record, short } = explain;
  const plain = { exponent: 0, decimals: 3 };

  /** The stage that shows a layer or a part of it: {id, title}, or undefined. */
  const stageOf = (name, titles) =>
    Object.entries(record.stages)
      .filter(([, stage]) => stage.name === name || stage.name.startsWith(`${name}.`))
      .map(([id]) => ({ id, title: titles[id] }));

  const shape = (sizes) => sizes.join(" × ");

  function strip(titles) {
    const badges = (name) => stageOf(name, titles).map(({ id, title }) => h("a.badge", { href: `#${id}` }, title));
    const inner = (name) => record.layer === name || record.layer.startsWith(`${name}.`);
    const part = (name) =>
      h(
        `li${inner(name) ? ".here" : ""}`,
        {},
        h("span", {}, name.split(".").slice(1).join(".") || name),
        inner(name) ? badges(name) : [],
      );
    const block = (b) => {
      const [here, opened] = [inner(b.name), b.branches.length > 0];
      return h(
        `li.block${here ? ".here" : ""}`,
        { "aria-current": here ? "location" : null },
        h("b", {}, b.name),
        h("small", {}, b.about),
        h("small", {}, shape(b.shape)),
        opened
          ? h(
              "div.branches",
              {},
              b.branches.map((names) => h("ol", {}, names.map(part))),
            )
          : null,
        badges(b.name).filter((badge) => !opened || !partsHave(b, badge.getAttribute("href").slice(1))),
        here ? h("small.you", {}, `unit ${record.unit} of ${record.layer}`) : null,
      );
    };
    const partsHave = (b, id) =>
      b.branches
        .flat()
        .some(
          (name) => inner(name) && (record.stages[id].name === name || record.stages[id].name.startsWith(`${name}.`)),
        );
    return h(
      "nav.strip",
      { "aria-label": "The network" },
      h(
        "ol",
        {},
        h("li.block", {}, h("b", {}, "image"), h("small", {}, shape([...record.picture_shape]))),
        record.blocks.map(block),
        record.start === "loss"
          ? h("li.block", {}, h("b", {}, "loss"), h("small", {}, short(record.loss, plain)))
          : null,
      ),
    );
  }

  function picture() {
    const [height, width] = record.picture_shape;
    const percent = (part, whole) => `${(100 * part) / whole}%`;
    const [top, left, bottom, right] = record.field || [0, 0, 0, 0];
    return h(
      "figure.picture",
      {},
      h(
        "div",
        {},
        h("img", {
          src: record.picture,
          alt: `${record.image}${record.label ? `, ${record.label}` : ""}`,
          width,
          height,
        }),
        record.field &&
          h("span.frame", {
            style: {
              top: percent(top, height),
              left: percent(left, width),
              width: percent(right - left, width),
              height: percent(bottom - top, height),
            },
          }),
      ),
    );
  }

  Object.assign(explain, { strip, picture });
}
