/** Curves over tasks and layers of the cells of one point. */
(function () {
  'use strict';

  const lop = window.lop;
  const BELOW_AXIS = 1e-300;
  const CHARACTER_WIDTH = 5.7;
  const PIXELS = { main: 170, panel: 120, gap: 52, top: 24, bottom: 34, left: 44, right: 8 };
  const SIDES = [[0, 0.45], [0.56, 1]];

  /** The middle task of each value of a sequence. */
  function middles(sweep, cell, { values, step }) {
    const tasks = sweep.arrays.tasks[cell];
    return Array.from(values, (_, i) => (i * step + 1 + Math.min((i + 1) * step, tasks)) / 2);
  }

  /** Values that can be drawn, others as null; on a logarithmic axis a zero lies far below its end. */
  function drawable(values, log) {
    return Array.from(values, (v) => (Number.isFinite(v) ? (log && v === 0 ? BELOW_AXIS : v) : null));
  }

  /** The cells with as many tasks as this one; the curves of others cannot be laid over it. */
  function equallyLong(sweep, cells, cell) {
    return cells.filter((one) => sweep.arrays.tasks[one] === sweep.arrays.tasks[cell]);
  }

  /** Whether the cells are few enough for one line per seed. */
  function hasSeedLines({ about }, cells) {
    return cells.length <= about.seed_colours.length;
  }

  function hasPercentiles({ about }, cells) {
    return cells.length >= about.percentiles.from;
  }

  function bandName(sweep, cells) {
    return hasPercentiles(sweep, cells) ? sweep.about.percentiles.label : 'range';
  }

  function seedName(sweep, cell) {
    return `seed ${sweep.about.seeds[sweep.arrays.seed[cell]]}`;
  }

  /** How a metric is drawn that only some tasks have: each of them as a point on the line. */
  function sparse(metric) {
    return metric.of_control ? { mode: 'lines+markers', marker: { size: 4 }, connectgaps: true } : {};
  }

  function baseLayout(ink) {
    return {
      paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', font: { color: ink('text'), family: ink('font'), size: 11 },
      hoverlabel: { font: { family: ink('font') } }, showlegend: false, annotations: [],
    };
  }

  function axisLook(ink) {
    return {
      gridcolor: ink('grid'), zeroline: false, linecolor: ink('line'), ticks: 'outside', ticklen: 3, tickcolor: ink('line'),
      fixedrange: true,
    };
  }

  /** The names of the axes of the panel with this number, as Plotly counts them. */
  function axesOf(number) {
    const suffix = number === 0 ? '' : String(number + 1);
    return { suffix, traces: { xaxis: `x${suffix}`, yaxis: `y${suffix}` } };
  }

  /** A text in the middle of a panel. */
  function note(text, { x: [left, right], y: [bottom, top] }) {
    const [x, y] = [(left + right) / 2, (bottom + top) / 2];
    return { text, xref: 'paper', yref: 'paper', showarrow: false, x, y, xanchor: 'center' };
  }

  /** A text over a panel of a figure, which may reach into the gap beside it; `width` is the figure's. */
  function label(text, place, width) {
    const pixels = (width - PIXELS.left - PIXELS.right) * Math.min(1, place.x[1] - place.x[0] + (place.x[1] < 1 ? 0.08 : 0));
    const lines = lop.wrap(text, Math.floor(pixels / CHARACTER_WIDTH)).map(lop.escape).join('<br>');
    const common = { text: lines, xref: 'paper', yref: 'paper', showarrow: false };
    return { ...common, x: place.x[0], y: place.y[1], xanchor: 'left', yanchor: 'bottom', align: 'left', font: { size: 11.5 } };
  }

  /** Panels of two columns under an optional wide one: the height of the figure, and where each panel lies in it. */
  function grid(number, wide, panelPixels) {
    const rows = Math.ceil((wide ? number - 1 : number) / 2);
    const mainPixels = wide ? PIXELS.main + (rows ? PIXELS.gap : 0) : 0;
    const inner = mainPixels + rows * panelPixels + Math.max(0, rows - 1) * PIXELS.gap;
    const places = Array.from({ length: number }, (_, index) => {
      if (wide && index === 0) return { x: [0, 1], y: [1 - PIXELS.main / inner, 1], last: rows === 0 };
      const position = wide ? index - 1 : index;
      const top = 1 - (mainPixels + Math.floor(position / 2) * (panelPixels + PIXELS.gap)) / inner;
      return { x: SIDES[position % 2], y: [Math.max(0, top - panelPixels / inner), top], last: index >= number - 2 };
    });
    return { height: inner + PIXELS.top + PIXELS.bottom, places };
  }

  /** Every metric of the cells of a point against the task; `chosen` is one of the cells. */
  class CurveFigure {
    constructor(sweep, scores, cells, chosen) {
      Object.assign(this, { sweep, scores, cells: Array.from(cells), chosen, ink: lop.inks() });
    }

    line(x, y, axes, more) {
      return { type: 'scatter', mode: x.length > 1 ? 'lines' : 'markers', x, y, ...axes, showlegend: false, ...more };
    }

    /** Two invisible lines with the area between them filled. */
    band(x, low, high, axes, fillcolor, more = {}) {
      const edge = { ...more, mode: 'lines', line: { width: 0 }, hoverinfo: 'skip' };
      return [this.line(x, low, axes, edge), this.line(x, high, axes, { ...edge, fill: 'tonexty', fillcolor })];
    }

    seedLine(metric, cell, axes, line) {
      const sequence = lop.sequence(this.sweep, metric.name, cell);
      const values = drawable(sequence.values, metric.logarithmic);
      const more = { line, name: seedName(this.sweep, cell), ...sparse(metric) };
      return this.line(middles(this.sweep, cell, sequence), values, axes, more);
    }

    /** One line per seed, or of many seeds the median and a band; no value where any of them has diverged. */
    seedLines(metric, axes) {
      if (hasSeedLines(this.sweep, this.cells)) {
        const look = (cell, i) => ({ color: this.sweep.about.seed_colours[i], width: cell === this.chosen ? 2.4 : 1.2 });
        return this.cells.map((cell, i) => this.seedLine(metric, cell, axes, look(cell, i)));
      }
      const { sweep, ink } = this;
      const cells = equallyLong(sweep, this.cells, this.chosen);
      const all = cells.map((cell) => lop.sequence(sweep, metric.name, cell));
      const x = middles(sweep, cells[0], all[0]);
      const columns = x.map((_, i) => drawable(all.map(({ values }) => values[i]), metric.logarithmic));
      const of = (share) => columns.map((column) => (column.includes(null) ? null : lop.quantile(column, share)));
      const [low, high] = hasPercentiles(sweep, cells) ? sweep.about.percentiles.ends : [0, 1];
      return [
        ...this.band(x, of(low), of(high), axes, ink('band'), sparse(metric)),
        this.line(x, of(0.5), axes, { line: { color: ink('focus'), width: 2 }, name: 'median', ...sparse(metric) }),
        this.seedLine(metric, this.chosen, axes, { color: ink('text'), width: 1.2 }),
      ];
    }

    get longest() {
      return Math.max(...this.cells.map((cell) => this.sweep.arrays.tasks[cell]));
    }

    /** The mean of the fresh networks over seeds, and the band in which most of them end. */
    freshLines(axes) {
      const { arrays } = this.sweep;
      const some = this.cells.filter((cell) => Number.isFinite(arrays.fresh_mean_ce[cell]));
      if (some.length === 0) return [];
      const level = (name) => Array(2).fill(some.reduce((sum, cell) => sum + arrays[name][cell], 0) / some.length);
      const x = [0.5, this.longest + 0.5];
      const dashed = { color: this.ink('text'), width: 1.5, dash: 'dash' };
      return [
        ...this.band(x, level('fresh_low'), level('fresh_high'), axes, this.ink('freshband')),
        this.line(x, level('fresh_mean_ce'), axes, { mode: 'lines', line: dashed, name: 'fresh networks' }),
      ];
    }

    /** Where each seed's loss begins. */
    onsetMarks(axes) {
      const { sweep, scores, ink } = this;
      const some = this.cells.filter((cell) => scores.onset[cell] > 0);
      const at = (cell) => lop.sequence(sweep, lop.MAIN, cell).values[scores.onset[cell] - 1];
      return {
        type: 'scatter', mode: 'markers', x: some.map((cell) => scores.onset[cell]), y: some.map(at), ...axes, showlegend: false,
        marker: { symbol: 'triangle-down', size: 9, color: ink('paper'), line: { color: ink('text'), width: 1.5 } },
        name: 'onset', text: some.map((cell) => seedName(sweep, cell)),
      };
    }

    yRange(values, log) {
      const [low, high] = lop.extent(values);
      if (!log) return low >= 0 && high <= 1 && high > 0 ? { range: [0, high * 1.08] } : {};
      const bottom = Math.log10(Math.max(low, Math.min(this.sweep.about.min_log_value, high)));
      const top = Math.log10(high);
      return { range: [bottom - 0.08, top + 0.08 + (top === bottom ? 0.5 : 0)] };
    }

    yScale(values, log) {
      const empty = { type: 'log', range: [Math.log10(this.sweep.about.min_log_value), 0], tickvals: [] };
      if (values.length === 0) return log ? empty : {};
      const range = this.yRange(values, log);
      if (!log) return range;
      const ticks = lop.logTicks(...range.range, 5);
      return { type: 'log', ...range, tickvals: ticks, ticktext: ticks.map((tick) => lop.number(tick, 1)) };
    }

    /** Add a metric's panel to the traces and the layout. */
    addPanel(figure, metric, place, number) {
      const { suffix, traces: axes } = axesOf(number);
      const log = metric.logarithmic;
      const traces = this.seedLines(metric, axes);
      if (metric.name === lop.MAIN) traces.push(...this.freshLines(axes), this.onsetMarks(axes));
      const values = traces.flatMap((trace) => trace.y).filter((v) => Number.isFinite(v) && (!log || v > BELOW_AXIS));
      const look = axisLook(this.ink);
      const title = place.last ? { text: 'task', standoff: 4 } : undefined;
      figure.traces.push(...traces);
      figure.layout[`xaxis${suffix}`] = { ...look, domain: place.x, anchor: axes.yaxis, range: [0.5, this.longest + 0.5], title };
      figure.layout[`yaxis${suffix}`] = { ...look, domain: place.y, anchor: axes.xaxis, nticks: 5, ...this.yScale(values, log) };
      figure.layout.annotations.push(label(metric.label, place, figure.layout.width));
      if (values.length === 0) figure.layout.annotations.push(note(this.whyEmpty(metric), place));
    }

    whyEmpty({ name, logarithmic }) {
      if (!lop.isMeasured(this.sweep, name, this.cells)) return 'not measured';
      return logarithmic ? 'no value above 0' : 'no finite value';
    }

    draw(element) {
      const { metrics } = this.sweep.about;
      const main = metrics.find(({ name }) => name === lop.MAIN);
      const ordered = [main, ...metrics.filter((metric) => metric !== main)];
      const { height, places } = grid(ordered.length, true, PIXELS.panel);
      const margin = { l: PIXELS.left, r: PIXELS.right, t: PIXELS.top, b: PIXELS.bottom };
      const layout = { ...baseLayout(this.ink), width: element.clientWidth, height, margin, hovermode: 'closest' };
      const figure = { traces: [], layout };
      ordered.forEach((metric, number) => this.addPanel(figure, metric, places[number], number));
      return window.Plotly.react(element, figure.traces, layout, { displayModeBar: false });
    }
  }

  /** Draw every metric of these cells against the task into `element`. */
  function drawCurves(element, sweep, scores, cells, chosen) {
    return new CurveFigure(sweep, scores, cells, chosen).draw(element);
  }

  /** One cell's values of a metric, as rows of layers and columns of blocks of tasks. */
  function layerRows(sweep, metric, cell) {
    const depth = sweep.arrays.depth[cell];
    const values = sweep.arrays[`layer.${metric.name}`].subarray(sweep.starts.layers[cell], sweep.starts.layers[cell + 1]);
    const blocks = values.length / depth;
    const row = (layer) => drawable(Array.from({ length: blocks }, (_, block) => values[block * depth + layer]), false);
    return Array.from({ length: depth }, (_, layer) => row(layer));
  }

  /** Draw one cell's metrics per layer, task by layer, into `element`. */
  function drawLayers(element, sweep, cell) {
    const ink = lop.inks();
    const { about } = sweep;
    const [depth, tasks] = [sweep.arrays.depth[cell], sweep.arrays.tasks[cell]];
    const step = lop.stride(tasks, about.resolution.layers);
    const metrics = about.metrics.filter((metric) => metric.per_layer);
    const { height, places } = grid(metrics.length, false, 40 + 14 * Math.min(Math.max(depth, 3), 12));
    const margin = { l: PIXELS.left, r: 48, t: PIXELS.top, b: PIXELS.bottom };
    const layout = { ...baseLayout(ink), width: element.clientWidth, height, margin };
    const traces = metrics.map((metric, number) => {
      const { suffix, traces: axes } = axesOf(number);
      const place = { ...places[number], x: [[0, 0.39], [0.58, 0.97]][number % 2] };
      const z = layerRows(sweep, metric, cell);
      const edges = Array.from({ length: z[0].length + 1 }, (_, i) => Math.min(i * step, tasks) + 0.5);
      const look = { ...axisLook(ink), showgrid: false };
      const title = (text, isThere) => (isThere ? { text, standoff: 4 } : undefined);
      layout[`xaxis${suffix}`] = {
        ...look, domain: place.x, anchor: axes.yaxis, range: [0.5, tasks + 0.5], title: title('task', place.last),
      };
      layout[`yaxis${suffix}`] = {
        ...look, domain: place.y, anchor: axes.xaxis, dtick: Math.ceil(depth / 8), tick0: 1, range: [0.5, depth + 0.5],
        title: title('layer', number % 2 === 0),
      };
      layout.annotations.push(label(metric.layer_label, place, layout.width));
      if (z.flat().every((value) => value === null)) {
        layout.annotations.push(note(lop.isMeasured(sweep, metric.name, [cell]) ? 'no finite value' : 'not measured', place));
      }
      return {
        type: 'heatmap', x: edges, y: Array.from({ length: depth }, (_, layer) => layer + 1), z, ...axes,
        colorscale: lop.even(about.palettes[about.sequential]), ...(metric.is_share ? { zmin: 0, zmax: 1 } : lowEnd(metric, z)),
        hovertemplate: 'layer %{y}, task %{x:.0f}: %{z:.3g}<extra></extra>',
        colorbar: {
          x: place.x[1] + 0.005, y: (place.y[0] + place.y[1]) / 2, len: place.y[1] - place.y[0],
          thickness: 8, outlinewidth: 0, nticks: 4,
        },
      };
    });
    return window.Plotly.react(element, traces, layout, { displayModeBar: false });
  }

  /** A colour scale from a metric's lowest possible value, if it has one, to the largest value that is drawn. */
  function lowEnd({ lowest }, z) {
    const values = z.flat().filter((value) => value !== null);
    if (lowest === null || values.length === 0) return {};
    return { zmin: lowest, zmax: Math.max(lop.extent(values)[1], lowest + 0.01) };
  }

  Object.assign(lop, { drawCurves, drawLayers, equallyLong, bandName, hasSeedLines });
})();
