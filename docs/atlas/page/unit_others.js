"use strict";

/* A unit and others: its connections, itself in earlier epochs, and its match in another network. */
{
  const { h, name, to, text } = atlas;

  atlas.connections = function connections(record) {
    const side = (id, title, links, none) =>
      h(
        "section",
        { id },
        h("h2", {}, title),
        links.length
          ? atlas.what(
              "The number is the norm of the kernel between the two units, with batch normalization folded in. + excites, − inhibits.",
              "connections",
            )
          : null,
        links.length ? h("div.units", {}, links.map(weight)) : h("p.soft", {}, none),
      );
    return h(
      "div.columns.two",
      {},
      side(
        "incoming",
        "Strongest incoming weights",
        record.incoming,
        "None: it sees the pixels, or its weights are not known.",
      ),
      side(
        "outgoing",
        "Strongest outgoing weights",
        record.outgoing,
        "None: nothing with weights follows, or they are not known.",
      ),
    );
  };

  function weight([layer, unit, value]) {
    const card = atlas.unitCard(layer, unit, text.signed(value));
    card.classList.add(value < 0 ? "negative" : "positive");
    return card;
  }

  /** What is in files of its own: snapshots of the run, and the network of --compare. */
  atlas.unitOthers = async function unitOthers(layer, unit, record) {
    const { snapshots, other, layout } = atlas.index;
    const matches = other ? await atlas.load(`other-${atlas.three(layer)}`).catch(missing) : null;
    const match = matches && matches[unit];
    const drawn = layout.width > 0 && record.drawn; // so are the snapshots' units and the matches
    return [
      snapshots.length ? epochs(layer, unit, record, drawn) : null,
      match ? matching(layer, unit, match, drawn) : null,
    ];
  };

  /** The page goes on without a file, and says so. */
  function missing(error) {
    atlas.notice(error.message);
    return null;
  }

  /** A slider through the snapshots of the run; the last step is the network of this atlas. */
  function epochs(layer, unit, record, drawn) {
    const { snapshots } = atlas.index;
    const place = h("div.nine.small", { style: { "--rows": drawn ? 2 : 1 } });
    const words = h("output", { for: "epochs", id: "epoch" });
    const slider = h("input", {
      id: "epochs",
      type: "range",
      min: 0,
      max: snapshots.length,
      step: 1,
      value: snapshots.length,
      "aria-label": "Epoch",
    });
    const show = async () => {
      const step = Number(slider.value);
      const snapshot = snapshots[step];
      const said = snapshot
        ? `after epoch ${snapshot.epoch}${snapshot.top1 === null ? "" : `, accuracy ${text.percent(snapshot.top1)}`}`
        : "the network of this atlas";
      words.textContent = said;
      slider.setAttribute("aria-valuetext", said);
      try {
        const columns = snapshot
          ? await columnsOf(snapshot, layer, unit, drawn)
          : columnsNow(layer, unit, record, drawn);
        if (Number(slider.value) === step) place.replaceChildren(...columns);
      } catch (error) {
        missing(error);
      }
    };
    slider.addEventListener("input", show);
    show();
    return h(
      "section",
      { id: "through" },
      h("h2", {}, "Through training"),
      h("div.slider", {}, slider, words),
      place,
      atlas.what(
        `The images that excited the unit most at that time${drawn ? ", and their deconvnets" : ""} (Zeiler & Fergus 2013, figure 4).`,
        "deconv",
      ),
    );
  }

  async function columnsOf({ epoch }, layer, unit, drawn) {
    const series = `epoch-${atlas.three(epoch)}-${atlas.three(layer)}`;
    const { top } = (await atlas.load(series))[unit];
    return top.map((pair, rank) => column(pair, drawn, series, unit * atlas.index.layout.parts.deconv?.[1] + rank));
  }

  function columnsNow(layer, unit, record, drawn) {
    const first = atlas.index.layout.parts.deconv?.[0] ?? 0;
    return record.top.map((pair, rank) =>
      column(pair, drawn, `units-${atlas.three(layer)}`, unit * atlas.index.layout.width + first + rank),
    );
  }

  const column = ([image, value], drawn, series, t) =>
    h(
      "div.column",
      {},
      atlas.imageTile(image),
      drawn ? atlas.tile(series, t, `deconvnet of image ${image}`) : null,
      h("small", {}, text.number(value)),
    );

  function matching(layer, unit, match, drawn) {
    const series = `other-${atlas.three(layer)}`;
    return h(
      "section",
      { id: "match" },
      h("h2", {}, "Its match in the other network"),
      h(
        "p",
        {},
        "In ",
        name(atlas.index.other.title),
        ", its match, the unit that responds most like it, is ",
        h("b", {}, name(match.layer), `/${match.unit}`),
        `: the correlation of their responses over all images is ${text.hundredths(match.correlation)}, its selectivity ${text.selectivity(match.selectivity)}. `,
        h("a", { href: to.compare(layer) }, "Compare the whole layer"),
      ),
      h(
        "div.nine.small",
        { style: { "--rows": drawn ? 2 : 1 } },
        match.top.map((pair, rank) =>
          column(pair, drawn, series, unit * atlas.index.layout.parts.deconv?.[1] + rank),
        ),
      ),
      atlas.what(`The images that excite the match most${drawn ? ", and what it sees in them" : ""}.`, "deconv"),
    );
  }
}
