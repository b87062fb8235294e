/** The map: a heat map with marks for what has no value, the boundary of the loss, the cursor and the chosen point. */
(function () {
  'use strict';

  const lop = window.lop;
  const TEXT_WIDTH = 30;
  const TEXT_HEIGHT = 15;
  const TICK_HEIGHT = 15;
  const CHARACTER_WIDTH = 6.2;

  function inks() {
    const style = getComputedStyle(document.documentElement);
    return (name) => style.getPropertyValue(`--${name}`).trim();
  }

  /** A flat array as rows. */
  function asRows(layout, of) {
    return Array.from({ length: layout.rows }, (_, row) =>
      Array.from({ length: layout.columns }, (__, column) => of(row * layout.columns + column)));
  }

  function extent(edges) {
    return [edges[0], edges[edges.length - 1]];
  }

  function smallestStep(field, pixels) {
    const [low, high] = extent(field.edges);
    const steps = field.edges.slice(1).map((edge, index) => edge - field.edges[index]);
    return (Math.min(...steps) / (high - low)) * pixels;
  }

  function clip(scale, value) {
    return Math.min(Math.max(scale.draw(value), scale.low), scale.high);
  }

  function cellText(shown, point) {
    if (point.defined === 0) return '';
    if (shown.colours) return point.name === shown.background ? '' : `${point.number}/${point.defined}`;
    if (shown.judged) return `${point.lost}/${point.judged}`;
    return point.defined < point.cells ? `${point.defined} of ${point.cells}` : '';
  }

  function heat(layout, points, shown, scale, ink, withText, upright) {
    const marks = scale.tickvals ? { tickvals: scale.tickvals, ticktext: scale.ticktext } : {};
    const text = withText ? { text: asRows(layout, (p) => cellText(shown, points[p])), texttemplate: '%{text}' } : {};
    return {
      type: 'heatmap', x: layout.x.edges, y: layout.y.edges,
      z: asRows(layout, (p) => (Number.isNaN(points[p].value) ? null : clip(scale, points[p].value))),
      zmin: scale.low, zmax: scale.high, colorscale: scale.colours, xgap: 1, ygap: 1, hoverinfo: 'none',
      ...text, textfont: { size: 10.5 },
      colorbar: {
        title: { text: upright < 300 ? lop.shortLabel(shown) : shown.label, side: 'right', font: { size: 12 } }, thickness: 14, outlinewidth: 0, len: 1, x: 1.015, xpad: 0,
        ticks: 'outside', ticklen: 4, tickcolor: ink('muted'), ...marks,
      },
    };
  }

  /** Hatched areas over the points of which `of` is true. */
  function hatched(layout, points, of, shape, ink) {
    const chosen = points.map((point, p) => (of(point) ? p : -1)).filter((p) => p >= 0);
    const side = (edges, index) => [edges[index], edges[index + 1] - edges[index]];
    const across = chosen.map((p) => side(layout.x.edges, p % layout.columns));
    const up = chosen.map((p) => side(layout.y.edges, Math.floor(p / layout.columns)));
    return {
      type: 'bar', hoverinfo: 'skip', showlegend: false,
      x: across.map(([low, size]) => low + size / 2), width: across.map(([, size]) => size),
      base: up.map(([low]) => low), y: up.map(([, size]) => size),
      marker: {
        color: ink(shape === 'x' ? 'undefined' : 'waiting'), line: { width: 1, color: ink('paper') },
        pattern: { shape, size: 7, solidity: 0.22, fgcolor: ink('hatch'), fillmode: 'overlay' },
      },
    };
  }

  /** Small rings in a corner of the points with few seeds; none where all points have few. */
  function rings(layout, points, few, ink) {
    const at = (edges, index, share) => edges[index] + share * (edges[index + 1] - edges[index]);
    const chosen = isMixed(points, few)
      ? points.map((point, p) => (isFew(point, few) ? p : -1)).filter((p) => p >= 0) : [];
    return {
      type: 'scatter', mode: 'markers', hoverinfo: 'skip', showlegend: false,
      x: chosen.map((p) => at(layout.x.edges, p % layout.columns, 0.86)),
      y: chosen.map((p) => at(layout.y.edges, Math.floor(p / layout.columns), 0.84)),
      marker: { size: 5, color: ink('paper'), line: { color: ink('text'), width: 1 } },
    };
  }

  const isFew = (point, few) => point.defined > 0 && point.defined < few;
  const isMixed = (points, few) => points.some((point) => point.defined >= few) && points.some((point) => isFew(point, few));

  /**
   * Shares of which the contour at 1/2 is drawn: P(lost), and the ends of its interval. The latter not at points with
   * so few seeds that the interval always holds 1/2.
   */
  const SHARES = {
    middle: ({ lost, judged }) => (judged ? lost / judged : null),
    low: ({ lost, judged }, telling) => (judged < telling ? null : lop.wilson(lost, judged)[0]),
    high: ({ lost, judged }, telling) => (judged < telling ? null : lop.wilson(lost, judged)[1]),
  };

  /** The contour at 1/2 of a share; beyond the outermost points it is taken to be theirs. */
  function boundary(layout, points, telling, end, look) {
    const share = (p) => SHARES[end](points[p], telling);
    const padded = (list) => [list[0], ...list, list[list.length - 1]];
    const ends = (field) => [field.edges[0], ...field.positions, field.edges[field.edges.length - 1]];
    return {
      type: 'contour', x: ends(layout.x), y: ends(layout.y), z: padded(asRows(layout, share).map(padded)),
      contours: { start: 0.5, end: 0.5, size: 1, coloring: 'none' }, line: { smoothing: 0, ...look },
      showscale: false, hoverinfo: 'skip', connectgaps: false,
    };
  }

  /** About how many pixels the longest name of a field's values takes. */
  function labelWidth(field) {
    return 10 + 7 * Math.max(...lop.shortNames(field.values).map((name) => name.length));
  }

  function axis(field, pixels, least, ink) {
    const names = lop.shortNames(field.values);
    const every = Math.max(1, Math.ceil((field.values.length * least) / Math.max(pixels, 1)));
    const shown = field.values.map((_, index) => index).filter((index) => index % every === 0);
    const notes = [field.binned ? 'in bins' : '', field.scale === 'index' ? 'not to scale' : ''].filter(Boolean);
    return {
      title: { text: [field.label, ...notes].join(', '), standoff: 8 },
      tickvals: shown.map((index) => field.positions[index]), ticktext: shown.map((index) => names[index]),
      range: extent(field.edges), showgrid: false, zeroline: false, ticks: 'outside', tickcolor: ink('muted'),
      linecolor: ink('line'), fixedrange: true, tickangle: 0,
    };
  }

  function frame(layout, point, colour, width, dash) {
    const [x, y] = [layout.x.edges, layout.y.edges];
    return {
      type: 'rect', x0: x[point.x], x1: x[point.x + 1], y0: y[point.y], y1: y[point.y + 1],
      line: { color: colour, width, dash }, layer: 'above',
    };
  }

  function frames(layout, ink, chosen, cursor) {
    const shapes = chosen ? [frame(layout, chosen, ink('paper'), 5, 'solid'), frame(layout, chosen, ink('focus'), 3, 'solid')] : [];
    if (!cursor || (chosen && chosen.x === cursor.x && chosen.y === cursor.y)) return shapes;
    return [...shapes, frame(layout, cursor, ink('paper'), 4, 'solid'), frame(layout, cursor, ink('text'), 2, 'dash')];
  }

  /**
   * Draw the map into `#plot`.
   *
   * `points` is what `summarise` gave; `cursor` and `chosen` are points `{x, y}` or null. Only what has changed is drawn
   * again.
   */
  function drawMap(sweep, layout, points, shown, scale, options) {
    const plot = document.getElementById('plot');
    const ink = inks();
    const [width, height] = [plot.clientWidth, plot.clientHeight];
    const right = shown.colours ? 172 : 104;
    const [inner, upright] = [width - 38 - labelWidth(layout.y) - right, height - 64];
    const roomy = smallestStep(layout.x, inner) >= TEXT_WIDTH && smallestStep(layout.y, upright) >= TEXT_HEIGHT;
    const undefinedAt = (point) => point.cells > 0 && point.defined === 0;
    const traces = [
      heat(layout, points, shown, scale, ink, roomy && options.numbers, upright),
      hatched(layout, points, undefinedAt, 'x', ink),
      hatched(layout, points, (point) => point.cells === 0 && point.waiting > 0, '/', ink),
      rings(layout, points, sweep.about.few, ink),
    ];
    const { telling } = sweep.about;
    if (options.boundary) {
      for (const end of ['low', 'high']) {
        traces.push(boundary(layout, points, telling, end, { color: '#ffffff', width: 3 }));
        traces.push(boundary(layout, points, telling, end, { color: '#111111', width: 1.2, dash: '4px,3px' }));
      }
      traces.push(boundary(layout, points, telling, 'middle', { color: '#ffffff', width: 4.5 }));
      traces.push(boundary(layout, points, telling, 'middle', { color: '#111111', width: 2.2 }));
    }
    const figure = {
      width, height, margin: { l: 38 + labelWidth(layout.y), r: right, t: 12, b: 52, autoexpand: false }, barmode: 'overlay', showlegend: false,
      paper_bgcolor: ink('paper'), plot_bgcolor: ink('ground'), font: { color: ink('text'), family: ink('font'), size: 12 },
      xaxis: axis(layout.x, inner, labelWidth(layout.x) + 4, ink), yaxis: axis(layout.y, upright, TICK_HEIGHT, ink),
      shapes: frames(layout, ink, options.chosen, options.cursor), uirevision: 'map',
    };
    return window.Plotly.react(plot, traces, figure, { staticPlot: true });
  }

  /** Move the cursor's and the chosen point's frames without drawing anything else. */
  function moveFrames(layout, chosen, cursor) {
    return window.Plotly.relayout('plot', { shapes: frames(layout, inks(), chosen, cursor) });
  }

  /** The map as a figure of its own: with its title, and under it what the page says around it. */
  function figureToSave(title, lines) {
    const { data, layout } = document.getElementById('plot');
    const wrapped = lines.flatMap((line) => lop.wrap(line, Math.floor((layout.width - 20) / CHARACTER_WIDTH)));
    const [above, below] = [30, 8 + 16 * wrapped.length];
    const { margin } = layout;
    const text = { text: wrapped.map(lop.escape).join('<br>'), xref: 'paper', yref: 'paper', x: 0, y: 0, xshift: 10 - margin.l, xanchor: 'left', yanchor: 'top', align: 'left', showarrow: false };
    return {
      data,
      layout: {
        ...layout, shapes: [], height: layout.height + above + below, margin: { ...margin, t: margin.t + above, b: margin.b + below },
        title: { text: lop.escape(title), x: 0.02, font: { size: 15 } },
        annotations: [{ ...text, yshift: -margin.b, font: { size: 11, color: layout.font.color } }],
      },
    };
  }

  /** Offer the map as a file. */
  function saveMap(name, title, lines) {
    const figure = figureToSave(title, lines);
    return window.Plotly.downloadImage(figure, { format: 'png', scale: 2, width: figure.layout.width, height: figure.layout.height, filename: name });
  }

  function inside() {
    const plot = document.getElementById('plot');
    const { l, t, w, h } = plot._fullLayout._size;
    const box = plot.getBoundingClientRect();
    return { left: box.left + l, top: box.top + t, width: w, height: h };
  }

  /** Which value's area a share of the way along an axis lies in; -1 for none. */
  function indexAt(field, share) {
    const [low, high] = extent(field.edges);
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
      const [low, high] = extent(field.edges);
      return ((field.edges[index] + field.edges[index + 1]) / 2 - low) / (high - low);
    };
    return {
      left: area.left + share(layout.x, point.x) * area.width,
      top: area.top + (1 - share(layout.y, point.y)) * area.height,
    };
  }

  Object.assign(lop, { SHARES, drawMap, figureToSave, saveMap, moveFrames, pointAt, placeOf, inks, isMixed });
})();
