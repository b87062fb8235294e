/** What Python has fitted for a map: rates at its points, and boundaries. `analysis.report.surfaces` makes them. */
(function () {
  'use strict';

  const lop = window.lop;

  const NOTHING = 'no boundary or fitted rates:';

  /** Whether a definition would see the thresholds that the report was made with. */
  function keepsThresholds({ about }, criterion, definition) {
    const used = about.controls.filter((control) => control.definitions.includes(definition));
    return used.every(({ name }) => criterion[name] === about.criterion[name]);
  }

  function fitAt({ about }, { x, y, at }) {
    const names = Object.keys(at);
    return about.surfaces.fits.find((fit) => [fit.x, fit.y].includes(x) && [fit.x, fit.y].includes(y) &&
      names.every((name) => fit.at[name] === at[name]));
  }

  /** Why nothing fitted belongs to this state, in a line; null where something does. */
  function reasonAgainst(sweep, state) {
    const { definition } = sweep.about.criterion;
    if (state.criterion.definition !== definition || !keepsThresholds(sweep, state.criterion, definition)) {
      return `${NOTHING} they belong to the definition and the thresholds that this report was made with`;
    }
    if (fitAt(sweep, state)) return null;
    if (Object.values(state.at).includes(lop.ALL)) return `${NOTHING} pooled slices are not fitted`;
    return `${NOTHING} this slice is beyond the limits of what a report fits`;
  }

  /**
   * The fit of a state, or null: `rates(name, point)` gives a rate and the ends of its interval, or null, and `lines(part)`
   * the coordinates of a part of the boundary at the level that is chosen.
   */
  function fitOf(sweep, state, layout) {
    if (reasonAgainst(sweep, state)) return null;
    const { arrays } = sweep;
    const { x, start, boundaries } = fitAt(sweep, state);
    const swapped = x !== state.x;
    const countsFailures = keepsThresholds(sweep, state.criterion, 'rate');
    const rates = (name, point) => {
      if (name === 'failures' && !countsFailures) return null;
      const [column, row] = [point % layout.columns, Math.floor(point / layout.columns)];
      const at = start + (swapped ? column * layout.rows + row : point);
      const [rate, low, high] = [0, 1, 2].map((i) => arrays[`fit.${name}`][at + i * layout.size]);
      return Number.isNaN(rate) ? null : { rate, low, high };
    };
    const lines = (part) => {
      const [from, to] = boundaries[state.level][part];
      const [xs, ys] = [arrays['fit.x'].subarray(from, to), arrays['fit.y'].subarray(from, to)];
      return swapped ? { x: ys, y: xs } : { x: xs, y: ys };
    };
    return { rates, lines };
  }

  /** What a legend calls a part of the boundary at a level, by its index. */
  function edgeLabel({ about: { surfaces } }, part, level) {
    return surfaces.labels[part].replace('{level}', surfaces.levels[level].name);
  }

  /** The interval of k lost networks of n, from the table: its ends in percent; null where the table ends. */
  function intervalOf({ about, arrays }, k, n) {
    if (n === 0 || n > about.evidence.tabulated) return null;
    const at = ((n - 1) * (n + 2)) / 2 + k;
    return [arrays['interval.low'][at], arrays['interval.high'][at]];
  }

  Object.assign(lop, { reasonAgainst, fitOf, edgeLabel, intervalOf });
})();
