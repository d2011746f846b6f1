"use strict";

/* Pooling: windows that may overlap, the switches of a max pool, and how often each pixel was copied. */
{
  const { stage, sum, long, times, valueAt, strongest, many } = explain;

  explain.views.pool = (p, title) => {
    const { kernel, stride, padding } = p.window;
    const max = p.kind === "max";
    const inside = (row, column) => row >= 0 && column >= 0 && row < p.x.height && column < p.x.width;
    const switchOf = (row, column) => p.switches[row - p.y.row][column - p.y.column];
    const same = (a, b) => a[0] === b[0] && a[1] === b[1];

    /** The pixels in the window of an output. */
    const windowOf = (row, column) =>
      Array.from({ length: kernel * kernel }, (_, t) => [
        stride * row - padding + Math.floor(t / kernel),
        stride * column - padding + (t % kernel),
      ]);

    function output(row, column) {
      const places = windowOf(row, column);
      const chosen = max ? switchOf(row, column) : null;
      const share = 1 / kernel ** 2;
      const rows = places.map((place) => {
        if (!inside(...place))
          return {
            label: "padding",
            factors: ["", max ? "no" : long(share, { exponent: 0, decimals: 3 })],
            value: 0,
          };
        const x = valueAt(p.x, ...place);
        const factor = max ? Number(same(place, chosen)) : share;
        return {
          label: `x[${place}]`,
          factors: [long(x, p.x), max ? (factor ? "largest" : "") : long(share, { exponent: 0, decimals: 3 })],
          value: x * factor,
        };
      });
      return {
        marks: { x: places, dx: max ? [chosen] : places, counts: places },
        sum: sum({
          title: `y[${row},${column}]`,
          notes: [
            max
              ? "The largest number of the window passes. On the way back, all of dy goes to its place."
              : "The mean of the window. On the way back, each pixel gets its share of dy.",
          ],
          head: ["pixel", `x${times(p.x)}`, max ? "switch" : "share", "adds"],
          rows,
          total: { label: `y[${row},${column}]`, value: valueAt(p.y, row, column) },
          scale: p.y,
        }),
      };
    }

    function sent(row, column) {
      const dy = valueAt(p.dy, row, column);
      const { marks } = output(row, column);
      const places = max ? [switchOf(row, column)] : windowOf(row, column);
      return {
        marks,
        sum: sum({
          title: `dy[${row},${column}]`,
          notes: [
            max ? "All of it goes to the place of the maximum:" : `Each pixel of the window gets 1/${kernel ** 2}:`,
          ],
          head: ["to", "sends"],
          rows: places.map((place) => ({
            label: inside(...place) ? `dx[${place}]` : "padding",
            value: max ? dy : dy / kernel ** 2,
          })),
          total: null,
          scale: p.dy,
        }),
      };
    }

    function pixel(row, column) {
      const total = valueAt(p.dx, row, column);
      if (total === undefined) return null;
      const [rows, outputs] = [[], []];
      p.dy.values.forEach((line, i) =>
        line.forEach((dy, j) => {
          const place = [p.dy.row + i, p.dy.column + j];
          if (!windowOf(...place).some((at) => same(at, [row, column]))) return;
          outputs.push(place);
          const factor = max ? Number(same(switchOf(...place), [row, column])) : 1 / kernel ** 2;
          rows.push({
            label: `dy[${place}]`,
            factors: [
              long(dy, p.dy),
              max ? (factor ? "here" : `at ${switchOf(...place)}`) : long(factor, { exponent: 0, decimals: 3 }),
            ],
            value: dy * factor,
          });
        }),
      );
      const largest = rows.filter(({ factors }) => factors[1] === "here").length;
      const lies = `The pixel lies in ${many(rows.length, "window")}`;
      const alone = `${lies}, and is ${largest ? "" : "not "}its largest number.`;
      const shared = `${lies}. It is the largest number in ${largest} of them.`;
      return {
        marks: { dy: outputs, y: outputs, x: [[row, column]], counts: [[row, column]] },
        sum: sum({
          title: `dx[${row},${column}]`,
          notes: [max && rows.length ? (rows.length === 1 ? alone : shared) : `${lies}.`],
          head: ["output", `dy${times(p.dy)}`, max ? "maximum" : "share", "sends"],
          rows,
          total: { label: `dx[${row},${column}]`, value: total },
          scale: p.dx,
        }),
      };
    }

    const corner = p.counts.row !== p.dx.row || p.counts.column !== p.dx.column; // elsewhere all counts are the same
    const note = `channel ${p.channel}`;
    return stage({
      id: "pool",
      title,
      lead: [
        `${p.name} is ${p.about}. ` +
          (p.overlaps
            ? `Its windows overlap: the step (${stride}) is smaller than the window (${kernel}).`
            : `Its windows don't overlap: the step (${stride}) is not smaller than the window (${kernel}).`),
        max
          ? "A window remembers where its largest number was: its switch. Backward, dy goes to that place alone. If windows share a maximum, it gets the dy of each."
          : `Every pixel of a window gets 1/${kernel ** 2} of its dy. A pixel in several windows gets a share from each.`,
        "The counts say in how many windows each pixel lies. im2col copies it so often, and col2im adds up as many numbers.",
      ],
      cut: `Shown: ${p.dx.values.length} × ${p.dx.values[0].length} of ${p.dx.height} × ${p.dx.width} pixels, with the windows that touch them; 1 of ${many(p.channels, "channel")}, the one with the largest gradient. No channel meets another here.`,
      rows: [
        [`Forward: the ${max ? "largest number" : "mean"} of each window`, ["x", "y"]],
        ["Backward: dy to the pixels", ["dx", "dy", "counts"]],
      ],
      maps: {
        x: {
          label: "x",
          note: max ? `${note}, the largest of a window underlined` : note,
          map: p.x,
          live: true,
          blank: max ? "" : "0",
          lined: new Set(p.switches.flat().map(String)),
        },
        y: { label: "y", note, map: p.y, live: true },
        dx: { label: "dx", note, map: p.dx, live: true },
        dy: { label: "dy", note, map: p.dy, live: true },
        counts: {
          label: "counts",
          note: `windows that contain the pixel${corner ? ", in the corner of the map" : ""}`,
          map: p.counts,
          tint: 0,
          live: !corner,
        },
      },
      pick: (name, row, column) => ({ y: output, dy: sent })[name]?.(row, column) ?? pixel(row, column),
      first: ["dx", ...strongest(p.dx)],
    }).section;
  };
}
