"use strict";

/* Elements. All text goes in as text: names are a stranger's bytes, and nothing here reads HTML. */
{
  const SVG = "http://www.w3.org/2000/svg"; // the name of a vocabulary; nothing is loaded from there

  /** An element: h("a.name.other", {href: "#", onclick: f, style: {"--w": 64}}, "text", child, [more], null). */
  function h(what, attributes = {}, ...children) {
    const [tag, ...classes] = what.split(".");
    return fill(document.createElement(tag), classes, attributes, children);
  }

  /** The same for a part of a drawing. */
  function svg(what, attributes = {}, ...children) {
    const [tag, ...classes] = what.split(".");
    return fill(document.createElementNS(SVG, tag), classes, attributes, children);
  }

  function fill(element, classes, attributes, children) {
    if (classes.length) element.classList.add(...classes);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (key === "style") {
        // The page's policy forbids style attributes, not properties that a script sets.
        for (const [property, v] of Object.entries(value)) element.style.setProperty(property, v);
      } else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
    return element;
  }

  /** A name that a stranger gave: isolated, because it may be written from right to left, and cut if it is long. */
  function name(text, title = text) {
    const empty = text.trim() === "";
    return h("bdi.name", { title: empty ? null : title, dir: "auto" }, empty ? "(no name)" : text);
  }

  /** A choice: <label>label <select id>. `options` are pairs of value and text. */
  function choice(id, label, options, value, onchange) {
    const select = h("select", { id, onchange: () => onchange(select.value) });
    for (const [v, text] of options) select.append(h("option", { value: v, selected: v === value }, text));
    return h("label.field", {}, h("span", {}, label), select);
  }

  Object.assign(atlas, { h, svg, name, choice });
}
