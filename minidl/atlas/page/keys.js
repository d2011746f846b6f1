"use strict";

/* Keys: arrows to the neighbours, / for the search, Escape back, or first out of a field. */
{
  const field = (element) => element.matches("input, select, textarea");
  const typing = (element) => field(element) || element.matches("canvas");

  /** `page()` returns the page that is shown: {before, after}; `step(address)` goes to a neighbour; `back()` goes back. */
  atlas.listenToKeys = ({ page, step, back, search }) => {
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const target = event.target instanceof Element ? event.target : document.body;
      if (event.key === "Escape") {
        if (field(target)) target.blur();
        else back();
      } else if (typing(target)) return;
      else if (event.key === "/") search.focus();
      else if (event.key === "ArrowLeft" && page().before) step(page().before);
      else if (event.key === "ArrowRight" && page().after) step(page().after);
      else return;
      event.preventDefault();
    });
  };
}
