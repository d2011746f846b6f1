"use strict";

/* A table of products: a line for each, and under them their sum, if they are the terms of one. */
{
  const { h, long, times, lacking } = explain;

  /** {title, head: [...], rows: [{label, factors: [text, ...], value}], total: {label, value} or null, scale,
      notes: [...]} */
  function sum({ title, head, rows, total, scale, notes = [] }) {
    const width = head.length - 2; // columns of factors
    const terms = rows.map((row) => row.value);
    const rest = total ? lacking(terms, total.value, scale) : "";
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
        total ? h("tfoot", {}, line(".total", total.label, [], long(total.value, scale))) : null,
      ),
    );
  }

  explain.sum = sum;
}
