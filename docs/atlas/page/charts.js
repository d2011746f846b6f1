"use strict";

/* Small drawings: a histogram, curves over epochs, a scale. */
{
  const { h, svg, text } = atlas;

  /** Images by the norm of a unit's map. The heights are logarithms: most images lie in the first bin. */
  function histogram(counts, largest) {
    const [width, height] = [400, 120];
    const most = Math.log1p(Math.max(...counts, 1));
    const step = width / counts.length;
    const bars = counts.map((n, i) => {
      const size = (height * Math.log1p(n)) / most;
      const from = (largest * i) / counts.length;
      const until = (largest * (i + 1)) / counts.length;
      const words = `${text.many(n, "image")} from ${text.number(from)} to ${text.number(until)}`;
      const rect = svg("rect", { x: i * step + 1, y: height - size, width: step - 2, height: size });
      return svg(
        "g",
        {},
        svg("title", {}, words),
        svg("rect.catch", { x: i * step, y: 0, width: step, height }),
        rect,
      );
    });
    const all = counts.reduce((a, b) => a + b, 0);
    const label = `Histogram of ${text.many(all, "image")}, from 0 to ${text.number(largest)}`;
    return h(
      "div.chart",
      {},
      svg(
        "svg.histogram",
        { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, preserveAspectRatio: "none" },
        bars,
      ),
      h("div.axis", { "aria-hidden": "true" }, h("span", {}, "0"), h("span", {}, text.number(largest))),
    );
  }

  /** Curves over `xs`. `lines`: {label, values, kind}; kind is a class of the style sheet. `show` writes a number. */
  function curves(title, xs, lines, show) {
    const [width, height] = [320, 130];
    const values = lines.flatMap((line) => line.values).filter(Number.isFinite);
    const low = Math.min(0, ...values);
    const high = Math.max(...values) || 1;
    const x = (i) => (xs.length > 1 ? (width * i) / (xs.length - 1) : width / 2);
    const y = (v) => height - (height * (v - low)) / (high - low || 1);
    const drawn = lines.map(({ label, values: v, kind }) => {
      const points = v
        .map((value, i) => (Number.isFinite(value) ? `${x(i).toFixed(1)},${y(value).toFixed(1)}` : null))
        .filter(Boolean);
      const dots = v.map((value, i) =>
        Number.isFinite(value)
          ? svg(
              "circle",
              { cx: x(i), cy: y(value), r: 3 },
              svg("title", {}, `${label}, epoch ${xs[i]}: ${show(value)}`),
            )
          : null,
      );
      return svg(`g.line.${kind}`, {}, svg("polyline", { points: points.join(" ") }), dots);
    });
    const key = lines.map(({ label, values: v, kind }) => h(`span.key.${kind}`, {}, `${label} ${show(v.at(-1))}`));
    const words = `${title} over ${text.many(xs.length, "epoch")}: ${lines.map(({ label, values: v }) => `${label} ${show(v.at(-1))} at the end`).join(", ")}`;
    return h(
      "div.chart",
      {},
      h("h3", {}, title),
      svg(
        "svg.curves",
        { viewBox: `-4 -4 ${width + 8} ${height + 8}`, role: "img", "aria-label": words },
        svg("path.grid", { d: `M0 ${height}H${width}M0 ${height / 2}H${width}M0 0H${width}` }),
        drawn,
      ),
      h(
        "div.axis",
        { "aria-hidden": "true" },
        h("span", {}, `epoch ${xs[0]}`),
        h("span", {}, `0 to ${show(high)}`),
        h("span", {}, `${xs.at(-1)}`),
      ),
      h("div.keys", {}, key),
    );
  }

  /** A scale up to 1 from 0, or from what is below: pictures of different images reach up to `upper`, half of them `median`; the dot is `value`. */
  function scale(value, { median, upper }) {
    const low = Math.min(0, value, median);
    const at = (v) => (200 * (v - low)) / (1 - low);
    const words = `${text.number(value)} on a scale up to 1; pictures of different images: median ${text.number(median)}, 95 % below ${text.number(upper)}`;
    return svg(
      "svg.scale",
      { viewBox: "-8 0 216 20", role: "img", "aria-label": words },
      svg("path.grid", { d: "M0 10H200" }),
      svg("rect.null", { x: 0, y: 6, width: at(upper), height: 8 }),
      svg("path.median", { d: `M${at(median)} 4V16` }),
      svg("circle", { cx: at(value), cy: 10, r: 6 }),
    );
  }

  Object.assign(atlas, { histogram, curves, scale });
}
