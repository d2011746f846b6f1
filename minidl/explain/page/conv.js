"use strict";

/* The convolution: products of a window and the filter on the way there, dy times weights on the way back. */
{
  const { h, stage, sum, long, times, valueAt, strongest, many, record } = explain;

  explain.views.conv = (c, title) => {
    const { kernel, stride, padding } = c.window;
    const taps = Array.from({ length: kernel * kernel }, (_, t) => [Math.floor(t / kernel), t % kernel]);
    const count = (n, noun) => (n > 0 ? `other ${many(n, noun)}` : "");

    /** The sum at an output: the window's products. */
    function output(channel, row, column) {
      const [marks, places] = [[], []];
      const rows = taps.map(([kh, kw]) => {
        const place = [stride * row + kh - padding, stride * column + kw - padding];
        const [x, w] = [valueAt(channel.x, ...place), channel.w.values[kh][kw]];
        marks.push(place);
        const outside = place.some((i, k) => i < 0 || i >= [channel.x.height, channel.x.width][k]);
        places.push(outside ? "padding" : `dx[${place}]`);
        return {
          label: `${outside ? "padding" : `x[${place}]`} w[${kh},${kw}]`,
          factors: [long(x, channel.x), long(w, channel.w)],
          value: x * w,
        };
      });
      const others = [count(c.in_channels - 1, "channel"), c.bias === null ? "" : "bias"]
        .filter(Boolean)
        .join(" and ");
      if (others) rows.push({ label: others, value: valueAt(channel.others_y, row, column), rest: true });
      return {
        places,
        marks: { x: marks, dx: marks, w: taps },
        sum: sum({
          title: `y[${row},${column}] of filter ${c.unit}`,
          notes: [`The products of its window in channel ${channel.channel}, and the rest:`],
          head: ["product", `x${times(channel.x)}`, `w${times(channel.w)}`, "x w"],
          rows,
          total: { label: `y[${row},${column}]`, value: valueAt(c.y, row, column) },
          scale: c.y,
        }),
      };
    }

    /** The sum at a pixel: what every output sends it. */
    function pixel(channel, row, column) {
      if (valueAt(channel.dx, row, column) === undefined) return null;
      const [rows, outputs, weights] = [[], [], []];
      for (const [kh, kw] of taps) {
        const place = [(row + padding - kh) / stride, (column + padding - kw) / stride];
        const dy = place.every(Number.isInteger) ? valueAt(c.dy, ...place) : undefined;
        if (dy === undefined) continue;
        outputs.push(place);
        weights.push([kh, kw]);
        const w = channel.w.values[kh][kw];
        rows.push({
          label: `dy[${place}] w[${kh},${kw}]`,
          factors: [long(dy, c.dy), long(w, channel.w)],
          value: dy * w,
        });
      }
      const windows = rows.length;
      if (c.filters > 1)
        rows.push({
          label: count(c.filters - 1, "filter"),
          value: valueAt(channel.others_dx, row, column),
          rest: true,
        });
      return {
        marks: { dy: outputs, y: outputs, w: weights, x: [[row, column]] },
        sum: sum({
          title: `dx[${row},${column}] of channel ${channel.channel}`,
          notes: [
            `The pixel lies in ${many(windows, "window")}. Each sends it dy times the weight that it met there:`,
          ],
          head: ["product", `dy${times(c.dy)}`, `w${times(channel.w)}`, "dy w"],
          rows,
          total: { label: `dx[${row},${column}]`, value: valueAt(channel.dx, row, column) },
          scale: channel.dx,
        }),
      };
    }

    /** What an output sends to the pixels of its window. */
    function sent(channel, row, column) {
      const dy = valueAt(c.dy, row, column);
      const { marks, places } = output(channel, row, column);
      return {
        marks,
        sum: sum({
          title: `dy[${row},${column}] of filter ${c.unit}`,
          notes: [`It is ${long(dy, c.dy)}${times(c.dy)}. Each pixel of its window gets that times a weight:`],
          head: ["to", `w${times(channel.w)}`, "dy w"],
          rows: taps.map(([kh, kw], t) => ({
            label: places[t],
            factors: [long(channel.w.values[kh][kw], channel.w)],
            value: dy * channel.w.values[kh][kw],
          })),
          total: null,
          scale: c.dy,
        }),
      };
    }

    const maps = (channel) => ({
      x: { label: "x", note: `channel ${channel.channel}`, map: channel.x, live: true },
      w: { label: "w", note: `filter ${c.unit}, channel ${channel.channel}`, map: channel.w },
      y: { label: "y", note: `filter ${c.unit}`, map: c.y, live: true },
      dx: { label: "dx", note: `channel ${channel.channel}`, map: channel.dx, live: true },
      dy: { label: "dy", note: `filter ${c.unit}`, map: c.dy, live: true },
    });
    const shows = { x: pixel, dx: pixel, y: output, dy: sent };
    const pick = (channel) => (name, row, column) => shows[name](channel, row, column);
    const first = (channel) => ["dx", ...strongest(channel.dx)];

    const buttons = c.channels.map((channel, i) =>
      h(
        "button",
        {
          type: "button",
          "aria-pressed": String(i === 0),
          "data-channel": channel.channel,
          onclick: () => {
            buttons.forEach((button, j) => button.setAttribute("aria-pressed", String(i === j)));
            made.change(maps(channel), pick(channel), first(channel));
          },
        },
        channel.channel,
      ),
    );
    const [start] = c.channels;
    const made = stage({
      id: "conv",
      title,
      lead: [
        `${c.name} is ${c.about}. Its filter ${c.unit} makes ${record.layer === c.name ? "this unit" : `unit ${record.unit} of ${record.layer}`}.`,
        "Forward, each y is a sum of products: its window of x times the filter w. Backward, each dy goes to every pixel of its window, times the weight that the pixel met. A pixel adds up what it gets, and the sum is its dx. (col2im does this for all pixels.)",
      ],
      cut:
        `Shown: ${start.dx.values.length} × ${start.dx.values[0].length} of ${start.dx.height} × ${start.dx.width} pixels, with the outputs whose windows touch them; ` +
        `1 of ${many(c.in_channels, "input channel")}; 1 of ${many(c.filters, "filter")}. In a sum, the rest is one term.`,
      controls:
        c.channels.length > 1
          ? h(
              "div.controls",
              { role: "group", "aria-label": "Input channel" },
              h("span", {}, "Input channel (those that add most to the unit's maximum):"),
              buttons,
            )
          : null,
      rows: [
        ["Forward: x and w make y", ["x", "w", "y"]],
        ["Backward: dy and w make dx", ["dx", "dy"]],
      ],
      maps: maps(start),
      pick: pick(start),
      first: first(start),
    });
    return made.section;
  };
}
