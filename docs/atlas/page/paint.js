"use strict";

/* Colours for the points of the embedding: {colours: one for each image, order: those on top last, legend}. */
{
  const { h, to, text } = atlas;
  const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const LETTERS = new Map([...ALPHABET].map((letter, i) => [letter, i]));

  const dot = (colour) => h("i.dot", { style: { background: colour } });
  const faint = () => (atlas.isDark() ? "#383d44" : "#d9d6cf");

  /** A colour for each of many classes: neighbours differ by the golden angle. */
  const ofClass = (k) => `hsl(${((k * 137.508) % 360).toFixed(0)} 65% ${atlas.isDark() ? 62 : 42}%)`;

  /** By class, or with `chosen` >= 0 only this one. Without labels, by the predicted class. */
  function byClass(record, chosen) {
    const { labelled } = atlas.index;
    const classes = labelled ? record.labels : record.predicted;
    const shown = (k) => k >= 0 && (chosen < 0 || k === chosen);
    const order = classes.map((_, i) => i).toSorted((a, b) => shown(classes[a]) - shown(classes[b]));
    const all = `Each ${labelled ? "" : "predicted "}class has a color; with many classes some look alike. Choose a class to see it alone.`;
    const legend =
      chosen < 0 ? all : [dot(ofClass(chosen)), atlas.classLink(chosen), " ", dot(faint()), "all others"];
    return { colours: classes.map((k) => (shown(k) ? ofClass(k) : faint())), order, legend };
  }

  function byCorrectness({ labels, predicted }) {
    const [right, wrong] = atlas.isDark() ? ["#5aa9e6", "#f0a35e"] : ["#1b6ca8", "#c2560c"];
    const colour = (k, i) => (k < 0 ? faint() : k === predicted[i] ? right : wrong);
    return {
      colours: labels.map(colour),
      order: labels.map((_, i) => i),
      legend: [dot(right), "recognised ", dot(wrong), "taken for another class"],
    };
  }

  async function byUnit({ layer, unit }) {
    const activity = await atlas.load(`activity-${atlas.three(layer)}`);
    const steps = decode(activity.units[unit], atlas.index.images);
    const palette = Array.from({ length: 16 }, (_, step) => ramp(step));
    const link = h(
      "a",
      { href: to.unit(layer, unit), "data-unit": text.unitName(layer, unit) },
      atlas.unitWords(layer, unit),
    );
    const legend = [
      "How strongly images excite ",
      link,
      ": 0 ",
      h("span.ramp", {}, palette.map(dot)),
      ` ${text.number(activity.largest[unit])} (root scale)`,
    ];
    return {
      colours: Array.from(steps, (step) => palette[step]),
      order: Array.from(steps.keys()).toSorted((a, b) => steps[a] - steps[b]),
      legend,
    };
  }

  /** The steps 0 to 15 of a unit on all images: two letters hold three of them (see ActivityRecord). */
  function decode(letters, images) {
    const steps = new Uint8Array(images);
    for (let i = 0; i < images; i += 3) {
      const at = (2 * i) / 3;
      const three = 64 * LETTERS.get(letters[at]) + LETTERS.get(letters[at + 1]); // 256 a + 16 b + c
      [three >> 8, (three >> 4) & 15, three & 15].slice(0, images - i).forEach((step, j) => (steps[i + j] = step));
    }
    return steps;
  }

  /** From faint to strong. */
  function ramp(step) {
    const [from, until] = atlas.isDark()
      ? [
          [48, 54, 62],
          [255, 196, 92],
        ]
      : [
          [222, 219, 212],
          [166, 36, 0],
        ];
    return `rgb(${from.map((c, i) => Math.round(c + (until[i] - c) * (step / 15) ** 1.5)).join(" ")})`;
  }

  atlas.paint = { class: byClass, correct: byCorrectness, unit: byUnit, decode };
}
