"use strict";

/* Addresses: what stands after # in the address of the page.

    (nothing)              the network
    inception2.b5          the wall of a layer, or of a group of layers
    inception2.b5/17       a unit; a number in a group leads to the unit of the layer
    class:17  image:345  embedding:STATE  search:WORDS  compare:STATE  trust:  about:

Names are percent-encoded, so they contain neither a colon nor a slash. STATE is KEY=VALUE&KEY=VALUE. */
{
  const wellFormed = (text) => text.replaceAll(/\p{Surrogate}/gu, "\ufffd"); // half a character cannot be encoded
  const encode = (text) => encodeURIComponent(wellFormed(text));

  const to = {
    network: () => "#",
    layer: (layer) => `#${encode(atlas.index.layers[layer].name) || "/"}`,
    group: (group) => `#${encode(atlas.index.groups[group].name)}`,
    unit: (layer, unit) => `#${encode(atlas.index.layers[layer].name)}/${unit}`,
    class: (number) => `#class:${number}`,
    image: (number) => `#image:${number}`,
    search: (words) => `#search:${encode(words)}`,
    compare: (layer) => (layer === undefined ? "#compare:" : `#compare:layer=${to.layer(layer).slice(1)}`),
    trust: (part = "") => `#trust:${part}`,
    about: () => "#about:",
    /** `unit`: {layer, unit}; the other values are texts. What is empty is left out. */
    embedding: ({ unit, ...texts } = {}) => {
      const pairs = Object.entries(texts).filter(([, value]) => value);
      if (unit) pairs.push(["unit", to.unit(unit.layer, unit.unit).slice(1)]);
      return `#embedding:${pairs.map((pair) => pair.join("=")).join("&")}`;
    },
  };

  const layerNamed = (name) => atlas.index.layers.findIndex((layer) => wellFormed(layer.name) === name);
  const groupNamed = (name) => atlas.index.groups.findIndex((group) => wellFormed(group.name) === name);
  const whole = (text) => (/^\d{1,9}$/.test(text) ? Number(text) : -1);

  /** {layer, unit} of unit `number` of a group. */
  function unitOfGroup(group, number) {
    for (const layer of atlas.index.groups[group].layers) {
      const { start, units } = atlas.index.layers[layer];
      if (number >= start && number < start + units) return { layer, unit: number - start };
    }
    return null;
  }

  /** "layer/17" or "layer", not yet decoded -> {view: "unit" or "wall", ...}, or null. */
  function place(text) {
    const [name, number, ...more] = text.split("/").map(decodeURIComponent);
    if (more.length) return null;
    const layer = layerNamed(name);
    const group = layer < 0 ? groupNamed(name) : -1;
    if (layer < 0 && group < 0) return null;
    if (!number) return layer < 0 ? { view: "wall", group } : { view: "wall", layer };
    const unit = whole(number);
    if (layer >= 0) return unit >= 0 && unit < atlas.index.layers[layer].units ? { view: "unit", layer, unit } : null;
    const found = unit < 0 ? null : unitOfGroup(group, unit);
    return found && { view: "unit", ...found, moved: true };
  }

  function state(text) {
    const pairs = text.split("&").filter((part) => part.includes("="));
    return Object.fromEntries(
      pairs.map((part) => [part.slice(0, part.indexOf("=")), part.slice(part.indexOf("=") + 1)]),
    );
  }

  const fixed = {
    class: (rest) => (whole(rest) in atlas.index.classes ? { view: "class", number: whole(rest) } : null),
    image: (rest) => {
      const number = whole(rest);
      return number >= 0 && number < atlas.index.images ? { view: "image", number } : null;
    },
    embedding: (rest) => (atlas.index.embedding ? { view: "embedding", state: state(rest) } : null),
    search: (rest) => ({ view: "search", words: decodeURIComponent(rest) }),
    compare: (rest) => (atlas.index.other ? { view: "compare", state: state(rest) } : null),
    trust: (rest) => ({ view: "trust", part: rest }),
    about: () => ({ view: "about" }),
  };

  /** What an address asks for: {view, ...}; the view "lost" if it leads nowhere. */
  function parse(hash) {
    const text = hash.replace(/^#/, "");
    if (text === "") return { view: "network" };
    try {
      const colon = text.indexOf(":");
      const kind = text.slice(0, colon);
      if (colon < 0) return place(text) || { view: "lost", text };
      return (Object.hasOwn(fixed, kind) && fixed[kind](text.slice(colon + 1))) || { view: "lost", text };
    } catch {
      return { view: "lost", text }; // a percent sign that encodes nothing
    }
  }

  Object.assign(atlas, { to, parse, place, unitOfGroup });
}
