"use strict";

/* Moving over a drawing: drag, wheel, pinch and keys. The world is a square of `size`; the camera looks at (x, y). */
{
  const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  class Camera {
    /** `changed` is called after each move, `pointed` with a place of the canvas, `pressed` on a click that is no drag. */
    constructor(canvas, size, { changed, pointed, pressed }) {
      Object.assign(this, { canvas, size, changed, pointed, pressed, pointers: new Map(), moved: 0 });
      this.reset();
      canvas.addEventListener("wheel", (e) => this.wheel(e), { passive: false });
      canvas.addEventListener("pointerdown", (e) => this.down(e));
      canvas.addEventListener("pointermove", (e) => this.move(e));
      for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (e) => this.up(e));
      canvas.addEventListener("pointerleave", () => pointed(null));
      canvas.addEventListener("keydown", (e) => this.key(e));
    }

    get width() {
      return this.canvas.clientWidth;
    }

    get height() {
      return this.canvas.clientHeight;
    }

    /** The whole world in view. */
    reset() {
      this.x = this.y = this.size / 2;
      this.zoom = 1;
    }

    /** Pixels per unit of the world. */
    get scale() {
      return (0.94 * this.zoom * Math.min(this.width, this.height)) / this.size;
    }

    toScreen(x, y) {
      return [(x - this.x) * this.scale + this.width / 2, (y - this.y) * this.scale + this.height / 2];
    }

    /** Zooms by `factor`; the world under the place (px, py) of the canvas stays there. */
    zoomAt(factor, px = this.width / 2, py = this.height / 2) {
      const before = this.scale;
      this.zoom = Math.min(200, Math.max(0.8, this.zoom * factor));
      const k = 1 / before - 1 / this.scale;
      this.shift((px - this.width / 2) * k, (py - this.height / 2) * k);
    }

    /** Moves in units of the world; its middle cannot leave it. */
    shift(dx, dy) {
      const inside = (v) => Math.min(this.size, Math.max(0, v));
      this.x = inside(this.x + dx);
      this.y = inside(this.y + dy);
      this.changed();
    }

    place(event) {
      const box = this.canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    }

    wheel(event) {
      event.preventDefault();
      const pixels = event.deltaMode ? event.deltaY * 30 : event.deltaY;
      this.zoomAt(Math.exp(-Math.max(-200, Math.min(200, pixels)) / 300), ...this.place(event));
    }

    down(event) {
      this.canvas.setPointerCapture(event.pointerId);
      if (!this.pointers.size) this.moved = 0;
      this.pointers.set(event.pointerId, this.place(event));
    }

    move(event) {
      const to = this.place(event);
      const from = this.pointers.get(event.pointerId);
      if (!from) {
        this.pointed(to);
        return;
      }
      this.moved += Math.hypot(to[0] - from[0], to[1] - from[1]);
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
      this.pointers.set(event.pointerId, to);
      if (other) {
        const apart = (p) => Math.max(1, Math.hypot(p[0] - other[0], p[1] - other[1]));
        this.zoomAt(apart(to) / apart(from), (to[0] + other[0]) / 2, (to[1] + other[1]) / 2);
      } else this.shift((from[0] - to[0]) / this.scale, (from[1] - to[1]) / this.scale);
    }

    up(event) {
      const click = event.type === "pointerup" && this.pointers.size === 1 && this.moved < 5;
      this.pointers.delete(event.pointerId);
      if (click) this.pressed(this.place(event), event.pointerType);
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const step = KEYS[event.key];
      if (step) this.shift((60 * step[0]) / this.scale, (60 * step[1]) / this.scale);
      else if (event.key === "+" || event.key === "=") this.zoomAt(1.4);
      else if (event.key === "-") this.zoomAt(1 / 1.4);
      else if (event.key === "0") {
        this.reset();
        this.changed();
      } else if (event.key === "Enter") this.pressed([this.width / 2, this.height / 2], "key");
      else return;
      event.preventDefault();
      event.stopPropagation();
      if (event.key !== "Enter") this.pointed([this.width / 2, this.height / 2], true);
    }
  }

  atlas.Camera = Camera;
}
