"use strict";

/* Batch normalization: three paths from dy to dx. */
{
  const { h, stage, sum, long, times, valueAt, strongest, many, record } = explain;

  explain.views.norm = (n, title) => {
    const plain = { exponent: 0, decimals: 3 };
    const value = (x) =>
      x !== 0 && (Math.abs(x) < 0.001 || Math.abs(x) >= 1e6) ? x.toExponential(5) : long(x, plain);

    function pick(_, row, column) {
      const at = (map) => valueAt(map, row, column);
      return {
        marks: Object.fromEntries(
          ["x", "xhat", "dy", "direct", "variance", "mean", "dx"].map((name) => [name, [[row, column]]]),
        ),
        sum: sum({
          title: `dx[${row},${column}] of channel ${n.channel}`,
          notes: [
            `Here x̂ = ${long(at(n.xhat), n.xhat)}${times(n.xhat)} and dy = ${long(at(n.dy), n.dy)}${times(n.dy)}.`,
          ],
          head: ["path", "as a formula", "gives"],
          rows: [
            { label: "1. directly", factors: ["γ s dy"], value: at(n.direct) },
            { label: "2. through the variance", factors: ["−γ s x̂ dγ / M"], value: at(n.variance) },
            { label: "3. through the mean", factors: ["−γ s dβ / M"], value: at(n.mean) },
          ],
          total: { label: `dx[${row},${column}]`, value: at(n.dx) },
          scale: n.dx,
        }),
      };
    }

    const facts = [
      ["γ", "gamma, learned", n.gamma],
      ["μ", "mean of the batch", n.mu],
      ["s", "1 / √(var + ε) of the batch", n.inv_std],
      ["dγ", "sum of dy x̂", n.dgamma],
      ["dβ", "sum of dy", n.dbeta],
      ["M", "numbers in the channel", n.numbers],
    ];
    const table = h(
      "table.facts",
      {},
      h("caption", {}, "The numbers of this channel"),
      h(
        "tbody",
        {},
        facts.map(([sign, words, x]) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, sign),
            h("td", {}, words),
            h("td.term", { "data-fact": sign }, sign === "M" ? x : value(x)),
          ),
        ),
      ),
    );
    const live = (label, note, map) => ({ label, note, map, live: true });
    return stage({
      id: "norm",
      title,
      lead: [
        `${n.name} is ${n.about}. In training it takes mean and variance from the batch, here ${many(n.images, "image")}. So one x moves y in three ways: directly, through the variance, and through the mean. dx is the sum of three gradients.`,
        `This pass is in TRAIN mode, so its numbers differ from those of the other stages. They are in PROBE mode: with the running mean and variance, which are constants. Then only the first path is left, with s = ${value(n.probe_inv_std)}.`,
        `Paths 2 and 3 divide a sum by M = ${n.numbers}, so each place gets little from them. Their maps have scales of their own.`,
      ],
      cut:
        `Shown: ${n.dx.values.length} × ${n.dx.values[0].length} of ${n.dx.height} × ${n.dx.width} places of ${record.image}, 1 channel. The sums dγ and dβ are over all places of ${n.images === 1 ? "the image" : `all ${n.images} images`}.` +
        (record.start === "loss"
          ? n.images > 1
            ? ` dy comes from the mean loss of the ${n.images} images.`
            : ""
          : ` dy is 1 at the unit's maximum in ${record.image}, where the way back begins.`),
      rows: [
        ["Forward: x̂ = (x − μ) s, and y = γ x̂ + β", ["x", "xhat"]],
        ["Backward: three paths that add up", ["dy", "direct", "variance", "mean", "dx"]],
      ],
      maps: {
        x: live("x", `channel ${n.channel}`, n.x),
        xhat: live("x̂", `channel ${n.channel}`, n.xhat),
        dy: live("dy", "", n.dy),
        direct: live("1. directly", "", n.direct),
        variance: live("2. through the variance", "", n.variance),
        mean: live("3. through the mean", "", n.mean),
        dx: live("dx = 1 + 2 + 3", "", n.dx),
      },
      pick,
      first: ["dx", ...strongest(n.dx)],
      after: table,
    }).section;
  };
}
