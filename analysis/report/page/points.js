/** Cells on the grid of two axes, summarised over seeds, as `analysis.plot.aggregate` does. */
(function () {
  'use strict';

  const lop = window.lop;

  /** The index that stands for all values of a field, pooled. */
  const ALL = -1;

  /** Dots that a browser draws without delay. */
  const MAX_DOTS = 3000;

  /** The fields in which a map over x and y is a slice: those that vary, and do not just follow an axis. */
  function sliceFields(sweep, x, y) {
    const isAxis = (name) => name === x || name === y;
    return sweep.about.fields
      .filter(({ name, values, follows }) => !isAxis(name) && values.length > 1 && !follows.some(isAxis))
      .map(({ name }) => name);
  }

  /** The point of each of n cells, -1 outside the slice. */
  function pointsOf(arrays, prefix, n, view, columns) {
    const points = new Int32Array(n);
    const xs = arrays[`${prefix}.${view.x}`];
    const ys = arrays[`${prefix}.${view.y}`];
    for (let cell = 0; cell < n; cell += 1) points[cell] = ys[cell] * columns + xs[cell];
    for (const [name, index] of Object.entries(view.at)) {
      const of = arrays[`${prefix}.${name}`];
      if (index === ALL) continue;
      for (let cell = 0; cell < n; cell += 1) if (of[cell] !== index) points[cell] = -1;
    }
    return points;
  }

  /**
   * The points of a map and their cells. `view` has the fields `x` and `y` and, in `at`, the index of the value of each
   * sliced field. `members` holds the cells point by point, those of point p from `starts[p]` to `starts[p + 1]`.
   * `missing` counts the cells of each point that were requested and are not finished.
   */
  function layOut(sweep, view) {
    const [x, y] = [sweep.fields.get(view.x), sweep.fields.get(view.y)];
    const columns = x.values.length;
    const size = columns * y.values.length;
    const points = pointsOf(sweep.arrays, 'field', sweep.n, view, columns);
    const starts = new Uint32Array(size + 1);
    for (const point of points) if (point >= 0) starts[point + 1] += 1;
    for (let point = 0; point < size; point += 1) starts[point + 1] += starts[point];
    const next = starts.slice();
    const members = new Uint32Array(starts[size]);
    points.forEach((point, cell) => {
      if (point >= 0) members[next[point]++] = cell;
    });
    const missing = new Uint32Array(size);
    if (sweep.about.missing > 0) {
      for (const p of pointsOf(sweep.arrays, 'missing', sweep.about.missing, view, columns)) if (p >= 0) missing[p] += 1;
    }
    const cellsOf = (point) => members.subarray(starts[point], starts[point + 1]);
    return { x, y, columns, rows: y.values.length, size, members, cellsOf, missing };
  }

  function mean(values) {
    return values.reduce((sum, value) => sum + value, 0) / values.length;
  }

  /** As `numpy.quantile`, linear between neighbours. */
  function quantile(values, share) {
    const sorted = Float64Array.from(values).sort();
    const place = share * (sorted.length - 1);
    const below = Math.floor(place);
    const rest = place - below;
    return rest === 0 ? sorted[below] : sorted[below] * (1 - rest) + sorted[below + 1] * rest;
  }

  function median(values) {
    const sorted = Float64Array.from(values).sort();
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  function extent(values) {
    return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  }

  /** How many of these cells are in each verdict, for how many a loss can be decided, and how many are lost. */
  function tally(sweep, scores, cells) {
    const verdicts = new Array(sweep.about.verdicts.length).fill(0);
    for (const cell of cells) verdicts[scores.verdict[cell]] += 1;
    const { lost, plastic, undecided } = lop.indicesOf(sweep.about.verdicts);
    const decidable = verdicts[lost] + verdicts[plastic] + verdicts[undecided];
    return { verdicts, lost: verdicts[lost], decidable };
  }

  /** A score of some cells: mean or median, range, and the number of cells for which it is defined. */
  function summary(scores, { column, decidable_only: decidableOnly, statistic }, cells) {
    const values = scores.column(column);
    const known = [];
    for (const cell of cells) {
      const hidden = decidableOnly && Number.isNaN(scores.lost[cell]);
      if (!hidden && !Number.isNaN(values[cell])) known.push(values[cell]);
    }
    if (known.length === 0) return { value: NaN, low: NaN, high: NaN, defined: 0 };
    const [low, high] = extent(known);
    return { value: statistic === 'median' ? median(known) : mean(known), low, high, defined: known.length };
  }

  /**
   * A category of some cells: the most common name. In a tie it is the first in the legend. The background is named only
   * where no other name occurs.
   */
  function mostCommon(sweep, scores, category, cells) {
    const names = category.name === 'verdict' ? sweep.about.verdicts : sweep.about.first;
    const of = scores.category(category.name);
    const legend = Object.keys(category.colours);
    const order = legend.filter((name) => name !== category.background);
    const counts = new Map(legend.map((name) => [name, 0]));
    for (const cell of cells) {
      const name = names[of[cell]];
      if (counts.has(name)) counts.set(name, counts.get(name) + 1);
    }
    const front = order.reduce((sum, name) => sum + counts.get(name), 0);
    const leader = order.reduce((best, name) => (counts.get(name) > counts.get(best) ? name : best));
    const best = front > 0 ? leader : category.background;
    const number = counts.get(best) ?? 0;
    if (number === 0) return { value: NaN, name: '', number: 0, defined: 0, lead: NaN };
    const leads = [];
    for (const cell of cells) if (category.lead && names[of[cell]] === best) leads.push(scores.symptoms().lead[cell]);
    const lead = leads.length && !leads.some(Number.isNaN) ? median(leads) : NaN;
    return { value: legend.indexOf(best), name: best, number, defined: front || number, lead };
  }

  /** A fitted rate at a point, as `summary`; `decidable` is the number of cells that it was fitted to. */
  function fittedRate(fit, { rate }, point, decidable) {
    const found = fit?.rates(rate, point);
    if (!found) return { value: NaN, low: NaN, high: NaN, defined: 0 };
    return { value: found.rate, low: found.low, high: found.high, defined: decidable };
  }

  /** Every point of a map: `tally` and `summary`, `mostCommon` or `fittedRate` of its cells. */
  function summarise(sweep, layout, scores, variable, fit) {
    return Array.from({ length: layout.size }, (_, point) => {
      const cells = layout.cellsOf(point);
      const counts = tally(sweep, scores, cells);
      let of;
      if (variable.rate) of = fittedRate(fit, variable, point, counts.decidable);
      else of = variable.colours ? mostCommon(sweep, scores, variable, cells) : summary(scores, variable, cells);
      return { cells: cells.length, missing: layout.missing[point], ...counts, ...of };
    });
  }

  /** Whether a map over two fields has dots at exact values: where one of them is in bins. */
  const hasDots = ({ x, y }) => x.binned || y.binned;

  /** Where each cell is along an axis, in the coordinates that are drawn. */
  function placesAlong(sweep, { name, binned, scale, positions }) {
    const index = sweep.arrays[`field.${name}`];
    if (!binned) return (cell) => positions[index[cell]];
    const values = sweep.arrays[`value.${name}`];
    return (cell) => (scale === 'log' ? Math.log10(values[cell]) : values[cell]);
  }

  /**
   * One dot per configuration of a map whose values are in bins, at its own values, summarised over seeds; null where
   * there are none, or too many to draw.
   */
  function dotsOf(sweep, layout, scores, variable) {
    if (!hasDots(layout) || variable.rate) return null;
    const [along, up] = [placesAlong(sweep, layout.x), placesAlong(sweep, layout.y)];
    const groups = new Map();
    for (const cell of layout.members) {
      const key = `${along(cell)} ${up(cell)}`;
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(cell);
    }
    if (groups.size > MAX_DOTS) return null;
    return [...groups.values()].map((cells) => {
      const of = variable.colours ? mostCommon(sweep, scores, variable, cells) : summary(scores, variable, cells);
      return { x: along(cells[0]), y: up(cells[0]), value: of.value };
    });
  }

  Object.assign(lop, { ALL, dotsOf, sliceFields, layOut, extent, median, quantile, tally, summary, summarise });
})();
