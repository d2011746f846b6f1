"use strict";

/* ReLU: a mask. */
{
  const { stage, sum, valueAt, long, times, strongest } = explain;

  explain.views.relu = (r, title) => {
    const mask = { ...r.x, exponent: 0, decimals: 0, values: r.x.values.map((row) => row.map((x) => Number(x > 0))) };

    function pick(name, row, column) {
      const forward = name === "x" || name === "y";
      const passes = valueAt(mask, row, column);
      const [from, to] = forward ? [r.x, r.y] : [r.dy, r.dx];
      const [a, b] = forward ? ["x", "y"] : ["dy", "dx"];
      return {
        marks: Object.fromEntries(["x", "y", "mask", "dy", "dx"].map((map) => [map, [[row, column]]])),
        sum: sum({
          title: `${b}[${row},${column}]`,
          notes: [`x is ${long(valueAt(r.x, row, column), r.x)}${times(r.x)}, so the mask is ${passes}.`],
          head: [`${a} times the mask`, `${a}${times(from)}`, "mask", b],
          rows: [
            {
              label: `${a}[${row},${column}]`,
              factors: [long(valueAt(from, row, column), from), String(passes)],
              value: valueAt(from, row, column) * passes,
            },
          ],
          total: { label: `${b}[${row},${column}]`, value: valueAt(to, row, column) },
          scale: to,
        }),
      };
    }

    const live = (label, map, note = "") => ({ label, note, map, live: true });
    return stage({
      id: "relu",
      title,
      lead: [
        `${r.name}: y = max(x, 0). The mask is 1 where x > 0, and 0 elsewhere. Backward, dx = dy times the mask: where the unit was silent, nothing goes back.`,
      ],
      cut: `Shown: ${r.dx.values.length} × ${r.dx.values[0].length} of ${r.dx.height} × ${r.dx.width} places, channel ${r.channel}. No place meets another here.`,
      rows: [
        ["Forward", ["x", "mask", "y"]],
        ["Backward", ["dx", "dy"]],
      ],
      maps: {
        x: live("x", r.x),
        mask: { ...live("mask", mask, "x > 0"), tint: 25 },
        y: live("y", r.y),
        dx: live("dx", r.dx),
        dy: live("dy", r.dy),
      },
      pick,
      first: ["dx", ...strongest(r.dy)],
    }).section;
  };
}
