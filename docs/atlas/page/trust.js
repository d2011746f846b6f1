"use strict";

/* How far to trust each kind of picture and number. */
{
  const { h, name, to, text } = atlas;

  const PARTS = [
    [
      "deconv",
      "Deconvnets",
      [
        "A deconvnet (Zeiler & Fergus 2013) sends a signal from the unit back to the pixels: through the transposed filters, through the places where each max pool found its maximum, and through ReLUs that let only positive signals pass.",
        "It is not the gradient of anything. It partly recovers the image whatever the weights are: its rules let edges pass, and a network with random weights gives pictures much like those of a trained one (Nie et al. 2018; Adebayo et al. 2018). So compare it with the control on the unit's page, and compare several units on one image, not only several images of one unit.",
      ],
    ],
    [
      "gradient",
      "Gradients",
      [
        "The input gradient (Simonyan et al. 2014) says how the unit's map would change with each pixel. It asks the network itself: it depends on the weights. That is also why it looks noisier.",
        "It is local: it says what a small change would do, not what the unit has learned.",
      ],
    ],
    [
      "guided",
      "Guided backpropagation",
      [
        "Guided backpropagation (Springenberg et al. 2015) is the gradient, but a ReLU also stops negative signals. Its pictures are sharp. Like deconvnets they show much of the image whatever the weights are.",
      ],
    ],
    [
      "zero",
      "Mid-gray is zero",
      [
        "In each projection, mid-gray is zero, and black and white are the 99.5th percentile of the absolute values of that picture. Every picture has its own scale, so a faint one looks as strong as any other. A projection that is zero everywhere says so.",
        [
          "The pictures are stored with loss (WebP): look at them, but do not measure them. ",
          h("code", {}, "minidl deconv RUN --raw"),
          " saves the numbers of a projection.",
        ],
      ],
    ],
    [
      "likeness",
      "Likeness to the control",
      [
        "The same images go through the control, the network before training: its own initialiser draws the weights, and its batch normalizations take their statistics from the training images. The number says how alike the two pictures are (the sanity check of Adebayo et al. 2018).",
        "Such a number means nothing alone: pictures of different images are somewhat alike too, because a unit may never see the margin, or always the centre. So the page also says how alike those are, the null: its median over the units of the layer, and the bound that 95 % of them stay below. A likeness below this bound means that the picture depends on what was learned. A likeness above it means that a part of the picture is there with any weights: that part comes from the image and the architecture. The larger the number, the larger the part.",
        "A small likeness does not prove that the picture explains the unit. The picture has only passed a test that any explanation must pass.",
      ],
    ],
    [
      "deciles",
      "The strongest images mislead",
      [
        "Nine images out of thousands are the far end of a distribution. A unit whose nine images all show dogs may respond to many other things a little less. All images are sorted by how strongly they excite the unit and divided into ten equal parts; the row from strong to weak has the middle image of each. The histogram shows how rare the strong ones are.",
      ],
    ],
    [
      "selectivity",
      "Selectivity",
      [
        "Let m be the mean of |activation| over the images of one class (of the activation itself, if it is a single number such as a score). Selectivity is (largest m − mean of the others) / (|largest m| + |mean of the others|): 1 for a unit that only one class excites, 0 for one that all classes excite alike (Morcos et al. 2018). The selectivity of a score says little: a mean above zero for one class and below zero for the others makes it 1. A network can work well without selective units.",
      ],
    ],
    [
      "effects",
      "What classes lose without a unit",
      [
        "To set a unit to zero changes a score by about minus (activation times gradient), summed over the map. This is exact where the rest of the network is linear, and an estimate elsewhere. The nearer a unit is to the scores, the less there is after it that is not linear, and the better the estimate is as a rule. As a mean over all images it is worse, because effects of both signs nearly cancel there. So the pages show it class by class.",
      ],
    ],
    [
      "connections",
      "Weights between units",
      [
        "The number is the norm of the kernel from one unit to the other, with the scales of batch normalization folded in; its sign is that of the kernel's sum. A large weight matters only if the first unit is active. Units differ in scale: compare weights that lead to the same unit, not weights of different layers.",
      ],
    ],
    [
      "embedding",
      "PCA and t-SNE",
      [
        "PCA shows the two directions in which the features vary most, and hides all others. t-SNE keeps neighbours together and bends everything else: distances between groups and the sizes of groups mean little, and it can show groups where there are none.",
      ],
    ],
  ];

  atlas.views.trust = ({ part }) => ({
    title: "How far to trust a picture",
    up: to.network(),
    content: [
      h("h1", { id: "title" }, "How far to trust a picture"),
      h(
        "p.lead",
        {},
        "A picture of what a unit sees is made by a rule. Some rules show the unit, some mostly show the image. Here is what each picture and number can tell and what it cannot.",
      ),
      PARTS.filter(([id]) => !(id in rulesMade()) || rulesMade()[id]).map(section),
    ],
    settled() {
      document.getElementById(`trust-${part}`)?.scrollIntoView();
    },
  });

  /** Which of the three ways back this atlas has. */
  const rulesMade = () =>
    Object.fromEntries(["deconv", "gradient", "guided"].map((rule) => [rule, rule in atlas.index.rules]));

  function section([id, title, paragraphs]) {
    return h(
      "section.prose",
      { id: `trust-${id}` },
      h("h2", {}, title),
      paragraphs.map((p) => h("p", {}, p)),
      atlas.index.rules[id] ? h("p", {}, "In this atlas: ", h("b", {}, `${atlas.index.rules[id]}.`)) : null,
      id === "likeness" ? likeness() : null,
      id === "effects" ? effects() : null,
    );
  }

  /** Layer by layer: how well the estimate agrees with setting units to zero. */
  function effects() {
    const { all, layers, images } = atlas.index.effects;
    if (all.correlation === null)
      return h("p", {}, "In this atlas the estimate was not compared with really setting units to zero.");
    const rows = layers.map((agreement, l) => [l, agreement]).filter(([, { units }]) => units);
    return [
      h(
        "p",
        {},
        `In this atlas ${text.many(all.units, "unit")} were really set to zero on ${text.many(images, "image")}: the correlation of the estimate with the real change is ${text.hundredths(all.correlation)}. The table has it for each layer.`,
      ),
      table(
        "agreement",
        ["units", "correlation"],
        rows.map(([l, { units, correlation }]) => [
          l,
          h("td.value", {}, `${units}`),
          h("td.value", {}, correlation === null ? "" : text.hundredths(correlation)),
        ]),
      ),
    ];
  }

  /** Layer by layer: the median likeness, and its null. */
  function likeness() {
    const rules = Object.keys(atlas.index.rules);
    const rows = atlas.index.layers
      .map((layer, l) => [l, layer])
      .filter(([, { likeness: of }]) => rules.some((rule) => rule in of));
    if (!rows.length) return h("p", {}, "This atlas has no control.");
    const cell = (layer, rule) => {
      const value = layer.likeness[rule];
      const none = layer.null[rule];
      if (value === undefined) return h("td", {}, "");
      return h(
        "td.value",
        {},
        h(none && value > none.upper ? "b.alike" : "b", {}, text.hundredths(value)),
        none ? h("small", {}, ` (${text.hundredths(none.median)}, ${text.hundredths(none.upper)})`) : null,
      );
    };
    return [
      h(
        "p",
        {},
        `Here: ${atlas.index.measure}. The table has the median over the units of each layer and, in brackets, the median of the null and its 95 % bound.`,
      ),
      table(
        "likeness",
        rules,
        rows.map(([l, layer]) => [l, ...rules.map((rule) => cell(layer, rule))]),
      ),
    ];
  }

  /** A table of layers: each row has the number of a layer, and its cells. */
  function table(id, heads, rows) {
    const head = ([l, ...cells]) => {
      const layer = atlas.index.layers[l].name;
      return h("tr", {}, h("th", { scope: "row" }, h("a", { href: to.layer(l), "data-layer": layer }, name(layer))), cells);
    };
    return h(
      "div.scroll",
      {},
      h(
        "table.plain",
        { id },
        h("thead", {}, h("tr", {}, ["layer", ...heads].map((words) => h("th", { scope: "col" }, words)))),
        h("tbody", {}, rows.map(head)),
      ),
    );
  }
}
