"use strict";

/* The network: blocks in blocks, a chain downwards, parallel ones side by side; beside it what is known of the run. */
{
  const { h, name, to, text } = atlas;

  atlas.views.network = () => {
    const { index } = atlas;
    return {
      title: "Network",
      content: [
        h("h1", { id: "title" }, name(index.title)),
        h("p.lead", {}, lead(index)),
        h(
          "div.beside",
          {},
          h("section.graph", { "aria-label": "The network, from the image to the scores" }, graph(index)),
          h("aside", {}, accuracy(index), atlas.historyCharts(index.history), facts(index)),
        ),
      ],
    };
  };

  function lead(index) {
    const units = index.layers.reduce((sum, layer) => sum + layer.units, 0);
    return `${text.many(units, "unit")} in ${text.many(index.layers.length, "layer")}, seen through ${text.many(index.images, "image")}. Choose a layer to see what each of its units responds to.`;
  }

  const graph = (index) => [
    h("p.end", {}, "image"),
    h("span.arrow", { "aria-hidden": "true" }),
    ...chain(index.network.children.length ? index.network.children : [index.network]),
    h(
      "p.end",
      {},
      index.network.shape.length === 1
        ? `scores of ${text.many(index.network.shape[0], "class", "classes")}`
        : "output",
    ),
  ];

  /** Blocks one below the other, with arrows between them. */
  const chain = (blocks, within = "") =>
    blocks.flatMap((child) => [block(child, within), h("span.arrow", { "aria-hidden": "true" })]);

  /** A block in the one named `within`. One that only holds others and has no name is not drawn, only what it holds. */
  function block(b, within) {
    const leaf = b.layer >= 0 || b.children.length === 0 || b.children.every((child) => !reachable(child));
    if (leaf) return box(b, within);
    const inside = b.name || within;
    const inner =
      b.wiring === "parallel"
        ? h(
            "div.parallel",
            {},
            b.children.map((child) => h("div.chain", {}, block(child, inside))),
          )
        : h("div.chain", {}, chain(b.children, inside).slice(0, -1));
    if (b.name === "") return inner;
    return h("div.block", {}, h("div.blockhead", {}, title(b, within), details(b)), inner);
  }

  /** Whether a block or one in it leads to a wall. */
  const reachable = (b) => b.layer >= 0 || b.group >= 0 || b.children.some(reachable);

  /** A block without others in it: its name, what it does, its first units. */
  function box(b, within) {
    const inside = b.children.length ? b.children.map((child) => child.kind).join(", ") : b.kind;
    return h(
      b.layer >= 0 ? "div.box.open" : "div.box",
      {},
      h("div.boxhead", {}, title(b, within), h("span.kind", { title: inside }, inside)),
      details(b),
      b.layer >= 0 ? faces(b.layer) : null,
    );
  }

  /** Its name, without that of the block it is in; of one without a name, the kind. */
  function title(b, within) {
    const short = within && b.name.startsWith(`${within}.`) ? b.name.slice(within.length + 1) : b.name;
    const words = b.name === "" ? name(b.kind) : name(short, b.name);
    if (b.layer >= 0)
      return h("a.layer", { href: to.layer(b.layer), "data-layer": atlas.index.layers[b.layer].name }, words);
    if (b.group >= 0)
      return h("a.layer", { href: to.group(b.group), "data-layer": atlas.index.groups[b.group].name }, words);
    return h("span.layer", {}, words);
  }

  const details = (b) =>
    h(
      "span.details",
      {},
      [b.shape.length ? text.shape(b.shape) : null, b.parameters ? text.many(b.parameters, "parameter") : null]
        .filter(Boolean)
        .join(" · "),
    );

  /** A few of a layer's units, evenly spaced. Their sheet is loaded when the box comes into view. */
  function faces(layer) {
    if (!atlas.index.layout.width) return null;
    const { units } = atlas.index.layers[layer];
    const shown = Math.min(6, units);
    const strip = h("div.faces", { "aria-hidden": "true" });
    const fill = () => {
      for (let i = 0; i < shown; i += 1) strip.append(atlas.face(layer, Math.floor((i * units) / shown)));
    };
    whenSeen(strip, fill);
    return strip;
  }

  function whenSeen(element, run) {
    const observer = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      run();
    });
    observer.observe(element);
  }

  function accuracy(index) {
    if (index.top1 === null)
      return h("section", {}, h("h2", {}, "Accuracy"), h("p.soft", {}, "Unknown: the images have no labels."));
    const labelled = index.classes.reduce((sum, { images }) => sum + images, 0);
    return h(
      "section.accuracy",
      {},
      h("h2", {}, "Accuracy"),
      h(
        "p.big",
        {},
        h("b", {}, text.percent(index.top1)),
        " of ",
        text.many(labelled, `${index.split} image`.trim()),
        " are classified correctly.",
      ),
      index.top5 === null
        ? null
        : h("p.soft", {}, `In ${text.percent(index.top5)} the right class is among the five likeliest.`),
    );
  }

  function facts(index) {
    return h(
      "section.facts",
      {},
      h("h2", {}, "How this atlas was made"),
      atlas.factList(index.facts),
      h("p", {}, h("a", { href: to.about() }, "More about this atlas")),
    );
  }

  atlas.factList = (pairs) =>
    h(
      "dl",
      {},
      pairs.map(([label, value]) => [h("dt", {}, name(label)), h("dd", {}, h("bdi", {}, value))]),
    );
}
