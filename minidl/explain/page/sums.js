"use strict";

/* A sum as a table: a line for each term, and the total under it. */
{
  const { h, long, times, lacking } = explain;

  /** {title, head: [...], rows: [{label, factors: [text, ...], value}], total: {label, value}, scale, notes: [...]} */
  function sum({ title, head, rows, total, scale, notes = [] }) {
    const width = head.length - 2; // columns of factors
    const rest = lacking(
      rows.map((row) => row.value),
      total.value,
      scale,
    );
    const line = (kind, label, factors, text) =>
      h(
        `tr${kind}`,
        {},
        h("th", { scope: "row" }, label),
        Array.from({ length: width }, (_, i) => h("td", {}, factors[i] ?? "")),
        h("td.term", {}, text),
      );
    return h(
      "div",
      {},
      h("h3", {}, title),
      notes.map((note) => h("p.what", {}, note)),
      h(
        "table.sum",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            head.map((text, i) => h("th", { scope: "col" }, text, i === head.length - 1 ? times(scale) : "")),
          ),
        ),
        h(
          "tbody",
          {},
          rows.map((row) => line(row.rest ? ".rest" : ".own", row.label, row.factors || [], long(row.value, scale))),
          rest ? line(".rounding", "left by rounding", [], rest) : null,
        ),
        h("tfoot", {}, line(".total", total.label, [], long(total.value, scale))),
      ),
    );
  }

  explain.sum = sum;
}
