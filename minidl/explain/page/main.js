"use strict";

/* Puts the page together. */
{
  const { h, record, name, short, strip, picture, none, views } = explain;
  const TITLES = {
    conv: "Convolution",
    pool: "Pooling",
    norm: "Batch normalization",
    relu: "ReLU",
    join: "Branches",
  };
  const plain = { exponent: 0, decimals: 3 };
  const number = (x) => (x !== 0 && Math.abs(x) < 0.001 ? x.toExponential(2) : short(x, plain));

  const said = [
    record.label && `It shows: ${record.label}.`,
    record.predicted && `The network says: ${record.predicted}.`,
  ]
    .filter(Boolean)
    .join(" ");
  const way =
    record.start === "loss"
      ? `The way back begins at the loss of this image, ${number(record.loss)}. So dy says how much the loss grows if y grows: dy = dL/dy.`
      : "The way back begins at the unit's maximum: there dy is 1, and 0 elsewhere. So dx says how much that maximum grows if x grows.";
  const find = (id) =>
    record.stages[id] ? views[id](record.stages[id], TITLES[id]) : none(id, TITLES[id], record.missing[id]);

  document
    .getElementById("nav")
    .append(...Object.entries(TITLES).map(([id, title]) => h("a", { href: `#${id}` }, title)));
  explain.themeSwitch(document.getElementById("theme"), () => {});
  document
    .getElementById("main")
    .replaceChildren(
      h("h1", {}, `A gradient flows through unit ${record.unit} of ${record.layer}`),
      h(
        "div.intro",
        {},
        picture(),
        h(
          "div",
          {},
          h("p.lead", {}, name(record.title), ", ", record.image, ". ", said),
          h(
            "p",
            {},
            `The unit's map is largest at row ${record.place[0]}, column ${record.place[1]}: ${number(record.value)}. `,
            record.field
              ? "Small changes of the pixels in the frame change that number."
              : "No small change of a pixel changes that number.",
          ),
          h("p", {}, way),
          h(
            "p.what",
            {},
            "Point at a number to see its sum. A click or ",
            h("kbd", {}, "Enter"),
            " pins it, ",
            h("kbd", {}, "Esc"),
            " frees it. ",
            h("kbd", {}, "Tab"),
            " goes from map to map, and the arrow keys move in a map. Orange is above zero, blue below. Rows and columns count from 0.",
          ),
        ),
      ),
      strip(TITLES),
      ...Object.keys(TITLES).map(find),
    );
}
