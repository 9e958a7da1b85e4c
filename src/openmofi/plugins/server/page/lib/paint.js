/** Draws marks of tiles: by WebGL 2, or pixel by pixel where no graphics card does it, which is quicker than to imitate one. */
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
 * @property {() => void} show what was drawn
 */

const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;
let card = null;

/** Whether WebGL 2 is there, and drawn by a graphics card. */
function hasCard() {
  const gl = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  if (!gl) return false;
  const about = gl.getExtension("WEBGL_debug_renderer_info");
  const name = gl.getParameter(about ? about.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return !SOFTWARE.test(name);
}

/** @param {HTMLCanvasElement} canvas @returns {Painter} */
export function painterOf(canvas) {
  card ??= hasCard();
  // Kept, so that marks may be added in later frames.
  const gl = card && canvas.getContext("webgl2", { antialias: false, preserveDrawingBuffer: true });
  return gl ? byGraphics(canvas, gl) : byPixels(canvas);
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
    show() {},
  };
}

/** @param {HTMLCanvasElement} canvas @returns {Painter} */
function byPixels(canvas) {
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const held = new WeakMap();
  let style = null;
  let dense = 1;
  let image = null;
  let pixels = null;
  let layers = null;
  let colours = null;
  return {
    clear(size, next) {
      style = next;
      dense = fit(canvas, size);
      if (image?.width !== canvas.width || image.height !== canvas.height) {
        image = pen.createImageData(canvas.width, canvas.height);
        pixels = new Uint32Array(image.data.buffer);
        layers = new Uint8Array(pixels.length);
      }
      pixels.fill(0);
      layers.fill(style.colours.length);
      colours = style.colours.map((parts) => new Uint32Array(Uint8Array.from([...parts.slice(0, 3).map((part) => Math.round(part * 255)), 255]).buffer)[0]);
    },
    draw(tile, from, to, frame, size, wide) {
      if (held.get(tile)?.key !== style.key) held.set(tile, { key: style.key, shades: shadesOf(tile, style) });
      const { shades } = held.get(tile);
      const [left, top] = toPixels(frame, size, tile.left, tile.top).map((value) => value * dense);
      const unit = tile.side * scale(frame, size) * dense / 65536;
      const sides = style.colours.map(([, , , share]) => Math.max(1, Math.round(wide * dense * share)));
      const { width, height } = image;
      for (let row = from; row < to; row += 1) {
        const shade = shades[row];
        const side = sides[shade];
        const across = Math.round(left + tile.x[row] * unit - side / 2);
        const down = Math.round(top + tile.y[row] * unit - side / 2);
        if (across + side <= 0 || down + side <= 0 || across >= width || down >= height) continue;
        const end = Math.min(width, across + side);
        for (let y = Math.max(0, down); y < Math.min(height, down + side); y += 1) {
          for (let at = y * width + Math.max(0, across), last = y * width + end; at < last; at += 1) {
            if (shade > layers[at]) continue;
            layers[at] = shade;
            pixels[at] = colours[shade];
          }
        }
      }
    },
    show() {
      pen.putImageData(image, 0, 0);
    },
  };
}
