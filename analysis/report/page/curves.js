/** Curves over tasks and layers of the cells of one point. */
(function () {
  'use strict';

  const lop = window.lop;
  const FLOOR = 1e-6;
  const ZERO = 1e-300;
  const MANY = 5;
  const NAMES = {
    final_ce: 'CE at the end of the task (nats)', min_ce: 'smallest CE (nats)', grad_norm: 'hidden gradient norm at start',
    effective_rank: 'effective rank', duplicate_fraction: 'duplicate features (share)', saturation: 'saturated units (share)',
  };
  const LOGARITHMIC = ['final_ce', 'min_ce', 'grad_norm'];
  const SEED_COLOURS = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#8B6914', '#999999'];

  /** The middle task of each value of a sequence. */
  function middles(sweep, cell, { values, step }) {
    const tasks = sweep.arrays.tasks[cell];
    return Array.from(values, (_, i) => (i * step + 1 + Math.min((i + 1) * step, tasks)) / 2);
  }

  /** What can be drawn of values; on a logarithmic axis a zero lies far below its end. */
  function drawable(values, log) {
    return Array.from(values, (v) => (Number.isFinite(v) ? (log && v === 0 ? ZERO : v) : null));
  }

  /** Those of the cells that have as many tasks as this one: others' curves cannot be laid over it. */
  function equallyLong(sweep, cells, cell) {
    return cells.filter((one) => sweep.arrays.tasks[one] === sweep.arrays.tasks[cell]);
  }

  function bandName(sweep, cells) {
    return cells.length >= sweep.about.percentiles_from ? '10th to 90th percentile' : 'range';
  }

  /** Median and spread over equally long cells, task by task; nothing where any of them has diverged. */
  function bands(sweep, measure, cells, log) {
    const all = cells.map((cell) => lop.sequence(sweep, measure, cell));
    const x = middles(sweep, cells[0], all[0]);
    const columns = x.map((_, i) => drawable(all.map(({ values }) => values[i]), log));
    const of = (share) => columns.map((column) => (column.includes(null) ? null : lop.quantile(column, share)));
    const [low, high] = cells.length >= sweep.about.percentiles_from ? [0.1, 0.9] : [0, 1];
    return { x, median: of(0.5), low: of(low), high: of(high) };
  }

  function line(x, y, axes, more) {
    return { type: 'scatter', mode: x.length > 1 ? 'lines' : 'markers', x, y, ...axes, showlegend: false, ...more };
  }

  function seedLines(sweep, scores, measure, cells, axes, chosen, ink) {
    const log = LOGARITHMIC.includes(measure);
    if (cells.length > MANY) {
      const { x, median, low, high } = bands(sweep, measure, equallyLong(sweep, cells, chosen), log);
      return [
        line(x, low, axes, { line: { width: 0 }, hoverinfo: 'skip' }),
        line(x, high, axes, { line: { width: 0 }, fill: 'tonexty', fillcolor: ink('band'), hoverinfo: 'skip' }),
        line(x, median, axes, { line: { color: ink('focus'), width: 2 }, name: 'median' }),
        oneSeed(sweep, measure, chosen, axes, ink('text'), 1.2),
      ];
    }
    return Array.from(cells, (cell, i) => oneSeed(sweep, measure, cell, axes, SEED_COLOURS[i % SEED_COLOURS.length], cell === chosen ? 2.4 : 1.2));
  }

  function oneSeed(sweep, measure, cell, axes, colour, width) {
    const sequence = lop.sequence(sweep, measure, cell);
    const name = `seed ${sweep.about.seeds[sweep.arrays.seed[cell]]}`;
    const values = drawable(sequence.values, LOGARITHMIC.includes(measure));
    return line(middles(sweep, cell, sequence), values, axes, { line: { color: colour, width }, name });
  }

  /** The fresh networks' mean over seeds, and the band in which most of them end. */
  function freshLines(sweep, cells, axes, ink) {
    const some = Array.from(cells).filter((cell) => Number.isFinite(sweep.arrays.fresh_ce[cell]));
    if (some.length === 0) return [];
    const mean = (name) => some.reduce((sum, cell) => sum + sweep.arrays[name][cell], 0) / some.length;
    const ends = [0.5, Math.max(...Array.from(cells, (cell) => sweep.arrays.tasks[cell])) + 0.5];
    const level = (name) => [mean(name), mean(name)];
    return [
      line(ends, level('fresh_low'), axes, { mode: 'lines', line: { width: 0 }, hoverinfo: 'skip' }),
      line(ends, level('fresh_high'), axes, { mode: 'lines', line: { width: 0 }, fill: 'tonexty', fillcolor: ink('freshband'), hoverinfo: 'skip' }),
      line(ends, level('fresh_ce'), axes, { mode: 'lines', line: { color: ink('text'), width: 1.5, dash: 'dash' }, name: 'fresh networks' }),
    ];
  }

  /** Where each seed's loss begins. */
  function onsetMarks(sweep, scores, cells, axes, ink) {
    const some = Array.from(cells).filter((cell) => scores.onset[cell] > 0);
    const at = (cell) => lop.sequence(sweep, 'final_ce', cell).values[scores.onset[cell] - 1];
    return {
      type: 'scatter', mode: 'markers', x: some.map((cell) => scores.onset[cell]), y: some.map(at), ...axes, showlegend: false,
      marker: { symbol: 'triangle-down', size: 9, color: ink('paper'), line: { color: ink('text'), width: 1.5 } },
      name: 'onset', text: some.map((cell) => `seed ${sweep.about.seeds[sweep.arrays.seed[cell]]}`),
    };
  }

  function yScale(traces, log) {
    const range = yRange(traces, log);
    if (!log) return range;
    if (!range.range) return { type: 'log', range: [Math.log10(FLOOR), 0], tickvals: [] };
    const ticks = lop.logTicks(...range.range, 5);
    return { type: 'log', ...range, tickvals: ticks, ticktext: ticks.map((tick) => lop.number(tick, 1)) };
  }

  function yRange(traces, log) {
    const values = traces.flatMap((trace) => trace.y).filter((v) => Number.isFinite(v) && (!log || v > ZERO));
    if (values.length === 0) return {};
    const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
    if (!log) return low >= 0 && high <= 1 && high > 0 ? { range: [0, high * 1.08] } : {};
    const [bottom, top] = [Math.log10(Math.max(low, Math.min(FLOOR, high))), Math.log10(high)];
    return { range: [bottom - 0.08, top + 0.08 + (top === bottom ? 0.5 : 0)] };
  }

  function base(ink) {
    return {
      paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', font: { color: ink('text'), family: ink('font'), size: 11 },
      hoverlabel: { font: { family: ink('font') } }, showlegend: false,
    };
  }

  function axisLook(ink) {
    return { gridcolor: ink('grid'), zeroline: false, linecolor: ink('line'), ticks: 'outside', ticklen: 3, tickcolor: ink('line'), fixedrange: true };
  }

  /** Draw every measure of these cells against the task into `element`. */
  function drawCurves(element, sweep, scores, cells, chosen) {
    const ink = lop.inks();
    const layout = { ...base(ink), width: element.clientWidth, height: 560, margin: { l: 44, r: 8, t: 14, b: 34 }, hovermode: 'closest', annotations: [] };
    const traces = [];
    const longest = Math.max(...Array.from(cells, (cell) => sweep.arrays.tasks[cell]));
    Object.entries(places()).forEach(([measure, place], index) => {
      const suffix = index === 0 ? '' : String(index + 1);
      const axes = { xaxis: `x${suffix}`, yaxis: `y${suffix}` };
      const log = LOGARITHMIC.includes(measure);
      const own = seedLines(sweep, scores, measure, cells, axes, chosen, ink);
      if (measure === 'final_ce') own.push(...freshLines(sweep, cells, axes, ink), onsetMarks(sweep, scores, cells, axes, ink));
      traces.push(...own);
      layout[`xaxis${suffix}`] = { ...axisLook(ink), domain: place.x, anchor: axes.yaxis, range: [0.5, longest + 0.5], title: place.last ? { text: 'task', standoff: 4 } : undefined };
      layout[`yaxis${suffix}`] = { ...axisLook(ink), domain: place.y, anchor: axes.xaxis, nticks: 5, ...yScale(own, log) };
      layout.annotations.push({ text: NAMES[measure], xref: 'paper', yref: 'paper', x: place.x[0], y: place.y[1], xanchor: 'left', yanchor: 'bottom', showarrow: false, font: { size: 11.5 } });
      if (!own.some((trace) => trace.y.some((v) => Number.isFinite(v) && (!log || v > ZERO)))) layout.annotations.push(nothing(place, log));
    });
    return window.Plotly.react(element, traces, layout, { displayModeBar: false });
  }

  function nothing(place, log) {
    return { text: log ? 'no value above 0' : 'no finite value', xanchor: 'center', xref: 'paper', yref: 'paper', x: (place.x[0] + place.x[1]) / 2, y: (place.y[0] + place.y[1]) / 2, showarrow: false };
  }

  /** One wide panel over two rows of smaller ones. */
  function places() {
    const columns = [[0, 0.27], [0.37, 0.635], [0.735, 1]];
    const [middle, low] = [[0.32, 0.56], [0, 0.2]];
    return {
      final_ce: { x: [0, 1], y: [0.68, 0.97] },
      min_ce: { x: [0, 0.45], y: middle }, grad_norm: { x: [0.56, 1], y: middle },
      effective_rank: { x: columns[0], y: low, last: true }, duplicate_fraction: { x: columns[1], y: low, last: true },
      saturation: { x: columns[2], y: low, last: true },
    };
  }

  /** Draw one cell's effective rank and duplicates, task by layer, into `element`. */
  function drawLayers(element, sweep, cell) {
    const ink = lop.inks();
    const depth = sweep.arrays.depth[cell];
    const tasks = sweep.arrays.tasks[cell];
    const step = lop.stride(tasks, sweep.about.resolution.layers);
    const begin = sweep.starts.layers[cell];
    const blocks = (sweep.starts.layers[cell + 1] - begin) / depth;
    const edges = Array.from({ length: blocks + 1 }, (_, i) => Math.min(i * step, tasks) + 0.5);
    const layout = { ...base(ink), width: element.clientWidth, height: 96 + 14 * Math.min(Math.max(depth, 3), 12), margin: { l: 44, r: 8, t: 22, b: 34 }, annotations: [] };
    const traces = sweep.about.layered.map((measure, index) => {
      const suffix = index === 0 ? '' : String(index + 1);
      const [from, to] = index === 0 ? [0, 0.36] : [0.58, 0.94];
      const values = sweep.arrays[`layer.${measure}`];
      const z = Array.from({ length: depth }, (_, layer) => Array.from({ length: blocks }, (__, i) => drawable([values[begin + i * depth + layer]], false)[0]));
      layout[`xaxis${suffix}`] = { ...axisLook(ink), domain: [from, to], anchor: `y${suffix}`, title: { text: 'task', standoff: 4 }, showgrid: false };
      layout[`yaxis${suffix}`] = { ...axisLook(ink), anchor: `x${suffix}`, dtick: Math.ceil(depth / 8), tick0: 1, range: [0.5, depth + 0.5], showgrid: false, title: index === 0 ? { text: 'layer', standoff: 4 } : undefined };
      layout.annotations.push({ text: NAMES[measure], xref: 'paper', yref: 'paper', x: from, y: 1, xanchor: 'left', yanchor: 'bottom', showarrow: false, font: { size: 11.5 } });
      const shares = measure === 'effective_rank' ? { zmin: 1 } : { zmin: 0, zmax: 1 };
      return {
        type: 'heatmap', x: edges, y: Array.from({ length: depth }, (_, layer) => layer + 1), z, xaxis: `x${suffix}`, yaxis: `y${suffix}`,
        colorscale: lop.even(sweep.about.palettes.viridis), ...shares, hovertemplate: 'layer %{y}, task %{x:.0f}: %{z:.3g}<extra></extra>',
        colorbar: { x: to + 0.005, thickness: 8, outlinewidth: 0, len: 1.05, nticks: 4 },
      };
    });
    return window.Plotly.react(element, traces, layout, { displayModeBar: false });
  }

  Object.assign(lop, { drawCurves, drawLayers, equallyLong, bandName, MANY_SEEDS: MANY });
})();
