"use strict";

/* The plane of the embedding: the canvas with its camera, and beside it the image that is pointed at. */
{
  const { h, to, text } = atlas;
  const SIZE = 4096; // of the world
  const kept = { map: "", x: 0, y: 0, zoom: 1 }; // the camera stays when colours change

  atlas.plane = function plane(points, map, paint) {
    const words = `${text.many(atlas.index.images, "image")} on a plane. Drag or arrow keys move, wheel, plus and minus zoom, 0 shows all, Enter opens the image in the middle.`;
    const canvas = h("canvas", { id: "map", tabindex: 0, role: "application", "aria-label": words });
    const about = h("aside.detail", { id: "pointed", "aria-live": "polite" }, hint());
    let waiting = 0;
    let side = 0; // of a point or a thumbnail
    const redraw = () => {
      waiting ||= requestAnimationFrame(() => {
        waiting = 0;
        Object.assign(kept, { map, x: camera.x, y: camera.y, zoom: camera.zoom });
        side = atlas.scatter.draw(canvas, camera, points, paint, redraw);
      });
    };
    const reach = () => Math.max(16, 0.75 * side);
    const at = (place, within) => atlas.scatter.nearest(camera, points, place, within);
    const camera = new atlas.Camera(canvas, SIZE, {
      changed: redraw,
      pointed: (place, byKey) => tell(about, place ? at(place, byKey ? Infinity : reach()) : -1),
      pressed: (place, by) => {
        const image = at(place, by === "key" ? Infinity : reach());
        if (image < 0) return;
        if (by === "touch")
          tell(about, image); // a finger cannot point: it shows first, the link opens
        else location.hash = to.image(image);
      },
    });
    if (kept.map === map) Object.assign(camera, { x: kept.x, y: kept.y, zoom: kept.zoom });
    const resized = new ResizeObserver(redraw);
    const button = (id, sign, label, act) =>
      h("button", { id, type: "button", "aria-label": label, title: label, onclick: act }, sign);
    const all = () => {
      camera.reset();
      redraw();
    };
    const buttons = h(
      "div.zoom",
      {},
      button("zoom-in", "+", "Closer", () => camera.zoomAt(1.6)),
      button("zoom-out", "−", "Farther", () => camera.zoomAt(1 / 1.6)),
      button("zoom-all", "⤢", "Show all", all),
    );
    return {
      content: h("div.beside.wide", {}, h("div.map", {}, canvas, buttons), about),
      settled() {
        resized.observe(canvas);
        redraw();
      },
      leave() {
        resized.disconnect();
        cancelAnimationFrame(waiting);
      },
    };
  };

  const hint = () =>
    h("p.soft", {}, "Point at an image to see it, click to open its page. Zoom in to see thumbnails.");

  function tell(about, image) {
    if (image < 0 || about.dataset.image === String(image)) return;
    about.dataset.image = image;
    const label = atlas.images.labels[image] ?? -1;
    const predicted = atlas.images.predicted[image] ?? -1;
    about.replaceChildren(
      atlas.imageTile(image),
      h("p", {}, h("a", { href: to.image(image), "data-image": image }, `Image ${image}`)),
      h(
        "dl",
        {},
        label < 0 ? null : [h("dt", {}, "class"), h("dd", {}, atlas.classLink(label))],
        predicted < 0 ? null : [h("dt", {}, "taken for"), h("dd", {}, atlas.classLink(predicted))],
      ),
    );
  }
}
