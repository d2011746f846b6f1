"use strict";

/* Drawing many images as points, or as thumbnails where few enough are in view. */
{
  const THUMBNAILS = 400; // in view

  /** Draws on `canvas` and returns the side of what stands for an image, in pixels.

  `points`: x0, y0, x1, y1 ...; `paint`: see paint.js. `redraw` is called when a sheet arrives. */
  function draw(canvas, camera, points, { colours, order }, redraw) {
    const { width, height } = camera;
    const context = prepare(canvas, width, height);
    const seen = [];
    for (const i of order) {
      const [x, y] = camera.toScreen(points[2 * i], points[2 * i + 1]);
      if (x > -32 && y > -32 && x < width + 32 && y < height + 32) seen.push([i, x, y]);
    }
    const small = seen.length > THUMBNAILS;
    const spacing = Math.sqrt((width * height) / Math.max(1, seen.length));
    const side = small
      ? Math.min(7, 1.5 + Math.sqrt(camera.zoom) + 60 / Math.sqrt(order.length))
      : Math.min(64, Math.max(20, 0.6 * spacing));
    if (small) dots(context, seen, colours, side);
    else thumbnails(context, seen, colours, side, redraw);
    canvas.dataset.mode = small ? "points" : "thumbnails";
    canvas.dataset.visible = seen.length;
    return side;
  }

  /** The canvas in the screen's own pixels, empty. */
  function prepare(canvas, width, height) {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    return context;
  }

  function dots(context, seen, colours, side) {
    for (const [i, x, y] of seen) {
      context.fillStyle = colours[i];
      context.fillRect(x - side / 2, y - side / 2, side, side);
    }
  }

  function thumbnails(context, seen, colours, side, redraw) {
    const { size } = atlas.index.tiles;
    for (const [i, x, y] of seen) {
      const place = atlas.tilePlace("images", i);
      const sheet = atlas.sheet(place.url);
      context.fillStyle = colours[i]; // a frame
      context.fillRect(x - side / 2 - 2, y - side / 2 - 2, side + 4, side + 4);
      if (sheet.complete && sheet.naturalWidth)
        context.drawImage(sheet, place.x, place.y, size, size, x - side / 2, y - side / 2, side, side);
      else sheet.addEventListener("load", redraw, { once: true });
    }
  }

  /** The image nearest to a place of the canvas, at most `reach` pixels away; -1 if there is none. */
  function nearest(camera, points, [px, py], reach) {
    let [best, least] = [-1, reach * reach];
    for (let i = 0; 2 * i < points.length; i += 1) {
      const [x, y] = camera.toScreen(points[2 * i], points[2 * i + 1]);
      const d = (x - px) ** 2 + (y - py) ** 2;
      if (d <= least) [best, least] = [i, d];
    }
    return best;
  }

  atlas.scatter = { draw, nearest };
}
