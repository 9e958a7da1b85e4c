/** Draws marks of tiles: by WebGL 2, or on a plain canvas where there is none. */
import { scale, toPixels } from "./plane.js";

/** Colours of marks; those from here on are of marks that step back. */
export const BACK = 8;
const VERTEX = `#version 300 es
in float x; in float y; in float shade;
uniform vec4 box; uniform vec4 colours[16]; uniform float size;
flat out vec3 colour;
void main() {
  vec4 own = colours[int(shade)];
  gl_Position = vec4(x * box.x + box.z, y * box.y + box.w, shade / 16.0, 1.0);
  gl_PointSize = size * own.a;
  colour = own.rgb;
}`;
const FRAGMENT = `#version 300 es
precision lowp float;
flat in vec3 colour; out vec4 painted;
void main() { painted = vec4(colour, 1.0); }`;

/**
 * @typedef {object} Style how marks look
 * @property {string} key of all that follows, and of the theme
 * @property {(tile: import("./plane.js").Tile, row: number) => number} shade position of a mark's colour
 * @property {number[][]} colours 16 of red, green, blue (0 to 1) and relative size; the first ones lie on top
 *
 * @typedef {object} Painter
 * @property {(size: import("./plane.js").Size, style: Style) => void} clear
 * @property {(tile: import("./plane.js").Tile, from: number, to: number, frame: import("./plane.js").Frame, size: import("./plane.js").Size, pixels: number) => void} draw
 *   some rows of a tile, as squares of so many pixels
 */

/** @param {HTMLCanvasElement} canvas @returns {Painter} */
export function painterOf(canvas) {
  // Kept, so that marks may be added in later frames.
  const gl = canvas.getContext("webgl2", { antialias: false, preserveDrawingBuffer: true });
  return gl ? byGraphics(canvas, gl) : byCanvas(canvas);
}

function fit(canvas, { width, height }) {
  const dense = devicePixelRatio || 1;
  const [across, down] = [Math.round(width * dense), Math.round(height * dense)];
  if (canvas.width !== across || canvas.height !== down) [canvas.width, canvas.height] = [across, down];
  return dense;
}

function shadesOf(tile, style) {
  return Uint8Array.from(tile.x, (_, row) => style.shade(tile, row));
}

/** @param {HTMLCanvasElement} canvas @param {WebGL2RenderingContext} gl @returns {Painter} */
function byGraphics(canvas, gl) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  gl.enable(gl.DEPTH_TEST);
  gl.depthFunc(gl.LEQUAL);
  const [box, colours, pointSize] = ["box", "colours", "size"].map((name) => gl.getUniformLocation(program, name));
  const held = new Map();
  let used = new Set();
  let style = null;
  let dense = 1;

  const fill = (name, values, kind, whole) => {
    const buffer = gl.createBuffer();
    const at = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, 1, kind, whole, 0, 0);
    return buffer;
  };
  const free = ({ array, buffers }) => {
    gl.deleteVertexArray(array);
    buffers.forEach((buffer) => gl.deleteBuffer(buffer));
  };
  const ready = (tile) => {
    used.add(tile);
    let own = held.get(tile);
    if (own?.key !== style.key) {
      if (own) free(own);
      const array = gl.createVertexArray();
      gl.bindVertexArray(array);
      own = { array, key: style.key, buffers: [fill("x", tile.x, gl.UNSIGNED_SHORT, true), fill("y", tile.y, gl.UNSIGNED_SHORT, true),
        fill("shade", shadesOf(tile, style), gl.UNSIGNED_BYTE, false)] };
      held.set(tile, own);
    }
    gl.bindVertexArray(own.array);
  };
  return {
    clear(size, next) {
      for (const [tile, own] of held) {
        if (used.has(tile)) continue;
        free(own);
        held.delete(tile);
      }
      used = new Set();
      style = next;
      dense = fit(canvas, size);
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.uniform4fv(colours, style.colours.flat());
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    },
    draw(tile, from, to, frame, size, pixels) {
      ready(tile);
      const [left, top] = toPixels(frame, size, tile.left, tile.top);
      const side = tile.side * scale(frame, size);
      gl.uniform4f(box, 2 * side / size.width, -2 * side / size.height, 2 * left / size.width - 1, 1 - 2 * top / size.height);
      gl.uniform1f(pointSize, pixels * dense);
      gl.drawArrays(gl.POINTS, from, to - from);
    },
  };
}

/** @param {HTMLCanvasElement} canvas @returns {Painter} */
function byCanvas(canvas) {
  const pen = canvas.getContext("2d");
  const held = new WeakMap();
  let style = null;
  return {
    clear(size, next) {
      style = next;
      const dense = fit(canvas, size);
      pen.setTransform(dense, 0, 0, dense, 0, 0);
      pen.clearRect(0, 0, size.width, size.height);
    },
    draw(tile, from, to, frame, size, pixels) {
      if (held.get(tile)?.key !== style.key) held.set(tile, { key: style.key, shades: shadesOf(tile, style) });
      const { shades } = held.get(tile);
      const [left, top] = toPixels(frame, size, tile.left, tile.top);
      const unit = tile.side * scale(frame, size) / 65536;
      // One colour after another, so that those of the first lie on top.
      for (let shade = style.colours.length - 1; shade >= 0; shade -= 1) {
        const [red, green, blue, share] = style.colours[shade];
        const wide = pixels * share;
        pen.fillStyle = `rgb(${red * 255} ${green * 255} ${blue * 255})`;
        for (let row = from; row < to; row += 1) {
          if (shades[row] === shade) pen.fillRect(left + tile.x[row] * unit - wide / 2, top + tile.y[row] * unit - wide / 2, wide, wide);
        }
      }
    },
  };
}
