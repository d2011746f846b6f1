"use strict";

/* Branches that read the same x: how their outputs are joined, and how their dx add up. */
{
  const { h, stage, sum, valueAt, strongest, short, times, many } = explain;

  explain.views.join = (j, title) => {
    const concat = j.joined === "concatenation";
    const names = j.branches.map((branch) => branch.name);

    const pick = (_, row, column) => ({
      marks: Object.fromEntries(
        ["dx", ...names.map((_name, i) => `branch${i}`)].map((map) => [map, [[row, column]]]),
      ),
      sum: sum({
        title: `dx[${row},${column}] of channel ${j.channel}`,
        notes: ["Every branch reads this x, so each sends it a gradient:"],
        head: ["branch", "its dx"],
        rows: j.branches.map((branch) => ({ label: branch.name, value: valueAt(branch.dx, row, column) })),
        total: { label: `dx[${row},${column}]`, value: valueAt(j.dx, row, column) },
        scale: j.dx,
      }),
    });

    const value = { exponent: j.value[0], decimals: j.value[1] };
    const gradient = { exponent: j.gradient[0], decimals: j.gradient[1] };
    const lines = j.branches.flatMap((branch) => {
      const left = branch.stop - branch.start - branch.samples.length;
      return [
        ...branch.samples.map(([channel, y, dy], i) =>
          h(
            "tr",
            {},
            i === 0
              ? h("th", { scope: "rowgroup", rowspan: branch.samples.length + (left > 0 ? 1 : 0) }, branch.name)
              : null,
            h("td.term", {}, channel),
            concat ? h("td.term", {}, channel - branch.start) : null,
            h("td.term", {}, short(y, value)),
            h("td.term", {}, short(dy, gradient)),
          ),
        ),
        left > 0
          ? h(
              "tr",
              {},
              h(
                "td.rest",
                { colspan: concat ? 4 : 3 },
                `and ${many(left, "more channel")}`.replace("more channels", "more"),
              ),
            )
          : null,
      ];
    });
    const table = h(
      "table.facts.split",
      {},
      h(
        "caption",
        {},
        `${concat ? "y is put together, dy is taken apart" : "y is a sum: each branch gets the whole dy"}: at row ${j.place[0]}, column ${j.place[1]}`,
      ),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          [
            "branch",
            "channel of y",
            ...(concat ? ["of the branch"] : []),
            `y${times(value)}`,
            `dy${times(gradient)}`,
          ].map((text) => h("th", { scope: "col" }, text)),
        ),
      ),
      h("tbody", {}, lines),
    );
    const bar = concat
      ? h(
          "div.channels",
          {
            role: "img",
            "aria-label": `Channels of y: ${j.branches.map((b) => `${b.start} to ${b.stop - 1} from ${b.name}`).join(", ")}`,
          },
          j.branches.map((b) =>
            h(
              "span",
              { style: { "--share": b.stop - b.start } },
              h("b", {}, b.name),
              " ",
              h("span", {}, `${b.start}–${b.stop - 1}`),
            ),
          ),
        )
      : null;
    const live = (label, map) => ({ label, note: `channel ${j.channel}`, map, live: true });
    return stage({
      id: "join",
      title,
      lead: [
        concat
          ? `${j.name} has ${many(j.branches.length, "branch")} with the same input x. Their outputs are put side by side as the ${j.channels} channels of y. Backward, each branch gets the dy of its own channels.`
          : `${j.name} adds the outputs of ${many(j.branches.length, "branch")} with the same input x. Backward, each branch gets the whole dy.`,
        "Each branch sends back a dx of its own. They all belong to the same x, so dx is their sum.",
      ],
      cut: `Shown: ${j.dx.values.length} × ${j.dx.values[0].length} of ${j.dx.height} × ${j.dx.width} pixels; 1 of ${many(j.in_channels, "channel")} of x, the one with the largest gradient.`,
      controls: bar,
      rows: [["Backward: the branches' dx add up", [...names.map((_name, i) => `branch${i}`), "dx"]]],
      maps: {
        ...Object.fromEntries(j.branches.map((branch, i) => [`branch${i}`, live(`dx of ${branch.name}`, branch.dx)])),
        dx: live("dx, their sum", j.dx),
      },
      pick,
      first: ["dx", ...strongest(j.dx)],
      after: table,
    }).section;
  };
}
