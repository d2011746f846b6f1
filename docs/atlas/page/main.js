"use strict";

/* Shows the page that the address asks for.

A view is a function atlas.views.NAME of a parsed address. It returns (a promise of) a page:
    title           for the window
    content         elements, into <main>
    up              the address above, for Escape when there is nothing to go back to
    before, after   addresses of the neighbours, or null
    settled()       called when the content is on the page: preloads, measures
    leave()         called before the next page

For tests, these stay as they are:
    main#main[data-view]       network, wall, unit, class, image, embedding, search, compare, trust, about, lost, broken
    main#main[data-address]    the address whose page is complete ("#" for the network); aria-busy is "false" then
    a[data-unit="LAYER/17"], a[data-image="345"], a[data-class="17"], a[data-layer="LAYER"]    links
    #home #nav #search #theme #notice #title #prev #next
    wall         #sort #filter-share #filter-state #filter-class #wall > a.cell #shown #detail
    unit         #nine > .column  #rules #control #incoming #outgoing #epochs #epoch #through #match
    class        #mistakes #modules        image   #prediction #modules #seen #more
    embedding    #map (canvas; data-mode points or thumbnails, data-visible) #embed-map #embed-colour #embed-class
                 #embed-layer #embed-unit #zoom-in #zoom-out #zoom-all #pointed #legend
    search       #found-classes #found-groups #found-layers #found-units #found-images #found-all #nothing
    compare      #compare-layer .match      trust   #trust-likeness ... #likeness (table)
Arrow keys replace the entry in the browser's history (so Back and Escape lead out of a walk), links add one. */
{
  const { h, name, to } = atlas;
  const main = document.getElementById("main");
  const search = document.getElementById("search");
  const nav = document.getElementById("nav");
  const places = new Map(); // entry of the browser's history -> how far it was scrolled
  let page = {};
  let entry = 0; // number of the entry that is shown
  let turn = 0;

  const here = () => location.hash || "#";
  const shown = () => main.dataset.address === here(); // not while the browser is on its way to another address

  async function show() {
    const mine = (turn += 1);
    const address = atlas.parse(location.hash);
    main.setAttribute("aria-busy", "true");
    atlas.notice("");
    let next;
    try {
      next = await atlas.views[address.view](address);
    } catch (error) {
      if (!error.file) console.error(error); // a fault of the page, not of the folder
      next = broken(error);
    }
    if (mine !== turn) return; // another address came in between
    if (address.moved) return location.replace(to.unit(address.layer, address.unit));
    page.leave?.();
    const same = page.view === (next.view || address.view);
    page = { view: address.view, ...next };
    put(same);
    page.settled?.();
    main.dataset.address = here();
    main.setAttribute("aria-busy", "false");
  }

  /** Puts the page into the window; the focus stays where it was if that is still there. */
  function put(same) {
    const focused = document.activeElement?.id;
    const held = main.contains(document.activeElement) && focused;
    document.title = `${page.title} · ${atlas.index.title}`;
    main.dataset.view = page.view;
    for (const link of nav.children) {
      if (link.dataset.for === page.view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    main.replaceChildren(...page.content.flat(Infinity).filter(Boolean));
    if (held && document.getElementById(focused)) document.getElementById(focused).focus({ preventScroll: true });
    else if (document.activeElement !== search) main.focus({ preventScroll: true });
    if (page.view !== "search") search.value = "";
    const number = history.state?.entry;
    const known = number !== undefined && number !== entry; // Back or Forward
    if (number === undefined) history.replaceState({ entry: stepping ? entry : entry + 1 }, "");
    entry = history.state.entry;
    window.scrollTo(
      0,
      known ? (places.get(entry) ?? 0) : same && (stepping || page.view === "embedding") ? window.scrollY : 0,
    );
    stepping = false;
  }

  let stepping = false; // whether the next address takes the place of this one

  function step(address) {
    stepping = true;
    location.replace(address);
  }

  function back() {
    if (entry > 1) history.back();
    else if (page.up && page.view !== "network") step(page.up); // opened here: there is nothing to go back to
  }

  atlas.views.lost = (address = {}) => ({
    view: "lost",
    title: "Not found",
    up: to.network(),
    content: [
      h("h1", { id: "title" }, "Nothing here"),
      h(
        "p.lead",
        {},
        "This atlas has no page ",
        address.text ? name(address.text) : "with this address",
        ". ",
        h("a", { href: "#" }, "To the start"),
      ),
    ],
  });

  const broken = (error) => ({
    view: "broken",
    title: "Not complete",
    up: to.network(),
    content: [
      h("h1", { id: "title" }, "This page is not complete"),
      h("p.lead", {}, error.message, " ", h("a", { href: "#" }, "To the start")),
    ],
  });

  /** The links at the top, and the search that shows what it finds while one types. */
  function head() {
    const { index } = atlas;
    document.getElementById("home").append(name(index.title));
    const links = [
      ["network", "Network", "#"],
      ["search", "Classes", to.search("")],
      ["embedding", "Embedding", index.embedding && to.embedding()],
      ["compare", "Compare", index.other && to.compare()],
      ["trust", "How far to trust", to.trust()],
      ["about", "About", to.about()],
    ].filter(([, , href]) => href);
    nav.append(...links.map(([view, words, href]) => h("a", { href, "data-for": view }, words)));
    document.getElementById("skip").addEventListener("click", (event) => {
      event.preventDefault(); // its address would be a layer's
      main.focus();
    });
    search.addEventListener("input", () => {
      if (page.view === "search") step(to.search(search.value));
      else location.hash = to.search(search.value);
    });
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") main.querySelector("section a")?.focus();
    });
  }

  async function start() {
    history.scrollRestoration = "manual";
    try {
      atlas.index = await atlas.load("atlas");
    } catch (error) {
      main.replaceChildren(h("h1", {}, "This atlas does not open"), h("p", {}, error.message));
      main.dataset.view = "broken";
      main.setAttribute("aria-busy", "false");
      return;
    }
    document.documentElement.style.setProperty("--size", atlas.index.tiles.size);
    head();
    atlas.themeSwitch(document.getElementById("theme"), () => page.view === "embedding" && show()); // a canvas has no style sheet
    atlas.listenToKeys({ page: () => page, step, back, search });
    window.addEventListener("hashchange", show);
    window.addEventListener("scroll", () => shown() && places.set(entry, window.scrollY), { passive: true });
    await show();
  }

  start();
}
