"use strict";

/* A map as a table of numbers that one can point at: with the mouse, a finger, or the arrow keys. */
{
  const { h, short, times } = explain;
  const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

  class Grid {
    /** `pointed(row, column)` and `pinned(row, column)` are called for cells of the image; without them it only shows.
        blank: the text of padding; tint: percent of color for the largest number; lined: "row,column" of underlined cells */
    constructor({ id, label, note = "", map, blank = "0", tint = 45, lined = new Set(), pointed, pinned }) {
      Object.assign(this, { map, blank, tint, lined, pointed, pinned, cells: new Map() });
      const largest = Math.max(...map.values.flat().map(Math.abs), 0);
      const columns = map.values.length ? map.values[0].map((_, j) => map.column + j) : [];
      this.table = h(
        `table.map${pointed ? ".live" : ""}`,
        { id, role: "grid", "aria-label": `${label}${note ? `, ${note}` : ""}${times(map)}` },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("td"),
            columns.map((j) => h("th", { scope: "col" }, this.inside(0, j, true) ? j : "")),
          ),
        ),
        h(
          "tbody",
          {},
          map.values.map((row, i) => this.row(row, map.row + i, largest)),
        ),
      );
      this.element = h(
        "figure.map",
        {},
        h("figcaption", {}, h("b", {}, label), " ", h("span.soft", {}, note, times(map))),
        h("div.scroll", {}, this.table),
      );
      if (!pointed) return;
      this.table.querySelector("td[tabindex]").tabIndex = 0; // the one stop of the Tab key
      this.listen();
    }

    inside(row, column, anyRow = false) {
      return column >= 0 && column < this.map.width && (anyRow || (row >= 0 && row < this.map.height));
    }

    row(values, i, largest) {
      const cells = values.map((value, k) => this.cell(value, i, this.map.column + k, largest));
      return h("tr", {}, h("th", { scope: "row" }, this.inside(i, 0) || this.map.width === 0 ? i : ""), cells);
    }

    cell(value, i, j, largest) {
      const padding = !this.inside(i, j);
      const text = padding ? this.blank : short(value, this.map);
      const share = largest ? Math.round((this.tint * Math.abs(value)) / largest) : 0;
      const line = this.lined.has(`${i},${j}`);
      const cell = h(
        `td${line ? ".lined" : ""}${padding ? ".padding" : value < 0 ? ".below" : ""}`,
        {
          role: "gridcell",
          "data-at": `${i},${j}`,
          "aria-label": padding
            ? "padding"
            : `row ${i}, column ${j}: ${text}${times(this.map)}${line ? ", underlined" : ""}`,
          tabindex: this.pointed && !padding ? -1 : null,
          style: { "--share": `${padding ? 0 : share}%` },
        },
        text,
      );
      this.cells.set(`${i},${j}`, cell);
      return cell;
    }

    listen() {
      const at = (event) => {
        const cell = event.target.closest("td[tabindex]");
        return cell && this.table.contains(cell) ? cell.dataset.at.split(",").map(Number) : null;
      };
      const on = (name, act) =>
        this.table.addEventListener(name, (event) => {
          const place = at(event);
          if (place) act(place, event);
        });
      on("pointerover", (place, event) => event.pointerType === "mouse" && this.pointed(...place));
      on("focusin", (place) => {
        this.stop(place);
        this.pointed(...place);
      });
      on("click", (place) => window.getSelection().isCollapsed && this.pinned(...place)); // not after selecting text
      on("keydown", (place, event) => this.key(place, event));
    }

    key([row, column], event) {
      const move = MOVES[event.key];
      if (move) this.cells.get(`${row + move[0]},${column + move[1]}`)?.focus();
      else if (event.key === "Enter" || event.key === " ") this.pinned(row, column);
      else return;
      event.preventDefault();
    }

    /** Makes a cell the one that the Tab key stops at. */
    stop([row, column]) {
      for (const cell of this.table.querySelectorAll("td[tabindex]")) cell.tabIndex = -1;
      this.cells.get(`${row},${column}`).tabIndex = 0;
    }

    at(row, column) {
      return this.map.values[row - this.map.row]?.[column - this.map.column];
    }

    /** Marks these cells, and no others. */
    mark(places, kind = "part") {
      for (const cell of this.table.querySelectorAll(".part, .chosen")) cell.classList.remove("part", "chosen");
      for (const [row, column] of places) this.cells.get(`${row},${column}`)?.classList.add(kind);
    }
  }

  /** The value of a map at a place; undefined outside of what is shown. */
  const valueAt = (map, row, column) => map.values[row - map.row]?.[column - map.column];

  /** The place with the largest magnitude. */
  function strongest(map) {
    let best = [map.row, map.column];
    map.values.forEach((row, i) =>
      row.forEach((value, j) => {
        if (Math.abs(value) > Math.abs(valueAt(map, ...best))) best = [map.row + i, map.column + j];
      }),
    );
    return best;
  }

  Object.assign(explain, { Grid, valueAt, strongest });
}
