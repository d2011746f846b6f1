"use strict";

/* A stage: its words, its maps, and the sum at the place that one points at or has pinned. */
{
  const { h, Grid } = explain;

  /** rows: [[words, [names of maps]], ...]; maps: name -> options of its Grid, `live: true` if one can point at it
      pick(name, row, column) -> {marks: {name: [[row, column], ...]}, sum: element}, or null
      first: [name, row, column] that is shown until one points elsewhere */
  function stage({ id, title, lead, cut, controls = null, rows, maps, pick, first, after = null }) {
    const state = { pinned: null, pick };
    const panel = h("div.panel", {
      id: `${id}-sum`,
      "aria-live": "polite",
      tabindex: 0,
      role: "region",
      "aria-label": `${title}: the sum`,
    });
    const grids = {};

    const show = (name, row, column) => {
      const found = state.pick(name, row, column);
      if (!found) return;
      for (const [key, grid] of Object.entries(grids)) {
        grid.mark(found.marks[key] || []);
        if (key === name) grid.cells.get(`${row},${column}`)?.classList.add("chosen");
      }
      panel.replaceChildren(found.sum, h("p.what.pinned", {}, state.pinned ? "Pinned. Escape frees it." : ""));
      state.shown = [name, row, column];
    };
    const free = () => {
      state.pinned = null;
      section.classList.remove("pinned");
      show(...state.shown);
    };
    const pin = (name, row, column) => {
      if (!state.pick(name, row, column)) return;
      const again = String(state.pinned) === String([name, row, column]);
      state.pinned = again ? null : [name, row, column];
      section.classList.toggle("pinned", !again);
      show(name, row, column);
    };

    const holders = {};
    const put = (name, options) => {
      const { live, ...rest } = options;
      grids[name] = new Grid({
        id: `${id}-${name}`,
        ...rest,
        pointed: live && ((row, column) => state.pinned || show(name, row, column)),
        pinned: (row, column) => pin(name, row, column),
      });
      holders[name].replaceChildren(grids[name].element);
    };
    for (const name of Object.keys(maps)) holders[name] = h("div.holder");

    const section = h(
      "section.stage",
      { id, "aria-labelledby": `${id}-title` },
      h("h2", { id: `${id}-title` }, title),
      lead.map((words) => h("p", {}, words)),
      h("p.what", {}, cut),
      controls,
      h(
        "div.bench",
        {},
        h(
          "div",
          {},
          rows.map(([words, names]) =>
            h(
              "div.way",
              {},
              h("h3", {}, words),
              h(
                "div.maps",
                {},
                names.map((name) => holders[name]),
              ),
            ),
          ),
        ),
        panel,
      ),
      after,
    );
    section.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && state.pinned) free();
    });
    Object.entries(maps).forEach(([name, options]) => put(name, options));
    show(...first);
    return {
      section,
      /** Other maps and another way to pick, such as those of another channel. */
      change(newMaps, newPick, newFirst) {
        state.pinned = null;
        section.classList.remove("pinned");
        state.pick = newPick;
        Object.entries(newMaps).forEach(([name, options]) => put(name, options));
        show(...newFirst);
      },
    };
  }

  /** A stage that this network or this unit does not have. */
  const none = (id, title, why) =>
    h(
      "section.stage.none",
      { id, "aria-labelledby": `${id}-title` },
      h("h2", { id: `${id}-title` }, title),
      h("p.soft", {}, why),
    );

  Object.assign(explain, { stage, none });
}
