/** The texts on the points of a map: where the lines of the boundary leave room, in black or white. */
(function () {
  'use strict';

  const lop = window.lop;
  const SIZE = 10.5;
  const CHARACTER_WIDTH = 6.5;
  const HEIGHT = 12;
  const MARGIN = 2;
  const CLEARANCE = 5;
  const SAMPLE = 3;

  /** Places that are tried along each side of an area, as shares of the room; the first is its middle. */
  const PLACES = 9;
  const SHIFTS = Array.from({ length: PLACES ** 2 }, (_, index) =>
    [index % PLACES, Math.floor(index / PLACES)].map((step) => (2 * step) / (PLACES - 1) - 1));
  SHIFTS.sort((a, b) => Math.hypot(...a) - Math.hypot(...b));

  /** From coordinates along a field's axis to pixels, and back. */
  function pixelsAlong(field, pixels) {
    const [low, high] = [field.edges[0], field.edges[field.edges.length - 1]];
    const perUnit = pixels / (high - low);
    return { to: (value) => (value - low) * perUnit, from: (pixel) => low + pixel / perUnit };
  }

  /** Points on lines, a few pixels apart; NaN ends a line. */
  function sampled({ x, y }, along, up) {
    const places = [];
    for (let i = 1; i < x.length; i += 1) {
      const [from, to] = [i - 1, i].map((at) => [along.to(x[at]), up.to(y[at])]);
      const length = Math.hypot(to[0] - from[0], to[1] - from[1]);
      if (Number.isNaN(length)) continue;
      const steps = Math.max(1, Math.ceil(length / SAMPLE));
      for (let step = 0; step <= steps; step += 1) places.push([0, 1].map((k) => from[k] + ((to[k] - from[k]) * step) / steps));
    }
    return places;
  }

  /** Where the middle of a text can be within an area, the nearest to the area's middle; null where there is no room. */
  function place(text, [left, right, bottom, top], obstacles) {
    const half = [(text.length * CHARACTER_WIDTH) / 2, HEIGHT / 2];
    const slack = [(right - left) / 2 - half[0] - MARGIN, (top - bottom) / 2 - half[1] - MARGIN];
    if (slack.some((room) => room < 0)) return null;
    const near = obstacles.filter(([x, y]) => x >= left && x <= right && y >= bottom && y <= top);
    const middle = [(left + right) / 2, (bottom + top) / 2];
    const touches = (centre) => near.some((at) => at.every((value, k) => Math.abs(value - centre[k]) <= half[k] + CLEARANCE));
    const centres = SHIFTS.map((shift) => middle.map((value, k) => value + shift[k] * slack[k]));
    return centres.find((centre) => !touches(centre)) ?? null;
  }

  /** Black or white, whichever is readable on the colour of a share of a scale. */
  function inkOn({ colours }, share) {
    const colour = colours.findLast(([from]) => from <= share + 1e-9)?.[1] ?? colours[0][1];
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255);
    return 3 * red + 6 * green + blue > 5 ? '#111111' : '#ffffff';
  }

  /**
   * A trace with the texts of points, `{ x, y, text, share }` each: column, row, and the share of the colour scale that
   * the point has. `lines` are those of the boundary that are drawn; `inner` is the size of the map in pixels.
   */
  function textTrace(texts, layout, scale, lines, inner) {
    const [along, up] = [pixelsAlong(layout.x, inner.width), pixelsAlong(layout.y, inner.height)];
    const obstacles = lines.flatMap((line) => sampled(line, along, up));
    const placed = texts.flatMap(({ x, y, text, share }) => {
      const xs = [0, 1].map((end) => along.to(layout.x.edges[x + end]));
      const ys = [0, 1].map((end) => up.to(layout.y.edges[y + end]));
      const centre = place(text, [...xs, ...ys], obstacles);
      return centre ? [{ x: along.from(centre[0]), y: up.from(centre[1]), text, colour: inkOn(scale, share) }] : [];
    });
    return {
      type: 'scatter', mode: 'text', name: 'texts', hoverinfo: 'skip', showlegend: false,
      x: placed.map((one) => one.x), y: placed.map((one) => one.y), text: placed.map((one) => one.text),
      textposition: 'middle center', textfont: { size: SIZE, color: placed.map((one) => one.colour) },
    };
  }

  Object.assign(lop, { textTrace });
})();
