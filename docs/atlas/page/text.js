"use strict";

/* Numbers and names in words. */
{
  const count = (n) => Math.round(n).toLocaleString("en");
  const percent = (share, digits = 1) => (share === null ? "unknown" : minus(`${(100 * share).toFixed(digits)} %`));
  const hundredths = (x) => (x === null || x === undefined ? "unknown" : minus(x.toFixed(2)));

  /** Three digits: 12.3, 0.0456, 1,230. */
  function number(x) {
    if (x === null || x === undefined || Number.isNaN(x)) return "unknown";
    if (x === 0) return "0";
    const size = Math.abs(x);
    if (size >= 1000) return minus(count(x));
    if (size < 0.0005 || size === Infinity) return minus(x.toExponential(1));
    return minus(String(Number(x.toPrecision(3))));
  }

  /** Without labels there is none. */
  const selectivity = (x) => (atlas.index.labelled ? number(x) : "unknown");

  const minus = (text) => text.replace("-", "\u2212");
  const signed = (x) => (x > 0 ? "+" : "") + number(x);

  /** 1 unit, 2 units */
  const many = (n, noun, nouns = `${noun}s`) => `${count(n)} ${n === 1 ? noun : nouns}`;

  /** (16, 16, 64) as 16 × 16 × 64 */
  const shape = (sizes) => sizes.join(" × ");

  /** The names of a class: all its words, or else its id. */
  function classWords(k) {
    if (k < 0 || !atlas.index.classes[k]) return "unknown class";
    const { id, words } = atlas.index.classes[k];
    return words.trim() || id.trim() || `class ${k}`;
  }

  /** The first of them. */
  const className = (k) => classWords(k).split(",")[0].trim() || classWords(k);

  const unitName = (layer, unit) => `${atlas.index.layers[layer].name}/${unit}`;

  /** "image 17, goldfish", or with a wrong prediction "image 17, goldfish, taken for lemon" */
  function imageWords(image) {
    const label = atlas.images.labels[image];
    const predicted = atlas.images.predicted[image];
    let text = `image ${image}`;
    if (label >= 0) text += `, ${className(label)}`;
    if (predicted >= 0 && predicted !== label) text += `, taken for ${className(predicted)}`;
    return text;
  }

  /** What says how strongly an image excites a unit of a layer. */
  function strength(layer) {
    if (atlas.index.layers[layer].shape.length === 1) return "the unit's value";
    return atlas.index.norm === "inf"
      ? "the largest |value| of the unit's map"
      : "the norm of the unit's map (the root of its sum of squares)";
  }

  /** What a picture is, by the part of Layout to which it belongs. */
  function ruleName(part) {
    if (part.startsWith("random ")) return `control's ${ruleName(part.slice(7))}`;
    return { deconv: "deconvnet", deciles: "deconvnet", guided: "guided backpropagation" }[part] || part;
  }

  Object.assign(atlas, {
    text: {
      count,
      percent,
      hundredths,
      number,
      selectivity,
      signed,
      many,
      shape,
      classWords,
      className,
      unitName,
      imageWords,
      ruleName,
      strength,
    },
  });
}
