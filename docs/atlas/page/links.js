"use strict";

/* Links to classes, images and units, as they occur everywhere. */
{
  const { h, name, to, text } = atlas;

  /** A class by its first name. -1: unknown, and not a link. */
  function classLink(k, attributes = {}) {
    if (k < 0) return h("span.soft", {}, "unknown");
    return h(
      "a.class",
      { href: to.class(k), "data-class": k, ...attributes },
      name(text.className(k), text.classWords(k)),
    );
  }

  /** The tile of an image as a link to its page. */
  function imageTile(image) {
    const words = text.imageWords(image);
    return h(
      "a.shot",
      { href: to.image(image), "data-image": image, "aria-label": words, title: words },
      atlas.photo(image),
    );
  }

  /** The same with its caption below. `value`: a text for one more line. */
  function imageFigure(image, value = null) {
    return h(
      "figure",
      {},
      imageTile(image),
      h("figcaption", {}, imageCaption(image), value === null ? null : h("small", {}, value)),
    );
  }

  /** Its class, and what the network takes it for if that is another one. Without a label, what it is taken for. */
  function imageCaption(image) {
    const label = atlas.images.labels[image] ?? -1;
    const predicted = atlas.images.predicted[image] ?? -1;
    if (label < 0) return predicted < 0 ? h("small", {}, `image ${image}`) : classLink(predicted);
    return label === predicted ? classLink(label) : [classLink(label), mistaken(predicted)];
  }

  const mistaken = (predicted) =>
    h("small.wrong", { title: `taken for ${text.className(predicted)}` }, "✗ ", classLink(predicted));

  /** A unit as a link: its face and its name. `value`: a text for a second line; `below`: more elements. */
  function unitCard(layer, unit, value = null) {
    if (layer < 0)
      return h(
        "span.unit.outside",
        {},
        atlas.index.layout.width ? h("span.tile.none") : null,
        h("span.words", {}, h("span.soft", {}, "not in this atlas"), value && h("small", {}, value)),
      );
    const words = text.unitName(layer, unit);
    return h(
      "a.unit",
      { href: to.unit(layer, unit), "data-unit": words, title: words },
      atlas.face(layer, unit),
      h("span.words", {}, unitWords(layer, unit), value === null ? null : h("small", {}, value)),
    );
  }

  /** The name of a layer, which may be broken after a dot or an underscore. */
  function layerWords(full) {
    const element = name(middleCut(full), full);
    element.replaceChildren(...element.textContent.split(/(?<=[._])/).flatMap((part) => [part, h("wbr")]));
    return element;
  }

  /** A long name without its middle: the end says what a layer is. */
  function middleCut(words) {
    const letters = [...words];
    return letters.length > 36 ? [...letters.slice(0, 15), "…", ...letters.slice(-15)].join("") : words;
  }

  /** The name of a unit; of the scores of the classes, the class too. */
  function unitWords(layer, unit) {
    const { name: full, logits } = atlas.index.layers[layer];
    return h(
      "span.unitname",
      {},
      layerWords(full),
      h("b", {}, `/${unit}`),
      logits && unit < atlas.index.classes.length ? [" ", name(text.className(unit))] : null,
    );
  }

  /** A line that says what a picture is, with a link to how far to trust it. */
  function what(line, part = "") {
    return h("p.what", {}, line, " ", h("a", { href: to.trust(part) }, "How far to trust this"));
  }

  /** Links from the network down to here: pairs of address and text, the last one without an address. */
  function crumbs(steps) {
    const items = [["#", "Network"], ...steps].map(([href, words]) =>
      h("li", {}, href === null ? name(words) : h("a", { href }, name(words))),
    );
    return h("nav.crumbs", { "aria-label": "Where this is" }, h("ol", {}, items));
  }

  /** A bar as long as `share` of its place, with a sign if it is negative. */
  function bar(share, sign = 1) {
    const width = `${Math.min(100, Math.max(0, 100 * share)).toFixed(1)}%`;
    return h("span.bar", { "aria-hidden": "true" }, h(sign < 0 ? "i.minus" : "i", { style: { width } }));
  }

  /** Links to the one before and the one after; null where there is none. */
  function around(before, after, noun) {
    const one = (id, href, words, sign) =>
      href === null
        ? h("span.step.off", { "aria-hidden": "true" }, sign)
        : h(
            "a.step",
            { id, href, rel: id, "aria-label": `${words} ${noun}`, title: `${words} ${noun} (arrow key)` },
            sign,
          );
    return h("div.around", {}, one("prev", before, "Previous", "←"), one("next", after, "Next", "→"));
  }

  Object.assign(atlas, {
    classLink,
    imageTile,
    imageFigure,
    imageCaption,
    mistaken,
    unitCard,
    unitWords,
    what,
    crumbs,
    bar,
    around,
  });
}
