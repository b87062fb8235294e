/** The map: a heat map, marks for points without a value, the boundary of the loss, the cursor and the chosen point. */
(function () {
  'use strict';

  const lop = window.lop;
  const MIN_TEXT_WIDTH = 30;
  const MIN_TEXT_HEIGHT = 15;
  const MIN_TICK_HEIGHT = 15;
  const CHARACTER_WIDTH = 6.2;

  /** Diameters of dots in pixels, each up to a number of dots. */
  const DOT_SIZES = [[150, 9], [600, 6], [Infinity, 4]];

  /** Opacity of the areas of bins behind dots. */
  const FAINT = 0.3;

  const MARGINS = { left: 38, top: 12, bottom: 52, score: 112, category: 172 };

  /** How the parts of the boundary look, the topmost last, and their marks in the legend. */
  const BOUNDARY = [
    { part: 'band', mark: 'dashed', width: 1.3, dash: '4px,3px' },
    { part: 'gap', mark: 'dotted', width: 2.2, dash: 'dot' },
    { part: 'line', mark: 'line', width: 2.2, dash: 'solid' },
  ];

  function inks() {
    const style = getComputedStyle(document.documentElement);
    return (name) => style.getPropertyValue(`--${name}`).trim();
  }

  function ends(edges) {
    return [edges[0], edges[edges.length - 1]];
  }

  /** The smallest width of a value's area, in pixels. */
  function smallestStep(field, pixels) {
    const [low, high] = ends(field.edges);
    const steps = field.edges.slice(1).map((edge, index) => edge - field.edges[index]);
    return (Math.min(...steps) / (high - low)) * pixels;
  }

  /** Estimate the width of the longest name of a field's values, in pixels. */
  function labelWidth(field) {
    return 10 + 7 * Math.max(...field.ticks.map((name) => name.length));
  }

  const isFew = (point, minSeeds) => point.defined > 0 && point.defined < minSeeds;

  /** Whether some points have few seeds, and others do not. */
  function isMixed(points, minSeeds) {
    return points.some((point) => point.defined >= minSeeds) && points.some((point) => isFew(point, minSeeds));
  }

  /** The text on a point. */
  function pointText(variable, point) {
    if (point.defined === 0) return '';
    if (variable.colours) return point.name === variable.background ? '' : `${point.number}/${point.defined}`;
    if (variable.decidable_only) return `${point.lost}/${point.decidable}`;
    return point.defined < point.cells ? `${point.defined} of ${point.cells}` : '';
  }

  function frame(layout, point, line) {
    const [x, y] = [layout.x.edges, layout.y.edges];
    return { type: 'rect', x0: x[point.x], x1: x[point.x + 1], y0: y[point.y], y1: y[point.y + 1], line, layer: 'above' };
  }

  function frames(layout, ink, chosen, cursor) {
    const outlined = (point, width, line) =>
      [frame(layout, point, { color: ink('paper'), width }), frame(layout, point, line)];
    const shapes = chosen ? outlined(chosen, 5, { color: ink('focus'), width: 3 }) : [];
    if (!cursor || (chosen && chosen.x === cursor.x && chosen.y === cursor.y)) return shapes;
    return [...shapes, ...outlined(cursor, 4, { color: ink('text'), width: 2, dash: 'dash' })];
  }

  /** The map of a view (what `main.js` computes from the state) on a layout of points. */
  class MapFigure {
    constructor(view, layout) {
      Object.assign(this, { view, layout, ink: inks(), plot: document.getElementById('plot') });
      [this.width, this.height] = [this.plot.clientWidth, this.plot.clientHeight];
      const right = view.variable.colours ? MARGINS.category : MARGINS.score;
      const left = MARGINS.left + labelWidth(layout.y);
      this.margin = { l: left, r: right, t: MARGINS.top, b: MARGINS.bottom, autoexpand: false };
      this.inner = { width: this.width - left - right, height: this.height - MARGINS.top - MARGINS.bottom };
    }

    /** A value per point as rows. */
    rows(of) {
      const { points } = this.view;
      const { rows, columns } = this.layout;
      return Array.from({ length: rows }, (_, y) => Array.from({ length: columns }, (__, x) => of(points[y * columns + x])));
    }

    /** The column and row of the points for which `of` is true. */
    places(of) {
      const { columns } = this.layout;
      return this.view.points.flatMap((point, p) => (of(point) ? [{ x: p % columns, y: Math.floor(p / columns) }] : []));
    }

    /** A value in the coordinates of the colour scale, and its ends for values beyond it. */
    clip(value) {
      const { scale } = this.view;
      return Math.min(Math.max(scale.draw(value), scale.low), scale.high);
    }

    heat() {
      const { variable, scale } = this.view;
      const { ink, inner } = this;
      const title = inner.height < 300 ? variable.short : variable.label;
      return {
        type: 'heatmap', x: this.layout.x.edges, y: this.layout.y.edges,
        z: this.rows(({ value }) => (Number.isNaN(value) ? null : this.clip(value))),
        zmin: scale.low, zmax: scale.high, colorscale: scale.colours, xgap: 1, ygap: 1, hoverinfo: 'none',
        opacity: this.view.dots ? FAINT : 1,
        colorbar: {
          title: { text: title, side: 'right', font: { size: 12 } },
          exponentformat: 'e', thickness: 14, outlinewidth: 0, len: 1, x: 1.015, xpad: 0, ticks: 'outside', ticklen: 4, tickcolor: ink('muted'),
          ...(scale.tickvals ? { tickvals: scale.tickvals, ticktext: scale.ticktext } : {}),
        },
      };
    }

    /** The counts on the points, clear of the boundary; none where points are too small, or where there are dots. */
    texts() {
      const { numbers, dots, variable, points, scale, boundary, fit } = this.view;
      const { layout, inner } = this;
      const [width, height] = [smallestStep(layout.x, inner.width), smallestStep(layout.y, inner.height)];
      if (!numbers || dots || width < MIN_TEXT_WIDTH || height < MIN_TEXT_HEIGHT) return [];
      const texts = this.places((point) => pointText(variable, point) !== '').map(({ x, y }) => {
        const point = points[y * layout.columns + x];
        const share = (this.clip(point.value) - scale.low) / (scale.high - scale.low);
        return { x, y, text: pointText(variable, point), share };
      });
      const lines = boundary && fit ? BOUNDARY.map(({ part }) => fit.lines(part)) : [];
      return [lop.textTrace(texts, layout, scale, lines, inner)];
    }

    /** A dot per configuration at its own values, where the map's areas are bins. */
    dots() {
      const { dots, scale } = this.view;
      if (!dots) return [];
      const base = { type: 'scatter', mode: 'markers', hoverinfo: 'skip', showlegend: false, cliponaxis: false };
      const places = (some) => ({ x: some.map(({ x }) => x), y: some.map(({ y }) => y) });
      const [known, unknown] = [dots.filter(({ value }) => !Number.isNaN(value)), dots.filter(({ value }) => Number.isNaN(value))];
      const [, size] = DOT_SIZES.find(([most]) => dots.length <= most);
      return [
        {
          ...base, ...places(known), name: 'dots',
          marker: {
            size, color: known.map(({ value }) => this.clip(value)), cmin: scale.low, cmax: scale.high, colorscale: scale.colours,
            showscale: false, line: { width: 1, color: this.ink('text') },
          },
        },
        { ...base, ...places(unknown), marker: { size: size - 1, symbol: 'x-thin', line: { width: 1.2, color: this.ink('muted') } } },
      ];
    }

    /** Hatched areas over the points for which `of` is true. */
    hatched(of, shape, colour) {
      const side = (edges, index) => [edges[index], edges[index + 1] - edges[index]];
      const places = this.places(of);
      const xSides = places.map(({ x }) => side(this.layout.x.edges, x));
      const ySides = places.map(({ y }) => side(this.layout.y.edges, y));
      return {
        type: 'bar', hoverinfo: 'skip', showlegend: false,
        x: xSides.map(([low, size]) => low + size / 2), width: xSides.map(([, size]) => size),
        base: ySides.map(([low]) => low), y: ySides.map(([, size]) => size),
        marker: {
          color: this.ink(colour), line: { width: 1, color: this.ink('paper') },
          pattern: { shape, size: 7, solidity: 0.22, fgcolor: this.ink('hatch'), fillmode: 'overlay' },
        },
      };
    }

    /** Small rings in a corner of the points with few seeds; none where all points have few. */
    rings() {
      const minSeeds = this.view.sweep.about.min_seeds;
      const at = (edges, index, share) => edges[index] + share * (edges[index + 1] - edges[index]);
      const places = isMixed(this.view.points, minSeeds) && !this.view.dots ? this.places((point) => isFew(point, minSeeds)) : [];
      return {
        type: 'scatter', mode: 'markers', hoverinfo: 'skip', showlegend: false,
        x: places.map(({ x }) => at(this.layout.x.edges, x, 0.86)), y: places.map(({ y }) => at(this.layout.y.edges, y, 0.84)),
        marker: { size: 5, color: this.ink('paper'), line: { color: this.ink('text'), width: 1 } },
      };
    }

    /** The fitted boundary and its band, each as dark lines on light ones. */
    boundary() {
      return BOUNDARY.flatMap(({ part, width, dash }) => {
        const line = { type: 'scatter', mode: 'lines', hoverinfo: 'skip', showlegend: false, ...this.view.fit.lines(part) };
        if (line.x.length === 0) return [];
        return [
          { ...line, line: { color: '#ffffff', width: width + 2 } },
          { ...line, name: part, line: { color: '#111111', width, dash } },
        ];
      });
    }

    axis(field, pixels, minPixels) {
      const [low, high] = ends(field.edges);
      let last = -Infinity;
      const ticks = field.values.map((_, index) => index).filter((index) => {
        const place = ((field.positions[index] - low) / (high - low)) * pixels;
        if (place - last < minPixels) return false;
        last = place;
        return true;
      });
      return {
        title: { text: lop.escape(field.label), standoff: 8 },
        tickvals: ticks.map((index) => field.positions[index]), ticktext: ticks.map((index) => lop.escape(field.ticks[index])),
        range: ends(field.edges), showgrid: false, zeroline: false, ticks: 'outside', tickcolor: this.ink('muted'),
        linecolor: this.ink('line'), fixedrange: true, tickangle: 0,
      };
    }

    /** Draw the map into `#plot`, with the cursor and the chosen point. */
    draw(cursor) {
      const { view, layout, ink, inner } = this;
      const traces = [
        this.heat(),
        this.hatched((point) => point.cells > 0 && point.defined === 0, 'x', 'undefined'),
        this.hatched((point) => point.cells === 0 && point.missing > 0, '/', 'missing'),
        this.rings(),
      ];
      if (view.boundary && view.fit) traces.push(...this.boundary());
      traces.push(...this.dots(), ...this.texts());
      const figure = {
        width: this.width, height: this.height, margin: this.margin, barmode: 'overlay', showlegend: false,
        paper_bgcolor: ink('paper'), plot_bgcolor: ink('ground'),
        font: { color: ink('text'), family: ink('font'), size: 12 },
        xaxis: this.axis(layout.x, inner.width, labelWidth(layout.x) + 4),
        yaxis: this.axis(layout.y, inner.height, MIN_TICK_HEIGHT),
        shapes: frames(layout, ink, view.point, cursor), uirevision: 'map',
      };
      return window.Plotly.react(this.plot, traces, figure, { staticPlot: true });
    }
  }

  function drawMap(view, layout, cursor) {
    return new MapFigure(view, layout).draw(cursor);
  }

  /** Move the frames of the cursor and of the chosen point without drawing anything else. */
  function moveFrames(layout, chosen, cursor) {
    return window.Plotly.relayout('plot', { shapes: frames(layout, inks(), chosen, cursor) });
  }

  /** The map as a figure of its own: with a title, and with the page's sentences under it. */
  function figureToSave(title, lines) {
    const { data, layout } = document.getElementById('plot');
    const wrapped = lines.flatMap((line) => lop.wrap(line, Math.floor((layout.width - 20) / CHARACTER_WIDTH)));
    const [above, below] = [30, 8 + 16 * wrapped.length];
    const { margin } = layout;
    const caption = {
      text: wrapped.map(lop.escape).join('<br>'),
      xref: 'paper', yref: 'paper', x: 0, y: 0, xshift: 10 - margin.l, yshift: -margin.b,
      xanchor: 'left', yanchor: 'top', align: 'left', showarrow: false, font: { size: 11, color: layout.font.color },
    };
    return {
      data,
      layout: {
        ...layout, shapes: [], height: layout.height + above + below,
        margin: { ...margin, t: margin.t + above, b: margin.b + below },
        title: { text: lop.escape(title), x: 0.02, font: { size: 15 } }, annotations: [caption],
      },
    };
  }

  /** Offer the map as a file. */
  function saveMap(name, title, lines) {
    const figure = figureToSave(title, lines);
    const { width, height } = figure.layout;
    return window.Plotly.downloadImage(figure, { format: 'png', scale: 2, width, height, filename: name });
  }

  /** The area of the points on the screen. */
  function inside() {
    const plot = document.getElementById('plot');
    const { l, t, w, h } = plot._fullLayout._size;
    const box = plot.getBoundingClientRect();
    return { left: box.left + l, top: box.top + t, width: w, height: h };
  }

  /** The value whose area contains a share of the way along an axis; -1 for none. */
  function indexAt(field, share) {
    const [low, high] = ends(field.edges);
    const place = low + share * (high - low);
    return share < 0 || share > 1 ? -1 : Math.min(field.edges.findLastIndex((edge) => edge <= place), field.values.length - 1);
  }

  /** The point under a place on the screen, or null. */
  function pointAt(layout, left, top) {
    const area = inside();
    const x = indexAt(layout.x, (left - area.left) / area.width);
    const y = indexAt(layout.y, 1 - (top - area.top) / area.height);
    return x >= 0 && y >= 0 ? { x, y } : null;
  }

  /** Where a point is on the screen. */
  function placeOf(layout, point) {
    const area = inside();
    const share = (field, index) => {
      const [low, high] = ends(field.edges);
      return ((field.edges[index] + field.edges[index + 1]) / 2 - low) / (high - low);
    };
    return {
      left: area.left + share(layout.x, point.x) * area.width,
      top: area.top + (1 - share(layout.y, point.y)) * area.height,
    };
  }

  Object.assign(lop, { BOUNDARY, drawMap, figureToSave, saveMap, moveFrames, pointAt, placeOf, inks, isMixed });
})();
