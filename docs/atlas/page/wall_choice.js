"use strict";

/* What a wall shows, and in which order. */
{
  const { h, text } = atlas;
  const kept = { of: "", sort: "unit" }; // the order is kept from wall to wall, the filters on the way back to a wall
  const EVERYTHING = { state: "all", share: "1", class: "" };

  const firstRule = () => Object.keys(atlas.index.rules)[0];
  const MEASURES = {
    unit: () => ["number", (item) => item.place],
    selectivity: () => ["selectivity", (item) => item.record.selectivity],
    strength: () => ["strength (on the best image)", (item) => item.record.top[0]?.[1] ?? 0],
    likeness: () => [`likeness to the control (${firstRule()})`, (item) => item.record.likeness[firstRule()]],
  };
  // "-" before a measure: highest first
  const SORTS = ["unit", "-selectivity", "selectivity", "-strength", "strength", "likeness", "-likeness"];
  const measureOf = (sort) => MEASURES[sort.replace("-", "")]();
  const highest = (sort) => sort.startsWith("-");

  /** {controls(update), choose(items)} of the wall with a title. */
  atlas.wallChoice = function wallChoice(title, layers) {
    if (kept.of !== title) Object.assign(kept, EVERYTHING, { of: title });
    const control = layers.some((layer) => firstRule() in atlas.index.layers[layer].likeness);
    const known = { likeness: control, selectivity: atlas.index.labelled };
    const sorts = SORTS.filter((sort) => known[sort.replace("-", "")] ?? true);
    if (!sorts.includes(kept.sort)) kept.sort = "unit";
    return { controls: (update) => controls(sorts, update), choose };
  };

  /** The items that pass the filters, in order: those without a measure last. Equal ones keep their places. */
  function choose(items) {
    const [, measure] = measureOf(kept.sort);
    const sign = highest(kept.sort) ? -1 : 1;
    const place = (item) => sign * (measure(item) ?? sign * Infinity);
    const words = kept.class.trim().toLowerCase();
    const sorted = items
      .filter(({ record }) => kept.state === "all" || record.dead === (kept.state === "dead"))
      .filter(({ record }) => words === "" || record.classes.slice(0, 3).some(([k]) => isNamed(k, words)))
      .toSorted((a, b) => place(a) - place(b) || 0); // of two without, Infinity - Infinity is no number
    return sorted.slice(0, Math.ceil(sorted.length * Number(kept.share)));
  }

  const isNamed = (k, words) => `${text.classWords(k)} ${atlas.index.classes[k].id}`.toLowerCase().includes(words);

  function controls(sorts, update) {
    const choice = (id, label, key, options) =>
      atlas.choice(id, label, options, kept[key], (value) => {
        kept[key] = value;
        update();
      });
    const input = h("input", {
      id: "filter-class",
      type: "search",
      value: kept.class,
      placeholder: "any",
      autocomplete: "off",
      title: "Units with this class among the three that excite them most",
      oninput: () => {
        kept.class = input.value;
        update();
      },
    });
    const shares = { 1: "all", 0.5: "the first half", 0.1: "the first tenth" };
    const states = { all: "all", alive: "alive", dead: "dead" };
    return h(
      "div.controls",
      { role: "group", "aria-label": "Sort and filter" },
      choice(
        "sort",
        "Sort by",
        "sort",
        sorts.map((sort) => [sort, sortWords(sort)]),
      ),
      choice(
        "filter-share",
        "Show",
        "share",
        Object.entries(shares).toSorted((a, b) => b[0] - a[0]),
      ),
      choice("filter-state", "Units", "state", Object.entries(states)),
      h("label.field", {}, h("span", {}, "Class"), input),
    );
  }

  function sortWords(sort) {
    const [words] = measureOf(sort);
    return sort === "unit" ? words : `${words}, ${highest(sort) ? "highest" : "lowest"} first`;
  }
}
